"""The one inner form of what is to be predicted on, and the ways from JSON to it.

Numbers travel as raw little-endian buffers, all else as JSON text. Two requests with the same
`signature` can be joined by joining their buffers, so a joined batch holds just what they hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import msgspec

from .columns import (
    NAN,
    OBJECT,
    Buffer,
    Column,
    Declared,
    Learned,
    Numbers,
    Packed,
    is_text,
    pack,
)
from .errors import bad_input
from .schema import CODES, KINDS, MATRIX, TYPES, Field, Schema, declared, overlay

__all__ = [
    "NAN",
    "OBJECT",
    "Buffer",
    "Inputs",
    "Numbers",
    "Packed",
    "Reader",
    "Tensor",
    "flatten",
    "join",
    "pack",
]

encode = msgspec.json.encode
MOST_COLUMNS = 100_000


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
        (b"," if is_text(code) else b"").join(filter(None, pieces))
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
            if code in _WHOLE:
                values = _whole_numbers(values)
            elif code in "efd":
                values = [NAN if value is None else value for value in values]
            return struct.pack(f"<{len(values)}{code}", *values)
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise bad_input(f'The data of "{self.name}" is not of its datatype.') from error


_WHOLE = frozenset("bhiqBHIQ")


def _whole_numbers(values: list[Any]) -> list[int]:
    """JSON has 1.0 and 1 for the same number. Raises TypeError, ValueError."""
    kinds = set(map(type, values))
    if not kinds <= {int, float}:
        raise TypeError
    if float not in kinds:
        return values
    if not all(type(value) is int or value.is_integer() for value in values):
        raise ValueError
    return list(map(int, values))


# What the model takes


class Expected(NamedTuple):
    """What every request must fit: the sample, and what is declared.

    names: of the columns, when known. columns: what checks and packs each, or a whole matrix.
    shape: of one row; -1 is any size.
    """

    names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    shape: tuple[int, ...] | None = None

    @property
    def texts(self) -> frozenset[str]:
        """The columns whose values are text, whatever else they look like."""
        return frozenset(column.name for column in self.columns if column.textual)


class Reader:
    """Turns what protocols read into Inputs of the kind this model takes.

    kind: dataframe, ndarray, json, bytes, or text: a model that takes the body as it is, as a
    JSON string. said: what `[schema]` declares of the inputs. Until `learn` has been called,
    columns that are not declared are taken too. ignored: the columns that the last request
    had too many, if any. numeric: whether all it takes are 64-bit floats.
    """

    def __init__(
        self,
        kind: str = "json",
        *,
        model: str = "",
        version: str = "",
        said: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.version = version
        self.said = dict(said or {})
        self.ignored: Sequence[str] = ()
        self.take(kind)

    def take(self, kind: str) -> None:
        """The model has been loaded and takes this."""
        self.kind = "json" if kind == "text" else kind
        self.whole = kind == "text"
        self.open = True
        self._expect(self._declared_fields())

    def learn(self, inputs: Inputs | None) -> None:
        """Hold later requests to what the sample was; None: to what is declared, if anything is."""
        if inputs is None or inputs.kind not in ("matrix", "columns"):
            self.open = not self.said
            self._expect(self._declared_fields())
            return
        self.open = False
        said = self._declared_fields()
        learned = overlay(_learned(inputs), {field.name: self._said(field) for field in said})
        shape = inputs.shape if inputs.kind == "matrix" else (len(learned),)
        if said and self.kind == "ndarray":
            shape = learned[0].shape
        self._expect(learned, inputs.names, shape)

    def _declared_fields(self) -> tuple[Field, ...]:
        """The one input of a matrix has one name, whatever it is called in `[schema]`."""
        if self.kind == "ndarray":
            return tuple(declared(MATRIX, said) for said in list(self.said.values())[:1])
        return overlay((), {} if self.kind == "bytes" else self.said)

    def _said(self, field: Field) -> Mapping[str, Any]:
        return next(iter(self.said.values())) if self.kind == "ndarray" else self.said[field.name]

    def _expect(
        self,
        fields: tuple[Field, ...],
        names: tuple[str, ...] | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.schema = Schema(KINDS[self.kind], fields)
        if names is None and self.kind != "ndarray":
            names = tuple(field.name for field in fields)
        if shape is None and fields and self.kind == "ndarray":
            shape = fields[0].shape or None
        elif shape is None and not self.open:
            shape = (len(fields),)
        columns = tuple(self._column(field) for field in fields)
        self.expected = Expected(names or (), columns, shape)
        self.numeric = self.kind in ("ndarray", "dataframe") and _all_floats(columns)

    def _column(self, field: Field) -> Column:
        name = "" if self.kind == "ndarray" else field.name
        if self.said and (self.kind == "ndarray" or field.name in self.said):
            return Declared(field, name, self.kind == "dataframe")
        code = CODES.get(field.type, OBJECT)
        return Learned(name, code, field.type == "string" and self.kind == "dataframe")

    def _listed_checked(self, rows: list[Any]) -> None:
        """Rows of a model that takes JSON, against what is declared of them."""
        if not set(map(type, rows)) <= {dict}:
            raise bad_input("The rows are not all objects.", _ROWS)
        self._check_missing(rows)
        for column in self.expected.columns:
            column.pack([row[column.name] for row in rows])

    def _object(self, value: dict[str, Any]) -> Inputs:
        """One JSON object: a record, or columns by name."""
        if self.expected.columns:
            table = value and all(type(column) is list for column in value.values())
            if table:
                _same_length(value)
                self._names(value)
                for column in self.expected.columns:
                    column.pack(value[column.name])
            else:
                self._listed_checked([value])
        return json_value(value)

    def _listed(self, rows: list[Any]) -> Inputs:
        """JSON rows, which can be joined unless the model takes bodies whole."""
        if self.expected.columns:
            self._listed_checked(rows)
        return json_value(rows) if self.whole else json_rows(rows)

    def value(self, value: Any) -> Inputs:
        """Any JSON, as native bodies may hold it."""
        if self.kind == "json":
            if type(value) is dict:
                return self._object(value)
            return self._listed(value) if type(value) is list else self._single(value)
        if type(value) is dict:
            return self.mapping(value)
        if type(value) is not list:
            raise bad_input("The body holds no rows.", _ROWS)
        return self.rows(value)

    def _single(self, value: Any) -> Inputs:
        """Text or a number, alone."""
        if self.expected.columns:
            raise bad_input("The body holds no rows.", _ROWS)
        return json_value(value)

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
        names = self._names(given) if records else self.expected.names
        self._check_missing(records)
        return self._columns(
            len(records), names, [[record.get(name) for record in records] for name in names]
        )

    def _check_missing(self, records: list[dict[str, Any]]) -> None:
        wanted = set(self.expected.names)
        for number, record in enumerate(records):
            if not record.keys() >= wanted:
                missing = [name for name in self.expected.names if name not in record]
                raise bad_input(f"Missing columns in row {number}: {', '.join(missing[:10])}.")

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
            return self._object({name: _plain(column) for name, column in table.items()})
        rows = _same_length(table)
        if not table and not self.open:
            raise bad_input("There are no columns.")
        names = self._names(table)
        return self._columns(rows, names, [table[name] for name in names])

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
            for one in tensors:
                one.packed()  # for its check of the values
            return self._listed([dict(zip(table, row)) for row in zip(*table.values())])
        return self.table(table)

    def _tensor(self, tensor: Tensor) -> Inputs:
        if self.kind == "ndarray":
            data = tensor.packed()
            if tensor.code == OBJECT or (self.said and self.expected.columns):
                return self._flat(tensor.values, tensor.shape)
            self._check_shape(tensor.shape)
            return matrix(tensor.shape[0], tensor.shape[1:], tensor.code, data)
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
        self._check_shape(shape)
        column = self.expected.columns[0] if self.expected.columns else Learned()
        packed = column.pack(flat, len(flat) // (shape[0] or 1) or 1)
        if packed.code == OBJECT and dict in set(map(type, flat)):
            raise bad_input("Some rows are objects and some are not.")
        made = matrix(shape[0], shape[1:], packed.code, packed.data)
        return made._replace(names=names) if names else made

    def _unnamed(self, rows: list[Any]) -> Inputs:
        """A data frame's rows without names: the sample's names, else none."""
        if any(type(row) is not list for row in rows):
            raise bad_input("The rows are neither lists nor objects.", _ROWS)
        width = len(rows[0]) if rows else len(self.expected.columns)
        if any(len(row) != width for row in rows):
            raise bad_input("The rows do not all have the same length.")
        self._check_shape((len(rows), width))
        data = list(map(list, zip(*rows))) if rows else [[] for _ in range(width)]
        names = self.expected.names if len(self.expected.names) == width else ()
        return self._columns(len(rows), names, data)

    def _columns(self, rows: int, names: tuple[str, ...], data: Sequence[Any]) -> Inputs:
        """Columns with these names (none: unnamed), if they are what the sample's were."""
        if self.kind == "ndarray":
            if data:
                self._check_shape((rows or 1, len(data)))
            flat = [value for row in zip(*data) for value in row]
            return self._flat(flat, (rows, len(data)), names)
        known = self.expected.columns
        if self.open or len(known) != len(data):
            declared = {column.name: column for column in known}
            titles = names or map(str, range(len(data)))
            known = tuple(declared.get(name) or Learned(name) for name in titles)
        packed = [column.pack(values) for column, values in zip(known, data)]
        return columns(rows, names, packed)

    def _names(self, given: dict[str, Any]) -> tuple[str, ...]:
        """The columns to take, in the sample's order; before it, those that are given."""
        wanted = self.expected.names
        missing = [name for name in wanted if name not in given]
        if missing:
            raise bad_input(f"Missing columns: {', '.join(missing[:10])}.")
        if self.open or not wanted:
            return tuple(given)
        if len(given) > len(wanted):
            self.ignored = [name for name in given if name not in wanted]
        return wanted

    def _check_shape(self, shape: tuple[int, ...]) -> None:
        expected = self.expected.shape
        if expected is not None and shape[0] and not _fits(shape[1:], expected):
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


