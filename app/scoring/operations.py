"""What OpenAPI calls operations: each address, what it takes, and all that it may answer."""

from __future__ import annotations

from typing import Any

import msgspec

from .bodies import Bodies, Json, listed, obj, predictions
from .inputs import Reader
from .protocols.mlflow import SHAPES
from .release import Release

TEXT: Json = {"type": "string"}
TRUTH: Json = {"type": "boolean"}
NUMBER: Json = {"type": "integer", "minimum": 0}
JSON, OCTETS, PLAIN = "application/json", "application/octet-stream", "text/plain"
EVENTS, LINES = "text/event-stream", "application/x-ndjson"
EVENT = obj({"event": {"enum": ["message", "end", "error"]}, "data": TEXT}, ["data"])
WORDS = {
    400: "Malformed, or not what this model takes.",
    401: "No token, or not one that is known.",
    403: "The token is not for this.",
    404: "There is nothing of that name.",
    405: "Another method is meant; see Allow.",
    408: "The request did not arrive in time.",
    410: "There is no answer to this job; `cause` says why.",
    413: "The body, or its number of rows, is too large.",
    415: "The body has an encoding or a type that is not understood.",
    417: "Only 100-continue can be expected.",
    429: "Too many wrong tokens; see Retry-After.",
    431: "The headers are too large.",
    500: "The model failed on this request; its log has the traceback.",
    503: "No worker is ready, or too much is asked at once; see Retry-After.",
    504: "No prediction within the model's timeout.",
}
ALWAYS = (400, 405, 408, 413, 417, 431, 500, 503)
GUARDED = (*ALWAYS, 401, 429)
SCORED = (*GUARDED, 415, 504)
ONE_PROTOCOL = ("score", "invocations", "infer")
PROTOCOLS = (*ONE_PROTOCOL, "any")  # of a job any may be the answer's
OUR_HEADERS = ("X-Request-Id", "X-Model-Version", "X-Release")
MORE_HEADERS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}


# What all of them share


def error_shapes() -> Json:
    """The body of an error, protocol by protocol."""
    return {
        "score": obj(
            {"error": obj(dict.fromkeys(("what", "cause", "remedy"), TEXT), ("what",))}, ["error"]
        ),
        "invocations": obj(
            dict.fromkeys(("error_code", "message"), TEXT), ("error_code", "message")
        ),
        "infer": obj({"error": TEXT}, ["error"]),
        "any": {"anyOf": [_reference("schemas", f"{name}_error") for name in ONE_PROTOCOL]},
    }


def headers() -> Json:
    """The headers of answers."""
    said = {
        "X-Request-Id": ("Names the request in the log: yours, if it is sane, or ours.", TEXT),
        "X-Model-Version": ("The version that answered.", NUMBER),
        "X-Release": ("The release that answered.", TEXT),
        "Retry-After": ("Seconds to wait.", NUMBER),
        "WWW-Authenticate": ("Bearer.", TEXT),
        "Allow": ("The methods that are meant.", TEXT),
        "Location": ("Where to ask how the job stands.", TEXT),
        "Preference-Applied": ("respond-async.", TEXT),
    }
    every: Json = {
        name: {"description": words, "schema": schema, "required": True}
        for name, (words, schema) in said.items()
    }
    ignored = {"description": "Columns that were sent and not used.", "schema": TEXT}
    size = {"description": "The JSON's part of a binary answer.", "schema": NUMBER}
    return {**every, "X-Ignored-Columns": ignored, "Inference-Header-Content-Length": size}


def refusals() -> Json:
    """Every error, in the words of every protocol."""
    made = {}
    for name in PROTOCOLS:
        content = {JSON: {"schema": _reference("schemas", f"{name}_error")}}
        for status, words in WORDS.items():
            made[f"{name}_{status}"] = _answer(words, content, *MORE_HEADERS.get(status, ()))
    return made


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _answer(words: str, content: Json | None, *more: str) -> Json:
    """One answer; every one has our headers."""
    known = {name: _reference("headers", name) for name in (*OUR_HEADERS, *more)}
    said: Json = {"description": words, "headers": known}
    return said if content is None else {**said, "content": content}


def _refused(statuses: tuple[int, ...], protocol: str) -> Json:
    return {str(status): _reference("responses", f"{protocol}_{status}") for status in statuses}


def _get(summary: str, content: Json, protocol: str) -> Json:
    answers = {"200": _answer("As asked.", content), **_refused(GUARDED, protocol)}
    return {"get": {"summary": summary, "responses": answers}}


def _told(summary: str, schema: Json, protocol: str) -> Json:
    return _get(summary, {JSON: {"schema": schema}}, protocol)


