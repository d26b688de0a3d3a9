"""`/v2/…`: the Open Inference Protocol, version 2, REST in JSON.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

# ruff: noqa: UP045 (msgspec reads these annotations, on Python 3.9 too)

from __future__ import annotations

from base64 import b64encode
from functools import partial
from math import prod
from typing import Any, Optional

import msgspec

from ..errors import Refusal, bad_input
from ..http import Request
from ..inputs import OBJECT, Reader, Tensor, flatten, raw
from ..outputs import Outputs, Part
from . import Answer, Asked, Dialect, read_json

CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d", "BYTES": OBJECT,
}  # fmt: skip
DATATYPES = {code: name for name, code in CODES.items()}
NAME = "predict"  # of the output of a model that names none


class Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: Optional[dict[str, Any]] = None


class Output(msgspec.Struct):
    name: str
    parameters: Optional[dict[str, Any]] = None


class Infer(msgspec.Struct):
    inputs: list[Input]
    id: Optional[str] = None
    outputs: Optional[list[Output]] = None
    parameters: Optional[dict[str, Any]] = None


def looks_like(value: dict[str, Any]) -> bool:
    """Whether a native body is one of this protocol: tensors with name, datatype and shape."""
    inputs = value.get("inputs")
    first = inputs[0] if type(inputs) is list and inputs else None
    return type(first) is dict and {"name", "datatype", "shape"} <= set(first)


def read(request: Request, reader: Reader) -> Asked:
    return asked(read_json(request.body), reader)


def asked(value: Any, reader: Reader) -> Asked:
    try:
        infer = msgspec.convert(value, Infer)
    except msgspec.ValidationError as error:
        raise bad_input(f"{error}.") from None
    if not infer.inputs:
        raise bad_input("There are no inputs.")
    finish = partial(write, infer, reader.model, reader.version)
    if reader.kind == "bytes":
        return Asked(raw(_one_text(infer.inputs)), finish)
    return Asked(reader.tensors([_tensor(one) for one in infer.inputs]), finish)


def _one_text(inputs: list[Input]) -> bytes:
    tensor = _tensor(inputs[0])
    if len(inputs) != 1 or len(tensor.values) != 1 or type(tensor.values[0]) is not str:
        raise bad_input("This model takes bytes: one BYTES element, or POST them to /score.")
    return tensor.values[0].encode()


def _tensor(one: Input) -> Tensor:
    """An input with its values flat. Raises a Refusal when shape and data disagree."""
    code = CODES.get(one.datatype)
    if code is None:
        raise bad_input(f'The datatype of "{one.name}" is not known.', f"Use {', '.join(CODES)}.")
    if type(one.data) is not list:
        raise bad_input(f'"{one.name}" has no list `data`.')
    shape = tuple(one.shape)
    if not shape or min(shape) < 0:
        raise bad_input(f'The shape of "{one.name}" must be a list of sizes.')
    values, nested = flatten(one.data)
    if len(values) != prod(shape) or (len(nested) > 1 and nested != shape):
        raise bad_input(f'The data of "{one.name}" does not fill its shape.')
    if code == OBJECT and not set(map(type, values)) <= {str, type(None)}:
        raise bad_input(f'The data of "{one.name}" is not of its datatype.')
    return Tensor(one.name, code, shape, values)


def write(infer: Infer, model: str, version: str, outputs: Outputs) -> Answer:
    tensors = list(map(_written, outputs.tensors(NAME)))
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if infer.id is not None:
        answer["id"] = infer.id
    answer["outputs"] = _wanted(infer, tensors)
    return Answer(msgspec.json.encode(answer))


def _written(part: Part) -> dict[str, Any]:
    tensor: dict[str, Any] = {
        "name": part.name,
        "shape": part.shape,
        "datatype": DATATYPES[part.code],
    }
    values = part.values()
    if values and type(values[0]) is bytes:
        return {**tensor, **_text(values[0])}
    return {**tensor, "data": values}


def _text(value: bytes) -> dict[str, Any]:
    """Bytes as JSON can hold them: UTF-8, else base64, which then is said."""
    try:
        return {"data": [value.decode()]}
    except UnicodeDecodeError:
        data = [b64encode(value).decode()]
        return {"parameters": {"content_type": "base64"}, "data": data}


def _wanted(infer: Infer, tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not infer.outputs:
        return tensors
    known = {tensor["name"]: tensor for tensor in tensors}
    unknown = [output.name for output in infer.outputs if output.name not in known]
    if unknown:
        raise bad_input(f"The outputs are {', '.join(known)}; others were asked for.")
    return [known[output.name] for output in infer.outputs]


def described(reader: Reader) -> list[dict[str, Any]]:
    """The inputs as metadata: what the sample had, when there was one."""
    expected = reader.expected
    if not expected.codes:
        return []
    if len(expected.codes) == len(expected.names):
        return [
            {"name": name, "datatype": DATATYPES[code], "shape": [-1]}
            for name, code in zip(expected.names, expected.codes)
        ]
    shape = [-1, *(expected.shape or ())]
    return [{"name": "inputs", "datatype": DATATYPES[expected.codes[0]], "shape": shape}]


def error(refusal: Refusal) -> bytes:
    return msgspec.json.encode({"error": refusal.sentence})


dialect = Dialect("infer", read, error)
