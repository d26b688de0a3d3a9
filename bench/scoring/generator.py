"""An open loop: requests at a fixed rate, whether or not the earlier ones were answered.

`python -m bench.scoring.generator load PORT RATE SECONDS BODY` and `… probe PORT SECONDS PATH`, in
a process of its own; prints what it found as JSON. Latencies are of whole answers, from the
request's writing, in ms.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from . import servers
from .load import Ask

CONNECTIONS = 1500
TICK = 0.002
SETTLE = 1.0


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm
        self.sent = 0.0
        self.received = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.swarm.idle.append(self)

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.swarm.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"}"):  # every body is one JSON object
            took = (time.perf_counter() - self.sent) * 1e3
            self.swarm.heard(self.received[9:12], took)
            self.received = b""
            self.sent = 0.0
            self.swarm.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.swarm.ended(self)


class Swarm:
    """The connections of one run and what they heard, by status."""

    def __init__(self, port: int, body: bytes) -> None:
        head = f"POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        self.request = head.encode() + body
        self.port = port
        self.idle: deque[Client] = deque()  # asked in turn, so that none is idle for long
        self.times: dict[str, list[float]] = {}
        self.lost = 0
        self.late = 0

    def heard(self, status: bytes, took: float) -> None:
        self.times.setdefault(status.decode(), []).append(took)

    def ended(self, client: Client) -> None:
        """A connection is gone: one takes its place."""
        self.lost += bool(client.sent)
        if client in self.idle:
            self.idle.remove(client)
        self._opening = asyncio.ensure_future(self.open())

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: Client(self), "127.0.0.1", self.port)
        except OSError:
            self.lost += 1

    async def run(self, rate: float, seconds: float) -> dict[str, Any]:
        for _ in range(CONNECTIONS):
            await self.open()
        start = time.perf_counter()
        sent = 0
        while (passed := time.perf_counter() - start) < seconds:
            for _ in range(int(rate * passed) - sent):
                sent += 1
                if self.idle:
                    self.idle.popleft().send()
                else:
                    self.late += 1  # every connection waits for its answer: not sent
            await asyncio.sleep(TICK)
        times = {status: list(took) for status, took in self.times.items()}
        await asyncio.sleep(SETTLE)
        return {
            "offered": (sent - self.late) / seconds,
            "unsent": self.late,
            "lost": self.lost,
            "times": {status: described(took) for status, took in times.items()},
        }


def described(times: list[float]) -> dict[str, float]:
    times = sorted(times)
    return {
        "count": len(times),
        "median": times[len(times) // 2],
        "p99": times[int(len(times) * 0.99)],
        "most": times[-1],
    }


def probe(port: int, seconds: float, path: str) -> dict[str, Any]:
    """A GET on a new connection, twenty a second, as a load balancer asks."""
    times, wrong, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        try:
            status = servers.answer(port, Ask(path, b""), "GET")[0]
        except OSError:
            status = 0
        wrong += status != 200
        times.append((time.perf_counter() - start) * 1e3)
        time.sleep(0.05)
    return {**described(times), "wrong": wrong}


def main(words: list[str]) -> None:
    if words[0] == "probe":
        found = probe(int(words[1]), float(words[2]), words[3])
    else:
        import uvloop

        swarm = Swarm(int(words[1]), Path(words[4]).read_bytes())
        found = uvloop.run(swarm.run(float(words[2]), float(words[3])))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
