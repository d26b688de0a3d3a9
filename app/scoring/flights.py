"""What workers do besides batches: streams, asynchronous predictions and jobs.

A flight is one request at a worker by itself. A plain worker has one at a time, a worker whose
model is asynchronous up to `workers.SLOTS`. The batches of ordinary models never come here.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any

from .errors import Refusal, cancelled, model_failed, timed_out, too_slow, worker_died
from .outputs import Outputs
from .streams import Stream
from .workers import BUSY, IDLE, SLOTS, Worker, say

if TYPE_CHECKING:
    from .batching import Pool
    from .line import Job, Result

ACKNOWLEDGE = 1 << 16  # bytes of items taken before the worker is told so
MOST_BYTES = 256 * 1024 * 1024  # of jobs that wait


class Flight:
    """One request at a worker. since: when it was sent, or its last item came."""

    __slots__ = ("items", "job", "limit", "number", "over", "since", "started", "taken")

    def __init__(self, job: Job | None, limit: float, now: float) -> None:
        self.job = job
        self.limit = limit
        self.number = 0
        self.started = self.since = now
        self.items = 0
        self.taken = 0  # bytes of items that the worker has not been told of
        self.over = False  # nobody waits for it; the worker may still be at it

    @property
    def stream(self) -> Stream | None:
        return self.job.stream if self.job is not None else None

    @property
    def blocked(self) -> bool:
        """Whether it is the reader who is slow, and not the model."""
        return not self.over and self.stream is not None and self.stream.blocked


class Flights:
    """The flights of one pool, and the jobs that wait for one."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.waiting: deque[Job] = deque()

    @property
    def held(self) -> int:
        """Jobs that wait, flights, and workers asked for a sign of life."""
        busy = sum(len(one.flights) + bool(one.pinged) for one in self.pool.all_workers())
        return len(self.waiting) + busy

    @property
    def full(self) -> bool:
        """Whether one more job would be refused."""
        return sum(one.inputs.size for one in self.waiting) > MOST_BYTES

    # To the workers

    def fill(self, worker: Worker) -> None:
        """Give a worker that takes requests by themselves as many as it has room for."""
        while worker.room:
            batch = self.pool.next(worker)
            if not batch:
                return
            self._launch(worker, batch[0])
            self.pool.part(batch[1:])  # queued before it was known that each must come alone

    def fill_with_jobs(self) -> None:
        """Give jobs the workers that requests have left idle, but never the last one."""
        for worker in self.pool.workers:
            while (
                worker.warm
                and worker.room
                and self.waiting
                and not self.pool.line
                and self._spare(worker)
            ):
                job = self.waiting.popleft()
                if job.waiter.gone:
                    job.end(cancelled())
                elif not job.done:
                    self._launch(worker, job)

    def _spare(self, worker: Worker) -> bool:
        """Whether a job here leaves room for requests; a single plain worker has none to leave."""
        if not (worker.warm and worker.room):
            return False
        if worker.tasks:
            return len(worker.flights) < SLOTS // 2
        others = [one for one in self.pool.workers if one is not worker]
        return not others or any(one.state == IDLE for one in others)

    def _launch(self, worker: Worker, job: Job) -> None:
        now = monotonic()
        job.taken, job.batch_rows = now, job.inputs.rows
        self.pool.metrics.queued.observe(now - job.queued)
        self.pool.metrics.took(job.inputs, 1 + len(self.pool.line))
        flight = Flight(job, job.limit or self.pool.timeout, now)
        flight.number = worker.fly(flight, job.inputs)

    # From the workers

    def _flight(self, worker: Worker, number: int) -> Flight:
        return worker.flights.get(number) or self._adopt(worker, number)

    def _adopt(self, worker: Worker, number: int) -> Flight:
        """A batch turns out to be a stream: from now on requests come alone."""
        batch: list[Job] = worker.batch
        worker.batch = None
        worker.streams = self.pool.solo = True
        flight = Flight(batch[0] if len(batch) == 1 else None, self.pool.timeout, worker.started)
        flight.number = number
        worker.flights[number] = flight
        if flight.job is None:
            self._cancel(worker, flight)
            self.pool.part(batch)
        return flight

    def item(self, worker: Worker, header: dict[str, Any], payload: bytes) -> None:
        """One more item of a flight."""
        flight = self._flight(worker, header["id"])
        flight.since = monotonic()
        flight.items += 1
        flight.taken += len(payload)
        if flight.over:
            return
        try:
            self._take(worker, flight, header, payload)
        except Refusal as refusal:
            self._end(flight, refusal)
            self._cancel(worker, flight)
        except Exception:
            traceback.print_exc()
            self._end(flight, model_failed("no result that can be written"))
            self._cancel(worker, flight)
        else:
            self._acknowledge(worker, flight)

    def _take(self, worker: Worker, flight: Flight, header: dict[str, Any], payload: bytes) -> None:
        """Give an item to the reader; nobody reads the sample of a replacement."""
        stream = flight.stream
        if stream is None:
            return
        if flight.items == 1:
            stream.request.resumed = lambda: self._resumed(worker, flight)
        stream.take(header, payload)

    def _resumed(self, worker: Worker, flight: Flight) -> None:
        """The reader has room again, or has left: then the worker need not be kept any longer."""
        if not self._left(worker, flight):
            self._acknowledge(worker, flight)

    def _left(self, worker: Worker, flight: Flight) -> bool:
        """Whether nobody waits for it any more; it is ended and cancelled."""
        job = flight.job
        if job is None or flight.over or not job.waiter.gone:
            return False
        self._end(flight, cancelled())
        self._cancel(worker, flight)
        return True

    def _acknowledge(self, worker: Worker, flight: Flight) -> None:
        """Let the worker send more, once the reader has taken what there is."""
        flight.since = monotonic()
        if flight.taken >= ACKNOWLEDGE and not flight.blocked and not flight.over:
            worker.tell(more=flight.number, bytes=flight.taken)
            flight.taken = 0

    def landed(self, worker: Worker, number: int, result: Result) -> None:
        """The end, or the whole answer, of a flight."""
        flight = self._flight(worker, number)
        if worker.warm:
            self.pool.calm(worker)
        worker.land(flight.number)
        if flight.job is not None:
            took = flight.job.predicting = monotonic() - flight.started
            self.pool.metrics.predicted(flight.job.inputs.rows, took)
            worker.served += 1
            if not isinstance(result, Refusal):
                self.pool.has_predicted(worker)
            if isinstance(result, Outputs):
                self.pool.metrics.gave(result)
            self._end(flight, result)
        self.pool.done_with(worker)
        self.pool.dispatch_soon()

    # The end of flights

    def _end(self, flight: Flight, result: Any) -> None:
        flight.over = True
        if flight.job is not None:
            flight.job.end(result)

    def _cancel(self, worker: Worker, flight: Flight) -> None:
        flight.over = True
        worker.tell(cancel=flight.number)

    def check(self, now: float) -> None:
        """Cancel what nobody waits for, and what is past its limit. Called every TICK."""
        self._check_waiting(now)
        for worker in self.pool.all_workers():
            for flight in tuple(worker.flights.values()):
                self._check(worker, flight, now)
            if worker.tasks and worker.state in (IDLE, BUSY):
                self._check_life(worker, now)

    def _check_waiting(self, now: float) -> None:
        for job in self.waiting:
            if job.waiter.gone:
                job.end(cancelled())
            elif job.deadline < now:
                job.end(timed_out(job.limit, "job_timeout"))
        if any(job.done for job in self.waiting):
            self.waiting = deque(job for job in self.waiting if not job.done)

    def _check(self, worker: Worker, flight: Flight, now: float) -> None:
        job = flight.job
        if flight.blocked:
            flight.since = now
        if self._left(worker, flight):
            return
        if job is not None and not flight.over and self._late(flight, job, now):
            self._end(flight, self._why_late(flight, job))
            late = now - flight.since > flight.limit
            self._cancel(worker, flight)
            if late:
                self._give_up(worker, flight)
        elif flight.over and now - flight.since > flight.limit:
            self._give_up(worker, flight)

    def _late(self, flight: Flight, job: Job, now: float) -> bool:
        if flight.items:
            return now - flight.since > flight.limit
        return job.deadline < now or now - flight.since > flight.limit

    def _why_late(self, flight: Flight, job: Job) -> Refusal:
        key = "job_timeout" if job.limit else "timeout"
        return (too_slow if flight.items else timed_out)(flight.limit, key)

    def _give_up(self, worker: Worker, flight: Flight) -> None:
        """A plain worker that does not come back is replaced; a task that does not, forgotten."""
        if worker.tasks:
            worker.land(flight.number)
            self.pool.done_with(worker)
            self.pool.dispatch_soon()
        elif worker.state in (IDLE, BUSY):
            self._replace(worker, f"has been predicting for {flight.limit:g} s")

    def _check_life(self, worker: Worker, now: float) -> None:
        """Ask an asynchronous worker whether its loop turns, and replace it when it does not."""
        if not worker.pinged:
            if worker.flights:
                worker.pinged = now
                worker.tell(ping=1)
        elif now - worker.pinged > self.pool.timeout:
            for flight in self._alive(worker):
                self._end(flight, timed_out(self.pool.timeout))
            self._replace(worker, f"has not answered for {self.pool.timeout:g} s")

    def _replace(self, worker: Worker, why: str) -> None:
        say(f"worker {worker.pid} {why}: it is replaced")
        worker.kill()

    def _alive(self, worker: Worker) -> Iterator[Flight]:
        return (flight for flight in tuple(worker.flights.values()) if not flight.over)

    def lost(self, worker: Worker) -> None:
        """The worker is gone, and its flights with it."""
        for flight in self._alive(worker):
            self._end(flight, worker_died(worker.fate))
        worker.flights.clear()
        worker.pinged = 0.0
