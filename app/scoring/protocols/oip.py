"""`/v2/…`: the Open Inference Protocol, version 2, over REST, with the binary tensor extension.

Sources: kserve/open-inference-protocol, specification/protocol/inference_rest.md;
triton-inference-server/server, docs/protocol/extension_binary_data.md.
"""

# ruff: noqa: UP045 (msgspec reads these annotations, on Python 3.9 too)

from __future__ import annotations

import binascii
import struct
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
from functools import partial
from math import prod
from typing import Any, NamedTuple, Optional

import msgspec

from ..errors import Refusal, bad_input
from ..http import JSON, Request
from ..inputs import OBJECT, Buffer, Numbers, Reader, Tensor, flatten, raw
from ..outputs import Column, Outputs, Part
from ..schema import UNNAMED
from . import OCTETS, Answer, Asked, Dialect, blocks, read_json

CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d", "BYTES": OBJECT,
}  # fmt: skip
DATATYPES = {code: name for name, code in CODES.items()}
SIZE = b"inference-header-content-length"
EXTENSIONS = ["binary_tensor_data"]
MOST_HOLLOW = 1 << 16
MOST_OUTPUTS = 10_000
NOTHING = memoryview(b"")

Parameters = Optional[dict[str, Any]]


class Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: Parameters = None


class Output(msgspec.Struct):
    name: str
    parameters: Parameters = None


class Infer(msgspec.Struct):
    inputs: list[Input]
    id: Optional[str] = None
    outputs: Optional[list[Output]] = None
    parameters: Parameters = None


def looks_like(value: dict[str, Any]) -> bool:
    """Whether a native body is one of this protocol: tensors with name, datatype and shape."""
    inputs = value.get("inputs")
    first = inputs[0] if type(inputs) is list and inputs else None
    return type(first) is dict and {"name", "datatype", "shape"} <= set(first)


def read(request: Request, reader: Reader) -> Asked:
    text, binary = _parts(request.body, request.headers.get(SIZE))
    value = (None if binary else blocks.tensor(text, reader)) or read_json(text, python=True)
    return asked(value, reader, binary)


def asked(value: Any, reader: Reader, binary: memoryview = NOTHING) -> Asked:
    try:
        infer = msgspec.convert(value, Infer)
    except msgspec.ValidationError as error:
        raise bad_input(f"{error}.") from None
    if not infer.inputs:
        raise bad_input("There are no inputs.")
    wish = _wish(infer)
    _check_outputs(wish.outputs, {field.name for field in reader.schema.outputs})
    tensors = _tensors(infer.inputs, binary)
    finish = partial(write, wish, reader.model, reader.version)
    if reader.kind == "bytes":
        return Asked(raw(_one_text(infer, tensors)), finish)
    return Asked(reader.tensors(list(map(_with_text, tensors))), finish)


def _wish(infer: Infer) -> Wish:
    """What the answer shall hold. An output that is asked for twice is written once."""
    binary = bool((infer.parameters or {}).get("binary_data_output"))
    asked = infer.outputs or []
    if len(asked) > MOST_OUTPUTS:
        raise bad_input(f"More than {MOST_OUTPUTS} outputs are asked for.")
    outputs = {one.name: bool((one.parameters or {}).get("binary_data", binary)) for one in asked}
    return Wish(infer.id, binary, outputs)


# Reading


def _parts(body: bytes, size: bytes | None) -> tuple[bytes, memoryview]:
    """The JSON of a body, and the tensors behind it."""
    if size is None:
        return body, NOTHING
    if not size.isdigit() or len(size) > 18 or int(size) > len(body):
        raise bad_input("Inference-Header-Content-Length is not the size of the JSON in the body.")
    return body[: int(size)], memoryview(body)[int(size) :]


def _tensors(fields: Iterable[Input], binary: memoryview) -> list[Tensor]:
    """The tensors; the binary ones take their bytes in turn. Each byte must be somebody's."""
    tensors, start = [], 0
    for one in fields:
        size = (one.parameters or {}).get("binary_data_size")
        if size is None:
            tensors.append(_tensor(one))
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise bad_input(f'The binary_data_size of "{one.name}" is more than the body has.')
        tensors.append(_binary_tensor(one, binary[start : start + size]))
        start += size
    if start != len(binary):
        raise bad_input("The body has more bytes than its binary inputs take.")
    return tensors


