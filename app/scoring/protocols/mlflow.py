"""`POST /invocations`: the JSON of MLflow's scoring server (mlflow/pyfunc/scoring_server)."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import Refusal, bad_input
from ..http import Request
from ..inputs import Inputs, Reader, raw
from . import Asked, Dialect, predictions, read_json

SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")


def looks_like(value: dict[str, Any]) -> bool:
    """Whether a native body is one of MLflow's; `inputs` alone is native as well as MLflow."""
    return any(shape in value for shape in SHAPES[:3]) and set(value) <= {*SHAPES, "params"}


def read(request: Request, reader: Reader) -> Asked:
    if reader.kind == "bytes":
        return Asked(raw(request.body), predictions)
    value = read_json(request.body)
    if type(value) is not dict:
        raise bad_input("The body must be a JSON object.", _ONE_OF)
    return asked(value, reader)


def asked(value: dict[str, Any], reader: Reader) -> Asked:
    shapes = [shape for shape in SHAPES if shape in value]
    if len(shapes) != 1:
        raise bad_input("The body must have exactly one of MLflow's keys.", _ONE_OF)
    return Asked(_inputs(shapes[0], value[shapes[0]], reader), predictions)


def _inputs(shape: str, content: Any, reader: Reader) -> Inputs:
    if shape == "dataframe_split":
        return _split(content, reader)
    if shape == "inputs" and type(content) is dict:
        return reader.table({key: _listed(column) for key, column in content.items()})
    if type(content) is not list:
        raise bad_input(f"`{shape}` must be a list.")
    return reader.records(content) if shape == "dataframe_records" else reader.rows(content)


def _split(content: Any, reader: Reader) -> Inputs:
    if type(content) is not dict or not set(content) <= {"columns", "index", "data"}:
        raise bad_input("`dataframe_split` must be an object of columns, index and data.")
    rows = content.get("data")
    if type(rows) is not list:
        raise bad_input("`dataframe_split` must have a list `data`.")
    names = content.get("columns")
    if names is None:
        return reader.rows(rows)
    if type(names) is not list:
        raise bad_input("`columns` must be a list of names.")
    return reader.split(names, rows)


def _listed(column: Any) -> list[Any]:
    return column if type(column) is list else [column]


def error(refusal: Refusal) -> bytes:
    code = _CODES.get(refusal.status, "BAD_REQUEST" if refusal.status < 500 else "INTERNAL_ERROR")
    return msgspec.json.encode({"error_code": code, "message": refusal.sentence})


_ONE_OF = f"Use one of: {', '.join(SHAPES)}."
_CODES = {404: "ENDPOINT_NOT_FOUND", 503: "TEMPORARILY_UNAVAILABLE", 504: "REQUEST_TIMEOUT"}

dialect = Dialect("invocations", read, error)
