"""What is sent to a stage and what came back: tensors as bytes, JSON where those cannot hold it.

What a stage is given goes as the Open Inference Protocol has it: numbers as they lie in memory,
text as JSON, so that null is not lost. Other JSON, models whose outputs are not known, and those
that take bytes are asked at /score.
"""

# ruff: noqa: UP045 (msgspec reads these annotations, on Python 3.9 too)

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional
from urllib.parse import quote

import msgspec

from ..errors import Refusal
from ..inputs import OBJECT, Buffer, Numbers, Tensor, nested
from ..outputs import Column, Outputs, empty
from ..protocols import oip
from ..schema import CODES, DATATYPES, MATRIX, UNNAMED
from . import table
from .ask import Response
from .table import Unfit

encode, decode = msgspec.json.encode, msgspec.json.decode
_TEXT = {str, type(None)}
_BINARY = b"application/octet-stream"


class Output(msgspec.Struct):
    """One output of a stage, as its schema has it. shape: of a row's value."""

    name: str
    type: str
    shape: tuple[int, ...] = ()


class Known(NamedTuple):
    """What a stage has said of itself at /schema."""

    model: str
    version: int
    release: str
    kind: str  # dataframe, ndarray, json, text or bytes
    outputs: tuple[Output, ...]  # none where they are not known
    depth: int = 0  # of a pipeline

    @property
    def infer(self) -> str:
        return f"/v2/models/{quote(self.model, safe='')}/infer"

    @property
    def tensors(self) -> bool:
        """Whether its outputs are tensors, whatever rows it is given."""
        return bool(self.outputs) and all(one.type in _SENT for one in self.outputs)

    def nothing(self) -> Outputs:
        """What it would give for no rows, as far as that is known."""
        if not self.outputs:
            return Outputs("json", [])
        made = empty([(one.name, CODES.get(one.type, OBJECT), one.shape) for one in self.outputs])
        if made.names != (UNNAMED,):
            return made
        return (
            Outputs("json", []) if made.columns[0].code == OBJECT else table.array_of(*made.columns)
        )


_SENT = {*DATATYPES, "string"}


def known(body: Buffer) -> Known:
    """From the answer of GET /schema. Raises ValueError."""
    try:
        said = decode(body, type=_Said)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None
    depth = said.pipeline.depth if said.pipeline else 0
    outputs = tuple(said.schema.outputs)
    return Known(said.model, said.version, said.release, said.kind, outputs, depth)


class _Fields(msgspec.Struct):
    outputs: list[Output] = []


class _Pipeline(msgspec.Struct):
    depth: int = 1


class _Said(msgspec.Struct):
    model: str
    version: int
    release: str
    kind: str
    schema: _Fields
    pipeline: Optional[_Pipeline] = None


# Asking


class Asking(NamedTuple):
    path: str
    parts: list[Any]
    headers: bytes = b""


def asking(outputs: Outputs, stage: Known) -> Asking:
    """How a stage is asked about these. Raises Unfit when it does not take them."""
    if outputs.kind == "bytes" or stage.kind == "bytes":
        if outputs.kind != "bytes" or stage.kind != "bytes":
            raise Unfit("One of them speaks in bytes, the other does not.")
        return Asking("/score", [outputs.values], b"Content-Type: application/octet-stream\r\n")
    if stage.kind == "text":
        return Asking("/score", [encode(table.plain(outputs))], _JSON)
    tensors = _tensors(outputs, stage.kind) if stage.tensors else None
    if tensors is None:
        return Asking("/score", [encode({"inputs": _as_json(outputs, stage.kind)})], _JSON)
    body, size = oip.ask(tensors, [(one.name, one.type != "string") for one in stage.outputs])
    header = b"Inference-Header-Content-Length: %d\r\n" % size
    return Asking(stage.infer, body, b"Content-Type: application/octet-stream\r\n" + header)


_JSON = b"Content-Type: application/json\r\n"


def _as_json(outputs: Outputs, kind: str) -> Any:
    """A table as columns, which are fewer names; as records for a model that takes any JSON."""
    if outputs.kind == "table" and outputs.names:
        if kind == "json":
            return outputs.records()
        return {name: column.rows() for name, column in zip(outputs.names, outputs.columns)}
    return table.plain(outputs)


def _tensors(outputs: Outputs, kind: str) -> list[tuple[str, Column]] | None:
    """Named tensors for these rows; None where tensors cannot hold them."""
    if kind == "json" or outputs.kind == "json":
        return None
    if outputs.kind == "array":
        return [(MATRIX, outputs.columns[0])]
    if kind == "ndarray":
        try:
            return [(MATRIX, table.side_by_side(outputs.columns))]
        except Unfit:
            return None
    made = [(name, _narrow(column)) for name, column in zip(outputs.names, outputs.columns)]
    return made if made and all(_fits(column) for _, column in made) else None


def _narrow(column: Column) -> Column:
    return table.narrow(column.rows()) if column.code == OBJECT else column


def _fits(column: Column) -> bool:
    return column.code != OBJECT or set(map(type, column.rows())) <= _TEXT


# Its answer


def answered(response: Response) -> Outputs:
    """What an answer of 200 holds. Raises ValueError when it is not as it should be."""
    headers, body = response.headers, response.body
    size = headers.get(oip.SIZE)
    kind = headers.get(b"content-type", b"")
    if size is None and kind.startswith(_BINARY):
        return Outputs("bytes", bytes(body))
    try:
        if size is None:
            said = decode(body)
            if type(said) is dict and "predictions" in said:
                return Outputs("json", said["predictions"])
        tensors = oip.answered(bytes(body), size)
    except (msgspec.MsgspecError, Refusal, RecursionError) as error:
        raise ValueError(_why(error)) from None
    return _of_tensors(tensors)


def _why(error: Exception) -> str:
    return error.sentence if isinstance(error, Refusal) else f"{error}."


def _of_tensors(tensors: list[Tensor]) -> Outputs:
    """One without a name of its own is an array or plain rows; others are columns."""
    if [one.name for one in tensors] == [UNNAMED]:
        column = _column(tensors[0])
        if column.code != OBJECT:
            return table.array_of(column)
        return Outputs("json", nested(column.rows(), tensors[0].shape))
    if len({one.shape[0] for one in tensors}) > 1:
        raise ValueError("Its outputs have different numbers of rows.")
    rows = tensors[0].shape[0] if tensors else 0
    return table.table_of({one.name: _column(one) for one in tensors}, rows)


def _column(tensor: Tensor) -> Column:
    values = tensor.values
    if type(values) is Numbers:
        return Column(values.code, values.data, tensor.shape)
    if tensor.code == OBJECT:
        return table.listed([_text(value) for value in values])
    return Column(tensor.code, tensor.packed(), tensor.shape)


def _text(value: Any) -> Any:
    return value.decode() if type(value) is bytes else value


def message(response: Response) -> str:
    """The sentence in an error of ours, whatever its protocol; "" where there is none."""
    try:
        error = decode(response.body)["error"]
    except (msgspec.MsgspecError, LookupError, TypeError, UnicodeDecodeError):
        return ""
    if isinstance(error, Mapping):
        return " ".join(str(one) for one in error.values() if one)
    return str(error)
