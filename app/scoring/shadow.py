"""Copies of what production was asked go to another release, whose answers are compared and
thrown away.

A copy is taken when production has its own answer, so nobody waits for it. One is asked at a time;
few wait, and what finds no place is dropped. What is done for it may delay two kinds of requests.
Those that come meanwhile: after each piece of work in the event loop, which is production's, it
pauses so long that all its work takes SHARE of that loop's time, and so meets as few of them. Those
that are held already: it waits until none is, or until so many were answered that they are few.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from random import random
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .comparing import Tolerance, compare, rows_of
from .inputs import Inputs
from .outputs import Outputs
from .pipeline import table, wire
from .pipeline.ask import Broken, Client, Late, unix
from .samples import LATENCIES
from .sketch import Sketch, merge
from .tap import OURS

if TYPE_CHECKING:
    from .http import Request

SHARE = 0.0025
"""Of the event loop's time."""
EACH = 1_000
"""Requests that are answered for each that a piece of work may delay."""
LOOK = 0.005  # seconds between two looks whether it is our turn
HELD = 16
"""Copies that wait."""
LARGEST = 1 << 20
"""Bytes of a request that is copied."""
ROWS = 1_000
SAVED = 10.0  # seconds from one keeping of the report to the next
AGAIN = 1.0  # seconds until a candidate that is not there is asked again
SHOWN = 5
REPORT = "shadow.report.json"


class Order(msgspec.Struct):
    """`shadow.json`. socket: the candidate's private one. tolerance: relative and absolute."""

    release: str
    version: int
    socket: str
    percent: float
    since: str
    tolerance: tuple[float, float] = (1e-6, 1e-9)
    timeout: float = 30.0


class Copy(NamedTuple):
    """A request that production has answered. seconds: from arrival to its answer."""

    inputs: Inputs
    answer: Outputs
    seconds: float


class Counts(msgspec.Struct):
    """What the report is made of. asked: copies that were taken, or should have been."""

    asked: int = 0
    compared: int = 0
    dropped: int = 0
    failed: int = 0
    rows: int = 0
    differ: int = 0
    numbers: int = 0
    distance: float = 0.0
    largest: float = 0.0
    latency: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"production": {}, "candidate": {}}
    )
    first: list[dict[str, Any]] = []
    error: str = ""


