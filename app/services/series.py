"""Rows of what an instance did, as columns over one axis of time, for charts. Pure.

Rows are of 10 s, a minute or a quarter of an hour, of one release each; a chart's points are of one
width. What was counted in a wide row is spread evenly over the points it covers.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.scoring import samples, sketch
from app.store.recorded import Sample

MOST = 600
"""Points of a chart."""
WIDTHS = (10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
MOST_CODES = 12
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
COLUMNS = (
    "requests", "errors", "refused", "p50", "p95", "p99", "predict_p50", "predict_p95",
    "predict_p99", "queue", "batch", "restarts", "memory", "cpu", "files", "host_cpu",
    "host_memory", "host_memory_total", "host_disk", "host_disk_total", "host_load",
)  # fmt: skip
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What a body raises that is none: hosts are not trusted."""


def width(since: float, until: float, most: int = MOST) -> int:
    """Seconds of a point, so that there are no more than so many."""
    span = until - since
    fits = (each for each in WIDTHS if span / each <= most - 1)
    return next(fits, -(-int(span) // ((most - 1) * WIDTHS[-1])) * WIDTHS[-1])


@dataclass
class Moment:
    """What the rows of the same time say together: of fronts that ran beside each other."""

    seconds: float = 0.0
    counts: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    codes: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    latency: list[Mapping[str, Any]] = field(default_factory=list)
    predict: list[Mapping[str, Any]] = field(default_factory=list)
    levels: dict[str, float] = field(default_factory=dict)

    def read(self, body: Mapping[str, Any]) -> None:
        """Make it what one row says."""
        self.seconds = body["seconds"]
        for code, n in body["requests"].items():
            self.counts["requests"] += n
            self.codes[str(code)] += n
            self.counts["failed"] += n if is_failure(code) else 0
        for name, n in _counted(body):
            self.counts[name] += n
        self.latency.append(body["latency"])
        self.predict.append(body["predict"])
        levels = {"queue": body["queue"]["most"], **{name: body[name] for name in HELD}}
        known = {**levels, **_of_host(body["host"])}
        self.levels = {name: value for name, value in known.items() if value is not None}

    def beside(self, other: Moment) -> None:
        """Add what another front did at the same time: what the fronts hold adds up."""
        self.seconds, longer = 0.0, max(self.seconds, other.seconds)
        held = {n: self.levels.get(n, 0) + other.levels[n] for n in HELD if n in other.levels}
        self.join(other, 1.0)
        self.seconds, self.levels = longer, {**self.levels, **held}

    def join(self, other: Moment, share: float) -> None:
        """Add a share of another time's counts; levels are the highest of both."""
        self.seconds += other.seconds * share
        for name, n in other.counts.items():
            self.counts[name] += n * share
        for code, n in other.codes.items():
            self.codes[code] += n * share
        self.latency += other.latency
        self.predict += other.predict
        for name, value in other.levels.items():
            self.levels[name] = max(self.levels.get(name, 0.0), value)

    def figures(self) -> dict[str, float | None]:
        """The columns at this time; None: not known."""
        covered, requests = self.seconds or 1.0, self.counts["requests"]
        batches = self.counts["batches"]
        return {
            "requests": requests / covered,
            "errors": self.counts["failed"] / requests if requests else None,
            "refused": self.counts["refused"] / covered,
            **_quantiles(self.latency, ""),
            **_quantiles(self.predict, "predict_"),
            "batch": self.counts["rows"] / batches if batches else None,
            "restarts": self.counts["restarts"],
            "cpu": self.counts["cpu"] / covered,
            **{name: self.levels.get(name) for name in LEVELS},
        }


HELD = ("memory", "files")
"""What each front has of its own."""
LEVELS = (
    "queue", "memory", "files", "host_cpu", "host_memory", "host_memory_total", "host_disk",
    "host_disk_total", "host_load",
)  # fmt: skip


def is_failure(code: str) -> bool:
    """Whether it is the instance's fault, and not of who asked."""
    return code.startswith("5")


def _counted(body: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield "refused", body["queue"]["refused"]
    yield "batches", body["batches"]["count"]
    yield "rows", body["batches"]["rows"]
    yield "restarts", body["restarts"]
    yield "cpu", body["cpu"]


def _of_host(host: Mapping[str, Any]) -> dict[str, float | None]:
    names = ("cpu", "memory", "memory_total", "disk", "disk_total", "load")
    return {f"host_{name}": host.get(name) for name in names}


def _quantiles(sketches: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, float | None]:
    whole = sketch.merge_many(sketches, samples.LATENCIES)
    return {f"{prefix}{name}": sketch.quantile(whole, share) for name, share in SHARES.items()}


def moments(rows: Iterable[Sample]) -> dict[tuple[float, int], Moment]:
    """(start by our clock, seconds it stands for) → what happened; unreadable rows are left out."""
    found: dict[tuple[float, int], Moment] = defaultdict(Moment)
    for row in rows:
        one = Moment()
        with contextlib.suppress(*UNREADABLE):
            one.read(samples.unpack(row.body))
            found[row.at - row.skew, row.step].beside(one)
    return found


def columns(
    rows: Iterable[Sample], since: float, until: float, step: int | None = None
) -> dict[str, Any]:
    """{"step", "since", "until", "at": [starts of points], each of COLUMNS: [value or None]}.

    Where nothing was recorded there is a point with None in all columns, so that lines break.
    """
    step = step or width(since, until)
    first = int(since // step) * step
    axis = list(range(first, int(-(-until // step)) * step, step))
    points: list[Moment | None] = [None] * len(axis)
    for (at, seconds), moment in moments(rows).items():
        for index, share in _covered(at - first, seconds, step, len(axis)):
            point = points[index] = points[index] or Moment()
            point.join(moment, share)
    figures = [point.figures() if point else {} for point in points]
    said = {name: [each.get(name) for each in figures] for name in COLUMNS}
    codes = _by_code(points)
    return {"step": step, "since": since, "until": until, "at": axis, **said, "codes": codes}


def _by_code(points: Sequence[Moment | None]) -> dict[str, list[float | None]]:
    """Code → answers per second; the most frequent ones, for a host may say anything."""
    total: dict[str, float] = defaultdict(float)
    for point in filter(None, points):
        for code, n in point.codes.items():
            total[code] += n
    often = sorted(total, key=lambda code: -total[code])[:MOST_CODES]
    return {
        code: [p.codes.get(code, 0.0) / (p.seconds or 1.0) if p else None for p in points]
        for code in often
    }


def _covered(at: float, seconds: int, step: int, most: int) -> list[tuple[int, float]]:
    """Which points a row lies in, and with which share of it."""
    if seconds <= step:
        index = int(at // step)
        return [(index, 1.0)] if 0 <= index < most else []
    ends = range(int(at // step), int(-(-(at + seconds) // step)))
    shares = [
        (index, (min(at + seconds, (index + 1) * step) - max(at, index * step)) / seconds)
        for index in ends
    ]
    return [(index, share) for index, share in shares if 0 <= index < most]


def together(rows: Iterable[Sample]) -> Moment | None:
    """All of these as one; None when there are none."""
    whole: Moment | None = None
    for moment in moments(rows).values():
        whole = whole or Moment()
        whole.join(moment, 1.0)
    return whole
