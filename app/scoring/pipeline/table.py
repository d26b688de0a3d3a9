"""What flows between stages: outputs, and of which rows of the batch. Pure.

`Outputs` are what stages give, and the request's own input is one of them. Here they are taken
apart into columns by name, some rows of them taken, and put together again.
"""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from math import prod
from operator import itemgetter
from typing import Any, NamedTuple, Optional

import msgspec

from ..columns import NOT_A_TIME, is_text, pack
from ..inputs import OBJECT, Inputs, Numbers, columns, json_value, matrix, raw
from ..outputs import Column, Outputs
from .expressions import EVERY, Reference
from .graph import INPUT, Stage

Rows = Optional[Sequence[int]]
_UNSIGNED: dict[int, str] = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NAN = {code: struct.pack(f"<{code}", float("nan")) for code in "efd"}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Unfit(Exception):
    """Outputs are not what a stage needs of them. culprit: the stage that gave them."""

    def __init__(self, what: str, culprit: str = "") -> None:
        super().__init__(what)
        self.culprit = culprit


class Held(NamedTuple):
    """What a stage gave. rows: the batch's rows that it is for, in order; None for all."""

    outputs: Outputs
    rows: Rows = None


# From the request, and to a worker of ours


def of_inputs(inputs: Inputs) -> Outputs:
    """A request's rows as what the stage "input" gives."""
    kind, rows, parts = inputs.kind, inputs.rows, inputs.parts
    if kind == "bytes":
        return Outputs("bytes", bytes(parts[0]))
    if kind == "value":
        return Outputs("json", msgspec.json.decode(parts[0]))
    if kind == "rows":
        return Outputs("json", msgspec.json.decode(b"[%b]" % parts[0]))
    if kind == "matrix":
        return _of_matrix(inputs)
    made = [_of_part(code, part, rows) for code, part in zip(inputs.codes, parts)]
    if inputs.names or not made:
        return Outputs("table", None, tuple(made), inputs.names, 0, rows)
    return unnamed(made)


def _of_matrix(inputs: Inputs) -> Outputs:
    (code,), (part,) = inputs.codes, inputs.parts
    shape = (inputs.rows, *inputs.shape)
    if is_text(code):
        flat = msgspec.json.decode(b"[%b]" % part)
        width = prod(inputs.shape)
        rows = [flat[n * width : (n + 1) * width] for n in range(inputs.rows)]
        return Outputs("json", rows if inputs.shape else flat)
    return array_of(Column(code, part, shape))


def _of_part(code: str, part: Any, rows: int) -> Column:
    """A column as the Reader packed it; times and categories become text again."""
    if is_text(code):
        return listed(msgspec.json.decode(b"[%b]" % part))
    if code[0] == "M":
        return listed([_time(one) for one in memoryview(part).cast("B").cast("q")])
    if code[1:]:
        names = [*msgspec.json.decode(code[2:]), None]
        return listed([names[place] for place in memoryview(part).cast("B").cast("i")])
    return Column(code, part, (rows,))


def _time(microseconds: int) -> str | None:
    if microseconds == NOT_A_TIME:
        return None
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


def to_inputs(outputs: Outputs, kind: str) -> Inputs:
    """Outputs as a worker takes them. kind: of its input. Raises Unfit."""
    if outputs.kind == "bytes":
        return raw(outputs.values)
    if kind == "json" or outputs.kind == "json":
        return json_value(plain(outputs))
    if outputs.kind == "array":
        column = outputs.columns[0]
        return matrix(column.shape[0], tuple(column.shape[1:]), column.code, column.data)
    if kind == "ndarray":
        return to_inputs(array_of(side_by_side(outputs.columns)), kind)
    packed = [
        pack(one.rows()) if one.code == OBJECT else Numbers(one.code, one.data).packed("")
        for one in outputs.columns
    ]
    return columns(outputs.stop, outputs.names, packed)


# Columns


def listed(values: list[Any]) -> Column:
    return Column(OBJECT, b"", (len(values),), values)


def packed(values: list[Any]) -> Column:
    """The values as numbers where they all are; null stays null."""
    return listed(values) if None in values else narrow(values)


def narrow(values: list[Any]) -> Column:
    """The values as numbers where they are numbers or, as NaN, null."""
    made = pack(values)
    if made.code == OBJECT:
        return listed(values)
    return Column(made.code, made.data, (len(values),))


def array_of(column: Column) -> Outputs:
    return Outputs("array", None, (column,), (), 0, column.shape[0])


