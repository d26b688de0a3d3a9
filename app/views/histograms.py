"""How the values of a column are spread, then and now, as a drawing of two. Pure.

Then is filled, now is a line over it; both by shares, so that few values are as tall as many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.scoring import sketch
from app.words import short

WIDE, TALL = 220.0, 44.0
BINS = 24
ENDS = (0.005, 0.995)
"""Shares between which the axis lies; what is beyond is in the first and last bin."""
WORDS = 8
"""Values that have a bar each; all others share one."""

Summary = Mapping[str, Any]


@dataclass(frozen=True)
class Histogram:
    """then, now: paths of an SVG, WIDE × TALL; empty where there is nothing. left, right: what
    stands below its ends. words: the same to be read out."""

    then: str
    now: str
    left: str
    right: str
    words: str


def draw(then: Summary | None, now: Summary) -> Histogram | None:
    """None where the two are not of a kind, or there are no values."""
    sides = [now] if then is None else [then, now]
    kinds = {"sketch" in each for each in sides}
    if len(kinds) > 1:
        return None
    shares = _numbers(sides) if kinds == {True} else _words(sides)
    if shares is None:
        return None
    names, counts = shares
    tallest = max((max(side) for side in counts), default=0.0) or 1.0
    paths = [_path([share / tallest for share in side]) for side in counts]
    before = paths[0] if then is not None else ""
    return Histogram(before, paths[-1], names[0], names[-1], _said(names, counts[-1]))


def _numbers(sides: Sequence[Summary]) -> tuple[list[str], list[list[float]]] | None:
    sketches = [each["sketch"] for each in sides]
    ends = [sketch.quantile(each, share) for each in sketches for share in ENDS]
    known = [end for end in ends if end is not None]
    if not known:
        return None
    least = min(each["min"] for each in sides if each["min"] is not None)
    most = max(each["max"] for each in sides if each["max"] is not None)
    low, high = (min(max(end, least), most) for end in (min(known), max(known)))
    if low == high:
        low, high = low - 1, high + 1
    names = [short(low), *[""] * (BINS - 2), short(high)]
    return names, [_binned(each, low, high) for each in sketches]


def _binned(one: Summary, low: float, high: float) -> list[float]:
    """Shares of bins of equal width; a bucket that lies in several is spread over them."""
    counts = [0.0] * BINS
    width = (high - low) / BINS
    for bucket in sketch.buckets(one):
        first, last = (_place((end - low) / width) for end in (bucket.low, bucket.high))
        for place in range(first, last + 1):
            counts[place] += bucket.n / (last - first + 1)
    total = sum(counts) or 1.0
    return [count / total for count in counts]


def _place(at: float) -> int:
    return int(max(0.0, min(BINS - 1.0, at)))


def _words(sides: Sequence[Summary]) -> tuple[list[str], list[list[float]]] | None:
    counts = [{str(value): n for value, n in each["top"]} for each in sides]
    often = sorted(counts[0], key=lambda name: -counts[0][name])
    new = sorted((n for n in counts[-1] if n not in counts[0]), key=lambda name: -counts[-1][name])
    names = [*often, *new][:WORDS]
    shares = []
    for each, held in zip(sides, counts, strict=True):
        total = each["count"] - each["nulls"]
        bars = [held.get(name, 0) / total if total else 0.0 for name in names]
        shares.append([*bars, max(0.0, 1.0 - sum(bars)) if total else 0.0])
    if not names and not any(map(any, shares)):
        return None
    return [*names, "others"], shares


def _path(heights: Sequence[float]) -> str:
    """Steps from left to right, closed along the ground."""
    step, points = WIDE / len(heights), [f"M0 {TALL:g}"]
    for number, height in enumerate(heights):
        y = TALL - height * (TALL - 2)
        points.append(f"L{number * step:.1f} {y:.1f} L{(number + 1) * step:.1f} {y:.1f}")
    return " ".join([*points, f"L{WIDE:g} {TALL:g}Z"])


def _said(names: Sequence[str], now: Sequence[float]) -> str:
    if not all(names):
        return f"from {names[0]} to {names[-1]}"
    pairs = zip(names, now, strict=True)
    return ", ".join(f"{name} {share:.0%}" for name, share in pairs)
