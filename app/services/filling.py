"""A request as a form: a field for each thing that a schema asks for, and back. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MOST = 64
"""Fields that a person fills in; with more of them a request is written as JSON."""
WRAPPED = ("inputs", "instances", "dataframe_records")

Schema = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """One field. hint: its type and limits. choices: the only values, if it has such."""

    name: str
    hint: str
    value: str
    choices: tuple[str, ...] = ()


def entries(schema: Schema | None, body: str) -> list[Entry]:
    """The form of one row, filled in from a request; none where a schema asks for no fields."""
    asked = _asked(schema)
    row = _first_row(body)
    if isinstance(row, list):
        values = row + [None] * (len(asked) - len(row))
    else:
        values = [row.get(field["name"]) for field in asked]
    return [_entry(field, value) for field, value in zip(asked, values, strict=False)]


def body_of(schema: Schema | None, typed: Sequence[str]) -> str:
    """The request that a filled-in form stands for."""
    asked = _asked(schema)
    values = [_value(field, text.strip()) for field, text in zip(asked, typed, strict=True)]
    if schema and schema["kind"] == "matrix":
        row: Any = values
    else:
        row = {field["name"]: value for field, value in zip(asked, values, strict=True)}
    return json.dumps({"inputs": [row]}, indent=2, ensure_ascii=False)


def _asked(schema: Schema | None) -> list[dict[str, Any]]:
    """What there is a field for: the columns, or each place of a short row of numbers."""
    if not schema or schema["kind"] == "bytes":
        return []
    fields: list[dict[str, Any]] = schema["inputs"]
    if schema["kind"] == "matrix":
        shape = fields[0]["shape"] if len(fields) == 1 else []
        long = shape[0] if len(shape) == 1 else 0
        fields = [{**fields[0], "name": str(at)} for at in range(1, long + 1)]
    return fields if len(fields) <= MOST else []


def _first_row(body: str) -> Any:
    """The first row of a request, by name or by place; nothing where it has another form."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    if isinstance(said, dict):
        said = next((said[key] for key in WRAPPED if key in said), said)
    if isinstance(said, dict) and said and all(isinstance(v, list) and v for v in said.values()):
        return {name: column[0] for name, column in said.items()}
    row = said[0] if isinstance(said, list) and said else said
    return row if isinstance(row, dict | list) else {}


def _entry(field: dict[str, Any], value: Any) -> Entry:
    allowed = ("true", "false") if field["type"] == "bool" else tuple(field["values"] or ())
    low, high = field["min"], field["max"]
    words = [field["type"], f"from {low:g}" if low is not None else ""]
    words += [f"to {high:g}" if high is not None else "", "or empty" if field["nullable"] else ""]
    hint = " ".join(filter(None, words))
    return Entry(field["name"], hint, _shown(value), tuple(_shown(each) for each in allowed))


def _shown(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _value(field: dict[str, Any], text: str) -> Any:
    """What was typed, as the field's type; as text where it is none: the instance says why not."""
    if not text and field["nullable"]:
        return None
    for each in field["values"] or ():
        if _shown(each) == text:
            return each
    if field["type"].startswith(("int", "uint", "float", "bool", "json")) or field["shape"]:
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return text if isinstance(value, float) and not math.isfinite(value) else value
    return text
