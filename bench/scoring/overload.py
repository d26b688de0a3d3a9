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
    settings: dict[str, Any] = {"batch": {"max_rows": MOST}, "queue": MOST}
    instance = stand.release("overload", script=SCRIPT, **settings)
    port = servers.free_port()
    with servers.running(servers.ours(instance, port), port) as running:
        load.run(port, MOST, 1.0)
        normal = load.run(port, MOST, NORMAL_SECONDS)
        front = running.process.pid
        worker = memory.children(front)[0]
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
    found, times = said["found"], said["found"]["times"]
    what = f"{found['offered']:,.0f} requests/s offered, capacity {said['capacity']:,.0f}"
    admitted, refused = times.get("200"), times.get("503") or times.get("429")
    rows = []
    if admitted:
        ratio = admitted["p99"] / said["normal"]
        rows.append(
            Row(
                *("e", f"{what}: admitted p99", f"{admitted['p99']:.0f} ms"),
                *(f"normal p99 {said['normal']:.0f} ms", f"{ratio:.1f}×", "≤ 2×", ratio <= 2),
            )
        )
    if refused:
        asked = f"refused within (median {refused['median']:.1f} ms), p99"
        quick = refused["p99"] <= 100
        rows.append(Row("e", asked, f"{refused['p99']:.0f} ms", goal="≤ 100 ms", met=quick))
    else:
        rows.append(Row("e", "refused within", "nothing was refused", goal="≤ 100 ms", met=False))
    others = sum(one["count"] for status, one in times.items() if status not in ("200", "503"))
    bad = found["lost"] + others
    rows.append(
        Row(
            *("e", "answered per second, lost or failed otherwise"),
            f"{(admitted or {'count': 0})['count'] / SECONDS:,.0f}, {bad}",
            *("", "", "0 lost", bad == 0),
        )
    )
    probed = said["probe"]
    rows.append(
        Row(
            "e", "health probe p99 meanwhile", f"{probed['p99']:.0f} ms", f"{probed['wrong']} wrong"
        )
    )
    return [*rows, *(_flat(said, place, name) for place, name in enumerate(("front", "worker")))]


def _flat(said: dict[str, Any], place: int, name: str) -> Row:
    before, after = said["before"][place], said["after"][place]
    ratio = after / before
    return Row(
        *("e", f"memory of the {name} after", f"{after:.0f} MB", f"before {before:.0f} MB"),
        *(f"{ratio:.2f}×", "≤ 1.1×", ratio <= 1.1),
    )
