"""Case i: what it costs that a front records what it does.

Two fronts of the same release, one of which records nothing, are loaded in turns in one run, and
started anew after each few turns: two that do exactly the same differ by 4 % for as long as they
live, by where their memory came to lie. Each start gives a ratio, and the case is the median.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from . import load, memory, servers
from .notebook import Notebook
from .rows import Row
from .stand import Stand

STARTS = 20
PAIRS = 2  # of each start
SECONDS = 2.0
CONNECTIONS = 32
OFF = {"monitor": {"size": 0}}


def measure(book: Notebook, stand: Stand) -> None:
    artifact = stand.pickle("logistic")
    on = stand.release("recorded", artifact=artifact)
    off = stand.release("unrecorded", artifact=artifact, **OFF)
    while len(book.get("recorded")) < STARTS:
        _start(book, on, off)


def _start(book: Notebook, on: Path, off: Path) -> None:
    """A start of both, their turns, and what they hold in the end."""
    ports = servers.free_port(), servers.free_port()
    with (
        servers.running(servers.ours(on, ports[0]), ports[0]) as one,
        servers.running(servers.ours(off, ports[1]), ports[1]) as other,
    ):
        for port in ports:
            load.run(port, CONNECTIONS, SECONDS)
        pairs = [_pair(ports, number) for number in range(PAIRS)]
        pids = one.process.pid, other.process.pid
        book.add("recorded memory", [memory.rss(pid) for pid in pids])
    book.add("recorded", pairs)


def _pair(ports: tuple[int, int], number: int) -> dict[str, Any]:
    """Rates and p99s of both, the one first, then the other, turn about."""
    order = ports if number % 2 else ports[::-1]
    ran = {port: load.run(port, CONNECTIONS, SECONDS) for port in order}
    on, off = (ran[port] for port in ports)
    return {"on": [on.rate, on.p99], "off": [off.rate, off.p99]}


def results(book: Notebook) -> list[Row]:
    starts = book.get("recorded")
    if not starts:
        return []
    pairs = [pair for start in starts for pair in start]
    on, off = (median(pair[which][0] for pair in pairs) for which in ("on", "off"))
    p99, without = (median(pair[which][1] for pair in pairs) for which in ("on", "off"))
    ratio = median(_rate("on", start) / _rate("off", start) for start in starts)
    held, bare = (median(pair[at] for pair in book.get("recorded memory")) for at in (0, 1))
    what = "logistic, 1 row, 32 connections, recorded"
    figures = f"{on:,.0f} requests/s", f"not recorded {off:,.0f} requests/s", f"{ratio:.3f}×"
    return [
        Row("i", what, *figures, "≥ 0.97×", ratio >= 0.97),
        Row("i", f"{what}: p99", f"{p99:.2f} ms", f"not recorded {without:.2f} ms"),
        Row("i", "memory of the front, recorded", f"{held:.1f} MB", f"not recorded {bare:.1f} MB"),
    ]


def _rate(which: str, start: list[dict[str, Any]]) -> float:
    return sum(float(pair[which][0]) for pair in start)
