"""All at a glance, for the status window and its twin in the terminal; asks no host.

Whoever shows it has the hosts asked meanwhile (views/live.py, or collecting.collect).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.models import Job, instant
from app.services import hosts, monitoring, watched

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

ALERTS = 5
"""The newest of those that are open."""
LATELY = 3600.0
"""Seconds that a job which went wrong is told of."""

Row = dict[str, Any]


def look(work: Workspace) -> dict[str, Any]:
    """{"instances": rows of `monitoring.overview`, those first that somebody has to look at,
    "counts": {state: how many}, "jobs": as `jobs`, "machine": as `machine`,
    "locations": as `locations`, "alerts": open ones, newest first, as the store has them}."""
    rows = instances(monitoring.overview(work))
    return {
        "instances": rows,
        "counts": dict(Counter(row["state"] for row in rows)),
        "jobs": jobs(work),
        "machine": machine(work.home),
        "locations": locations(work),
        "alerts": alerts(work),
    }


def instances(rows: list[Row]) -> list[Row]:
    return watched.choose([{**row, "state": row["state"] or "unknown"} for row in rows])


def jobs(work: Workspace) -> list[Row]:
    """What runs: {"id", "words", "state", "step", "amount", "share": 0–1 or None, "problem"}; and
    the last one, if it went wrong within the hour."""
    with work.open_store() as store:
        found = store.jobs.all(20)
        chosen = [job for job in found if job.state == "running"]
        if found and found[0].state == "failed" and _is_late(found[0]):
            chosen.insert(0, found[0])
        return [_job(store, job) for job in chosen]


def _is_late(job: Job) -> bool:
    return time.time() - instant(job.ended or job.started).timestamp() < LATELY


def _job(store: Store, job: Job) -> Row:
    said: Row = {"step": "", "amount": "", "share": None}
    for _, event in store.jobs.events(job.id):
        if event.kind == "step":
            said = {"step": event.text, "amount": "", "share": None}
        elif event.kind == "progress":
            said["amount"] = event.text
            said["share"] = (event.done or 0) / event.total if event.total else None
    return {
        "id": job.id,
        "words": job.words,
        "state": job.state,
        **said,
        "problem": job.outcome.get("what", ""),
    }


class Processors:
    """How busy they are. psutil's own figure is of each thread by itself, which a server has many
    of."""

    AT_LEAST = 1.0
    """Seconds that a figure is of."""

    def __init__(self) -> None:
        import psutil

        self._ask = psutil.cpu_times
        self._at, self._share = -math.inf, 0.0
        self._before: Sequence[float] = [0.0] * len(self._ask())

    def busy(self) -> float:
        """0–1, since it was asked before, or a moment longer; at first since the machine began."""
        now = time.monotonic()
        if now - self._at >= self.AT_LEAST:
            times = self._ask()
            spent = [new - old for new, old in zip(times, self._before, strict=True)]
            idle = spent[times._fields.index("idle")] + self._waited(times, spent)
            self._share = 1 - idle / sum(spent) if sum(spent) > 0 else 0.0
            self._at, self._before = now, times
        return min(1.0, max(0.0, self._share))

    @staticmethod
    def _waited(times: Any, spent: list[float]) -> float:
        """For a disk, which leaves them free for others."""
        names = times._fields
        return spent[names.index("iowait")] if "iowait" in names else 0.0


_processors = cache(Processors)  # not before somebody looks: psutil takes 30 ms to come


def machine(home: Path) -> Row:
    """How busy this one is: {"cpu": 0–1 since asked before, "memory", "memory_total", "disk",
    "disk_total": bytes, of the disk that the store is on}."""
    import psutil

    memory, disk = psutil.virtual_memory(), psutil.disk_usage(str(home))
    return {
        "cpu": _processors().busy(),
        "memory": memory.total - memory.available,
        "memory_total": memory.total,
        "disk": disk.used,
        "disk_total": disk.used + disk.free,
    }


def locations(work: Workspace) -> list[Row]:
    """Servers, in order: a row of `hosts.overview` each, with "state": reachable, unreachable, or
    unknown as long as it was not asked; and "asked", seconds since 1970, or None."""
    with work.open_store() as store:
        names = [each.name for each in store.locations.all() if each.url]
    rows = {row["location"]: row for row in hosts.overview(work)}
    asked = {each["location"]: each["asked"] for each in monitoring.hosts(work)}
    return [_location(name, rows.get(name), asked.get(name)) for name in names]


def _location(name: str, row: Row | None, asked: float | None) -> Row:
    known = row or {"location": name, "instances": 0, "error": "", "at": None}
    state = "unknown" if asked is None else "unreachable" if known["error"] else "reachable"
    return {**dict.fromkeys(FIGURES), **known, "state": state, "asked": asked}


FIGURES = ("cpu", "memory", "memory_total", "disk", "disk_total", "load")


def alerts(work: Workspace) -> list[Row]:
    try:
        with work.open_recorded() as recorded:
            return recorded.alerts.all(open_only=True, limit=ALERTS)
    except Problem:  # of a file that is away; the rest can still be told
        return []