def _type(one: Input) -> tuple[str, tuple[int, ...]]:
    """Code and shape of an input. Raises a Refusal when they are none."""
    code = CODES.get(one.datatype)
    if code is None:
        raise bad_input(f'The datatype of "{one.name}" is not known.', f"Use {', '.join(CODES)}.")
    if not one.shape or min(one.shape) < 0 or _hollow(one.shape):
        raise bad_input(f'The shape of "{one.name}" must be a list of sizes.')
    return code, tuple(one.shape)


def _hollow(shape: list[int]) -> bool:
    """Whether it speaks of very many rows, or the like, that hold nothing."""
    return 0 in shape and prod(filter(None, shape)) > MOST_HOLLOW


def _tensor(one: Input) -> Tensor:
    """An input with its values flat. Raises a Refusal when shape and data disagree."""
    code, shape = _type(one)
    if type(one.data) is Numbers:
        if len(one.data) != prod(shape):
            raise _unfilled(one)
        return Tensor(one.name, code, shape, one.data)
    if type(one.data) is not list:
        raise bad_input(f'"{one.name}" has no list `data`.')
    values, nested = flatten(one.data)
    if len(values) != prod(shape) or (len(nested) > 1 and nested != shape):
        raise _unfilled(one)
    if code == OBJECT and not set(map(type, values)) <= {str, type(None)}:
        raise bad_input(f'The data of "{one.name}" is not of its datatype.')
    return Tensor(one.name, code, shape, values)


def _binary_tensor(one: Input, data: memoryview) -> Tensor:
    """An input whose numbers stay in the body's buffer, as they came."""
    code, shape = _type(one)
    if one.data is not None:
        raise bad_input(f'"{one.name}" has both `data` and `binary_data_size`.')
    if code == OBJECT:
        values = _elements(one, data)
        if len(values) != prod(shape):
            raise _unfilled(one)
        return Tensor(one.name, code, shape, values)
    if len(data) != prod(shape) * struct.calcsize(code):
        raise _unfilled(one)
    if code == "?" and data and max(data) > 1:
        raise bad_input(f'The data of "{one.name}" is not of its datatype.')
    return Tensor(one.name, code, shape, Numbers(code, data))


def _unfilled(one: Input) -> Refusal:
    return bad_input(f'The data of "{one.name}" does not fill its shape.')


def _elements(one: Input, data: memoryview) -> list[Any]:
    """The elements of a BYTES tensor, each behind its length."""
    values, start, end = [], 0, len(data)
    while start < end:
        stop = start + 4
        if stop <= end:
            stop += int.from_bytes(data[start:stop], "little")
        if stop > end or stop < start + 4:
            raise bad_input(f'The lengths in the data of "{one.name}" do not fit its size.')
        values.append(bytes(data[start + 4 : stop]))
        start = stop
    return values


def _with_text(tensor: Tensor) -> Tensor:
    """The tensor with text for bytes, which only models with `input = "bytes"` can take."""
    values = tensor.values
    if tensor.code != OBJECT or not values or type(values[0]) is not bytes:
        return tensor
    try:
        return tensor._replace(values=[value.decode() for value in values])
    except UnicodeDecodeError:
        raise bad_input(f'The data of "{tensor.name}" is not UTF-8.') from None


def _one_text(infer: Infer, tensors: list[Tensor]) -> bytes:
    """What a model that takes bytes is given."""
    values = tensors[0].values
    if len(tensors) != 1 or tensors[0].code != OBJECT or len(values) != 1 or values[0] is None:
        raise bad_input("This model takes bytes: one BYTES element, or POST them to /score.")
    value = values[0]
    content = value.encode() if type(value) is str else value
    said = {**(infer.parameters or {}), **(infer.inputs[0].parameters or {})}
    if said.get("content_type") != "base64":
        return bytes(content)
    try:
        return b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        raise bad_input(f'The data of "{tensors[0].name}" is not base64.') from None


