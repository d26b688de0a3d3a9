"""Whether a release has proved itself: a report of the gate against the limits of `[gate]`. Pure.

A report: {"against" (release or null), "passes", "late", "died" (workers), "inputs": [{"name",
"rows", "status" (0: no answer), "cause", "steady", "misfits", "recorded", "current"}, …],
"latency" and "memory": {"new", "current"}}; recorded and current are what `compare` gives, null
where there is nothing to compare with, or {"cannot": why} when the current release refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .words import told

NO_LIMITS: Mapping[str, Any] = {
    "tolerance": (1e-6, 1e-9),
    "must_match": True,
    "max_changed": None,
    "max_latency": None,
    "max_latency_ratio": None,
    "max_memory_ratio": None,
}
SAMPLE_ALONE: Mapping[str, Any] = {
    "golden": [],
    "declared": {},
    "limits": NO_LIMITS,
    "passes": 1,
    "time": 60.0,
    "beside": False,
    "watch": 0.0,
}
"""What is asked of a release that was production before."""


def over(report: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    """What speaks against the release, a sentence each; empty when it has passed."""
    said = [sentence for each in report["inputs"] for sentence in _of_input(each, limits)]
    if report["late"]:
        said.append("Its golden inputs were not all answered in time; raise `time` under [gate].")
    if report["died"]:
        said.append(f"{_count(report['died'], 'worker')} of it died while it was asked.")
    return [*said, *_changed(report, limits), *_latency(report, limits), *_memory(report, limits)]


def _of_input(each: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    must = each["sample"] or (each["recorded"] is not None and limits["must_match"])
    if each["status"] != 200 and must:
        why = f": {each['cause']}" if each["cause"] else "."
        yield f"It answered {each['name']} with {each['status'] or 'nothing'}{why}"
    elif not each["steady"]:
        yield f"It answered {each['name']} differently from one time to the next."
    elif limits["must_match"] and each["recorded"] and each["recorded"]["differ"]:
        differ, rows = each["recorded"]["differ"], each["recorded"]["rows"]
        yield f"{differ} of {_count(rows, 'row')} of {each['name']} differ from what was recorded."
    yield from each["misfits"]


def changed_share(inputs: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """(rows that differ from the current release's, rows that both answered)."""
    both = [each["current"] for each in inputs if each["current"] and "rows" in each["current"]]
    return sum(each["differ"] for each in both), sum(each["rows"] for each in both)


def _changed(report: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    differ, rows = changed_share(report["inputs"])
    most = limits["max_changed"]
    if most is not None and rows and differ / rows > most:
        yield (
            f"{differ} of {_count(rows, 'row')} differ from {told(report['against'])}; "
            f"max_changed allows {most:.4g} of them."
        )


def _latency(report: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    new, current = report["latency"]["new"], report["latency"]["current"]
    most, ratio = limits["max_latency"], limits["max_latency_ratio"]
    if new and most is not None and new["p99"] > most:
        yield f"Its p99 is {_ms(new['p99'])}; max_latency allows {_ms(most)}."
    if new and current and ratio is not None and new["median"] > ratio * current["median"]:
        yield (
            f"Its median is {_ms(new['median'])}, {told(report['against'])}'s "
            f"{_ms(current['median'])}; max_latency_ratio allows {ratio:g} times that."
        )


def _memory(report: Mapping[str, Any], limits: Mapping[str, Any]) -> Iterator[str]:
    new, current = report["memory"]["new"], report["memory"]["current"]
    ratio = limits["max_memory_ratio"]
    if new and current and ratio is not None and new > ratio * current:
        yield (
            f"It took {_mb(new)} of memory, {told(report['against'])} {_mb(current)}; "
            f"max_memory_ratio allows {ratio:g} times that."
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def _mb(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