def _probe(summary: str, content: Json, protocol: str, fails: bool = True) -> Json:
    """One that needs no token. Not ready is 503 in the words of 200, or an error's."""
    answers = {"200": _answer("As asked.", content), **_refused(ALWAYS, protocol)}
    if fails:
        refused = {JSON: {"schema": _reference("schemas", f"{protocol}_error")}}
        either = {"anyOf": [held["schema"] for held in (*content.values(), *refused.values())]}
        body = {**content, **refused} if JSON not in content else {JSON: {"schema": either}}
        answers["503"] = _answer(WORDS[503], body, "Retry-After")
    return {"get": {"summary": summary, "responses": answers, "security": []}}


# The operations


class Operations:
    """All that is answered on the public socket of one release."""

    def __init__(self, release: Release, reader: Reader) -> None:
        self.reader = reader
        self.bodies = Bodies(reader)
        self.v1 = release.v1_path
        self.bases = release.v2_paths
        self.example = _example(release)

    def paths(self) -> Json:
        return {
            **self._scoring(),
            **self._inferring(),
            **self._jobs(),
            **self._probes(),
            **self._metadata(),
            **self._described(),
        }

    # Scoring

    def _scoring(self) -> Json:
        bodies, schema = self.bodies, self.reader.schema
        plain = predictions(schema.outputs, schema.kind in ("columns", "matrix"))
        either = {"anyOf": [plain, _reference("schemas", "inferred")]}
        raw = bodies.kind == "bytes"
        native = {OCTETS: {}} if raw else {JSON: self._media(bodies.score(), True)}
        given = plain if raw else either
        like = type(self.example) is dict and len(set(SHAPES) & set(self.example)) == 1
        mlflow = {OCTETS: {}} if raw else _files(self._media(bodies.invocations(), like))
        instances = {JSON: {"schema": bodies.instances()}}
        return {
            "/score": {"post": self._post("Score rows", native, given, "score")},
            "/invocations": {
                "post": self._post(
                    "Score rows, as MLflow's scoring server",
                    mlflow,
                    {} if bodies.kind == "json" else plain,
                    "invocations",
                )
            },
            f"{self.v1}:predict": {
                "post": self._post("Score rows, as version 1 of KServe", instances, plain, "infer")
            },
        }

    def _inferring(self) -> Json:
        content = {JSON: {"schema": self.bodies.infer()}}
        found = _reference("schemas", "inferred")
        paths = {}
        for base in self.bases:
            asked = self._post(
                "Score tensors (Open Inference Protocol 2)", content, found, "infer", BINARY
            )
            paths[f"{base}/infer"] = {"post": asked}
            for name in ("infer_stream", "generate_stream"):
                streamed = self._post("Score tensors, answered as events", content, {}, "infer")
                streamed["responses"]["200"]["content"] = {EVENTS: {"schema": EVENT}}
                paths[f"{base}/{name}"] = {"post": streamed}
        return paths

    def _media(self, schema: Json, shown: bool) -> Json:
        """JSON; shown: the sample is an example of it."""
        fits = shown and self.example is not None
        return {"schema": schema, "example": self.example} if fits else {"schema": schema}

    def _post(
        self, summary: str, content: Json, answer: Json, protocol: str, words: str = ""
    ) -> Json:
        answers = {
            JSON: {"schema": answer},
            EVENTS: {"schema": EVENT},
            LINES: {"schema": TEXT},
            OCTETS: {},
        }
        size = ("Inference-Header-Content-Length",) if protocol == "infer" else ()
        given = _answer("The predictions.", answers, "X-Ignored-Columns", *size)
        asked: Json = {
            "summary": summary,
            "description": f"{STREAMED} {words}".strip(),
            "parameters": [PREFER],
            "requestBody": {"required": OCTETS not in content, "content": content},
            "responses": {"200": given, "202": _accepted(), **_refused(SCORED, protocol)},
        }
        return asked

    # Jobs

    def _jobs(self) -> Json:
        name = {**TEXT, "pattern": "^[0-9a-f]{32}$"}
        found: Json = {kind: {} for kind in (JSON, EVENTS, LINES, OCTETS)}
        stands = _answer("It is not finished.", {JSON: {"schema": _job()}}, "Retry-After")
        shown = {
            "operationId": "job",
            "summary": "The answer of a job, whatever it is, or how it stands",
            "responses": {
                "200": _answer("The answer, as it would have come at once.", found),
                "202": stands,
                **_refused((*SCORED, 404, 410), "any"),
            },
        }
        dropped = {
            "operationId": "drop",
            "summary": "Cancel a job, or forget its answer",
            "responses": {
                "204": _answer("There will be no answer.", None),
                **_refused((*GUARDED, 404), "score"),
            },
        }
        given = {"name": "id", "in": "path", "required": True, "schema": name}
        return {"/jobs/{id}": {"parameters": [given], "get": shown, "delete": dropped}}

    # What is not scoring

    def _probes(self) -> Json:
        health = obj({"live": TRUTH, "ready": TRUTH, "error": TEXT}, ["live", "ready"])
        said, spoken = {JSON: {"schema": health}}, {PLAIN: {"schema": TEXT}}
        ready = obj({"name": TEXT, "ready": TRUTH, "error": TEXT}, ["name", "ready"])
        model = {JSON: {"schema": ready}}
        live, can = "Whether the front runs", "Whether a worker can predict"
        alive = {JSON: {"schema": obj({"status": {"const": "alive"}}, ["status"])}}
        return {
            "/livez": _probe(live, said, "score", fails=False),
            "/v2/health/live": _probe(live, said, "infer", fails=False),
            "/": _probe(f"{live}, as KServe's", alive, "score", fails=False),
            "/readyz": _probe(can, said, "score"),
            "/v2/health/ready": _probe(can, said, "infer"),
            "/ping": _probe(f"{can}, as SageMaker's", spoken, "score"),
            "/health": _probe(f"{can}, as MLflow's", spoken, "score"),
            self.v1: _probe("Whether the model is ready", model, "infer"),
            **{
                f"{base}/ready": _probe("Whether the model is ready", model, "infer")
                for base in self.bases
            },
        }

    def _metadata(self) -> Json:
        models = obj({"models": listed(TEXT)}, ["models"])
        names = ("name", "version", "state", "reason")
        held = listed(obj(dict.fromkeys(names, TEXT), names), 1)
        server = obj(
            {"name": TEXT, "version": TEXT, "extensions": listed(TEXT), "models": listed(TEXT)},
            ["name", "version", "extensions"],
        )
        index = _told("What the repository holds", held, "infer")["get"]
        paths = {
            "/v2": _told("What the server is", server, "infer"),
            "/v2/models": _told("The models: one", models, "infer"),
            "/v1/models": _told("The models: one", models, "infer"),
            "/v2/repository/index": {"post": index},
        }
        for base in self.bases:
            paths[base] = _told("What the model takes and gives", _model(), "infer")
        return paths

    def _described(self) -> Json:
        spoken = {PLAIN: {"schema": TEXT}}
        measured = _get("Prometheus metrics; needs a token of scope admin", spoken, "score")
        measured["get"]["responses"] |= _refused((403,), "score")
        about = {"model": TEXT, "version": {"type": "integer"}, "release": TEXT, "kind": TEXT}
        about |= {"schema": {"type": "object"}, "pipeline": {"type": ["object", "null"]}}
        page = _probe("A page to read and to try", {"text/html": {"schema": TEXT}}, "score", False)
        return {
            "/metrics": measured,
            "/version": _get("The text rhythmicml, where MLflow says its own", spoken, "score"),
            "/schema": _told("What it takes and gives", obj(about, list(about)), "score"),
            "/openapi.json": _told("This document", {"type": "object"}, "score"),
            "/docs": page,
        }


