"""The one inner form of what is to be predicted on, and the ways from JSON to it.

Numbers travel as raw little-endian buffers, all else as JSON text. Two requests with the same
`signature` can be joined by joining their buffers, so a joined batch holds just what they hold.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import prod
from typing import Any, NamedTuple, Union

import msgspec

from .errors import bad_input

encode = msgspec.json.encode
NAN = float("nan")
Buffer = Union[bytes, memoryview]
MOST_COLUMNS = 100_000
OBJECT = "j"  # the code of a part that is JSON text; the others are numpy's (and struct's) letters


class Inputs(NamedTuple):
    """Rows to predict on.

    kind: matrix (one part, row-major), columns (one part each), rows (one part: JSON rows, comma
    between), value (one JSON value), bytes, or parquet (a file to make a table of). shape: of one
    row. signature: None means that it cannot be joined with others.
    """

    kind: str
    rows: int
    parts: list[Any]
    codes: tuple[str, ...] = (OBJECT,)
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    signature: Any = None

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))


def join(batch: Sequence[Inputs]) -> Inputs:
    """One Inputs with the rows of all, in order. They must have the same signature."""
    if len(batch) == 1:
        return batch[0]
    parts = [
        (b"," if code == OBJECT else b"").join(filter(None, pieces))
        for code, pieces in zip(batch[0].codes, zip(*(one.parts for one in batch)))
    ]
    return batch[0]._replace(rows=sum(one.rows for one in batch), parts=parts)


def matrix(rows: int, shape: tuple[int, ...], code: str, data: Buffer) -> Inputs:
    return Inputs("matrix", rows, [data], (code,), (), shape, ("matrix", code, shape))


def columns(rows: int, names: tuple[str, ...], packed: Sequence[Packed]) -> Inputs:
    codes = tuple(one.code for one in packed)
    parts = [one.data for one in packed]
    return Inputs("columns", rows, parts, codes, names, (), ("columns", names, codes))


def json_rows(values: list[Any]) -> Inputs:
    return Inputs("rows", len(values), [encode(values)[1:-1]], signature="rows")


def json_value(value: Any) -> Inputs:
    return json_text(encode(value))


def json_text(text: bytes) -> Inputs:
    return Inputs("value", 1, [text])


def raw(body: bytes) -> Inputs:
    return Inputs("bytes", 1, [body])


def parquet(body: bytes) -> Inputs:
    return Inputs("parquet", 0, [body])


# Packing: a flat list of JSON values into the narrowest buffer that holds them


class Packed(NamedTuple):
    code: str
    data: Buffer


_INT, _FLOAT, _BOOL = {int}, {float}, {bool}
_NUMBERS = {int, float, bool}


def pack(values: Sequence[Any], wanted: str = "") -> Packed:
    """The values as a buffer: integers, floats (null is NaN), booleans; else JSON text.

    wanted: the code the model's sample had; integers become floats for it.
    """
    kinds = set(map(type, values))
    if kinds == _FLOAT:
        return Packed("d", array("d", values).tobytes())
    if wanted == OBJECT:
        return _objects(values)
    if type(None) in kinds:
        return _pack_with_nulls(values, kinds)
    if kinds == _BOOL and wanted in ("", "?"):
        return Packed("?", bytes(values))
    if kinds and kinds <= _NUMBERS:
        return _pack_numbers(values, float in kinds or wanted == "d")
    return Packed(wanted or "d", b"") if not kinds else _objects(values)


def _pack_numbers(values: Sequence[Any], floats: bool) -> Packed:
    try:
        return Packed("d" if floats else "q", array("d" if floats else "q", values).tobytes())
    except OverflowError:
        return _objects(values) if floats else _pack_numbers(values, True)


def _pack_with_nulls(values: Sequence[Any], kinds: set[type]) -> Packed:
    rest = kinds - {type(None)}
    if rest <= {int, float}:
        return _pack_numbers([NAN if value is None else value for value in values], True)
    return _objects(values)


def _objects(values: Sequence[Any]) -> Packed:
    return Packed(OBJECT, encode(list(values))[1:-1])


def flatten(values: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """Nested lists as one flat list and its shape. Raises a Refusal when they are ragged."""
    shape = [len(values)]
    while values and type(values[0]) is list:
        width = len(values[0])
        for row in values:
            if type(row) is not list or len(row) != width:
                raise bad_input("The rows do not all have the same length.")
        values = list(chain.from_iterable(values))
        shape.append(width)
    if list in set(map(type, values)):
        raise bad_input("The rows do not all have the same length.")
    return values, tuple(shape)


class Numbers:
    """A column of numbers that came as bytes. They go on as they are where their type fits."""

    __slots__ = ("code", "data")

    def __init__(self, code: str, data: Buffer) -> None:
        self.code = code
        self.data = data

    def __len__(self) -> int:
        return len(self.data) // struct.calcsize(self.code)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.values())

    def values(self) -> list[Any]:
        return list(struct.unpack(f"<{len(self)}{self.code}", self.data))

    def packed(self, wanted: str) -> Packed:
        """The very bytes when nothing else is wanted."""
        if wanted in ("", self.code):
            return Packed(self.code, self.data)
        return pack(self.values(), wanted)

    def column(self, number: int, width: int) -> Numbers:
        """One column of the matrix of this width that these are."""
        size = struct.calcsize(self.code)
        items = memoryview(self.data).cast("B").cast(_UNSIGNED[size])
        return Numbers(self.code, items[number::width].tobytes())


_UNSIGNED: dict[int, Any] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Tensor(NamedTuple):
    """A named, typed, flat list of values, as the Open Inference Protocol has them."""

    name: str
    code: str
    shape: tuple[int, ...]
    values: Any  # a list, or Numbers

    def packed(self) -> Buffer:
        """Its buffer. Raises a Refusal when the values are not of its type."""
        values, code = self.values, self.code
        if type(values) is Numbers:
            return values.data
        try:
            if code == OBJECT:
                return encode(values)[1:-1]
            if code == "?":
                return bytes(map((False, True).index, values))
            if code in "efd":
                values = [NAN if value is None else value for value in values]
            return struct.pack(f"<{len(values)}{code}", *values)
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise bad_input(f'The data of "{self.name}" is not of its datatype.') from error


# What the model takes


class Expected(NamedTuple):
    """What the sample looked like: every request must fit it.

    names: of the columns, when known. codes: one per column, or one for a whole matrix. texts:
    the columns that held only text. shape: of one row of a matrix.
    """

    names: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    texts: frozenset[str] = frozenset()
    shape: tuple[int, ...] | None = None


class Reader:
    """Turns what protocols read into Inputs of the kind this model takes.

    kind: dataframe, ndarray, json, bytes, or text: a model that takes the body as it is, as a
    JSON string. `expected` is set once the sample has been read.
    """

    def __init__(self, kind: str = "json", *, model: str = "", version: str = "") -> None:
        self.model = model
        self.version = version
        self.expected = Expected()
        self.take(kind)

    def take(self, kind: str) -> None:
        """The model has been loaded and takes this."""
        self.kind = "json" if kind == "text" else kind
        self.whole = kind == "text"

    def learn(self, inputs: Inputs) -> None:
        """Hold later requests to what the sample was."""
        if inputs.kind == "matrix":
            self.expected = Expected(inputs.names, inputs.codes, shape=inputs.shape)
        elif inputs.kind == "columns":
            texts = frozenset(
                name
                for name, code, part in zip(inputs.names, inputs.codes, inputs.parts)
                if code == OBJECT and _only_text(part)
            )
            self.expected = Expected(inputs.names, inputs.codes, texts, (len(inputs.codes),))

    def _listed(self, rows: list[Any]) -> Inputs:
        """JSON rows, which can be joined unless the model takes bodies whole."""
        return json_value(rows) if self.whole else json_rows(rows)

    def value(self, value: Any) -> Inputs:
        """Any JSON, as native bodies may hold it."""
        if self.kind == "json":
            return self._listed(value) if type(value) is list else json_value(value)
        if type(value) is dict:
            return self.mapping(value)
        if type(value) is not list:
            raise bad_input("The body holds no rows.", _ROWS)
        return self.rows(value)

    def mapping(self, value: dict[str, Any]) -> Inputs:
        """Columns by name when every value is a list, else one record."""
        if value and all(type(column) is list for column in value.values()):
            return self.table(value)
        return self.records([value])

    def rows(self, rows: list[Any]) -> Inputs:
        """Rows: lists, records or plain numbers."""
        if self.kind == "json":
            return self._listed(rows)
        if rows and type(rows[0]) is dict:
            return self.records(rows)
        if self.kind == "ndarray":
            return self._matrix(rows)
        return self._unnamed(rows)

    def records(self, records: list[Any]) -> Inputs:
        """Rows that are objects: their keys are the columns; each must have those of the sample."""
        if self.kind == "json":
            return self._listed(records)
        if not set(map(type, records)) <= {dict}:
            raise bad_input("Some rows are objects and some are not.")
        given = dict.fromkeys(chain.from_iterable(records))
        names = self._names(given if records else self.expected.names)
        for number, record in enumerate(records):
            if not record.keys() >= set(self.expected.names):
                missing = [name for name in names if name not in record]
                raise bad_input(f"Missing columns in row {number}: {', '.join(missing[:10])}.")
        return self._columns(
            len(records), names, [[record.get(name) for record in records] for name in names]
        )

    def split(self, names: list[Any], rows: list[Any]) -> Inputs:
        """Rows and the names of their columns, as pandas' "split" has them."""
        if len(set(map(str, names))) != len(names):
            raise bad_input("A column is named twice.")
        if any(type(row) is not list or len(row) != len(names) for row in rows):
            raise bad_input("A row has not as many values as there are columns.")
        if self.kind == "json":
            return self._listed([dict(zip(names, row)) for row in rows])
        if not names:
            return self.rows(rows)
        data: Iterable[Sequence[Any]] = zip(*rows) if rows else ([] for _ in names)
        return self.table({str(name): list(column) for name, column in zip(names, data)})

    def table(self, table: dict[str, Any]) -> Inputs:
        """Columns by name."""
        if self.kind == "json":
            return json_value({name: _plain(column) for name, column in table.items()})
        sizes = {len(column) if type(column) in _COLUMNS else -1 for column in table.values()}
        if -1 in sizes or len(sizes) > 1:
            raise bad_input("The columns do not all have the same length.")
        names = self._names(table)
        return self._columns(max(sizes, default=0), names, [table[name] for name in names])

    def tensors(self, tensors: list[Tensor]) -> Inputs:
        """One tensor is the rows themselves; of several each is a column named by it."""
        first = tensors[0]
        if len(tensors) == 1 and (len(first.shape) > 1 or self.kind == "ndarray"):
            return self._tensor(first)
        if any(
            one.shape not in ((rows,), (rows, 1)) for one in tensors for rows in first.shape[:1]
        ):
            raise bad_input("Each of several inputs must have the shape [n] or [n, 1].")
        table = {one.name: one.values for one in tensors}
        if self.kind == "json":
            return self._listed([dict(zip(table, row)) for row in zip(*table.values())])
        return self.table(table)

    def _tensor(self, tensor: Tensor) -> Inputs:
        if self.kind == "ndarray":
            self._check_shape(tensor.shape)
            return matrix(tensor.shape[0], tensor.shape[1:], tensor.code, tensor.packed())
        if type(tensor.values) is Numbers and self.kind == "dataframe" and len(tensor.shape) == 2:
            return self._block(tensor.values, *tensor.shape)
        tensor.packed()  # for its check of the values
        rows = nested(_plain(tensor.values), tensor.shape)
        return self._listed(rows) if self.kind == "json" else self._unnamed(rows)

    def _block(self, numbers: Numbers, rows: int, width: int) -> Inputs:
        """A data frame's rows as one block of numbers, row by row."""
        self._check_shape((rows, width))
        if width > MOST_COLUMNS:
            raise bad_input(f"A data frame may have {MOST_COLUMNS} columns.")
        columns = [numbers.column(number, width) for number in range(width)]
        return self._columns(rows, self.expected.names, columns)

    def _matrix(self, rows: list[Any]) -> Inputs:
        if len(rows) == 1 and type(rows[0]) is list and list not in set(map(type, rows[0])):
            return self._flat(rows[0], (1, len(rows[0])))
        return self._flat(*flatten(rows))

    def _flat(self, flat: list[Any], shape: tuple[int, ...], names: tuple[str, ...] = ()) -> Inputs:
        """A matrix of these values, row by row, if it is what the sample was."""
        wanted = self.expected.codes[0] if self.expected.codes else ""
        self._check_shape(shape)
        packed = pack(flat, wanted)
        if packed.code == OBJECT:
            if wanted and wanted != OBJECT:
                raise bad_input(f"Expected numbers, got {_other_than_numbers(flat)}.")
            if dict in set(map(type, flat)):
                raise bad_input("Some rows are objects and some are not.")
        made = matrix(shape[0], shape[1:], packed.code, packed.data)
        return made._replace(names=names) if names else made

    def _unnamed(self, rows: list[Any]) -> Inputs:
        """A data frame's rows without names: the sample's names, else none."""
        if any(type(row) is not list for row in rows):
            raise bad_input("The rows are neither lists nor objects.", _ROWS)
        width = len(rows[0]) if rows else len(self.expected.codes)
        if any(len(row) != width for row in rows):
            raise bad_input("The rows do not all have the same length.")
        self._check_shape((len(rows), width))
        data = list(map(list, zip(*rows))) if rows else [[] for _ in range(width)]
        return self._columns(len(rows), self.expected.names, data)

    def _columns(self, rows: int, names: tuple[str, ...], data: Sequence[Any]) -> Inputs:
        """Columns with these names (none: unnamed), if they are what the sample's were."""
        if self.kind == "ndarray":
            flat = [value for row in zip(*data) for value in row]
            return self._flat(flat, (rows, len(data)), names)
        codes: tuple[str, ...] = ("",) * len(data)
        if names == self.expected.names and len(self.expected.codes) == len(data):
            codes = self.expected.codes
        titles = names or tuple(map(str, range(len(data))))
        return columns(rows, names, list(map(self._column, titles, data, codes)))

    def _column(self, name: str, values: Any, wanted: str) -> Packed:
        packed = values.packed(wanted) if type(values) is Numbers else pack(values, wanted)
        if wanted and packed.code == OBJECT != wanted:
            got = _other_than_numbers(values)
            raise bad_input(f'Column "{name}": expected numbers, got {got}.')
        if name in self.expected.texts and not set(map(type, values)) <= {str, type(None)}:
            raise bad_input(f'Column "{name}": expected text, got something else.')
        return packed

    def _names(self, given: Iterable[str]) -> tuple[str, ...]:
        """The columns to take, in the sample's order; without a sample, those that are given."""
        if not self.expected.names:
            return tuple(given)
        missing = [name for name in self.expected.names if name not in given]
        if missing:
            raise bad_input(f"Missing columns: {', '.join(missing[:10])}.")
        return self.expected.names

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        expected = self.expected.shape
        if expected is not None and shape[0] and shape[1:] != expected:
            wanted, got = (" × ".join(map(str, one)) or "1" for one in (expected, shape[1:]))
            raise bad_input(f"Each row must have {wanted} values, got {got}.")


_COLUMNS = (list, Numbers)
_ROWS = 'Send {"inputs": [[…], …]} or a list of records.'


def nested(flat: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """A flat list as nested lists of this shape, row-major."""
    for depth in range(len(shape) - 1, 0, -1):
        width = shape[depth]
        flat = [flat[row * width : (row + 1) * width] for row in range(prod(shape[:depth]))]
    return flat


def _plain(column: Any) -> Any:
    return column.values() if type(column) is Numbers else column


def _only_text(part: Buffer) -> bool:
    """Whether a JSON part holds text and null only, and some text at all."""
    kinds = set(map(type, msgspec.json.decode(b"[" + part + b"]")))
    return str in kinds and kinds <= {str, type(None)}


def _other_than_numbers(values: Sequence[Any]) -> str:
    """Which other kind of value stands there, and in which row; never the value itself."""
    for row, value in enumerate(values):
        if type(value) not in (int, float, bool, type(None)):
            return f"{_WORDS.get(type(value), 'something else')} (value {row})"
    return "numbers that are too large"


_WORDS: dict[Any, str] = {str: "text", list: "a list", dict: "an object"}
