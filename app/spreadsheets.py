"""Tables as CSV that a spreadsheet opens without taking what somebody else wrote for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([_plain(cell) for cell in row] for row in (head, *body))
    return text.getvalue()


def _plain(cell: Any) -> Any:
    """With an apostrophe before it where it begins like a formula and is no number."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    with suppress(ValueError):
        float(cell)
        return cell
    return f"'{cell}"
