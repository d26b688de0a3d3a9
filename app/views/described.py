"""Routes that say what they take and give: read requests by that, and tell it as OpenAPI."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from app.errors import Problem

Schema = dict[str, Any]

TEXT = r"^[^\u0000]*$"
LARGEST = 2**31 - 1
OBJECT: Schema = {"type": "object"}
PLAIN: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
}
KINDS = {
    "boolean": bool,
    "string": str,
    "integer": int,
    "texts": list,
    "values": dict,
    "object": dict,
}
TEXTS: Schema = {"type": "array", "items": {"type": "string", "pattern": TEXT}}
VALUE: Schema = {
    "anyOf": [*({"type": kind} for kind in ("number", "boolean")), TEXTS["items"], TEXTS]
}
SHAPES: dict[str, Schema] = {
    "texts": TEXTS,
    "values": {
        "type": "object",
        "propertyNames": {"pattern": TEXT},
        "additionalProperties": VALUE,
    },
    "object": OBJECT,
}
PARAMETER = re.compile(r"<(?:(int)(?:\([^)]*\))?:)?(\w+)>")
REFUSALS = {
    400: "It could not be done: a Problem says why, and what helps",
    401: "No token, or a wrong one",
    403: "Another page asks, or another host is meant",
    404: "Something that is named is not there",
    409: "Somebody else is at it, or changed it meanwhile",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The request is not as described here",
    429: "Too many wrong tokens",
}
OF_BODIES = (413, 415)


class Malformed(Problem):
    """A request that is not as it was described."""


@dataclass(frozen=True)
class Field:
    """A value of a body or of the query. secret: it is never said back.

    kind: string, integer, boolean, texts (a list of them), values (an object of plain ones) or
    object.
    """

    name: str
    about: str
    kind: str = "string"
    required: bool = False
    least: int = 0
    most: int = LARGEST
    pattern: str = TEXT
    secret: bool = False

    @property
    def schema(self) -> Schema:
        if self.kind in SHAPES:
            return SHAPES[self.kind]
        if self.kind == "boolean":
            return {"type": "boolean"}
        if self.kind == "integer":
            return {"type": "integer", "minimum": self.least, "maximum": self.most}
        lengths = {"minLength": self.least, "maxLength": self.longest}
        return {"type": "string", "pattern": self.pattern, **lengths}

    @property
    def longest(self) -> int:
        return 10_000 if self.most == LARGEST else self.most

    def read(self, value: Any) -> Any:
        """The value, if it may be one."""
        if self.kind == "integer" and isinstance(value, float) and value.is_integer():
            value = int(value)
        fits = type(value) is KINDS[self.kind]
        if fits and isinstance(value, str):
            lengths = self.least <= len(value) <= self.longest
            fits = lengths and bool(re.search(self.pattern, value)) and _is_text(value)
        elif fits and self.kind == "texts":
            fits = all(map(_is_plain_text, value))
        elif fits and self.kind == "values":
            fits = all(_is_plain_text(key) and _is_plain(held) for key, held in value.items())
        elif fits and self.kind == "integer":
            fits = self.least <= value <= self.most
        if not fits:
            raise Malformed(
                f'"{self.name}" does not fit.',
                cause=f"{'It' if self.secret else _shortened(value)} is not {_words(self)}.",
                remedy=f"It is: {self.about}.",
            )
        return value

    def read_text(self, text: str) -> Any:
        """The same from a query, where all is text."""
        if self.kind == "boolean":
            return self.read({"true": True, "false": False}.get(text, text))
        if self.kind == "integer" and re.fullmatch("-?[0-9]{1,12}", text):
            return self.read(int(text))
        return self.read(text)


@dataclass(frozen=True)
class Route:
    """One operation: its docstring is its description.

    does: called with the path's values and those of query and body, by name. answer: the type or
    schema of what it gives back.
    """

    method: str
    path: str
    does: Callable[..., Any]
    answer: Any = None
    query: tuple[Field, ...] = ()
    body: tuple[Field, ...] = ()
    status: int = 200
    leads: tuple[str, dict[str, str]] | None = None
    """The operation that shows what came of it, and where its parameters are found."""

    @property
    def name(self) -> str:
        return self.does.__name__.strip("_")

    def asked(self, query: Mapping[str, str], kind: str, body: bytes) -> dict[str, Any]:
        """What a request says, by name. kind: its media type."""
        known = {field.name: field for field in self.query}
        _refuse_unknown(query, known)
        said = {name: known[name].read_text(text) for name, text in query.items()}
        return said | self._read_body(kind, body)

    def _read_body(self, kind: str, body: bytes) -> dict[str, Any]:
        given = _object(kind, body) if body else {}
        known = {field.name: field for field in self.body}
        _refuse_unknown(given, known)
        if missing := [each.name for each in self.body if each.required and each.name not in given]:
            raise Malformed(
                f'"{missing[0]}" is missing.', remedy=f"It is: {known[missing[0]].about}."
            )
        return {name: known[name].read(value) for name, value in given.items()}


class NotJson(Problem):
    """A body of another media type."""


def _object(kind: str, body: bytes) -> dict[str, Any]:
    if kind != "application/json":
        raise NotJson(f'The body is "{kind}".', remedy="Send it as application/json.")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed("The body is not JSON.", cause=str(error)) from error
    if not isinstance(given, dict):
        raise Malformed("The body is not an object.", remedy='Send one, such as {"name": "churn"}.')
    return given


def _refuse_unknown(given: Iterable[str], known: Mapping[str, Field]) -> None:
    if unknown := sorted(set(given) - set(known)):
        there = ", ".join(known) or "none"
        raise Malformed(
            f"{_shortened(unknown[0])} is not known here.", cause=f"There are: {there}."
        )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shortened(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:59] + "…"


def _is_plain_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and _is_text(value)


def _is_plain(value: Any) -> bool:
    """Whether it is a number, true or false, a text, or a list of texts."""
    if isinstance(value, list):
        return all(map(_is_plain_text, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) or _is_plain_text(value)


def _words(field: Field) -> str:
    schema = field.schema
    if field.kind == "string":
        return f"text of {schema['minLength']} to {schema['maxLength']} characters as described"
    if field.kind == "integer":
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    return {
        "boolean": "true or false",
        "texts": "a list of texts",
        "values": "an object of numbers, texts, lists of texts, true or false",
        "object": "an object",
    }[field.kind]


def document(routes: Iterable[Route], prefix: str, title: str, version: str) -> Schema:
    """The routes as an OpenAPI 3.1 document."""
    named: dict[str, Schema] = {"Problem": _problem()}
    paths: dict[str, Schema] = {}
    for route in routes:
        path = prefix + PARAMETER.sub(r"{\2}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, named)
    refusals = {
        f"Refused{status}": _response(words, {"$ref": "#/components/schemas/Problem"})
        for status, words in REFUSALS.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": named,
            "responses": refusals,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, named: dict[str, Schema]) -> Schema:
    first, _, rest = (route.does.__doc__ or "").strip().partition("\n")
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _in_path(kind)}
        for kind, name in PARAMETER.findall(route.path)
    ]
    in_query = [
        {"name": f.name, "in": "query", "description": f.about, "schema": f.schema}
        for f in route.query
    ]
    refused = [status for status in REFUSALS if route.body or status not in OF_BODIES]
    done = _response("Done", schema_of(route.answer, named))
    if route.leads:
        shows, parameters = route.leads
        done["links"] = {shows: {"operationId": shows, "parameters": parameters}}
    answers = {str(route.status): done}
    for status in refused:
        answers[str(status)] = {"$ref": f"#/components/responses/Refused{status}"}
    operation = {
        "operationId": route.name,
        "summary": first,
        "description": " ".join(rest.split()),
        "parameters": in_path + in_query,
        "responses": answers,
    }
    return operation | ({"requestBody": _body(route.body)} if route.body else {})


def _in_path(kind: str) -> Schema:
    if kind == "int":
        return {"type": "integer", "minimum": 0, "maximum": LARGEST}
    return {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}


def _body(fields: tuple[Field, ...]) -> Schema:
    schema = {
        "type": "object",
        "properties": {each.name: {**each.schema, "description": each.about} for each in fields},
        "required": [each.name for each in fields if each.required],
        "additionalProperties": False,
    }
    required = any(each.required for each in fields)
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _response(words: str, schema: Schema) -> Schema:
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def _problem() -> Schema:
    parts = dict.fromkeys(("kind", "what", "cause", "remedy", "detail"), PLAIN[str])
    error = {"type": "object", "properties": parts, "required": ["kind", "what"]}
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}


def schema_of(kind: Any, named: dict[str, Schema]) -> Schema:
    """A type of Python as a schema; dataclasses are put among the named ones.

    A schema stays what it is.
    """
    if isinstance(kind, dict):
        return kind
    if kind in PLAIN:
        return PLAIN[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(each, named) for each in args]}
    if origin is list or (origin is tuple and args[-1] is ...):
        return {"type": "array", "items": schema_of(args[0], named)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1], named)}
    if dataclasses.is_dataclass(kind):
        return _of_dataclass(kind, named)
    return {"type": "array"} if origin is tuple else {}


def _of_dataclass(kind: Any, named: dict[str, Schema]) -> Schema:
    if kind.__name__ not in named:
        named[kind.__name__] = {}
        hints = get_type_hints(kind)
        fields = {f.name: schema_of(hints[f.name], named) for f in dataclasses.fields(kind)}
        named[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip().partition("\n")[0],
            "properties": fields,
            "required": list(fields),
        }
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
