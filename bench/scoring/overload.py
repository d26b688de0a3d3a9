"""Case e: ten times as many requests as can be answered, for half a minute.

The model sleeps 20 ms a batch and 0.5 ms a row; the release joins up to MOST rows and lets as many
wait. Its capacity, and the latency that is normal at it, are those of a closed loop of MOST
connections (the fewest that fill every batch).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from . import generator, ground, load, memory, servers
from .notebook import Notebook
from .rows import Row
from .stand import Stand

MOST = 64
TIMES = 10
SECONDS = 30.0
NORMAL_SECONDS = 5.0
WARM_SECONDS = 3.0
SCRIPT = """
import time

import numpy as np


def predict(inputs: np.ndarray):
    time.sleep(0.02 + 0.0005 * len(inputs))
    return np.zeros(len(inputs), dtype="int64")
"""


def measure(book: Notebook, stand: Stand, seconds: float = SECONDS) -> None:
    if book.get("overload"):
        return
    settings: dict[str, Any] = {
        **{"batch": {"max_rows": MOST}, "queue": MOST},
        "max_connections": generator.CONNECTIONS + 100,
    }
    instance = stand.release("overload", script=SCRIPT, **settings)
    port = servers.free_port()
    with servers.running(servers.ours(instance, port), port) as running:
        load.run(port, MOST, 1.0)
        normal = load.run(port, MOST, NORMAL_SECONDS)
        front = running.process.pid
        worker = memory.children(front)[0]
        _flood(port, normal.rate * TIMES, WARM_SECONDS)  # its connections take memory once
        before = memory.rss(front), memory.rss(worker)
        found, probed = _flood(port, normal.rate * TIMES, seconds)
        after = memory.rss(front), memory.rss(worker)
    book.add(
        "overload",
        {
            **{"capacity": normal.rate, "normal": normal.p99, "found": found, "probe": probed},
            **{"before": before, "after": after},
        },
    )


def _flood(port: int, rate: float, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the generator and a health probe beside it say."""
    body = ground.CACHE / "overload.json"
    body.write_bytes(ground.body())
    program = [sys.executable, "-m", generator.__name__]
    words = [*program, "load", str(port), str(rate), str(seconds), str(body)]
    probe = [*program, "probe", str(port), str(seconds), "/livez"]
    running = [
        subprocess.Popen(one, cwd=ground.ROOT, stdout=subprocess.PIPE) for one in (words, probe)
    ]
    said = [process.communicate(timeout=seconds * 3 + 60)[0] for process in running]
    flood, probed = map(json.loads, said)
    return flood, probed


def results(book: Notebook) -> list[Row]:
    if not book.get("overload"):
        return []
    said = book.get("overload")[-1]
    return [
        _offered(said),
        _admitted(said),
        _refused(said),
        _probed(said),
        *(_flat(said, place, name) for place, name in enumerate(("front", "worker"))),
    ]


def _offered(said: dict[str, Any]) -> Row:
    """How heavy it was, and what became of it."""
    found = said["found"]
    times = found["offered"] / said["capacity"]
    good = ("200", "429", "503")
    bad = sum(one["count"] for status, one in found["times"].items() if status not in good)
    bad += found["lost"]
    what = "offered a second for 30 s; lost or answered 5xx but 503"
    figures = f"{found['offered']:,.0f}; {bad}", f"capacity {said['capacity']:,.0f}"
    return Row("e", what, *figures, f"{times:.1f}×", "≥ 9×; 0", times >= 9 and not bad)


def _admitted(said: dict[str, Any]) -> Row:
    admitted, normal = said["found"]["times"].get("200"), said["normal"]
    if not admitted:
        return Row("e", "admitted: p99", "nothing was admitted", met=False)
    ratio = admitted["p99"] / normal
    what = f"admitted ({admitted['count'] / SECONDS:,.0f} a second): p99"
    figures = f"{admitted['p99']:.0f} ms", f"closed loop, {MOST} connections {normal:.0f} ms"
    return Row("e", what, *figures, f"{ratio:.1f}×", "≤ 2×", ratio <= 2)


def _refused(said: dict[str, Any]) -> Row:
    times = said["found"]["times"]
    refused, goal = times.get("503") or times.get("429"), "p99 ≤ 100 ms"
    if not refused:
        return Row("e", "refused", "nothing was refused", goal=goal, met=False)
    figures = f"{refused['median']:.1f} and {refused['p99']:.0f} ms"
    return Row("e", "refused: median and p99", figures, goal=goal, met=refused["p99"] <= 100)


def _probed(said: dict[str, Any]) -> Row:
    """The client shares the cores, so this is no goal."""
    probed = said["probe"]
    figures = f"{probed['p99']:.0f} ms"
    return Row(
        "e", "GET /livez on a new connection meanwhile: p99", figures, f"{probed['wrong']} failed"
    )


def _flat(said: dict[str, Any], place: int, name: str) -> Row:
    before, after = said["before"][place], said["after"][place]
    ratio = after / before
    what = f"memory of the {name} after"
    figures = f"{after:.0f} MB", f"before {before:.0f} MB", f"{ratio:.2f}×"
    return Row("e", what, *figures, "≤ 1.1×", ratio <= 1.1)
