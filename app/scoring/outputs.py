"""What a model gave back, as the front holds it: split among requests, then written.

Numbers stay in the worker's buffer. They become lists once, for all requests of a batch, when the
first of them is written as JSON; never, when they are written as bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod
from pickle import PickleBuffer
from typing import Any, NamedTuple

import msgspec

from .inputs import OBJECT, Buffer, Numbers, flatten, nested

encode = msgspec.json.encode  # NaN and the infinities become null
SHORTENED = 1000
"""Narrow floats in an answer that are written with the fewest digits; more would take too long."""
_DIGITS = {"f": (6, 7, 8, 9), "e": (3, 4, 5)}


class Column:
    """Rows of one type: numbers as they lie in memory, anything else as a list.

    code: numpy's letter. shape: of all rows, which of a list is its length.
    """

    __slots__ = ("_rows", "code", "data", "shape")

    def __init__(self, code: str, data: Buffer, shape: Sequence[int], rows: Any = None) -> None:
        self.code = code
        self.data = data
        self.shape = shape
        self._rows: list[Any] | None = rows

    def __reduce__(self) -> Any:
        """Its numbers as a buffer, which pickle may leave where they lie."""
        return Column, (self.code, PickleBuffer(self.data), self.shape, self._rows)

    def rows(self) -> list[Any]:
        """All rows as (nested) lists; made once."""
        rows = self._rows
        if rows is None:
            rows = self._rows = unpack(self.code, self.data, self.shape)
        return rows

    def raw(self, start: int, stop: int) -> memoryview:
        """The bytes of these rows, little-endian."""
        width = struct.calcsize(self.code) * prod(self.shape[1:])
        return memoryview(self.data)[start * width : stop * width]


class Part(NamedTuple):
    """One output as a named tensor: a slice of a column, or values that were JSON."""

    name: str
    code: str
    shape: list[int]
    column: Column
    start: int
    stop: int

    def values(self) -> list[Any]:
        """Flat, row-major."""
        rows = self.column.rows()[self.start : self.stop]
        for _ in self.column.shape[1:]:
            rows = list(chain.from_iterable(rows))
        return rows

    def raw(self) -> Buffer:
        """As the binary tensor extension has it: little-endian; text and bytes with lengths."""
        if self.code == OBJECT:
            return b"".join(map(_with_length, self.values()))
        if self.column.data:
            return self.column.raw(self.start, self.stop)
        values = [_NAN if value is None else value for value in self.values()]
        return struct.pack(f"<{len(values)}{self.code}", *values)


class Outputs(NamedTuple):
    """Predictions: rows `start` to `stop` of `columns`, or `values`: any JSON, or bytes.

    kind: array (one column), table (named ones), json or bytes. extra: headers of the answer.
    steps: how it came about, where that is wanted.
    """

    kind: str
    values: Any = None
    columns: tuple[Column, ...] = ()
    names: tuple[str, ...] = ()
    start: int = 0
    stop: int = 0
    extra: bytes = b""
    steps: tuple[Any, ...] = ()

    @property
    def rows(self) -> int | None:
        """How many there are; None when it is one value or bytes."""
        if self.columns or self.kind == "table":
            return self.stop - self.start
        return len(self.values) if type(self.values) is list else None

    def split(self, sizes: Sequence[int]) -> list[Outputs] | None:
        """A part for each request of a batch; None when the rows are not as many as were asked."""
        if len(sizes) == 1:
            return [self]
        kind, values, columns, names, start, stop, extra, _ = self
        if not columns and kind != "table":
            return self._split_list(sizes)
        if stop - start != sum(sizes):
            return None
        parts = []
        for size in sizes:
            parts.append(Outputs(kind, values, columns, names, start, start + size, extra))
            start += size
        return parts

    def _split_list(self, sizes: Sequence[int]) -> list[Outputs] | None:
        if type(self.values) is not list or len(self.values) != sum(sizes):
            return None
        parts, start = [], 0
        for size in sizes:
            values = self.values[start : start + size]
            parts.append(Outputs(self.kind, values, extra=self.extra))
            start += size
        return parts

    def json(self) -> bytes:
        """As JSON: a table as records, bytes as base64."""
        kind, values, columns, _, start, stop, *_ = self
        if kind == "array":
            return encode(columns[0].rows()[start:stop])
        return encode(self.records() if kind == "table" else values)

    def records(self) -> list[dict[str, Any]]:
        """A table's rows as objects."""
        if not self.columns:
            return [{} for _ in range(self.start, self.stop)]
        columns = (column.rows()[self.start : self.stop] for column in self.columns)
        return [dict(zip(self.names, row)) for row in zip(*columns)]

    def table(self) -> dict[str, Any]:
        """A whole table's columns by name, numbers as they are."""
        return {
            name: column.rows() if column.code == OBJECT else Numbers(column.code, column.data)
            for name, column in zip(self.names, self.columns)
        }

    def tensors(self, name: str) -> list[Part]:
        """Each output as a tensor; `name` is that of an output which has none."""
        if self.kind == "table":
            named = zip(self.names, self.columns)
            return [self._part(title, column) for title, column in named]
        if self.kind == "array":
            return [self._part(name, self.columns[0])]
        if self.kind == "bytes":
            return [Part(name, OBJECT, [1], Column(OBJECT, b"", (1,), [self.values]), 0, 1)]
        if type(self.values) is dict and self.values:
            return [_guessed(str(key), value) for key, value in self.values.items()]
        return [_guessed(name, self.values)]

    def _part(self, name: str, column: Column) -> Part:
        if column.code == OBJECT:
            return _guessed(name, column.rows()[self.start : self.stop])
        shape = [self.stop - self.start, *column.shape[1:]]
        return Part(name, column.code, shape, column, self.start, self.stop)

    def described(self, name: str) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, code and shape of a row of each output."""
        return [(part.name, part.code, tuple(part.shape[1:])) for part in self.tensors(name)]


def _with_length(value: str | bytes | None) -> bytes:
    text = value.encode() if isinstance(value, str) else value or b""
    return struct.pack("<I", len(text)) + text


def _guessed(name: str, value: Any) -> Part:
    """A tensor of the narrowest datatype for a JSON value; objects become JSON text, null stays."""
    values = value if type(value) is list else [value]
    flat, shape = _flat(values)
    code = _narrowest(flat)
    if code == OBJECT:
        flat = [one if type(one) in _TEXTS else encode(one).decode() for one in flat]
    return Part(name, code, list(shape), Column(code, b"", (len(flat),), flat), 0, len(flat))


def _narrowest(values: list[Any]) -> str:
    """The code of the narrowest type that holds these JSON values."""
    kinds = set(map(type, values))
    rest = kinds - {type(None)}
    if rest == {bool} == kinds:
        return "?"
    if rest == {int} == kinds:
        low, high = min(values), max(values)
        if low >= -(1 << 63) and high < 1 << 63:
            return "q"
        return "Q" if low >= 0 and high < 1 << 64 else OBJECT
    return "d" if rest and rest <= {int, float} else OBJECT


def _flat(values: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    try:
        return flatten(values)
    except Exception:  # ragged: each element becomes JSON text
        return values, (len(values),)


# Reading the worker's answer


def read(meta: dict[str, Any], payload: bytes) -> Outputs:
    """The answer of a worker: see `worker.encode`."""
    kind = meta["kind"]
    if kind == "array":
        shape = meta["shape"]
        column = Column(meta["code"], payload, shape)
        return Outputs("array", None, (column,), (), 0, shape[0])
    if kind == "table":
        return _table(meta, payload)
    if kind == "json":
        return Outputs("json", msgspec.json.decode(payload))
    return Outputs("bytes", bytes(payload))


def _table(meta: dict[str, Any], payload: bytes) -> Outputs:
    columns, start, view = [], 0, memoryview(payload)
    for code, size in zip(meta["codes"], meta["sizes"]):
        part = view[start : start + size]
        values = msgspec.json.decode(part) if code == OBJECT else None
        count = size // struct.calcsize(code) if values is None else len(values)
        columns.append(Column(code, part, (count,), values))
        start += size
    rows = columns[0].shape[0] if columns else meta["rows"]
    return Outputs("table", None, tuple(columns), tuple(meta["names"]), 0, rows)


def empty(described: Iterable[tuple[str, str, tuple[int, ...]]]) -> Outputs:
    """No rows of outputs like these."""
    columns = tuple(Column(code, b"", (0, *shape), []) for _, code, shape in described)
    names = tuple(name for name, _, _ in described)
    return Outputs("table", None, columns, names)


# Buffers as lists


def unpack(code: str, data: Buffer, shape: Sequence[int]) -> list[Any]:
    """The numbers in a little-endian buffer, row-major, as nested lists of this shape."""
    if code in _DIGITS:
        return nested(_narrow(code, data), tuple(shape))
    if len(shape) == 1:
        flat: list[Any] = memoryview(data).cast(_letter(code)).tolist()
        return flat
    if not data:
        return nested([], tuple(shape))
    rows: list[Any] = memoryview(data).cast(_letter(code), tuple(shape)).tolist()
    return rows


def _letter(code: str) -> Any:
    """The code as memoryview.cast takes it: any of a few literals, which types cannot follow."""
    return code


def _narrow(code: str, data: Buffer) -> list[float]:
    size = len(data) // struct.calcsize(code)
    values = list(struct.unpack(f"<{size}{code}", data))
    return shortest(values, code) if size <= SHORTENED else values


def shortest(values: list[float], code: str) -> list[float]:
    """Floats of a narrow type as the doubles with the fewest digits that become the same again."""
    found, left = list(values), list(range(len(values)))
    for digits in _DIGITS[code]:
        write = f"%.{digits}g".__mod__
        shorter = [float(write(values[index])) for index in left]
        form = f"<{len(left)}{code}"
        again = struct.unpack(form, struct.pack(form, *shorter))
        other = []
        for index, short, same in zip(left, shorter, again):
            if same == values[index]:
                found[index] = short
            else:
                other.append(index)
        left = other
    return found


_NAN = float("nan")
_TEXTS = (str, type(None))