def table_of(named: Mapping[str, Column], rows: int) -> Outputs:
    return Outputs("table", None, tuple(named.values()), tuple(named), 0, rows)


def unnamed(made: Sequence[Column]) -> Outputs:
    """Columns without names: one block of numbers if they are that, else rows."""
    try:
        return array_of(side_by_side(made))
    except Unfit:
        return Outputs("json", [list(row) for row in zip(*(one.rows() for one in made))])


def plain(outputs: Outputs) -> Any:
    """As JSON would have it."""
    if outputs.kind == "table":
        return outputs.records()
    return outputs.columns[0].rows() if outputs.kind == "array" else outputs.values


def parts(outputs: Outputs) -> dict[str, Column]:
    """The columns by name; one without a name, perhaps of many values a row, is called ""."""
    if outputs.kind == "table":
        return dict(zip(outputs.names, outputs.columns))
    if outputs.kind == "array":
        return {"": outputs.columns[0]}
    values = outputs.values
    if outputs.kind != "json" or type(values) is not list:
        raise Unfit("it gave no rows")
    if values and set(map(type, values)) == {dict}:
        names = dict.fromkeys(name for row in values for name in row)
        return {name: packed([row.get(name) for row in values]) for name in names}
    return {"": packed(values)}


def named(outputs: Outputs, stage: str) -> dict[str, Column]:
    """The columns by name; those without one are called after their stage."""
    held = parts(outputs)
    if list(held) != [""]:
        return held
    column = held[""]
    if len(column.shape) == 1:
        return {stage: column}
    return {f"{stage}_{number}": one for number, one in enumerate(_apart(column))}


def _apart(column: Column) -> list[Column]:
    """The columns of a block of numbers."""
    rows, *rest = column.shape
    if len(rest) != 1:
        raise Unfit(f"its rows have the shape {rest}, which are no columns")
    numbers = Numbers(column.code, column.data)
    return [Column(column.code, numbers.column(n, rest[0]).data, (rows,)) for n in range(rest[0])]


def side_by_side(made: Sequence[Column]) -> Column:
    """One block of numbers of these columns. Raises Unfit when they are not all numbers."""
    if any(one.code == OBJECT or len(one.shape) != 1 for one in made):
        raise Unfit("not all its columns are numbers")
    code = made[0].code if len({one.code for one in made}) == 1 else "d"
    rows, width = made[0].shape[0], len(made)
    letter: Any = _UNSIGNED[struct.calcsize(code)]
    block = array(letter, bytes(rows * width * struct.calcsize(code)))
    view = memoryview(block)
    for number, one in enumerate(made):
        data = one.data if one.code == code else array("d", map(float, one.rows())).tobytes()
        view[number::width] = memoryview(data).cast("B").cast(letter)
    return Column(code, block.tobytes(), (rows, width))


# Some rows


def take(outputs: Outputs, places: Sequence[int]) -> Outputs:
    """The rows at these places."""
    if outputs.kind == "json" and type(outputs.values) is list:
        return outputs._replace(values=[outputs.values[place] for place in places])
    if not outputs.columns:
        return outputs._replace(start=0, stop=len(places))
    some = tuple(taken(column, places) for column in outputs.columns)
    return outputs._replace(columns=some, start=0, stop=len(places))


def taken(column: Column, places: Sequence[int]) -> Column:
    shape = (len(places), *column.shape[1:])
    if column.code == OBJECT:
        values = column.rows()
        return listed([values[place] for place in places])
    width = struct.calcsize(column.code) * prod(column.shape[1:])
    letter: Any = _UNSIGNED.get(width)
    view = memoryview(column.data).cast("B")
    if letter and len(places) > 1:
        data = array(letter, itemgetter(*places)(view.cast(letter))).tobytes()
        return Column(column.code, data, shape)
    pieces = (view[place * width : (place + 1) * width] for place in places)
    return Column(column.code, b"".join(pieces), shape)


def spread(outputs: Outputs, rows: Sequence[int], count: int) -> Outputs:
    """Outputs of some rows as those of all `count`; the others are null."""
    places: list[int | None] = [None] * count
    for place, row in enumerate(rows):
        places[row] = place
    if outputs.kind == "table":
        made = {name: _spread(column, places) for name, column in parts(outputs).items()}
        return table_of(made, count)
    if outputs.kind == "array" and outputs.columns[0].code in _NAN:
        return array_of(_spread(outputs.columns[0], places))
    values = plain(outputs)
    return Outputs("json", [None if one is None else values[one] for one in places])


