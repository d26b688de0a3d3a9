"""How far a column has moved from how it was: PSI and Kolmogorov–Smirnov, from summaries. Pure.

psi = Σ (b - a) ln(b / a) over bins of equal weight in the reference (numbers), or over the values
that are counted (all else). ks = the largest distance of the two cumulative shares.

A sketch's buckets are as wide as 2 % of the value, or more, so numbers that differ less, as years
do, are in the same few: there `shift`, in the reference's own deviations, tells what psi cannot.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from app.scoring import sketch

BINS = 10
FLOOR = 1e-4
"""The share that an empty bin is taken to have, so that the logarithm is finite."""
FEW = 5
"""Buckets below which a sketch is blind."""

Summary = Mapping[str, Any]


def psi(reference: Sequence[float], current: Sequence[float]) -> float:
    """Of counts by the same bins; 0 where either has none."""
    if not sum(reference) or not sum(current):
        return 0.0
    used = [pair for pair in zip(reference, current, strict=True) if any(pair)]
    sides = [_shares(side) for side in zip(*used, strict=True)]
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(*sides, strict=True))


def _shares(counts: Sequence[float]) -> list[float]:
    """Shares that sum to 1, none of them 0."""
    least = FLOOR * sum(counts)
    held = [max(n, least) for n in counts]
    return [n / sum(held) for n in held]


def ks(reference: Summary, current: Summary) -> float:
    """Of two sketches: the largest distance of their cumulative shares, at buckets' middles."""
    sides = [_points(reference), _points(current)]
    places = sorted({value for side in sides for value, _ in side})
    shares = [_cumulative(side, places) for side in sides]
    return max((abs(a - b) for a, b in zip(*shares, strict=True)), default=0.0)


def _points(one: Summary) -> list[tuple[float, int]]:
    return [(bucket.middle, bucket.n) for bucket in sketch.buckets(one)]


def _cumulative(points: Sequence[tuple[float, int]], places: Sequence[float]) -> list[float]:
    """The share of values at or below each place."""
    counts = dict(points)
    total, seen, said = sum(counts.values()) or 1, 0, []
    for place in places:
        seen += counts.get(place, 0)
        said.append(seen / total)
    return said


def binned(reference: Summary, current: Summary, bins: int = BINS) -> list[list[int]]:
    """Two sketches counted by the same bins, of about equal weight in the reference."""
    quantiles = (sketch.quantile(reference, n / bins) for n in range(1, bins))
    edges = sorted({edge for edge in quantiles if edge is not None})
    counts = [[0] * (len(edges) + 1) for _ in range(2)]
    for side, one in zip(counts, (reference, current), strict=True):
        for value, n in _points(one):
            side[bisect_left(edges, value)] += n
    return counts


def common(reference: Summary, current: Summary) -> tuple[Summary, Summary]:
    """Two sketches as coarse as each other, so that their buckets are the same ones."""
    empty = [sketch.of(())]
    coarse = [{**sketch.of(()), "coarse": one.get("coarse", 0)} for one in (current, reference)]
    return tuple(  # type: ignore[return-value]
        sketch.merge_many([one, other, *empty], most=1 << 30)
        for one, other in zip((reference, current), coarse, strict=True)
    )


def of_numbers(reference: Summary, current: Summary) -> dict[str, float | None]:
    """{"psi", "ks", "shift": of the mean in deviations, "spread": deviation over deviation}."""
    pair = common(reference["sketch"], current["sketch"])
    was, now = deviation(reference), deviation(current)
    known = reference["mean"] is not None and current["mean"] is not None
    apart = current["mean"] - reference["mean"] if known else None
    return {
        "psi": psi(*binned(*pair)),
        "ks": ks(*pair),
        "shift": apart / was if apart is not None and was else None,
        "spread": now / was if was and now is not None else None,
    }


def deviation(one: Summary) -> float | None:
    n = one["count"] - one["nulls"]
    return math.sqrt(max(one["m2"], 0.0) / n) if n else None


def of_words(reference: Summary, current: Summary) -> dict[str, float | None]:
    """{"psi", "ks": None, …} of values that are counted; all others are one."""
    counts = [{str(value): n for value, n in one["top"]} for one in (reference, current)]
    names = sorted(set().union(*counts))
    sides = []
    for one, counted in zip((reference, current), counts, strict=True):
        rest = one["count"] - one["nulls"] - sum(counted.values())
        sides.append([*(counted.get(name, 0) for name in names), max(rest, 0)])
    return {"psi": psi(*sides), "ks": None, "shift": None, "spread": None}


def compare(reference: Summary, current: Summary) -> dict[str, Any]:
    """How far one column moved: those of `of_numbers`, "nulls" (share now less share then),
    "blind" (few buckets: look at shift and spread), "score": what a limit is compared with."""
    same = ("sketch" in reference) == ("sketch" in current)
    numbers = same and "sketch" in reference
    said = (of_numbers if numbers else of_words)(reference, current) if same else dict(NOTHING)
    few = numbers and len(sketch.buckets(reference["sketch"])) < FEW
    score = said["psi"] or 0.0
    if few and said["shift"] is not None:
        score = max(score, said["shift"] ** 2)  # the PSI of two normals so far apart
    nulls = _nulls(current) - _nulls(reference)
    return {**said, "nulls": nulls, "blind": few, "score": score}


NOTHING: dict[str, float | None] = {"psi": None, "ks": None, "shift": None, "spread": None}


def _nulls(one: Summary) -> float:
    return one["nulls"] / one["count"] if one["count"] else 0.0
