"""`GET /openapi.json` and `GET /docs`: what this model takes, made once when first asked."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from .bodies import Bodies, Json, inferred, listed, obj, predictions
from .inputs import Reader
from .release import Release

HTML = b"text/html; charset=utf-8"
PAGE = Path(__file__).with_name("docs.html")
encode = msgspec.json.encode
TEXT: Json = {"type": "string"}
TRUTH: Json = {"type": "boolean"}
ERRORS = {
    "score": obj(
        {"error": obj(dict.fromkeys(("what", "cause", "remedy"), TEXT), ("what",))}, ["error"]
    ),
    "invocations": obj(dict.fromkeys(("error_code", "message"), TEXT), ("error_code", "message")),
    "infer": obj({"error": TEXT}, ["error"]),
}
WORDS = {
    400: "Malformed, or not what this model takes.",
    401: "No token, or not one that is known.",
    403: "The token is not for this.",
    405: "Another method is meant; see Allow.",
    408: "The request did not arrive in time.",
    413: "The body, or its number of rows, is too large.",
    415: "The body has an encoding or a type that is not understood.",
    417: "Only 100-continue can be expected.",
    429: "Too many attempts; see Retry-After.",
    431: "The headers are too large.",
    500: "The model failed on this request; its log has the traceback.",
    503: "No worker is ready, or too many requests are waiting; see Retry-After.",
    504: "No prediction within the model's timeout.",
}
ALWAYS = (400, 401, 403, 405, 408, 413, 417, 429, 431)


class Documents:
    """The descriptions of one release. `secured`: whether requests need a token."""

    def __init__(self, release: Release, reader: Reader, table: Mapping[bytes, Any]) -> None:
        self.release = release
        self.reader = reader
        self.table = table
        self.secured = False
        self._openapi: dict[bool, bytes] = {}
        self._page: tuple[bytes, bytes] | None = None

    def openapi(self) -> bytes:
        made = self._openapi.get(self.secured)
        if made is None:
            made = self._openapi[self.secured] = encode(document(self))
        return made

    def page(self) -> tuple[bytes, bytes]:
        """The page, and its headers: it may run its own script and talk to us, nothing else."""
        if self._page is None:
            html = PAGE.read_text(encoding="utf-8")
            script = html.partition("<script>")[2].partition("</script>")[0]
            digest = b64encode(sha256(script.encode()).digest()).decode()
            policy = (
                "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; "
                f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"
            )
            headers = (
                f"Content-Security-Policy: {policy}\r\nX-Content-Type-Options: nosniff\r\n"
                "Referrer-Policy: no-referrer\r\n"
            )
            self._page = html.encode(), headers.encode()
        return self._page


def document(about: Documents) -> Json:
    """The whole OpenAPI 3.1 document."""
    release = about.release
    paths = {path: item for path, item in _paths(about).items() if path.encode() in about.table}
    security: list[Json] = [{"token": []}] if about.secured else [{}, {"token": []}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": release.model,
            "version": str(release.version),
            "description": f"Model {release.model}, version {release.version}, served by "
            "RhythmicML. JSON Schema cannot say that lists are equally long: where they must be, "
            "the shapes of one and two rows are written out; more rows go the same way, up to "
            f"{int(release.scoring.get('max_request_rows') or 10_000)} in a request.",
        },
        "paths": paths,
        "security": security,
        "components": {
            "schemas": {
                **{f"{name}_error": shape for name, shape in ERRORS.items()},
                "inferred": inferred(),
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "x-schema": about.reader.schema.as_json(),
    }


def _paths(about: Documents) -> dict[str, Json]:
    base = f"/v2/models/{about.release.model}"
    versioned = f"{base}/versions/{about.release.version}"
    paths = {**_scoring(about, (base, versioned)), **_probes(), **_described(about, base)}
    for path in (base, versioned):
        paths[path] = _get("What the model takes and gives", _metadata(), "infer")
        ready = obj({"name": TEXT, "ready": TRUTH, "error": TEXT}, ["name", "ready"])
        paths[f"{path}/ready"] = _get("Whether the model is ready", ready, "infer", probe=True)
    return paths


def _scoring(about: Documents, bases: tuple[str, str]) -> dict[str, Json]:
    reader = about.reader
    bodies = Bodies(reader)
    outputs = reader.schema.outputs
    plain = predictions(outputs, reader.schema.kind in ("columns", "matrix"))
    found = {"$ref": "#/components/schemas/inferred"}
    either = {"anyOf": [plain, found]}
    example = _example(about.release)
    paths = {
        "/score": _post("Score rows", bodies, bodies.score(), either, "score", example),
        "/invocations": _post(
            "Score rows, as MLflow's scoring server", bodies, bodies.invocations(), plain,
            "invocations", example if _mlflow_like(example) else None,
        ),
        f"/v1/models/{about.release.model}:predict": _post(
            "Score rows, as KServe's version 1", bodies, _instances(bodies), plain, "infer", None
        ),
    }  # fmt: skip
    for base in bases:
        paths[f"{base}/infer"] = _post(
            "Score tensors (Open Inference Protocol 2)", None, bodies.infer(), found, "infer", None
        )
    return paths


def _instances(bodies: Bodies) -> Json:
    rows = bodies._mlflow("instances", True)["properties"]["instances"]
    return obj({"instances": rows}, ["instances"])


def _mlflow_like(example: Any) -> bool:
    keys = {"dataframe_split", "dataframe_records", "instances", "inputs"}
    return type(example) is dict and len(keys & set(example)) == 1


def _example(release: Release) -> Any:
    try:
        return msgspec.json.decode(release.sample or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, OSError):
        return None


def _post(
    summary: str, bodies: Bodies | None, body: Json, answer: Json, errors: str, example: Any
) -> Json:
    media: Json = {"schema": body}
    if example is not None:
        media["example"] = example
    raw = bodies is not None and bodies.kind == "bytes"
    content = {"application/octet-stream": {}} if raw else {"application/json": media}
    answers: Json = {"application/json": {"schema": answer}}
    if bodies is not None:
        answers["application/octet-stream"] = {}
    headers = {
        "X-Ignored-Columns": {
            "description": "Columns that were sent and not used.",
            "schema": TEXT,
        }
    }
    given = {"description": "The predictions.", "headers": headers, "content": answers}
    statuses = (*ALWAYS, 415, 500, 503, 504)
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": not raw, "content": content},
            "responses": {"200": given, **_refusals(statuses, errors)},
        }
    }


def _get(summary: str, answer: Json, errors: str, probe: bool = False) -> Json:
    return _gives(summary, {"application/json": {"schema": answer}}, errors, probe)


def _gives(summary: str, content: Json, errors: str, probe: bool = False) -> Json:
    responses = {
        "200": {"description": "As asked.", "content": content},
        **_refusals((*ALWAYS, 500), errors),
    }
    asked: Json = {"summary": summary, "responses": responses}
    if probe:
        responses["503"] = {"description": WORDS[503], "content": content}
        asked["security"] = []
    return {"get": asked}


def _refusals(statuses: tuple[int, ...], errors: str) -> Json:
    schema = {"$ref": f"#/components/schemas/{errors}_error"}
    content = {"application/json": {"schema": schema}}
    return {str(status): {"description": WORDS[status], "content": content} for status in statuses}


def _probes() -> dict[str, Json]:
    health = obj({"live": TRUTH, "ready": TRUTH, "error": TEXT}, ["live", "ready"])
    spoken = {"text/plain": {"schema": TEXT}}
    return {
        "/livez": _get("Whether the front runs", health, "score", probe=True),
        "/readyz": _get("Whether a worker can predict", health, "score", probe=True),
        "/v2/health/live": _get("Whether the front runs", health, "infer", probe=True),
        "/v2/health/ready": _get("Whether a worker can predict", health, "infer", probe=True),
        "/ping": _gives("Whether a worker can predict", spoken, "score", probe=True),
        "/health": _gives("Whether a worker can predict", spoken, "score", probe=True),
    }


def _described(about: Documents, base: str) -> dict[str, Json]:
    server = obj(
        {"name": TEXT, "version": TEXT, "extensions": listed(TEXT), "models": listed(TEXT)},
        ["name", "version", "extensions"],
    )
    return {
        "/v2": _get("What the server is", server, "infer"),
        "/metrics": _gives("Prometheus metrics", {"text/plain": {"schema": TEXT}}, "score"),
        "/openapi.json": _get("This document", {"type": "object"}, "score"),
        "/docs": _gives("A page to read and to try", {"text/html": {"schema": TEXT}}, "score"),
    }


def _metadata() -> Json:
    tensor = obj(
        {"name": TEXT, "datatype": TEXT, "shape": listed({"type": "integer"})},
        ["name", "datatype", "shape"],
    )
    sides = {"inputs": listed(tensor), "outputs": listed(tensor)}
    return obj(
        {"name": TEXT, "versions": listed(TEXT), "platform": TEXT, **sides},
        ["name", "platform", "inputs", "outputs"],
    )
