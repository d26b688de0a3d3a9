"""What the recorder hears of while requests are answered: numbers, and now and then some rows.

All of it runs in the event loop, so it does little: what is heard goes through a queue to the
recorder's thread (`recorder.py`), which makes something of it.
"""

from __future__ import annotations

import random
import time
from collections import deque
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
TOGETHER = 5_000
"""Durations that go to the thread at once; when so many come within `samples.FINEST`, only every
second is looked at from then on, and so on: of 5,000 the share above p99 is known to a tenth."""
JUST_NOW = 20
"""Answers whose median is what a request takes just now."""
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
    """How long requests took (of: "latency") or batches ("predict"). each: how many of them one of
    these stands for."""

    of: str
    values: list[float]
    each: int


class Pace:
    """When there is time for one more: so much in the long run, a little more at once."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0.0

    def spend(self, seconds: float, now: float) -> None:
        self.next = max(self.next, now - BURST) + seconds


class Thinned:
    """Durations: all of them while they are few, of many every so manieth. left: until the next."""

    __slots__ = ("_held", "each", "left", "of")

    def __init__(self, of: str) -> None:
        self.of = of
        self.each = self.left = 1
        self._held: list[float] = []

    def add(self, seconds: float) -> bool:
        """Keep one; whether there are so many that they had better be taken."""
        self.left = self.each
        self._held.append(seconds)
        return len(self._held) >= TOGETHER

    def take(self) -> Seconds:
        """What there is. After many more are left out, after few fewer."""
        taken = Seconds(self.of, self._held, self.each)
        if len(self._held) >= TOGETHER:
            self.each *= 2
        elif len(self._held) < TOGETHER // 4:
            self.each = max(1, self.each // 2)
        self.left = min(self.left, self.each)
        self._held = []
        return taken


class Tap:
    """Beside `Metrics`, which tells it what it counts. share: of requests to keep whole."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        self.queue: SimpleQueue[Any] = SimpleQueue()
        self.live = False  # whether what is asked comes from the public
        self._asked, self._given, self._kept = Pace(), Pace(), Pace()
        self._rows = Rows([], [])
        self._next_rows = 0.0
        self._latency, self._predict = Thinned("latency"), Thinned("predict")
        self._last: deque[float] = deque(maxlen=JUST_NOW)  # of the requests since `flush`
        self._before: deque[float] = deque()
        self.waiting = 0  # the most requests that waited at once

    def put(self, said: Any) -> None:
        if self.queue.qsize() < MOST_WAITING:
            self.queue.put(said)

    def event(self, kind: str, **body: Any) -> None:
        self.put(Event(time.time(), kind, body))

    def answered(self, endpoint: str, seconds: float) -> None:
        if endpoint not in OURS:
            self._last.append(seconds)
            some = self._latency
            some.left -= 1
            if not some.left and some.add(seconds):
                self.put(some.take())

    @property
    def takes(self) -> float:
        """Seconds that half of the last requests took, or more; 0.0: there were few lately."""
        last = sorted([*self._before, *self._last][-JUST_NOW:])
        return last[JUST_NOW // 2] if len(last) == JUST_NOW else 0.0

    def predicted(self, seconds: float) -> None:
        some = self._predict
        some.left -= 1
        if not some.left and some.add(seconds):
            self.put(some.take())

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
        for some in (self._latency, self._predict):
            self.put(some.take())
        self._before, self._last = self._last, deque(maxlen=JUST_NOW)
        self._flush_rows()

    def _flush_rows(self) -> None:
        if self._rows.inputs or self._rows.outputs:
            self.put(self._rows)
            self._rows = Rows([], [])

    def asked(self, request: Request, inputs: Inputs, result: Any) -> None:
        """One request has its result: Outputs, a Refusal, or a stream's end."""
        if request.endpoint in OURS or random.random() >= self.share:
            return
        now = monotonic()
        if self._kept.next > now:
            return
        self._kept.spend(1 / REQUESTS_A_SECOND, now)
        status, seconds = getattr(result, "status", 200), round(now - request.arrived, 6)
        name = request.id.decode("ascii", "replace")
        self.put(Sampled(time.time(), name, status, seconds, request.endpoint, inputs, result))