def _spread(column: Column, places: Sequence[int | None]) -> Column:
    nothing = _NAN.get(column.code)
    if nothing is None:
        values = column.rows()
        return listed([None if place is None else values[place] for place in places])
    width = struct.calcsize(column.code) * prod(column.shape[1:])
    view, gap = memoryview(column.data).cast("B"), nothing * prod(column.shape[1:])
    pieces = (gap if one is None else view[one * width : (one + 1) * width] for one in places)
    return Column(column.code, b"".join(pieces), (len(places), *column.shape[1:]))


def common(held: Iterable[Held]) -> Rows:
    """The rows that all of these have."""
    limited = [one.rows for one in held if one.rows is not None]
    if not limited:
        return None
    return sorted(set(limited[0]).intersection(*limited[1:]))


def at(held: Held, rows: Rows) -> Outputs:
    """What it holds for these rows, which it all has."""
    if rows is None or held.rows == rows:
        return held.outputs
    if held.rows is None:
        return take(held.outputs, rows)
    places = {row: place for place, row in enumerate(held.rows)}
    return take(held.outputs, [places[row] for row in rows])


# What a stage is given


def given(stage: Stage, held: Mapping[str, Held], count: int) -> Held:
    """What it is given of what those before it gave. count: rows of the batch. Raises Unfit."""
    rows = common(held.values())
    if stage.when is not None:
        rows = _chosen(stage, held, rows, count)
    if rows is not None and not rows:
        return Held(Outputs("json", []), rows)
    every = {name: at(one, rows) for name, one in held.items()}
    if stage.columns is None and not stage.constants and len(stage.after) == 1:
        return Held(every[stage.after[0]], rows)
    size = count if rows is None else len(rows)
    picked = _picked(stage, every)
    for name, value in stage.constants.items():
        picked[name] = packed([value] * size)
    return Held(table_of(picked, size), rows)


def _chosen(stage: Stage, held: Mapping[str, Held], rows: Rows, count: int) -> Rows:
    """Those of the rows for which its `when` holds."""
    assert stage.when is not None
    places = range(count) if rows is None else rows
    values = [find(one, at(held[one.stage], rows)).rows() for one in stage.when.references]
    if not values:
        return rows if stage.when.holds(()) else []
    holds = stage.when.holds
    chosen = [place for place, row in zip(places, zip(*values)) if holds(row)]
    return rows if len(chosen) == len(places) else chosen


def _picked(stage: Stage, every: Mapping[str, Outputs]) -> dict[str, Column]:
    wanted = stage.columns
    if wanted is None:
        wanted = tuple(("", Reference(name, EVERY)) for name in stage.after)
    found: list[tuple[str, str, Column]] = []  # stage or "" for a name that stays, name, column
    for new, one in wanted:
        if one.column == EVERY:
            held = named(every[one.stage], one.stage)
            found += [(one.stage, name, column) for name, column in held.items()]
        elif new:
            found.append(("", new, find(one, every[one.stage])))
        else:
            found.append((one.stage, *_found(one, every[one.stage])))
    return joined(found)


def joined(found: Sequence[tuple[str, str, Column]]) -> dict[str, Column]:
    """Columns by name: (stage, name, column); a name that is there twice has its stage in front.

    Those without a stage keep their names."""
    often = Counter(name for _, name, _ in found)
    return {
        f"{stage}_{name}" if stage and often[name] > 1 else name: column
        for stage, name, column in found
    }


def find(wanted: Reference, outputs: Outputs) -> Column:
    return _found(wanted, outputs)[1]


def _found(wanted: Reference, outputs: Outputs) -> tuple[str, Column]:
    """The name and the column that a reference means. Raises Unfit when there is none."""
    try:
        held = named(outputs, wanted.stage)
    except Unfit as error:
        raise Unfit(f'Of "{wanted.stage}" no column can be taken: {error}.', wanted.stage) from None
    names = (wanted.column, f"{wanted.stage}_{wanted.column}") if wanted.column else tuple(held)
    if not wanted.column and len(names) != 1:
        raise Unfit(f'"{wanted.stage}" has {len(names)} columns; say which.', wanted.stage)
    for name in names:
        if name in held:
            return name, held[name]
    if wanted.stage == INPUT:
        raise Unfit(f"Missing columns: {wanted.column}.", INPUT)
    raise Unfit(f'"{wanted.stage}" gave no column "{wanted.column}".', wanted.stage)