def _all_floats(columns: Sequence[Column]) -> bool:
    return bool(columns) and all(one.code == "d" and not one.textual for one in columns)


def _same_length(table: dict[str, Any]) -> int:
    """How many rows the columns have."""
    sizes = {len(column) if type(column) in _COLUMNS else -1 for column in table.values()}
    if -1 in sizes or len(sizes) > 1:
        raise bad_input("The columns do not all have the same length.")
    return max(sizes, default=0)


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a row has the wanted shape, in which -1 is any size."""
    if shape == wanted:
        return True
    return len(shape) == len(wanted) and all(w in (-1, n) for n, w in zip(shape, wanted))


def _learned(inputs: Inputs) -> tuple[Field, ...]:
    """What the sample says of a matrix, or of each column; without names they have numbers."""
    if inputs.kind == "matrix":
        return (Field(MATRIX, TYPES.get(inputs.codes[0], "json"), inputs.shape),)
    names = inputs.names or tuple(map(str, range(len(inputs.codes))))
    return tuple(
        Field(name, TYPES.get(code) or ("string" if _only_text(part) else "json"))
        for name, code, part in zip(names, inputs.codes, inputs.parts)
    )


def _only_text(part: Buffer) -> bool:
    """Whether a JSON part holds text and null only, and some text at all."""
    try:
        kinds = set(map(type, msgspec.json.decode(b"[" + part + b"]")))
    except msgspec.DecodeError:  # a declared column, which is no JSON text
        return False
    return str in kinds and kinds <= {str, type(None)}
