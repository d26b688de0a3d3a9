"""`POST /score`: any JSON. Bodies in the shapes of the other protocols are answered as they would.

A body is `{"inputs": rows}`, a list of rows, or anything else a model with `input = "json"`
takes. A row is a list of values, a record, or one number. The answer is `{"predictions": …}`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import Refusal
from ..http import Request
from ..inputs import Reader, json_text, raw
from . import Asked, Dialect, blocks, mlflow, oip, predictions, read_json


def read(request: Request, reader: Reader) -> Asked:
    body = request.body
    if reader.kind == "bytes":
        return Asked(raw(body), predictions)
    fast = blocks.rows(body, reader, "inputs", "instances")
    if fast:
        return Asked(fast, predictions)
    value = _json(request)
    if reader.whole:
        return Asked(json_text(body), predictions)
    if type(value) is not dict:
        return Asked(reader.value(value), predictions)
    if oip.looks_like(value):
        return oip.asked(value, reader)
    if mlflow.looks_like(value):
        return mlflow.asked(value, reader)
    if "inputs" in value and len(value) == 1:
        value = value["inputs"]
    return Asked(reader.value(value), predictions)


def _json(request: Request) -> Any:
    """The JSON in the body. A table in its place is told where it would be understood."""
    try:
        return read_json(request.body)
    except Refusal as refusal:
        if mlflow.is_table(request):
            refusal.remedy = "CSV and Parquet are understood at /invocations."
        raise


def error(refusal: Refusal) -> bytes:
    said = {"what": refusal.what, "cause": refusal.cause, "remedy": refusal.remedy}
    return msgspec.json.encode({"error": said})


dialect = Dialect("score", read, error)
