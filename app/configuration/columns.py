"""What `[schema]` says of a model's columns."""

from __future__ import annotations

import math
from typing import Any

from app.configuration.values import Wrong, spelt, truth_of

COLUMN = {"type", "shape", "nullable", "values", "min", "max"}
TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "string", "category", "datetime", "bytes", "json"),
)


def columns(value: Any) -> dict[str, dict[str, Any]]:
    """Column → what is declared of it: `{ type = "float64", min = 0 }`."""
    if not isinstance(value, dict):
        raise Wrong(f'must be a table such as {{ age = {{ type = "int64" }} }}, not {spelt(value)}')
    return {name: _column(name, declared) for name, declared in value.items()}


def _column(name: str, declared: Any) -> dict[str, Any]:
    if not isinstance(declared, dict) or (unknown := sorted(set(declared) - COLUMN)):
        known = ", ".join(sorted(COLUMN))
        what = spelt(unknown[0]) if isinstance(declared, dict) else spelt(declared)
        raise Wrong(f'must describe "{name}" by {known}, not by {what}')
    try:
        return _checked_column(declared)
    except Wrong as wrong:
        raise Wrong(f'describes "{name}", whose {wrong}') from None


def _checked_column(declared: dict[str, Any]) -> dict[str, Any]:
    said = dict(declared)
    if "type" not in said:
        raise Wrong(f"type is missing; use one of {', '.join(TYPES)}")
    numeric = said["type"].startswith(("int", "uint", "float")) if said["type"] in TYPES else None
    if numeric is None:
        raise Wrong(f"type must be one of {', '.join(TYPES)}, not {spelt(said['type'])}")
    shape = said.get("shape", [])
    if not isinstance(shape, list) or not all(type(n) is int and (n > 0 or n == -1) for n in shape):
        raise Wrong(f"shape must be a list of sizes such as [3, 224, 224], not {spelt(shape)}")
    if "nullable" in said:
        truth_of("nullable", said["nullable"])
    if "values" in said and (not isinstance(said["values"], list) or not said["values"]):
        raise Wrong(f"values must be a list of what is allowed, not {spelt(said['values'])}")
    for bound in ("min", "max"):
        held = said.get(bound, 0)
        if isinstance(held, bool) or not isinstance(held, int | float) or not math.isfinite(held):
            raise Wrong(f"{bound} must be a finite number, not {spelt(held)}")
        if bound in said and not numeric:
            raise Wrong(f"{bound} makes sense for numbers only")
    if said.get("min", -math.inf) > said.get("max", math.inf):
        raise Wrong("min is above max")
    return said
