"""Whether two answers are the same, row by row, and how far apart their numbers are. Pure.

The rules are those of the gate (`comparing.py` of the agent), which a test holds side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .outputs import Outputs

LONGEST = 200
"""Characters of a value that is shown."""


class Tolerance(NamedTuple):
    """How far two numbers may lie apart: a share of the larger one, or so much in any case."""

    relative: float = 1e-6
    absolute: float = 1e-9

    def allows(self, one: float, other: float) -> bool:
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        return math.isclose(one, other, rel_tol=self.relative, abs_tol=self.absolute)


class Place(NamedTuple):
    """One value of a row on both sides. path: where in the row; empty for the row itself."""

    path: str
    wanted: Any
    got: Any
    same: bool
    distance: float | None = None  # of two numbers; None also where that is not finite


class Compared(NamedTuple):
    """Two answers beside each other. numbers: pairs that have a distance; first: the first rows
    that differ, each {"row" (from 1), "path", "wanted", "got"}."""

    rows: int
    differ: int
    numbers: int
    distance: float
    largest: float
    first: list[dict[str, Any]]


class Missing:
    """Stands where one side has nothing."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


def rows_of(outputs: Outputs) -> list[Any]:
    """The rows of an answer; one value, or bytes, is one row."""
    if outputs.kind == "array":
        return outputs.columns[0].rows()[outputs.start : outputs.stop]
    if outputs.kind == "table":
        return outputs.records()
    return outputs.values if type(outputs.values) is list else [outputs.values]


def compare(
    wanted: Sequence[Any], got: Sequence[Any], tolerance: Tolerance, most: int = 5
) -> Compared:
    """Rows as they are against rows as they might become."""
    differ, numbers, distance, largest = 0, 0, 0.0, 0.0
    first: list[dict[str, Any]] = []
    count = max(len(wanted), len(got))
    for row in range(count):
        found = list(places(_at(wanted, row), _at(got, row), tolerance))
        far = [place.distance for place in found if place.distance is not None]
        numbers, distance = numbers + len(far), distance + sum(far)
        largest = max(largest, *far) if far else largest
        wrong = [place for place in found if not place.same]
        differ += bool(wrong)
        if wrong and len(first) < most:
            first.append(_shown(row + 1, wrong[0]))
    return Compared(count, differ, numbers, distance, largest, first)


def places(wanted: Any, got: Any, tolerance: Tolerance, path: str = "") -> Iterator[Place]:
    """All values of both, side by side.

    Numbers within the tolerance are the same, but two whole numbers only when equal: they may be
    the names of classes. NaN is NaN. Texts, truths and null are the same when equal.
    """
    if type(wanted) is dict and type(got) is dict:
        for key in dict.fromkeys((*wanted, *got)):
            inner = f"{path}.{key}" if path else str(key)
            pair = wanted.get(key, MISSING), got.get(key, MISSING)
            yield from places(*pair, tolerance, inner)
    elif type(wanted) is list and type(got) is list:
        for place in range(max(len(wanted), len(got))):
            pair = _at(wanted, place), _at(got, place)
            yield from places(*pair, tolerance, f"{path}[{place}]")
    elif _number(wanted) and _number(got):
        yield _of_numbers(path, wanted, got, tolerance)
    else:
        yield Place(path, wanted, got, type(wanted) is type(got) and bool(wanted == got))


def _of_numbers(path: str, wanted: float, got: float, tolerance: Tolerance) -> Place:
    whole = type(wanted) is int and type(got) is int
    same = wanted == got if whole else tolerance.allows(wanted, got)
    far = abs(wanted - got)
    return Place(path, wanted, got, same, float(far) if math.isfinite(far) else None)


def _number(value: Any) -> bool:
    return type(value) in (int, float)


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else MISSING


def _shown(row: int, place: Place) -> dict[str, Any]:
    return {"row": row, "path": place.path, "wanted": _said(place.wanted), "got": _said(place.got)}


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
