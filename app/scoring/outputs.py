"""What a model gave back, as the front holds it: split among requests, then written."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import msgspec

from .inputs import OBJECT, flatten

encode = msgspec.json.encode  # NaN and the infinities become null


class Outputs(NamedTuple):
    """Predictions. `values` is a list of rows (tuples where `names` are given), or any JSON.

    codes: numpy's letter of the values, one per column where there are names. kind: array,
    table, json or bytes.
    """

    kind: str
    values: Any
    codes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()

    def split(self, sizes: Sequence[int]) -> list[Outputs] | None:
        """A part for each request of a batch; None when the rows are not as many as were asked."""
        if len(sizes) == 1:
            return [self]
        if type(self.values) is not list or len(self.values) != sum(sizes):
            return None
        parts, start = [], 0
        for size in sizes:
            values = self.values[start : start + size]
            parts.append(Outputs(self.kind, values, self.codes, self.names, self.shape))
            start += size
        return parts

    def json(self) -> bytes:
        """As JSON: a table as records."""
        if self.names:
            return encode([dict(zip(self.names, row)) for row in self.values])
        return encode(self.values)

    def tensors(self, name: str) -> list[tuple[str, str, list[int], list[Any]]]:
        """Name, code, shape and flat values of each output tensor."""
        if self.kind == "table":
            columns = zip(*self.values) if self.values else ([] for _ in self.names)
            return [
                _tensor(title, code, list(column))
                for title, code, column in zip(self.names, self.codes, columns)
            ]
        if self.kind == "array":
            flat, shape = flatten(self.values)
            if 0 in self.shape or not self.values:
                shape = (len(self.values), *self.shape)
            return [(name, self.codes[0], list(shape), flat)]
        if self.kind == "bytes":
            return [(name, OBJECT, [1], [_text(self.values)])]
        if type(self.values) is dict and self.values:
            return [_guessed(str(key), value) for key, value in self.values.items()]
        return [_guessed(name, self.values)]


def _tensor(name: str, code: str, values: list[Any]) -> tuple[str, str, list[int], list[Any]]:
    return _guessed(name, values) if code == OBJECT else (name, code, [len(values)], values)


def _text(value: bytes) -> str:
    """Bytes as JSON can hold them: UTF-8, else base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b64encode(value).decode()


def _guessed(name: str, value: Any) -> tuple[str, str, list[int], list[Any]]:
    """A tensor of the narrowest datatype for a JSON value; objects become JSON text."""
    values = value if type(value) is list else [value]
    flat, shape = _flat(values)
    kinds = set(map(type, flat)) - {type(None)}
    for code, fitting in (("?", {bool}), ("q", {int}), ("d", {int, float})):
        if kinds and kinds <= fitting:
            return name, "d" if None in flat and code == "q" else code, list(shape), flat
    texts = [one if type(one) is str else encode(one).decode() for one in flat]
    return name, OBJECT, list(shape), texts


def _flat(values: list[Any]) -> tuple[list[Any], tuple[int, ...]]:
    try:
        return flatten(values)
    except Exception:  # ragged: each element becomes JSON text
        return values, (len(values),)


def read(meta: dict[str, Any], payload: bytes) -> Outputs:
    """The answer of a worker: see `worker.encode`."""
    kind = meta["kind"]
    if kind == "array":
        shape = tuple(meta["shape"])
        return Outputs(
            "array", _numbers(payload, meta["code"], shape), (meta["code"],), (), shape[1:]
        )
    if kind == "table":
        return _table(meta, payload)
    if kind == "json":
        return Outputs("json", msgspec.json.decode(payload))
    return Outputs("bytes", bytes(payload))


def _table(meta: dict[str, Any], payload: bytes) -> Outputs:
    columns, start, view = [], 0, memoryview(payload)
    for code, size in zip(meta["codes"], meta["sizes"]):
        columns.append(_column(code, view[start : start + size]))
        start += size
    rows = list(zip(*columns))
    return Outputs("table", rows, tuple(meta["codes"]), tuple(meta["names"]))


def _column(code: str, part: memoryview) -> list[Any]:
    if code == OBJECT:
        values: list[Any] = msgspec.json.decode(part)
        return values
    numbers: list[Any] = part.cast(_letter(code)).tolist()
    return numbers


def _letter(code: str) -> Any:
    """The code as memoryview.cast takes it: any of a few literals, which types cannot follow."""
    return code


def _numbers(payload: bytes, code: str, shape: tuple[int, ...]) -> list[Any]:
    view = memoryview(payload)
    if len(shape) == 1:
        flat: list[Any] = view.cast(_letter(code)).tolist()
        return flat
    if not prod(shape):
        return [_hollow(shape[1:]) for _ in range(shape[0])]
    nested: list[Any] = view.cast(_letter(code), shape).tolist()
    return nested


def _hollow(shape: tuple[int, ...]) -> list[Any]:
    return [_hollow(shape[1:]) for _ in range(shape[0])] if shape else []