PREFER: Json = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer 202 with the address of a job at once.",
    "schema": TEXT,
    "examples": {"job": {"value": "respond-async"}, "none": {"value": "wait"}},
}
STREAMED = (
    "With `Accept: text/event-stream` or `application/x-ndjson` the answer comes as a stream: an "
    "event or a line for each item, at the end `event: end`; `event: error`, or a line with "
    "`error`, ends one that failed."
)
BINARY = (
    "Tensors may follow the JSON as bytes (the binary tensor extension): "
    "`Inference-Header-Content-Length` then says where it ends."
)


def _files(media: Json) -> Json:
    """The bodies of `/invocations`: any other content type is 415."""
    return {
        JSON: media,
        "text/csv": {"schema": {**TEXT, "description": "A row of names, then the rows; UTF-8."}},
        "application/vnd.apache.parquet": {},
        "application/x-parquet": {},
    }


def _accepted() -> Json:
    """The answer to `Prefer: respond-async`."""
    said = _answer("A job.", {JSON: {"schema": _job()}}, "Location", "Preference-Applied")
    name = {"id": "$response.body#/job"}
    links = {one: {"operationId": one, "parameters": name} for one in ("job", "drop")}
    return {**said, "links": links}


def _job() -> Json:
    state = {"enum": ["waiting", "running"]}
    return obj({"job": TEXT, "state": state, "url": TEXT, "items": NUMBER}, ["job", "state", "url"])


def _model() -> Json:
    """The metadata of the Open Inference Protocol."""
    size = {"type": "integer", "minimum": -1}
    tensor = obj(
        {"name": TEXT, "datatype": TEXT, "shape": listed(size)}, ["name", "datatype", "shape"]
    )
    sides = {"inputs": listed(tensor), "outputs": listed(tensor)}
    return obj(
        {"name": TEXT, "versions": listed(TEXT), "platform": TEXT, **sides},
        ["name", "platform", "inputs", "outputs"],
    )


def _example(release: Release) -> Any:
    try:
        return msgspec.json.decode(release.sample or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, OSError):
        return None
