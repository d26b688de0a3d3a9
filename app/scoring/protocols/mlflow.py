"""`POST /invocations`: what MLflow's scoring server takes (mlflow/pyfunc/scoring_server)."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from ..errors import Refusal, bad_input
from ..http import Request
from ..inputs import Inputs, Reader, json_text, json_value, parquet, raw
from ..outputs import Outputs
from . import OCTETS, Answer, Asked, Dialect, blocks, csv, predictions, read_json

SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")
_MARKS = frozenset(SHAPES[:3])
UNWRAPPED = ("messages", "prompt", "input")  # of language models, whose answers have no wrapper
CSV = b"text/csv"
PARQUET = (b"application/vnd.apache.parquet", b"application/x-parquet")
FORM = b"application/x-www-form-urlencoded"  # what curl says when it is told nothing


def looks_like(value: dict[str, Any]) -> bool:
    """Whether a native body is one of MLflow's; `inputs` alone is native as well as MLflow."""
    return not _MARKS.isdisjoint(value) and set(value) <= {*SHAPES, "params"}


def read(request: Request, reader: Reader) -> Asked:
    if reader.kind == "bytes":
        return Asked(raw(request.body), predictions)
    return _READERS[_content_type(request)](request.body, reader)


def is_table(request: Request) -> bool:
    """Whether the body says that it is CSV or Parquet."""
    return _media_type(request)[0] in (CSV, *PARQUET)


def _media_type(request: Request) -> list[bytes]:
    """That of the body and its parameters, in small letters."""
    said = request.headers.get(b"content-type", b"").lower()
    return [part.strip() for part in said.split(b";")]


def _content_type(request: Request) -> bytes:
    """The media type of the body, in small letters; JSON when none is said."""
    name, *parameters = _media_type(request)
    known = not any(one.replace(b'"', b"") not in (b"", b"charset=utf-8") for one in parameters)
    if name not in _READERS or not known:
        raise Refusal(
            415,
            "The content type is not understood.",
            remedy="Use application/json, text/csv or application/vnd.apache.parquet, in UTF-8.",
            reason="content_type",
        )
    return name


def _json(body: bytes, reader: Reader) -> Asked:
    fast = blocks.split(body, reader) or blocks.rows(body, reader, "inputs", "instances")
    if fast:
        return Asked(fast, predictions)
    value = read_json(body, python=True)
    if type(value) is not dict:
        raise bad_input("The body must be a JSON object.", _ONE_OF)
    return asked(value, reader, body)


def _csv(body: bytes, reader: Reader) -> Asked:
    return Asked(reader.table(csv.columns(body, reader.expected.texts)), predictions)


def _parquet(body: bytes, reader: Reader) -> Asked:
    return Asked(parquet(body), predictions, then=partial(_converted, reader))


def _converted(reader: Reader, outputs: Outputs) -> Asked:
    """What is asked of the model, once a worker has made a table of the Parquet file."""
    if outputs.kind != "table":
        raise Refusal(
            415,
            "This model's environment cannot read Parquet.",
            remedy="Reading it needs pandas and pyarrow in requirements.txt.",
            reason="content_type",
        )
    return Asked(reader.table(outputs.table()), predictions)


def asked(value: dict[str, Any], reader: Reader, body: bytes = b"") -> Asked:
    shapes = [shape for shape in SHAPES if shape in value]
    if (
        not shapes
        and reader.kind == "json"
        and not reader.said
        and any(key in value for key in UNWRAPPED)
    ):
        return Asked(json_text(body) if reader.whole else json_value(value), _bare)
    if len(shapes) != 1:
        raise bad_input("The body must have exactly one of MLflow's keys.", _ONE_OF)
    if type(value.get("params")) not in (dict, type(None)):
        raise bad_input("`params` must be an object.")
    return Asked(_inputs(shapes[0], value[shapes[0]], reader), predictions)


def _bare(outputs: Outputs) -> Answer:
    return Answer(outputs.values, OCTETS) if outputs.kind == "bytes" else Answer(outputs.json())


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
_READERS = {
    b"": _json,
    b"application/json": _json,
    FORM: _json,
    CSV: _csv,
    **dict.fromkeys(PARQUET, _parquet),
}
_CODES = {  # of mlflow/protos/databricks.proto, but 415, for which that has none
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    413: "MAX_BLOCK_SIZE_EXCEEDED",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

dialect = Dialect("invocations", read, error)