# Writing


class Wish(NamedTuple):
    """What a request says of its answer, without its inputs. binary: whether as bytes, unless
    `outputs`, by name, say otherwise."""

    id: Optional[str]
    binary: bool
    outputs: dict[str, bool]


class Written(NamedTuple):
    """An output of the answer, and the bytes that follow the JSON for it."""

    tensor: dict[str, Any]
    data: Optional[Buffer]


def write(wish: Wish, model: str, version: str, outputs: Outputs) -> Answer:
    written = [_written(part, binary) for part, binary in _wanted(wish, outputs.tensors(UNNAMED))]
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if wish.id is not None:
        answer["id"] = wish.id
    answer["outputs"] = [one.tensor for one in written]
    text = msgspec.json.encode(answer)
    data = [one.data for one in written if one.data is not None]
    if not data:
        return Answer(text, JSON)
    header = b"Inference-Header-Content-Length: %d\r\n" % len(text)
    return Answer(b"".join((text, *data)), OCTETS, header)


def is_ours(asked: Asked) -> bool:
    """Whether the answer is to be written by `write`, wherever the body came in."""
    return isinstance(asked.write, partial) and asked.write.func is write


def _wanted(wish: Wish, parts: list[Part]) -> Iterable[tuple[Part, bool]]:
    """The outputs that were asked for, and whether as bytes."""
    if not wish.outputs:
        return [(part, wish.binary) for part in parts]
    known = {part.name: part for part in parts}
    _check_outputs(wish.outputs, known)
    return [(known[name], binary) for name, binary in wish.outputs.items()]


def _check_outputs(wanted: Iterable[str], known: Collection[str]) -> None:
    """Raises a Refusal when others are asked for; before the sample none may be known."""
    if known and any(name not in known for name in wanted):
        raise bad_input(f"The outputs are {', '.join(sorted(known))}; others were asked for.")


def _written(part: Part, binary: bool) -> Written:
    tensor: dict[str, Any] = {
        "name": part.name,
        "shape": part.shape,
        "datatype": DATATYPES[part.code],
    }
    if binary:
        data = part.raw()
        tensor["parameters"] = {"binary_data_size": len(data)}
        return Written(tensor, data)
    values = part.values()
    if values and type(values[0]) is bytes:
        return Written({**tensor, **_text(values[0])}, None)
    tensor["data"] = values
    return Written(tensor, None)


def _text(value: bytes) -> dict[str, Any]:
    """Bytes as JSON can hold them: UTF-8, else base64, which then is said."""
    try:
        return {"data": [value.decode()]}
    except UnicodeDecodeError:
        data = [b64encode(value).decode()]
        return {"parameters": {"content_type": "base64"}, "data": data}


# The other side: asking a model of this protocol


class Answered(msgspec.Struct):
    outputs: list[Input]


def ask(
    tensors: Iterable[tuple[str, Column]], outputs: Iterable[tuple[str, bool]]
) -> tuple[list[Buffer], int]:
    """A request as pieces, and the size of its JSON. outputs: names, and whether as bytes."""
    written = [_written(_whole(name, column), column.code != OBJECT) for name, column in tensors]
    wanted = [{"name": name, "parameters": {"binary_data": binary}} for name, binary in outputs]
    text = msgspec.json.encode({"inputs": [one.tensor for one in written], "outputs": wanted})
    return [text, *(one.data for one in written if one.data is not None)], len(text)


def _whole(name: str, column: Column) -> Part:
    return Part(name, column.code, list(column.shape), column, 0, column.shape[0])


def answered(body: bytes, size: bytes | None) -> list[Tensor]:
    """The outputs in an answer. Raises a Refusal or msgspec's errors when they are none."""
    text, binary = _parts(body, size)
    return _tensors(msgspec.json.decode(text, type=Answered).outputs, binary)


# Metadata


def error(refusal: Refusal) -> bytes:
    return msgspec.json.encode({"error": refusal.sentence})


dialect = Dialect("infer", read, error)
