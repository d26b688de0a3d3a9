"""Large JSON bodies of plain numbers, read straight into a buffer.

A thousand rows of thirty numbers take 0.3 ms this way and 2 ms as lists. Only for models that take
floats, and only bodies of just the expected form: all others, malformed ones too, and all where
simdjson is not installed, are read as any body is, with the same result.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import msgspec

from ..inputs import Inputs, Numbers, Reader, Tensor

WORTH_IT = 1 << 13
Body = bytes  # or a bytearray
_OTHERWISE = (ValueError, TypeError, LookupError, AttributeError, RuntimeError)


@lru_cache(maxsize=None)
def _parser() -> Any:
    """One parser, whose memory is used again; None where the package is not."""
    try:
        import simdjson
    except ImportError:
        return None
    return simdjson.Parser()


def _parsed(body: Body, reader: Reader) -> Any:
    """The object in the body as simdjson has it, which is to be let go before the next one."""
    if len(body) < WORTH_IT or not reader.numeric or body[:1] != b"{":
        return None
    parser = _parser()
    return None if parser is None else parser.parse(body)


def rows(body: Body, reader: Reader, *names: str) -> Inputs | None:
    """The inputs in `{"inputs": [[1.5, …], …]}`, or another of these names; else None.

    Raises a Refusal when it is just that and does not fit the model.
    """
    try:
        found = _rows(_parsed(body, reader), body, names)
    except _OTHERWISE:
        return None
    return reader.tensors([found]) if found else None


def _rows(root: Any, body: Body, names: tuple[str, ...]) -> Tensor | None:
    if root is None or len(root) != 1:
        return None
    (name,) = root.keys()
    return _matrix(root[name], body.count(b"[")) if name in names else None


def _matrix(lists: Any, brackets: int) -> Tensor | None:
    """Lists of numbers, all of one length. brackets: how many lists there are in all."""
    widths = {len(row) for row in lists}  # raises TypeError for numbers
    if len(widths) != 1 or brackets != len(lists) + 1:
        return None
    shape = len(lists), *widths
    values = _numbers(lists)
    return Tensor("", "d", shape, values) if len(values) == prod(shape) else None


def _numbers(values: Any) -> Numbers:
    """Raises TypeError when there is anything but numbers."""
    return Numbers("d", bytes(values.as_buffer(of_type="d")))


def split(body: Body, reader: Reader) -> Inputs | None:
    """The inputs in `{"dataframe_split": {"columns": [name, …], "data": [[1.5, …], …]}}`, for a
    model that takes data frames; else None. Raises a Refusal as `rows` does."""
    if reader.kind != "dataframe":
        return None
    try:
        found = _split(_parsed(body, reader), body)
    except _OTHERWISE:
        return None
    if found is None:
        return None
    names, data = found
    width = data.shape[1]
    columns = {name: data.values.column(number, width) for number, name in enumerate(names)}
    return reader.table(columns)


def _split(root: Any, body: Body) -> tuple[list[str], Tensor] | None:
    if root is None or list(root.keys()) != ["dataframe_split"]:
        return None
    content = root["dataframe_split"]
    if sorted(content.keys()) not in (["columns", "data"], ["columns", "data", "index"]):
        return None
    rest = {name: content[name].as_list() for name in content if name != "data"}
    names = rest["columns"]
    data = _matrix(content["data"], _lists_besides(rest, body))
    if data is None or set(map(type, names)) != {str} or len(set(names)) != data.shape[1]:
        return None
    return (names, data) if len(names) == data.shape[1] else None


def tensor(body: Body, reader: Reader) -> dict[str, Any] | None:
    """A request of the Open Inference Protocol whose one input is a flat list of FP64, with
    Numbers for its data; else None."""
    try:
        return _tensor(_parsed(body, reader), body)
    except _OTHERWISE:
        return None


def _tensor(root: Any, body: Body) -> dict[str, Any] | None:
    if root is None or len(root["inputs"]) != 1:
        return None
    first = root["inputs"][0]
    if len(set(root.keys())) != len(root) or len(set(first.keys())) != len(first):
        return None
    value = {name: _plain(root[name]) for name in root if name != "inputs"}
    one = {name: _plain(first[name]) for name in first if name != "data"}
    value["inputs"] = [one]
    if one["datatype"] != "FP64" or _lists_besides(value, body) != 1:
        return None
    one["data"] = _numbers(first["data"])
    return value


def _plain(value: Any) -> Any:
    """Any JSON as Python's own."""
    if hasattr(value, "as_dict"):
        return value.as_dict()
    return value.as_list() if hasattr(value, "as_list") else value


def _lists_besides(rest: Any, body: Body) -> int:
    """How many lists the body has besides those in the rest of it, by their brackets.

    Raises ValueError where one may be written as an escape, which only the rest would show.
    """
    if b"\\u005" in body:
        raise ValueError
    return body.count(b"[") - msgspec.json.encode(rest).count(b"[")
