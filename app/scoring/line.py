"""The requests that wait for a worker, and which of them go together as the next batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from .errors import cancelled
from .inputs import Inputs
from .streams import Stream

Result = Any
"""Outputs, a Refusal, or `streams.ENDED`."""
MOST_BYTES = 256 * 1024 * 1024


class Job:
    """A request's rows on their way to a prediction. `finish` is called once with the result.

    stream: where its items go when it yields some. limit: the seconds it may take in place of
    the pool's timeout, for what is answered later; 0 for other requests.
    """

    __slots__ = (
        "alone",
        "batch_rows",
        "deadline",
        "done",
        "finish",
        "inputs",
        "limit",
        "predicting",
        "queued",
        "stream",
        "taken",
        "waiter",
    )

    def __init__(
        self, inputs: Inputs, finish: Callable[[Result], None], deadline: float, waiter: Any
    ) -> None:
        self.inputs = inputs
        self.finish = finish
        self.deadline = deadline
        self.waiter = waiter  # has `gone`: whether anybody still wants the answer
        self.alone = inputs.signature is None
        self.done = False
        self.stream: Stream | None = None
        self.limit = 0.0
        self.queued = monotonic()
        self.taken = 0.0  # when a worker got it
        self.predicting = 0.0  # seconds that took
        self.batch_rows = 0  # of all that it was joined with

    @property
    def wanted(self) -> bool:
        return not (self.done or self.waiter.gone)

    def end(self, result: Result) -> None:
        if not self.done:
            self.done = True
            self.finish(result)


class Line:
    """First come, first served, but for parts of batches that failed: those go before others.

    max_rows: of a joined batch, 0 for never joining. most: requests that may wait.
    """

    def __init__(self, max_rows: int, most: int) -> None:
        self.max_rows = max_rows
        self.most = most
        self.rows = 0
        self.again: deque[list[Job]] = deque()
        self._jobs: deque[Job] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Requests that wait for their first turn."""
        return len(self._jobs)

    @property
    def full(self) -> bool:
        """Whether one more request would be refused."""
        return len(self._jobs) >= self.most or self._bytes > MOST_BYTES

    @property
    def held(self) -> int:
        """Requests that wait, for their first turn or another."""
        return len(self._jobs) + sum(map(len, self.again))

    @property
    def waited(self) -> float:
        """Seconds that the first of those has waited which somebody still waits for."""
        return next((monotonic() - job.queued for job in self._jobs if job.wanted), 0.0)

    @property
    def first(self) -> Job:
        return self._jobs[0]

    def __iter__(self) -> Iterator[Job]:
        """All that wait; they may be ended, and others may come, meanwhile."""
        for part in (self._jobs, *list(self.again)):
            yield from list(part)

    def add(self, job: Job) -> None:
        self._count(job, 1)
        self._jobs.append(job)

    def go_first(self, part: list[Job]) -> None:
        """Have a part of a batch that failed run next, as a batch of its own."""
        self.again.appendleft(part)

    def next(self, small_first: Callable[[], bool]) -> list[Job]:
        """The next batch: a part of one that failed, else the first request and what fits it.

        small_first: whether a small request may go before a big one now.
        """
        while self.again:
            part = [job for job in self.again.popleft() if still_wanted(job)]
            if part:
                return part
        first = self._take(small_first)
        return self._fill(first) if first else []

    def _take(self, small_first: Callable[[], bool]) -> Job | None:
        """The oldest request, out of the line; the oldest small one where that is to go first."""
        while self._jobs and not still_wanted(self._jobs[0]):
            self._pop()
        if not self._jobs:
            return None
        if self.is_big(self._jobs[0]) and small_first():
            for job in list(self._jobs):
                if not self.is_big(job) and still_wanted(job):
                    self._remove(job)
                    return job
        return self._pop()

    def is_big(self, job: Job) -> bool:
        """Whether it has more rows than a batch may have."""
        return 0 < self.max_rows < job.inputs.rows

    def _fill(self, first: Job) -> list[Job]:
        """The batch of this request: those behind it that can be joined are taken too."""
        batch, left, rows = [first], [], first.inputs.rows
        if first.alone:
            return batch
        while self._jobs and rows < self.max_rows:
            job = self._pop()
            if not still_wanted(job):
                continue
            if self._fits(job, first, rows):
                batch.append(job)
                rows += job.inputs.rows
            else:
                left.append(job)
        for job in reversed(left):
            self._count(job, 1)
            self._jobs.appendleft(job)
        return batch

    def _fits(self, job: Job, first: Job, rows: int) -> bool:
        return (
            not job.alone
            and job.inputs.signature == first.inputs.signature
            and rows + job.inputs.rows <= self.max_rows
        )

    def forget_unwanted(self) -> None:
        """Make room for requests that somebody waits for."""
        if all(job.wanted for job in self._jobs):
            return
        for job in list(self._jobs):
            if not still_wanted(job):
                self._remove(job)

    def _pop(self) -> Job:
        job = self._jobs.popleft()
        self._count(job, -1)
        return job

    def _remove(self, job: Job) -> None:
        self._jobs.remove(job)
        self._count(job, -1)

    def _count(self, job: Job, sign: int) -> None:
        self._bytes += sign * job.inputs.size
        self.rows += sign * job.inputs.rows


def still_wanted(job: Job) -> bool:
    """Whether to predict it; one whose client has gone is ended here."""
    if job.waiter.gone:
        job.end(cancelled())
    return not job.done
