"""One queue for all workers. Requests that wait while the workers are busy become a batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from . import outputs as results
from .errors import bad_input, model_failed, overloaded, timed_out, worker_died
from .flights import Flights
from .inputs import Inputs, join
from .metrics import Metrics
from .outputs import Outputs
from .streams import Stream
from .workers import BUSY, DEAD, IDLE, Launch, Worker, say

Result = Any
"""Outputs, a Refusal, or `streams.ENDED`."""
MOST_WAITING = 1024
MOST_BYTES = 256 * 1024 * 1024
TICK = 0.05  # how often deadlines are looked at while anything is held
WORTH_HOLDING = 0.002  # a prediction shorter than this is not worth a pause for a fuller batch
LONGEST_HOLD = 0.01
HOLDS_SKIPPED = 20  # after one that nobody came for
BACK_OFF = (0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)


class Job:
    """A request's rows on their way to a prediction. `finish` is called once with the result.

    stream: where its items go when it yields some. limit: the seconds it may take in place of
    the pool's timeout, for what is answered later; 0 for other requests.
    """

    __slots__ = (
        "alone",
        "began",
        "deadline",
        "done",
        "finish",
        "inputs",
        "limit",
        "stream",
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
        self.began = 0.0

    def end(self, result: Result) -> None:
        if not self.done:
            self.done = True
            self.finish(result)


class Pool:
    """The workers of one release and the requests that wait for them.

    max_rows: of a joined batch, 0 for never joining. timeout: seconds a request may take from
    arrival to answer, and a worker for one batch before it is killed and replaced.
    """

    def __init__(
        self, launch: Launch, workers: int, max_rows: int, timeout: float, metrics: Metrics
    ) -> None:
        self.max_rows = max_rows
        self.timeout = timeout
        self.metrics = metrics
        self.workers = [
            Worker(launch, self._loaded, self._load_failed, self._answered, self._ended)
            for _ in range(workers)
        ]
        self.waiting: deque[Job] = deque()
        self.solo = False  # whether requests go to workers by themselves
        self.flights = Flights(self)
        self.error = ""
        self.kind = ""
        self._waiting_bytes = 0
        self._loading: dict[Worker, asyncio.Future[str]] = {}
        self._closing = False
        self._ticking = False
        self._dispatching = False
        self._hold: asyncio.TimerHandle | None = None
        self._hold_for = 0
        self._skip_holds = 0

    @property
    def ready(self) -> bool:
        """Whether some worker can predict."""
        return any(worker.state in (IDLE, BUSY) for worker in self.workers)

    @property
    def restarts(self) -> int:
        return sum(worker.restarts for worker in self.workers)

    @property
    def held(self) -> int:
        """Requests in the queue or being predicted."""
        busy = (worker.batch for worker in self.workers if worker.state == BUSY)
        return len(self.waiting) + sum(len(batch or ()) for batch in busy) + self.flights.held

    # Starting and ending

    async def start(self, worker: Worker) -> str:
        """Start this worker and wait until it has loaded: its input kind. Raises LoadFailed."""
        self._loop = asyncio.get_running_loop()
        loaded: asyncio.Future[str] = self._loop.create_future()
        self._loading[worker] = loaded
        try:
            worker.start()
        except OSError as error:
            raise LoadFailed(f"The worker cannot be started: {error}") from error
        self.kind = await loaded
        return self.kind

    async def close(self) -> None:
        self._closing = True
        await asyncio.gather(*(worker.close() for worker in self.workers))

    # Requests

    def submit(self, job: Job) -> None:
        """Queue a request; it is dispatched when this turn of the event loop ends."""
        if len(self.waiting) >= MOST_WAITING or self._waiting_bytes > MOST_BYTES:
            job.end(overloaded())
            return
        job.alone = job.alone or self.solo
        if job.limit:
            self.flights.queue(job)
        else:
            self.waiting.append(job)
            self._waiting_bytes += job.inputs.size
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)
        if self._hold is None:
            self._dispatch_soon()
        elif len(self.waiting) >= self._hold_for:
            self._release()

    def _dispatch_soon(self) -> None:
        if not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Give every idle worker a batch."""
        self._dispatching = False
        for worker in self.workers:
            if worker.solo:
                self.flights.fill(worker)
            elif worker.state == IDLE and self.waiting:
                batch = self._take()
                if batch:
                    worker.predict(batch, join([job.inputs for job in batch]), monotonic())
        self.flights.fill_with_jobs()

    def _take(self) -> list[Job]:
        """The next batch: the first request and those behind it that can be joined to it."""
        batch: list[Job] = []
        left: list[Job] = []
        rows = 0
        while self.waiting and (not batch or rows < self.max_rows):
            job = self._pop()
            if job.done or job.waiter.gone:
                continue
            if not batch:
                batch, rows = [job], job.inputs.rows
                if job.alone or not self.max_rows:
                    break
            elif self._fits(job, batch[0], rows):
                batch.append(job)
                rows += job.inputs.rows
            else:
                left.append(job)
        for job in reversed(left):
            self._push_left(job)
        return batch

    def _fits(self, job: Job, first: Job, rows: int) -> bool:
        return (
            not job.alone
            and job.inputs.signature == first.inputs.signature
            and rows + job.inputs.rows <= self.max_rows
        )

    def _pop(self) -> Job:
        job = self.waiting.popleft()
        self._waiting_bytes -= job.inputs.size
        return job

    def _push_left(self, job: Job) -> None:
        self.waiting.appendleft(job)
        self._waiting_bytes += job.inputs.size

    # Holding: those just answered are likely to ask again at once

    def _pause_after(self, batch: list[Job], took: float) -> None:
        """Let the next batch fill up for a small part of the time the last one took.

        Clients that send one request after the other would else fall into two groups that take
        turns, each batch half full. The pause ends when as many wait as can be expected; when
        they do not come, the next pauses are left out.
        """
        self._skip_holds = max(0, self._skip_holds - 1)
        joining = self.max_rows and not batch[0].alone and len(self.workers) == 1
        if not joining or took < WORTH_HOLDING or self._skip_holds:
            self._dispatch_soon()
            return
        self._hold_for = min(len(self.waiting) + len(batch), self.max_rows)
        enough = len(self.waiting) + len(batch) // 2
        self._hold = self._loop.call_later(min(took / 5, LONGEST_HOLD), self._held_long, enough)

    def _held_long(self, enough: int) -> None:
        """Not all have come: go on, and pause no more for a while if it was not even half."""
        if len(self.waiting) < enough:
            self._skip_holds = HOLDS_SKIPPED
        self._release()

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        self._dispatch_soon()

    # Answers

    def _answered(self, worker: Worker, header: dict[str, Any], payload: bytes) -> None:
        batch: list[Job] = worker.batch
        worker.batch = None
        worker.failures = 0
        took = monotonic() - worker.started
        self.metrics.predicted(sum(job.inputs.rows for job in batch), took)
        self._pause_after(batch, took)
        if "error" in header:
            self._failed(batch, header)
            return
        try:
            whole = results.read(header, payload)
        except (ValueError, RecursionError):
            self._failed(batch, {"error": "output", "raised": "no result that JSON can hold"})
        else:
            self._deliver(batch, whole)

    def _deliver(self, batch: list[Job], whole: Outputs) -> None:
        parts = whole.split([job.inputs.rows for job in batch])
        if parts is None:
            self._one_by_one(batch)
            return
        for job, part in zip(batch, parts):
            job.end(part)

    def _failed(self, batch: list[Job], header: dict[str, Any]) -> None:
        if len(batch) > 1:
            self._one_by_one(batch)
        elif header["error"] == "input":
            batch[0].end(bad_input("The rows cannot be made into what the model takes."))
        else:
            batch[0].end(model_failed(header["raised"]))

    def _one_by_one(self, batch: list[Job]) -> None:
        """Run each alone, first in the queue, so that only those at fault fail."""
        for job in reversed(batch):
            job.alone = True
            self._push_left(job)
        self._release()

    # Deadlines

    def _tick(self) -> None:
        """End what is past its deadline; go on for as long as anything is held."""
        now = monotonic()
        for job in self.waiting:
            if job.deadline < now:
                job.end(timed_out(self.timeout))
        while self.waiting and self.waiting[0].done:
            self._pop()
        for worker in self.workers:
            if worker.state == BUSY:
                self._check(worker, now)
        self.flights.check(now)
        self._ticking = bool(self.held)
        if self._ticking:
            self._loop.call_later(TICK, self._tick)

    def _check(self, worker: Worker, now: float) -> None:
        if worker.batch is None:
            return
        for job in worker.batch:
            if job.deadline < now:
                job.end(timed_out(self.timeout))
        if now - worker.started > self.timeout:
            say(f"worker {worker.pid} has been predicting for {self.timeout:g} s: it is replaced")
            for job in worker.batch:
                job.end(timed_out(self.timeout))
            worker.kill()

    # The life of workers

    def _loaded(self, worker: Worker, kind: str) -> None:
        loading = self._loading.pop(worker, None)
        if loading is not None:
            _settle(loading, kind)
        else:
            say(f"worker {worker.pid} is ready")
        self.error = ""
        self.solo = self.solo or worker.solo
        self._dispatch_soon()

    def _load_failed(self, worker: Worker, why: str) -> None:
        self.error = why
        loading = self._loading.pop(worker, None)
        if loading is not None:
            _settle(loading, LoadFailed(why))

    def _ended(self, worker: Worker) -> None:
        if self._closing:
            return
        loading = self._loading.pop(worker, None)
        if loading is not None:
            _settle(loading, LoadFailed("The worker ended while it was loading the model."))
            return
        self.flights.lost(worker)
        batch: list[Job] = worker.batch or []
        worker.batch = None
        alive = [job for job in batch if not job.done]
        if len(batch) > 1:
            self._one_by_one(alive)
        for job in alive if len(batch) == 1 else []:
            job.end(worker_died())
        self._replace(worker)

    def _replace(self, worker: Worker) -> None:
        delay = BACK_OFF[min(worker.failures, len(BACK_OFF) - 1)]
        worker.failures += 1
        worker.restarts += 1
        self.error = self.error or "The worker ended."
        say(f"worker {worker.pid} ended; another is started in {delay:g} s")
        self._loop.call_later(delay, self._start_again, worker)

    def _start_again(self, worker: Worker) -> None:
        if self._closing or worker.state != DEAD:
            return
        try:
            worker.start()
        except OSError as error:
            self.error = f"The worker cannot be started: {error}"
            self._replace(worker)


def _settle(loading: asyncio.Future[str], result: str | Exception) -> None:
    """Give whoever waits for a load its end, unless it has stopped waiting."""
    if loading.done():
        return
    if isinstance(result, Exception):
        loading.set_exception(result)
    else:
        loading.set_result(result)


class LoadFailed(Exception):
    """The model could not be loaded; the text is its last line of traceback."""
