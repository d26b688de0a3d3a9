"""`/v1/models/…:predict`: version 1 of KServe's protocol, which is TensorFlow Serving's."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

import msgspec

from ..errors import Refusal, bad_input
from ..http import Request
from ..inputs import Inputs, Reader, raw
from ..outputs import Outputs
from . import Answer, Asked, Dialect, blocks, predictions, read_json


def read(request: Request, reader: Reader) -> Asked:
    fast = blocks.rows(request.body, reader, "inputs", "instances")
    if fast:
        return Asked(fast, _write)
    value = read_json(request.body)
    if type(value) is not dict or ("instances" in value) == ("inputs" in value):
        raise bad_input("The body must be a JSON object.", _ONE_OF)
    if reader.kind == "bytes":
        return Asked(raw(_bytes(value.get("instances"))), _write)
    return Asked(_inputs(value, reader), _write)


def _inputs(value: dict[str, Any], reader: Reader) -> Inputs:
    rows = value["instances"] if "instances" in value else value["inputs"]
    if type(rows) is dict and "inputs" in value:
        return reader.mapping(rows) if reader.kind != "json" else reader.table(rows)
    if type(rows) is not list:
        raise bad_input("The instances must be a list.", _ONE_OF)
    return reader.rows(rows)


def _bytes(instances: Any) -> bytes:
    """The one instance of a model that takes bytes."""
    one = instances[0] if type(instances) is list and len(instances) == 1 else None
    text = one.get("b64") if type(one) is dict else None
    if type(text) is not str:
        raise bad_input("This model takes bytes.", 'Send {"instances": [{"b64": "…"}]}.')
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise bad_input("The instance is not base64.") from None


def _write(outputs: Outputs) -> Answer:
    if outputs.kind == "bytes":
        return Answer(b'{"predictions":[{"b64":%b}]}' % outputs.json())
    return predictions(outputs)


def error(refusal: Refusal) -> bytes:
    return msgspec.json.encode({"error": refusal.sentence})


_ONE_OF = 'Send {"instances": [[…], …]}.'

dialect = Dialect("predict", read, error)
