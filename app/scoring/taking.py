"""A few rows of what is predicted on, and of predictions, as columns of values to be summarised.

`inputs` and `outputs` run where requests are answered, so they only copy a few bytes; what they
give is made into values elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from math import prod
from typing import Any, NamedTuple

import msgspec

from .columns import NOT_A_TIME, OBJECT, Buffer, is_text
from .inputs import Inputs
from .outputs import Outputs, unpack
from .schema import MATRIX

ROWS = 20
VALUES = 2000  # of all columns together, at a time
MOST_COLUMNS = 200
LONGEST = 200  # characters of a text
PREFIX = 16_384  # bytes of JSON that are looked at for its first rows
TIMES = "M8[us]"
OUTPUT = "predict"  # the output of a model that names none, as in its schema

Table = dict[str, list[Any]]


class Piece(NamedTuple):
    """Some values of one column, not yet read. code: as in Inputs; data: a buffer, or a list."""

    name: str
    code: str
    data: Any


def inputs(given: Inputs) -> list[Piece]:
    """Rows of a batch, from all over it."""
    if given.kind == "columns":
        names = given.names or tuple(map(str, range(len(given.codes))))
        most = _rows_of(len(names))
        parts = zip(names[:MOST_COLUMNS], given.codes, given.parts)
        return [Piece(name, code, _some(code, part, most)) for name, code, part in parts]
    if given.kind == "matrix":
        return _matrix(MATRIX, given.names, given.codes[0], given.parts[0], given.shape)
    if given.kind in ("rows", "value"):
        return [Piece(MATRIX, OBJECT, _some(OBJECT, given.parts[0], ROWS))]
    return []


def outputs(given: Outputs) -> list[Piece]:
    """Rows of predictions, from all over them."""
    if given.kind == "json":
        values = given.values if type(given.values) is list else [given.values]
        return [Piece(OUTPUT, "", _held(values, ROWS))]
    names = given.names or (OUTPUT,) * len(given.columns)
    if given.kind == "array" and len(given.columns[0].shape) > 1:
        column = given.columns[0]
        return _matrix(OUTPUT, (), column.code, column.data, tuple(column.shape[1:]))
    most = _rows_of(len(names))
    return [
        Piece(name, column.code, _of_column(column, most))
        for name, column in zip(names[:MOST_COLUMNS], given.columns)
    ]


def _of_column(column: Any, most: int) -> Any:
    if column.code == OBJECT:
        return _held(column.rows(), most)
    return _some(column.code, column.data, most)


def _rows_of(width: int) -> int:
    return max(1, min(ROWS, VALUES // (width or 1)))


def _spread(values: Sequence[Any], most: int) -> Sequence[Any]:
    return values[:: -(-len(values) // most) or 1]


def _held(values: Sequence[Any], most: int) -> list[Any]:
    return [_short(value) for value in _spread(values, most)]


def _short(value: Any, room: Sequence[int] = (MOST_COLUMNS, ROWS)) -> Any:
    """The beginning of what is long or deep: it is held until the thread has looked at it."""
    kind = type(value)
    if kind in (str, bytes):
        return value[:LONGEST] if len(value) > LONGEST else value
    if kind not in (list, dict):
        return value
    if not room:
        return "…"
    most, *rest = room
    if kind is list:
        return [_short(each, rest) for each in value[:most]]
    return {name: _short(each, rest) for name, each in islice(value.items(), most)}


_UNSIGNED: dict[int, Any] = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _size(code: str) -> int:
    return 8 if code == TIMES else struct.calcsize("i" if code.startswith("i:") else code)


def _some(code: str, part: Buffer, most: int) -> Buffer:
    """A few values of a buffer; of JSON, whole ones from its beginning."""
    if is_text(code):
        return bytes(part[:PREFIX])
    if not part:
        return b""
    items = memoryview(part).cast("B").cast(_UNSIGNED[_size(code)])
    return items[:: -(-len(items) // most)].tobytes()


def _matrix(
    name: str, names: tuple[str, ...], code: str, part: Buffer, shape: tuple[int, ...]
) -> list[Piece]:
    """The columns of a table of numbers; of what has more dimensions or many columns, one."""
    width = prod(shape)
    if not shape or code == OBJECT or not part or len(shape) > 1 or width > MOST_COLUMNS:
        return [Piece(name, code, _some(code, part, ROWS))]
    most, size = _rows_of(width), _size(code)
    rows = len(part) // (size * width)
    stride = (-(-rows // most) or 1) * size * width
    view = memoryview(part).cast("B")
    picked = b"".join(view[at : at + size * width] for at in range(0, len(view), stride))
    items = memoryview(picked).cast(_UNSIGNED[size])
    titles = names if len(names) == width else tuple(map(str, range(width)))
    return [
        Piece(title, code, items[number::width].tobytes()) for number, title in enumerate(titles)
    ]


# Elsewhere


def read(pieces: Sequence[Piece]) -> Iterator[tuple[str, list[Any]]]:
    """Column by column; JSON objects, lists and tables become columns too."""
    for piece in pieces:
        found = values(piece)
        kinds = {type(value) for value in found}
        if kinds == {dict} and len(pieces) == 1:
            yield from _records(found)
        elif kinds == {list} and len(pieces) == 1:
            yield from _lists(found)
        elif found:
            yield piece.name, found


def values(piece: Piece, whole: bool = False) -> list[Any]:
    """Of JSON text a few, unless all of it is wanted."""
    code, data = piece.code, piece.data
    if not isinstance(data, (bytes, memoryview)):
        return list(data)
    if is_text(code):
        found = json_prefix(bytes(data))
        return found if whole else list(_spread(found, ROWS))
    if code == TIMES:
        times = unpack("q", data, _flat(8, data))
        return [None if each == NOT_A_TIME else each / 1e6 for each in times]
    if code.startswith("i:"):
        listed = msgspec.json.decode(code[2:])
        places = unpack("i", data, _flat(4, data))
        return [listed[place] if 0 <= place < len(listed) else None for place in places]
    return unpack(code, data, _flat(struct.calcsize(code), data))


def _flat(size: int, data: Buffer) -> tuple[int]:
    return (len(data) // size,)


def json_prefix(text: bytes) -> list[Any]:
    """The values in JSON text with commas between, or in its beginning when it is cut off."""
    for _ in range(4):
        try:
            return msgspec.json.decode(b"[" + text + b"]", type=list[Any])
        except msgspec.DecodeError:
            text = text.rpartition(b",")[0]
    return []


def _records(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[Any]]]:
    first = records[0]
    if len(records) == 1 and first and all(type(column) is list for column in first.values()):
        for name in list(first)[:MOST_COLUMNS]:
            yield name, list(_spread(first[name], ROWS))
        return
    names = dict.fromkeys(name for record in records for name in record)
    for name in list(names)[:MOST_COLUMNS]:
        yield name, [record.get(name) for record in records]


def _lists(rows: Sequence[list[Any]]) -> Iterator[tuple[str, list[Any]]]:
    for number in range(min(max(map(len, rows)), MOST_COLUMNS)):
        yield str(number), [row[number] if number < len(row) else None for row in rows]
