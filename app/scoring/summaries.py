"""What the values of one column were like, so that two summaries add up. Pure.

Of numbers: {"count", "nulls", "mean", "m2", "min", "max", "sketch"}, where m2 is the sum of squared
distances from the mean. Of all else: {"count", "nulls", "top": [[value, n], …], "distinct_more"}:
the most frequent values, and at least how many others there were. count is with nulls: those, what
is not finite, and what is not of the column's kind. Names and values are cut, and what a terminal
would act on is escaped: they come from whoever sends requests.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union

import msgspec

from . import sketch
from .sketch import LARGEST, Json, Sketch

TOP = 20
MOST_DISTINCT = 200
"""Values that are counted; the rarest are given up for those that come later."""
LONGEST = 60  # characters of a value, or of a column's name


class Numbers:
    """Of numbers, as they come."""

    def __init__(self) -> None:
        self.count = self.nulls = 0
        self.mean = self.m2 = 0.0
        self.least, self.most = math.inf, -math.inf
        self.sketch = Sketch()

    def add(self, values: Sequence[Any]) -> None:
        found = [_clamped(value) for value in values if _is_number(value)]
        before = self.count - self.nulls
        self.count += len(values)
        self.nulls += len(values) - len(found)
        if not found:
            return
        self.sketch.add(found)
        mean = math.fsum(found) / len(found)
        m2 = math.fsum((value - mean) ** 2 for value in found)
        self.mean, self.m2 = _moments((before, self.mean, self.m2), (len(found), mean, m2))
        self.least, self.most = min(self.least, *found), max(self.most, *found)

    def as_json(self) -> Json:
        some = self.count > self.nulls
        return {
            "count": self.count,
            "nulls": self.nulls,
            "mean": self.mean if some else None,
            "m2": self.m2,
            "min": self.least if some else None,
            "max": self.most if some else None,
            "sketch": self.sketch.as_json(),
        }


class Words:
    """Of anything else, as it comes."""

    def __init__(self, hidden: bool = False) -> None:
        self.hidden = hidden  # whether no value may be kept
        self.count = self.nulls = self.given_up = 0
        self.seen: Counter[str] = Counter()

    def add(self, values: Sequence[Any]) -> None:
        self.count += len(values)
        self.nulls += sum(value is None for value in values)
        if self.hidden:
            return
        self.seen.update(shown(value) for value in values if value is not None)
        if len(self.seen) > MOST_DISTINCT:
            kept = self.seen.most_common(MOST_DISTINCT // 2)
            self.given_up += len(self.seen) - len(kept)
            self.seen = Counter(dict(kept))

    def as_json(self) -> Json:
        """A value that came once only says more of a person than of a column: it is left out."""
        often = {value: n for value, n in self.seen.items() if n > 1}
        more = len(self.seen) - len(often) + self.given_up
        return _of_words(self.count, self.nulls, often, more)


Summary = Union[Numbers, Words]


def of(values: Sequence[Any], hidden: bool = False) -> Summary:
    """An empty summary of the kind that these values want."""
    kinds = {type(value) for value in values} - {type(None)}
    return Numbers() if kinds and kinds <= {int, float} and not hidden else Words(hidden)


def merge(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """The summary of the values of both. Of two kinds, the one with more values stays, and the
    other's become values that are not of its kind."""
    if ("sketch" in one) != ("sketch" in other):
        more, less = (one, other) if one["count"] >= other["count"] else (other, one)
        counts = {name: more[name] + less["count"] for name in ("count", "nulls")}
        return {**more, **counts}
    return _merge_numbers(one, other) if "sketch" in one else _merge_words(one, other)


def _merge_numbers(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    mean, m2 = _moments(_parts(one), _parts(other))
    ends = [[each[end] for each in (one, other) if each[end] is not None] for end in ("min", "max")]
    return {
        "count": one["count"] + other["count"],
        "nulls": one["nulls"] + other["nulls"],
        "mean": mean if ends[0] else None,
        "m2": m2,
        "min": min(ends[0], default=None),
        "max": max(ends[1], default=None),
        "sketch": sketch.merge(one["sketch"], other["sketch"]),
    }


def _parts(said: Mapping[str, Any]) -> tuple[int, float, float]:
    return said["count"] - said["nulls"], said["mean"] or 0.0, said["m2"]


def _moments(one: tuple[int, float, float], other: tuple[int, float, float]) -> tuple[float, float]:
    """Mean and m2 of two sets of (n, mean, m2), by Chan, Golub and LeVeque's rule."""
    n = one[0] + other[0]
    if not n:
        return 0.0, 0.0
    share, apart = other[0] / n, other[1] - one[1]
    return one[1] + apart * share, one[2] + other[2] + apart * apart * one[0] * share


def _merge_words(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    counts: Counter[str] = Counter(dict(one["top"]))
    counts.update(dict(other["top"]))
    more = max(one["distinct_more"], other["distinct_more"])
    return _of_words(one["count"] + other["count"], one["nulls"] + other["nulls"], counts, more)


def _of_words(count: int, nulls: int, seen: Mapping[str, int], more: int) -> Json:
    top = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    return {
        "count": count,
        "nulls": nulls,
        "top": [list(item) for item in top[:TOP]],
        "distinct_more": more + len(top[TOP:]),
    }


def merge_all(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """Column → summary, of two such tables."""
    both = {name: merge(one[name], other[name]) for name in one.keys() & other.keys()}
    return {**one, **other, **both}


# Values


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -math.inf < value < math.inf


def _clamped(value: float) -> float:
    """As a float whose square is one too."""
    try:
        return max(-LARGEST, min(LARGEST, float(value)))
    except OverflowError:
        return LARGEST if value > 0 else -LARGEST


def shown(value: Any) -> str:
    """A value as a line of plain text, or a column's name: escaped, and cut when it is long."""
    text = value if type(value) is str else msgspec.json.encode(value).decode()
    if text.isprintable() and len(text) <= LONGEST:
        return text
    return cut(escaped(text[: 4 * LONGEST]), text)


def escaped(text: str) -> str:
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"  # some have five digits


def cut(text: str, whole: str) -> str:
    """Its beginning, and what tells it from others that begin like it."""
    if len(text) <= LONGEST and len(whole) <= 4 * LONGEST:
        return text
    return f"{text[: LONGEST - 9]}…{zlib.crc32(whole.encode('utf-8', 'replace')):08x}"


def columns(names: Iterable[Any]) -> tuple[str, ...]:
    return tuple(map(shown, names))
