"""Case i: what it costs that a front records what it does.

Two fronts of the same release, one of which records nothing, are loaded in turns in one run;
each pair of turns gives a ratio, and the case is the median of them.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from . import load, memory, servers
from .notebook import Notebook
from .rows import Row
from .stand import Stand

PAIRS = 16
SECONDS = 2.0
CONNECTIONS = 32
OFF = {"monitor": {"size": 0}}


def measure(book: Notebook, stand: Stand) -> None:
    if len(book.get("recorded")) >= PAIRS:
        return
    artifact = stand.pickle("logistic")
    on = stand.release("recorded", artifact=artifact)
    off = stand.release("unrecorded", artifact=artifact, **OFF)
    ports = servers.free_port(), servers.free_port()
    with (
        servers.running(servers.ours(on, ports[0]), ports[0]) as one,
        servers.running(servers.ours(off, ports[1]), ports[1]) as other,
    ):
        for port in ports:
            load.run(port, CONNECTIONS, SECONDS)
        for number in range(PAIRS):
            book.add("recorded", _pair(ports, number))
        pids = one.process.pid, other.process.pid
        book.add("recorded memory", [memory.rss(pid) for pid in pids])


def _pair(ports: tuple[int, int], number: int) -> dict[str, Any]:
    """Rates and p99s of both, the one first, then the other, turn about."""
    order = ports if number % 2 else ports[::-1]
    ran = {port: load.run(port, CONNECTIONS, SECONDS) for port in order}
    on, off = (ran[port] for port in ports)
    return {"on": [on.rate, on.p99], "off": [off.rate, off.p99]}


def results(book: Notebook) -> list[Row]:
    pairs = book.get("recorded")
    if not pairs:
        return []
    on, off = (median(pair[which][0] for pair in pairs) for which in ("on", "off"))
    p99, without = (median(pair[which][1] for pair in pairs) for which in ("on", "off"))
    ratio = median(pair["on"][0] / pair["off"][0] for pair in pairs)
    held, bare = book.get("recorded memory")[-1]
    what = "logistic, 1 row, 32 connections, recorded"
    figures = f"{on:,.0f} requests/s", f"not recorded {off:,.0f} requests/s", f"{ratio:.3f}×"
    return [
        Row("i", what, *figures, "≥ 0.97×", ratio >= 0.97),
        Row("i", f"{what}: p99", f"{p99:.2f} ms", f"not recorded {without:.2f} ms"),
        Row("i", "memory of the front, recorded", f"{held:.1f} MB", f"not recorded {bare:.1f} MB"),
    ]
