"""`/v2/…`: the Open Inference Protocol, version 2, REST in JSON.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

# ruff: noqa: UP045 (msgspec reads these annotations, on Python 3.9 too)

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any, Optional

import msgspec

from ..errors import Refusal, bad_input
from ..inputs import OBJECT, Reader, Tensor, flatten, raw
from ..outputs import Outputs
from . import Asked, Dialect, read_json

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


def read(body: bytes, reader: Reader, model: str = "", version: str = "") -> Asked:
    return asked(read_json(body), reader, model, version)


def asked(value: Any, reader: Reader, model: str = "", version: str = "") -> Asked:
    try:
        infer = msgspec.convert(value, Infer)
    except msgspec.ValidationError as error:
        raise bad_input(f"{error}.") from None
    if not infer.inputs:
        raise bad_input("There are no inputs.")
    model, version = model or reader.model, version or reader.version
    finish = partial(write, infer, model, version)
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


def write(infer: Infer, model: str, version: str, outputs: Outputs) -> bytes:
    tensors = [
        {"name": name, "shape": shape, "datatype": DATATYPES[code], "data": values}
        for name, code, shape, values in outputs.tensors(NAME)
    ]
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if infer.id is not None:
        answer["id"] = infer.id
    answer["outputs"] = _wanted(infer, tensors)
    return msgspec.json.encode(answer)


def _wanted(infer: Infer, tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not infer.outputs:
        return tensors
    known = {tensor["name"]: tensor for tensor in tensors}
    unknown = [output.name for output in infer.outputs if output.name not in known]
    if unknown:
        raise bad_input(f"The outputs are {', '.join(known)}; others were asked for.")
    return [known[output.name] for output in infer.outputs]


def error(refusal: Refusal) -> bytes:
    return msgspec.json.encode({"error": refusal.sentence})


dialect = Dialect("infer", read, error)
