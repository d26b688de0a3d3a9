"""Parquet to JSON lines and back. Runs wherever pyarrow is, for app/services/parquet.py.

about FILE: {"rows": how many, "columns": names}.
read FILE PLAN: a line for each row: what is sent of it, a tab, what is kept of it.
write FILE COLUMNS: of JSON lines from stdin; each column of the narrowest type that holds it.
"""

import base64
import datetime
import decimal
import json
import math
import sys
from itertools import repeat

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 10_000


def about(path):
    with pq.ParquetFile(path) as file:
        print(json.dumps({"rows": file.metadata.num_rows, "columns": file.schema_arrow.names}))


def read(path, plan):
    """plan: {"skip": rows, "send": columns, "lists": without names, "keep": columns}."""
    send, keep = plan["send"], plan["keep"]
    names = list(dict.fromkeys([*send, *keep]))
    with pq.ParquetFile(path) as file:
        for batch in batches(file, plan["skip"], names):
            columns = {name: batch.column(name).to_pylist() for name in names}
            sent = rows(columns, send, batch.num_rows)
            kept = rows(columns, keep, batch.num_rows)
            for row, held in zip(sent, kept, strict=True):
                value = row if plan["lists"] else dict(zip(send, row, strict=True))
                sys.stdout.write(f"{line(value)}\t{line(held)}\n")


def rows(columns, names, count):
    chosen = [columns[name] for name in names]
    return zip(*chosen, strict=True) if chosen else repeat((), count)


def batches(file, skip, names):
    """What follows the first rows; groups that are skipped whole are not read."""
    groups = []
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if not groups and skip >= rows:
            skip -= rows
        else:
            groups.append(group)
    if not groups:
        return
    for batch in file.iter_batches(batch_size=ROWS, row_groups=groups, columns=names):
        yield batch.slice(skip)
        skip = max(0, skip - batch.num_rows)


def line(record):
    try:
        return json.dumps(record, default=plain, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(finite(record), default=plain, ensure_ascii=False)


def finite(value):
    """NaN and the infinities as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(held) for held in value]
    return value


def plain(value):
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return str(value)


def write(path, columns):
    """Twice over the lines: once for the types, once for the values."""
    lines = sys.stdin.buffer
    types = dict.fromkeys(columns, pa.null())
    for block in blocks(lines):
        widen(types, [json.loads(text) for text in block])
    lines.seek(0)
    schema = pa.schema(list(types.items()))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for block in blocks(lines):
            writer.write_table(table([json.loads(text) for text in block], schema))


def blocks(lines):
    block = []
    for text in lines:
        block.append(text)
        if len(block) == ROWS:
            yield block
            block = []
    if block:
        yield block


def widen(types, records):
    for name, known in types.items():
        values = [record.get(name) for record in records]
        types[name] = wider(known, type_of(values))


def type_of(values):
    try:
        return pa.array(values).type
    except (pa.ArrowException, OverflowError):
        kinds = {type(value) for value in values} - {type(None)}
        return pa.float64() if kinds <= {int, float} else pa.string()


def wider(one, other):
    """The narrowest type for the values of both; text at last."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    numbers = (pa.int64(), pa.float64())
    if one in numbers and other in numbers:
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        held = one.value_type, other.value_type
        inner = wider(*held)
        if inner != pa.string() or any(map(pa.types.is_null, held)):
            return pa.list_(inner)
    return pa.string()


def table(records, schema):
    arrays = [array([record.get(field.name) for record in records], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def array(values, wanted):
    if wanted == pa.string():
        values = [
            held if held is None or type(held) is str else json.dumps(held) for held in values
        ]
    elif wanted == pa.float64():
        values = [None if held is None else float(held) for held in values]
    return pa.array(values, wanted)


if __name__ == "__main__":
    doing, path, *rest = sys.argv[1:]
    {"about": about, "read": read, "write": write}[doing](path, *map(json.loads, rest))