class Shadow:
    """The copying of one front. folder: where its report is kept. held: how many requests
    production has and did not answer yet."""

    def __init__(self, folder: Path, held: Callable[[], int]) -> None:
        self.order: Order | None = None
        self._file = folder / REPORT
        self._now_held = held
        self._answered = 0  # since the last piece of work
        self._share = 0.0
        self._held: deque[Copy] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reset(Counts())

    def _reset(self, counts: Counts) -> None:
        self._counts = counts
        self._latency = {"production": Sketch(LATENCIES), "candidate": Sketch(LATENCIES)}
        self._before = counts.latency
        self._saved = monotonic()

    # Orders

    def begin(self, body: bytes) -> None:
        """Send copies from now on, as ordered. Raises ValueError and changes nothing."""
        try:
            order = msgspec.json.decode(body, type=Order)
        except msgspec.MsgspecError as error:
            raise ValueError(f"This is no order to shadow: {error}") from None
        self.end()
        self.order = order
        self._share = order.percent / 100
        self._reset(self._kept(order))
        self._some = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(order))

    def end(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
        self._task = self.order = None
        self._share = 0.0
        self._held.clear()

    async def close(self) -> None:
        """Keep the report for the next front, and end."""
        if self.order is not None:
            _write(self._file, self._report_bytes())
        task = self._task
        self.end()
        if task is not None:
            await asyncio.wait((task,))

    # What production does

    def offer(self, request: Request, inputs: Inputs, result: Any) -> None:
        """A request has its answer; perhaps a copy of it is asked elsewhere."""
        self._answered += 1
        if random() >= self._share or type(result) is not Outputs or request.endpoint in OURS:
            return
        self._counts.asked += 1
        large = inputs.size > LARGEST or inputs.rows > ROWS or inputs.kind == "parquet"
        if large or len(self._held) >= HELD:
            self._counts.dropped += 1
            return
        self._held.append(Copy(inputs, result, monotonic() - request.arrived))
        self._some.set()

    # Asking

    async def _run(self, order: Order) -> None:
        client = Client(unix(Path(order.socket)))
        known: wire.Known | None = None
        try:
            while True:
                copy = await self._next()
                try:
                    known = known or await self._know(client)
                    await self._compare(client, known, copy, order)
                except (Broken, Late, ValueError) as error:
                    known = None
                    self._fail(str(error) or "It did not answer in time.")
                    await asyncio.sleep(AGAIN)
                except Exception as error:
                    self._fail(f"{type(error).__name__}: {error}")
                await self._save_sometimes()
        finally:
            client.close()

    async def _next(self) -> Copy:
        while not self._held:
            self._some.clear()
            await self._some.wait()
        return self._held.popleft()

    async def _know(self, client: Client) -> wire.Known:
        response = await client.ask("GET", "/schema", until=monotonic() + 5)
        if response.status != 200:
            raise ValueError(f"It says {response.status} of itself.")
        return wire.known(response.body)

    async def _compare(self, client: Client, known: wire.Known, copy: Copy, order: Order) -> None:
        await self._turn()
        began = time.perf_counter()
        asking = wire.asking(table.of_inputs(copy.inputs), known)
        await self._pause(time.perf_counter() - began)
        sent = monotonic()
        response = await client.ask(
            "POST", asking.path, asking.parts, asking.headers, until=sent + order.timeout
        )
        took = monotonic() - sent
        if response.status == 503:
            self._counts.dropped += 1
            return
        if response.status != 200:
            self._fail(f"{response.status}: {wire.message(response)}")
            return
        await self._turn()
        began = time.perf_counter()
        self._note(copy, wire.answered(response), took, Tolerance(*order.tolerance))
        await self._pause(time.perf_counter() - began)

    async def _turn(self) -> None:
        """Until a piece of work delays nobody, or few of many."""
        while self._answered < EACH * self._now_held():
            await asyncio.sleep(LOOK)
        self._answered = 0

    async def _pause(self, worked: float) -> None:
        await asyncio.sleep(worked / SHARE)

    def _note(self, copy: Copy, answer: Outputs, took: float, tolerance: Tolerance) -> None:
        counts = self._counts
        found = compare(rows_of(copy.answer), rows_of(answer), tolerance, SHOWN - len(counts.first))
        counts.compared += 1
        counts.rows += found.rows
        counts.differ += found.differ
        counts.numbers += found.numbers
        counts.distance += found.distance
        counts.largest = max(counts.largest, found.largest)
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        counts.first = [*counts.first, *({"at": at, **each} for each in found.first)]
        self._latency["production"].add([copy.seconds])
        self._latency["candidate"].add([took])

    def _fail(self, why: str) -> None:
        self._counts.failed += 1
        self._counts.error = why[:500]

    # The report

    def report(self) -> dict[str, Any]:
        """All that was found since it began, over restarts of the front; {} while nothing is."""
        if self.order is None:
            return {}
        counts = msgspec.to_builtins(self._counted())
        mean = counts["distance"] / counts["numbers"] if counts["numbers"] else 0.0
        order = msgspec.to_builtins(self.order)
        return {**order, **counts, "mean_distance": mean, "waiting": len(self._held)}

    def counters(self) -> dict[str, int]:
        """What `/metrics` has of it; nothing while nothing is copied."""
        if self.order is None:
            return {}
        counts = self._counts
        found = {"compared": counts.compared, "differing": counts.differ}
        found |= {"dropped": counts.dropped, "failed": counts.failed}
        return {f"shadow_{name}": n for name, n in found.items()}

    def _counted(self) -> Counts:
        latency = {
            side: merge(self._before.get(side) or {}, sketch.as_json(), LATENCIES)
            for side, sketch in self._latency.items()
        }
        return msgspec.structs.replace(self._counts, latency=latency)

    def _report_bytes(self) -> bytes:
        assert self.order
        return json.dumps([self.order.since, msgspec.to_builtins(self._counted())]).encode()

    async def _save_sometimes(self) -> None:
        if monotonic() - self._saved < SAVED:
            return
        self._saved = monotonic()
        loop, content = asyncio.get_running_loop(), self._report_bytes()
        await loop.run_in_executor(None, _write, self._file, content)

    def _kept(self, order: Order) -> Counts:
        """What fronts before this one found under the same order."""
        try:
            since, counts = json.loads(self._file.read_bytes())
            return msgspec.convert(counts, Counts) if since == order.since else Counts()
        except (OSError, ValueError, TypeError):
            return Counts()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; where that is not possible, the next front begins from nothing."""
    with suppress(OSError):
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_bytes(content)
        fresh.replace(path)
