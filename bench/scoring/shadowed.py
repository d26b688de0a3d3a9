"""Case j: what production notices of a shadow that gets copies of 10 % of its requests.

One front is loaded in short turns, with the copying on and off, while the candidate runs beside it
all the time. The p99 of one turn is anything between half and twice the next one's, with copies or
without, so the case is the ratio of the medians of many.
"""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from . import load, servers
from .notebook import Notebook
from .rows import Row
from .stand import Stand

PAIRS = 80
SECONDS = 1.0
CONNECTIONS = 8
PERCENT = 10.0


class Private(http.client.HTTPConnection):
    """HTTP over a front's private socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("private", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self.path))


def ask(private: Path, method: str, order: dict[str, Any] | None = None) -> dict[str, Any]:
    connection = Private(private)
    body = None if order is None else json.dumps(order)
    connection.request(method, "/admin/shadow", body)
    said: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return said


def measure(book: Notebook, stand: Stand) -> None:
    if len(book.get("shadowed")) >= PAIRS:
        return
    artifact = stand.pickle("logistic")
    one, other = (stand.release(name, artifact=artifact) for name in ("shadowed", "shadow"))
    ports = servers.free_port(), servers.free_port()
    with tempfile.TemporaryDirectory() as folder:
        private = [Path(folder) / name for name in ("production.sock", "candidate.sock")]
        commands = [
            [*servers.ours(each, port), "--private", path]
            for each, port, path in zip((one, other), ports, private, strict=True)
        ]
        commands[1] = ["chrt", "--idle", "0", "nice", "-n", "19", *commands[1]]
        with servers.running(commands[0], ports[0]), servers.running(commands[1], ports[1]):
            load.run(ports[0], CONNECTIONS, SECONDS)
            for number in range(PAIRS):
                book.add("shadowed", _pair(ports[0], private, number))


def _pair(port: int, private: list[Path], number: int) -> dict[str, Any]:
    """Rates and p99s with copies and without, turn about, and what the last report says."""
    pair: dict[str, Any] = {}
    for on in (True, False) if number % 2 else (False, True):
        ask(private[0], "POST", _order(private[1]) if on else {})
        ran = load.run(port, CONNECTIONS, SECONDS)
        pair["on" if on else "off"] = [ran.rate, ran.p99]
        if on:
            said = ask(private[0], "GET")
            pair["report"] = {key: said[key] for key in ("asked", "compared", "dropped", "failed")}
    return pair


def _order(candidate: Path) -> dict[str, Any]:
    order = {"release": "v1", "version": 1, "socket": str(candidate), "percent": PERCENT}
    return {**order, "since": str(time.time())}


def results(book: Notebook) -> list[Row]:
    pairs = book.get("shadowed")
    if not pairs:
        return []
    p99, without = (median(pair[which][1] for pair in pairs) for which in ("on", "off"))
    rate, alone = (median(pair[which][0] for pair in pairs) for which in ("on", "off"))
    compared = sum(pair["report"]["compared"] for pair in pairs) / len(pairs) / SECONDS
    what = f"logistic, 1 row, {CONNECTIONS} connections, copies of {PERCENT:g} %"
    figures = f"{p99:.2f} ms", f"no copies {without:.2f} ms", f"{p99 / without:.3f}×"
    return [
        Row("j", f"{what}: p99", *figures, "≤ 1.05×", p99 <= 1.05 * without),
        Row("j", what, f"{rate:,.0f} requests/s", f"no copies {alone:,.0f} requests/s"),
        Row("j", "copies compared", f"{compared:.0f} a second"),
    ]
