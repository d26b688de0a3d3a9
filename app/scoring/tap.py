"""What the recorder hears of while requests are answered: numbers, and now and then some rows.

All of it runs in the event loop, so it does little: what is heard goes through a queue to the
recorder's thread (`recorder.py`), which makes something of it.
"""

from __future__ import annotations

import random
import time
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from . import taking

if TYPE_CHECKING:
    from .http import Request
    from .inputs import Inputs
    from .outputs import Outputs

LEAST_APART = 0.04  # seconds from one batch that is looked at to the next, in the long run
ROWS_A_SECOND = 100
REQUESTS_A_SECOND = 20
BURST = 4.0  # seconds whose share may be used at once
GATHERED = 2.0
"""Seconds until rows go to the thread. Waking it costs more than what it does then: the loop stands
still until the system has a processor for it, which on a busy host takes milliseconds."""
TOGETHER = 20_000  # durations that go to the thread at once
MOST_WAITING = 500
"""Of all that waits for a thread that the disk holds up; the rest is forgotten."""
OURS = frozenset(("probe", "metrics", "metadata", "page", "sample", "other"))
"""Endpoints that are not asked for predictions."""


class Event(NamedTuple):
    """Something that happened. kind: started, ready, failed, accepting, resting, draining, ended,
    worker (one has ended), recording (its own troubles)."""

    at: float
    kind: str
    body: dict[str, Any]


class Sampled(NamedTuple):
    """A request that is kept whole."""

    at: float
    id: str
    status: int
    seconds: float
    endpoint: str
    inputs: Inputs
    result: Any


class Rows(NamedTuple):
    """Pieces of batches."""

    inputs: list[list[taking.Piece]]
    outputs: list[list[taking.Piece]]


class Seconds(NamedTuple):
    """How long requests took, and batches."""

    latency: list[float]
    predict: list[float]


class Pace:
    """When there is time for one more: so much in the long run, a little more at once."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0.0

    def spend(self, seconds: float, now: float) -> None:
        self.next = max(self.next, now - BURST) + seconds


class Tap:
    """Beside `Metrics`, which tells it what it counts. share: of requests to keep whole."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.live = False  # whether what is asked comes from the public
        self._asked, self._given, self._kept = Pace(), Pace(), Pace()
        self._rows = Rows([], [])
        self._next_rows = 0.0
        self._seconds = Seconds([], [])
        self.waiting = 0  # the most requests that waited at once

    def put(self, said: Any) -> None:
        if self.queue.qsize() < MOST_WAITING:
            self.queue.put(said)

    def event(self, kind: str, **body: Any) -> None:
        self.put(Event(time.time(), kind, body))

    def answered(self, endpoint: str, seconds: float) -> None:
        if endpoint not in OURS:
            latency = self._seconds.latency
            latency.append(seconds)
            if len(latency) >= TOGETHER:
                self._hand_over_seconds()

    def predicted(self, seconds: float) -> None:
        predict = self._seconds.predict
        predict.append(seconds)
        if len(predict) >= TOGETHER:
            self._hand_over_seconds()

    def _hand_over_seconds(self) -> None:
        self.put(self._seconds)
        self._seconds = Seconds([], [])

    def took(self, inputs: Inputs, waiting: int) -> None:
        """A worker has got a batch; waiting: requests that waited until then, with its own."""
        if waiting > self.waiting:
            self.waiting = waiting
        now = monotonic()
        if self._asked.next <= now and self.live:
            self._asked.spend(max(LEAST_APART, min(taking.ROWS, inputs.rows) / ROWS_A_SECOND), now)
            self._rows.inputs.append(taking.inputs(inputs))
            self._hand_over(now)

    def gave(self, outputs: Outputs) -> None:
        """A worker has given the predictions of a batch."""
        now = monotonic()
        if self._given.next <= now and self.live:
            rows = min(taking.ROWS, outputs.rows or 1)
            self._given.spend(max(LEAST_APART, rows / ROWS_A_SECOND), now)
            self._rows.outputs.append(taking.outputs(outputs))
            self._hand_over(now)

    def _hand_over(self, now: float) -> None:
        if now >= self._next_rows:
            self._next_rows = now + GATHERED
            self._flush_rows()

    def flush(self) -> None:
        """Have the thread take all that was gathered."""
        self._hand_over_seconds()
        self._flush_rows()

    def _flush_rows(self) -> None:
        if self._rows.inputs or self._rows.outputs:
            self.put(self._rows)
            self._rows = Rows([], [])

    def asked(self, request: Request, inputs: Inputs, result: Any) -> None:
        """One request has its result: Outputs, a Refusal, or a stream's end."""
        if not self.share or request.endpoint in OURS or random.random() >= self.share:
            return
        now = monotonic()
        if self._kept.next > now:
            return
        self._kept.spend(1 / REQUESTS_A_SECOND, now)
        status, seconds = getattr(result, "status", 200), round(now - request.arrived, 6)
        name = request.id.decode("ascii", "replace")
        self.put(Sampled(time.time(), name, status, seconds, request.endpoint, inputs, result))
