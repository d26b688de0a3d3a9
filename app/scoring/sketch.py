"""How values are spread, in buckets of the same relative width, so that two sketches add up.

A sketch is `{"zero": n, "pos": {bucket: n}, "neg": {bucket: n}, "coarse": k}`, the last left out
when 0. Bucket i holds the values from above g^(i-1) to g^i, where g = GAMMA^(2^k); those of `neg`
are of the values without their sign. One that has too many buckets is made coarser: each two
neighbours become one, which squares g. So a quantile is off by 1 % at k = 0, by 2 % at 1, 4 % at 2.

The idea of buckets of relative width is DDSketch's (Masson, Rim, Lee 2019), that of folding them in
pairs UDDSketch's (Epicoco and others 2020). Pure; the client reads with it what the front wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, log
from typing import Any, NamedTuple

GAMMA = 1.02
_times = (1 / log(GAMMA)).__mul__
SMALLEST = 1e-150
"""What is nearer to zero counts as zero."""
LARGEST = 1 / SMALLEST

Json = dict[str, Any]


class Sketch:
    """A sketch that grows. most: how many buckets it may have."""

    __slots__ = ("coarse", "most", "neg", "pos", "zero")

    def __init__(self, most: int = 128) -> None:
        self.most = most
        self.zero = 0
        self.pos: dict[int, int] = {}
        self.neg: dict[int, int] = {}
        self.coarse = 0

    def add(self, values: Sequence[float], each: int = 1) -> None:
        """Finite values, each of which stands for so many."""
        above = [value for value in values if value >= SMALLEST]
        below = [-value for value in values if value <= -SMALLEST]
        self.zero += (len(values) - len(above) - len(below)) * each
        for side, found in ((self.pos, above), (self.neg, below)):
            if found:
                self._count(side, found, each)
        self._fit()

    def _count(self, side: dict[int, int], values: Iterable[float], each: int) -> None:
        found: Mapping[int, int] = Counter(map(ceil, map(_times, map(log, values))))
        for _ in range(self.coarse):
            found = _folded(found)
        _sum(side, found if each == 1 else {bucket: n * each for bucket, n in found.items()})

    def _fit(self) -> None:
        while len(self.pos) + len(self.neg) > self.most:
            self.pos, self.neg = _folded(self.pos), _folded(self.neg)
            self.coarse += 1

    def as_json(self) -> Json:
        return _written(self.zero, self.pos, self.neg, self.coarse)


def of(values: Sequence[float], most: int = 128) -> Json:
    """The sketch of finite values."""
    sketch = Sketch(most)
    sketch.add(values)
    return sketch.as_json()


def merge(one: Mapping[str, Any], other: Mapping[str, Any], most: int = 128) -> Json:
    """The sketch of the values of both."""
    coarse = max(_coarse(one), _coarse(other))
    zero = one.get("zero", 0) + other.get("zero", 0)
    pos = _sum(_side(one, "pos", coarse), _side(other, "pos", coarse))
    neg = _sum(_side(one, "neg", coarse), _side(other, "neg", coarse))
    while len(pos) + len(neg) > most:
        pos, neg, coarse = _folded(pos), _folded(neg), coarse + 1
    return _written(zero, pos, neg, coarse)


def merge_many(sketches: Iterable[Mapping[str, Any]], most: int = 128) -> Json:
    """The sketch of the values of all: as `merge` one by one, in one pass."""
    every = list(sketches)
    coarse = max(map(_coarse, every), default=0)
    pos: dict[int, int] = {}
    neg: dict[int, int] = {}
    for each in every:
        _sum(pos, _side(each, "pos", coarse))
        _sum(neg, _side(each, "neg", coarse))
    while len(pos) + len(neg) > most:
        pos, neg, coarse = _folded(pos), _folded(neg), coarse + 1
    return _written(sum(each.get("zero", 0) for each in every), pos, neg, coarse)


def _written(zero: int, pos: dict[int, int], neg: dict[int, int], coarse: int) -> Json:
    said: Json = {
        "zero": zero,
        "pos": {str(bucket): pos[bucket] for bucket in sorted(pos)},
        "neg": {str(bucket): neg[bucket] for bucket in sorted(neg)},
    }
    return {**said, "coarse": coarse} if coarse else said


def _coarse(sketch: Mapping[str, Any]) -> int:
    return int(sketch.get("coarse", 0))


def _side(sketch: Mapping[str, Any], name: str, coarse: int) -> dict[int, int]:
    """Buckets of one sign, folded until they are as coarse as that."""
    side = {int(bucket): n for bucket, n in sketch.get(name, {}).items()}
    for _ in range(coarse - _coarse(sketch)):
        side = _folded(side)
    return side


def _folded(side: Mapping[int, int]) -> dict[int, int]:
    """Buckets twice as wide: of 2j-1 and 2j, bucket j."""
    folded: dict[int, int] = {}
    for bucket, n in side.items():
        wide = -(-bucket >> 1)
        folded[wide] = folded.get(wide, 0) + n
    return folded


def _sum(one: dict[int, int], other: Mapping[int, int]) -> dict[int, int]:
    for bucket, n in other.items():
        one[bucket] = one.get(bucket, 0) + n
    return one


# Reading


class Bucket(NamedTuple):
    """n values from low to high; which end belongs to it depends on the sign."""

    low: float
    high: float
    n: int

    @property
    def middle(self) -> float:
        """The value that is off by the same share at most, whichever of the bucket was meant."""
        if not self.low or not self.high:
            return 0.0
        return 2 * self.low * self.high / (self.low + self.high)


def buckets(sketch: Mapping[str, Any]) -> list[Bucket]:
    """All that hold something, from the lowest values to the highest."""
    base = GAMMA ** (1 << _coarse(sketch))
    neg, pos = ({int(b): n for b, n in sketch.get(s, {}).items()} for s in ("neg", "pos"))
    below = [Bucket(-(base**b), -(base ** (b - 1)), neg[b]) for b in sorted(neg, reverse=True)]
    above = [Bucket(base ** (b - 1), base**b, pos[b]) for b in sorted(pos)]
    zero = [Bucket(0.0, 0.0, sketch["zero"])] if sketch.get("zero") else []
    return [*below, *zero, *above]


def count(sketch: Mapping[str, Any]) -> int:
    """How many values it is of."""
    sides = (sum(sketch.get(side, {}).values()) for side in ("pos", "neg"))
    return int(sketch.get("zero", 0) + sum(sides))


def quantile(sketch: Mapping[str, Any], share: float) -> float | None:
    """The value that this share of all lies at or below; None where there is none."""
    rank = share * (count(sketch) - 1)
    seen = 0
    for bucket in buckets(sketch):
        seen += bucket.n
        if seen > rank:
            return bucket.middle
    return None
