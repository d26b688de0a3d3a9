"""CSV with a header row, as columns of numbers, booleans or text."""

from __future__ import annotations

import csv
import io
from collections.abc import Container
from typing import Any

from ..errors import bad_input

_BOOLEANS = {"true": True, "false": False}


def columns(body: bytes, texts: Container[str]) -> dict[str, list[Any]]:
    """The columns by name. An empty field is null; those named in `texts` stay text."""
    names, rows = _table(body)
    data = zip(*rows) if rows else ([] for _ in names)
    return {name: _column(list(fields), name in texts) for name, fields in zip(names, data)}


def _table(body: bytes) -> tuple[list[str], list[list[str]]]:
    try:
        text = body.decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except UnicodeDecodeError:
        raise bad_input("The body is not UTF-8.") from None
    except csv.Error:
        raise bad_input("The body is not well-formed CSV.") from None
    if not rows:
        raise bad_input("The body is empty.", "The first row must name the columns.")
    names = rows.pop(0)
    if len(set(names)) != len(names):
        raise bad_input("A column is named twice.")
    for number, row in enumerate(rows):
        if len(row) != len(names):
            raise bad_input(f"Row {number} has not as many values as there are columns.")
    return names, rows


def _column(fields: list[str], text: bool) -> list[Any]:
    """The fields as what all of them can be: integers, else floats, else booleans, else text."""
    for convert in () if text or "_" in "".join(fields) else (int, float, _boolean):
        try:
            return [convert(field) if field else None for field in fields]
        except (ValueError, KeyError):
            continue
    return [field or None for field in fields]


def _boolean(field: str) -> bool:
    return _BOOLEANS[field.lower()]
