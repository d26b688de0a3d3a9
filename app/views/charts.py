"""What is drawn of an instance or a host, and the same numbers as a table and as CSV. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Values = list[float | None]
TONES = {"2": "good-dot", "3": "calm", "4": "warn-dot", "5": "bad"}
"""Of a status code's first digit: a colour of the style sheet."""
BAD = ("failed", "worker")
ORDERED = ("deploy", "switch", "rollback", "start", "stop", "restart", "undeploy")
DRAWN = (*BAD, *ORDERED)
"""Kinds of marks that have a line in the charts; all are in the list."""


@dataclass(frozen=True)
class Column:
    """One line. least: what its axis reaches at least."""

    name: str
    unit: str
    tone: str
    values: Values
    least: float | None = None


@dataclass(frozen=True)
class Mark:
    """Something that happened, across all charts. name: what there is room for beside its line."""

    at: float
    name: str
    tone: str
    words: str
    detail: str = ""
    drawn: bool = True

    @property
    def stamp(self) -> str:
        return _moment(self.at, clock=True)


@dataclass(frozen=True)
class Chart:
    key: str
    title: str
    columns: Callable[[dict[str, Any]], list[Column]]


def by_code(found: dict[str, Any]) -> list[Column]:
    """Answers a second of each status code."""
    return [
        Column(code, "req/s", TONES.get(code[:1], "soft"), values, 1.0)
        for code, values in sorted(found["codes"].items())
    ]


def latency(found: dict[str, Any]) -> list[Column]:
    tones = {"p50": "accent", "p95": "calm", "p99": "soft"}
    return [Column(name, "ms", tone, times(found[name], 1000), 1.0) for name, tone in tones.items()]


def used(found: dict[str, Any]) -> list[Column]:
    return [
        Column("memory", "bytes", "accent", found["memory"], 1e6),
        Column("CPU", "%", "warn-dot", times(found["cpu"], 100), 10.0),
    ]


def batches(found: dict[str, Any]) -> list[Column]:
    return [Column("rows in a batch", "rows", "accent", found["batch"], 2.0)]


def times(values: Values, factor: float) -> Values:
    return [None if value is None else value * factor for value in values]


def share(parts: Values, wholes: Values) -> Values:
    """Per cent of what there is."""
    pairs = zip(parts, wholes, strict=True)
    return [None if part is None or not whole else part / whole * 100 for part, whole in pairs]


INSTANCE = (
    Chart("requests", "Requests by code", by_code),
    Chart("latency", "Latency", latency),
    Chart("used", "Memory and CPU", used),
    Chart("batches", "Batch size", batches),
)


def host_cpu(found: dict[str, Any]) -> list[Column]:
    return [Column("in use", "%", "accent", times(found["host_cpu"], 100), 100.0)]


def host_memory(found: dict[str, Any]) -> list[Column]:
    values = share(found["host_memory"], found["host_memory_total"])
    return [Column("in use", "%", "accent", values, 100.0)]


def host_disk(found: dict[str, Any]) -> list[Column]:
    values = share(found["host_disk"], found["host_disk_total"])
    return [Column("in use", "%", "accent", values, 100.0)]


def host_load(found: dict[str, Any]) -> list[Column]:
    return [Column("of 1 min", "", "accent", found["host_load"], 1.0)]


HOST = (
    Chart("cpu", "CPU", host_cpu),
    Chart("memory", "Memory", host_memory),
    Chart("disk", "Disk", host_disk),
    Chart("load", "Load", host_load),
)


def compared(one: int, other: int) -> tuple[Chart, ...]:
    """Of two versions, each over its own time: the same four, a line for each version."""
    return tuple(
        Chart(key, title, _of_both(get, unit, least, (one, other)))
        for key, title, get, unit, least in (
            ("requests", "Requests", lambda found: found["requests"], "req/s", 1.0),
            ("latency", "Latency, p95", lambda found: times(found["p95"], 1000), "ms", 1.0),
            ("used", "Memory", lambda found: found["memory"], "bytes", 1e6),
            ("batches", "Batch size", lambda found: found["batch"], "rows", 2.0),
        )
    )


def _of_both(
    get: Callable[[dict[str, Any]], Values], unit: str, least: float, versions: tuple[int, int]
) -> Callable[[dict[str, Any]], list[Column]]:
    tones = ("accent", "warn-dot")
    return lambda found: [
        Column(f"v{version}", unit, tone, get(found[str(version)]), least)
        for version, tone in zip(versions, tones, strict=True)
    ]


def as_json(charts: Iterable[Chart], found: dict[str, Any]) -> dict[str, Any]:
    """What the page draws."""
    return {
        chart.key: {"columns": [vars(column) for column in chart.columns(found)]}
        for chart in charts
    }


def marks(found: dict[str, Any]) -> list[Mark]:
    """What was done to an instance, and what happened to it, oldest first."""
    return [_mark(each) for each in sorted(found["marks"], key=lambda each: float(each["at"]))]


def _mark(said: dict[str, Any]) -> Mark:
    ordered = said["kind"] in ORDERED
    name = f"v{said['version']}" if ordered and said["version"] else said["kind"]
    tone = "bad" if said["kind"] in BAD else "soft"
    return Mark(said["at"], name, tone, said["words"], said["detail"], said["kind"] in DRAWN)


def header(columns: Sequence[Column], clock: bool) -> list[str]:
    first = "time" if clock else "seconds since it began"
    return [first, *(f"{each.name} [{each.unit}]" if each.unit else each.name for each in columns)]


def lines(columns: Sequence[Column], at: Sequence[float], clock: bool) -> list[list[str]]:
    """A line for each moment that something is known of, oldest first."""
    rows = zip(at, *(column.values for column in columns), strict=True)
    return [
        [_moment(moment, clock), *("" if each is None else f"{each:.6g}" for each in values)]
        for moment, *values in rows
        if any(each is not None for each in values)
    ]


def _moment(at: float, clock: bool) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if clock else f"{at:g}"
