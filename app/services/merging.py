"""One text out of two that were made from the same one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

THEIRS, BETWEEN, YOURS = "<<<<<<< in the file now", "=======", ">>>>>>> yours"


class Merged(NamedTuple):
    """The text, and how many places of it were changed on both sides: those hold both."""

    text: str
    conflicts: int


class _Edit(NamedTuple):
    """Lines low to high of the base became these."""

    low: int
    high: int
    lines: list[str]


def merge(base: str, theirs: str, yours: str) -> Merged:
    """What both made of the base, line by line."""
    lines = base.splitlines()
    edits = [_edits(lines, other.splitlines()) for other in (theirs, yours)]
    merged: list[str] = []
    at = conflicts = 0
    for low, high, *sides in _places(*edits):
        merged += lines[at:low]
        now, own = (_applied(lines, low, high, side) for side in sides)
        if now == own or not sides[1]:
            merged += now
        elif not sides[0]:
            merged += own
        else:
            merged += [THEIRS, *now, BETWEEN, *own, YOURS]
            conflicts += 1
        at = high
    return Merged("".join(f"{line}\n" for line in merged + lines[at:]), conflicts)


def _edits(base: list[str], other: list[str]) -> list[_Edit]:
    codes = SequenceMatcher(None, base, other, autojunk=False).get_opcodes()
    return [_Edit(a, b, other[c:d]) for kind, a, b, c, d in codes if kind != "equal"]


def _places(
    theirs: list[_Edit], yours: list[_Edit]
) -> Iterator[tuple[int, int, list[_Edit], list[_Edit]]]:
    """Where the base was changed: edits of both sides that meet are one place."""
    sides: tuple[list[_Edit], list[_Edit]] = ([], [])
    low = high = -1
    for edit, side in sorted([(e, 0) for e in theirs] + [(e, 1) for e in yours]):
        if any(sides) and not _meet(edit, low, high):
            yield low, high, *sides
            sides = ([], [])
        if not any(sides):
            low, high = edit.low, edit.high
        sides[side].append(edit)
        high = max(high, edit.high)
    if any(sides):
        yield low, high, *sides


def _meet(edit: _Edit, low: int, high: int) -> bool:
    return edit.low < high or (edit.low == high and low == high)


def _applied(base: list[str], low: int, high: int, edits: list[_Edit]) -> list[str]:
    made: list[str] = []
    for edit in edits:
        made += base[low : edit.low] + edit.lines
        low = edit.high
    return made + base[low:high]
