"""One queue for all workers. Requests that wait while the workers are busy become a batch."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from math import ceil
from time import monotonic
from typing import Any, NamedTuple

from .errors import Refusal, not_ready, overloaded, timed_out, worker_died
from .flights import Flights
from .inputs import Inputs, join
from .launch import Begun, Launch
from .line import Job, Line, Result, still_wanted
from .metrics import Metrics
from .outputs import Outputs
from .workers import BUSY, DEAD, ENDING, IDLE, LOADING, ProcessWorker, Template, Worker, say

TICK = 0.05  # how often deadlines are looked at while anything is held
WORTH_HOLDING = 0.002  # a prediction shorter than this is not worth a pause for a fuller batch
LONGEST_HOLD = 0.01
HOLDS_SKIPPED = 20  # after one that nobody came for
BACK_OFF = (0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0)
SOON = 3.0  # a worker that is back within so many seconds is waited for
CALM = 10.0  # a worker that lived so long is not in a crash loop
LONGEST_RETRY = 60  # seconds that a refused caller is asked to wait at most
RECYCLE_PAUSE = 30.0  # after a replacement that did not load
LONGEST_TOLD = 4000  # characters of a traceback that are kept with an event
PAGE = os.sysconf("SC_PAGE_SIZE")


class Settings(NamedTuple):
    """How a release is to be served.

    max_rows: of a joined batch, 0 for never joining. wait: seconds to wait for more rows when a
    worker is idle. timeout: seconds a request may take from arrival to answer, and a worker for one
    batch before it is killed and replaced; start_timeout: for loading, and for the sample. queue:
    requests that may wait. recycle_requests, recycle_memory [bytes]: when a worker is replaced by a
    fresh one, 0 for never.
    """

    workers: int = 1
    max_rows: int = 0
    wait: float = 0.0
    timeout: float = 30.0
    start_timeout: float = 300.0
    queue: int = 256
    recycle_requests: int = 0
    recycle_memory: int = 0

    @classmethod
    def read(cls, scoring: dict[str, Any]) -> Settings:
        """From the "scoring" object of release.json, which may be older than some keys."""
        batch = scoring.get("batch") or {}
        usual = cls()
        return cls(
            max(1, int(scoring.get("workers") or 1)),
            int(batch.get("max_rows") or 0),
            float(batch.get("wait") or 0),
            float(scoring.get("timeout") or usual.timeout),
            float(scoring.get("start_timeout") or usual.start_timeout),
            int(scoring.get("queue") or usual.queue),
            int(scoring.get("recycle_requests") or 0),
            int(scoring.get("recycle_memory") or 0),
        )


class Caller:
    """Who waits for the sample that a worker is tried with: always there."""

    gone = False


class Pool:
    """The workers of one release and the requests that wait for them.

    make: makes a worker that tells these listeners. template: the process that workers are forked
    of, which is ended with them.
    """

    def __init__(
        self,
        make: Callable[..., Worker],
        settings: Settings,
        metrics: Metrics,
        template: Template | None = None,
    ) -> None:
        self.settings = settings
        self.max_rows = settings.max_rows
        self.timeout = settings.timeout
        self.metrics = metrics
        self.template = template
        self._make_worker = make
        self.flights = Flights(self)
        self.workers = [self._make() for _ in range(settings.workers)]
        self.line = Line(settings.max_rows, settings.queue)
        self.solo = False  # whether requests go to workers by themselves
        self.error = ""  # why a worker was lost last, while that matters
        self.reason = ""  # the same without anything that may be private
        self.traceback = ""
        self.kind = ""
        self.sample: Inputs | None = None  # each worker is tried with it before it serves
        self.recycles = 0
        self._loads_in = 0.0  # seconds that the last load took
        self._back_by = 0.0  # until when one that was lost should be back
        self._rate = 0.0  # requests answered in a second by a busy worker
        self._loading: dict[Worker, asyncio.Future[str]] = {}
        self._successors: dict[Worker, Worker] = {}  # a fresh worker -> the one it replaces
        self._retiring: set[Worker] = set()
        self._retired: set[asyncio.Task[None]] = set()
        self._recycle_from = 0.0
        self._proven = False
        self._closing = False
        self._ticking = False
        self._dispatching = False
        self._waking: asyncio.TimerHandle | None = None
        self._hold: asyncio.Handle | None = None
        self._hold_for = 0
        self._skip_holds = 0

    def _make(self) -> Worker:
        made = self._make_worker(self._loaded, self._load_failed, self._answered, self._ended)
        made.on_item, made.on_landed = self.flights.item, self.flights.landed
        return made

    @property
    def ready(self) -> bool:
        """Whether some worker can predict."""
        return any(worker.serves for worker in self.workers)

    @property
    def mending(self) -> bool:
        """Whether a worker that was lost is about to be back, so that requests had better wait."""
        dying = any(one.state == ENDING and one.warm and not one.failures for one in self.workers)
        return self._loads_in <= SOON and (dying or monotonic() < self._back_by)

    @property
    def full(self) -> bool:
        """Whether one more request would be refused."""
        return self.line.full

    @property
    def retry_after(self) -> int:
        """Whole seconds until what waits now should have been answered, 1 to LONGEST_RETRY."""
        rate = self._rate * sum(worker.serves for worker in self.workers)
        seconds = len(self.line) / rate if rate else 1
        return min(max(1, ceil(seconds)), LONGEST_RETRY)

    @property
    def restarts(self) -> int:
        return sum(worker.restarts for worker in self.workers)

    @property
    def held(self) -> int:
        """Requests in the queue or being predicted."""
        busy = (worker.batch or () for worker in self.all_workers() if worker.state == BUSY)
        return self.line.held + sum(map(len, busy)) + self.flights.held

    def all_workers(self) -> list[Worker]:
        """The workers, those to come and those to go."""
        return [*self.workers, *self._successors, *self._retiring]

    # Starting and ending

    async def start(self) -> str:
        """Start all workers at once and wait until each has loaded: the input kind.

        Raises LoadFailed at the first that cannot.
        """
        self._loop = asyncio.get_running_loop()
        loaded = [self._expect(worker) for worker in self.workers]
        for worker in self.workers:
            try:
                self._begin(worker)
            except OSError as error:
                raise LoadFailed(f"The worker cannot be started: {error}") from error
        self.kind = (await asyncio.gather(*loaded))[0]
        return self.kind

    async def warm(self) -> None:
        """Try every worker that the sample has not reached. Raises LoadFailed at the first."""
        self._proven = True
        cold = [worker for worker in self.workers if not worker.warm]
        tried = [self._expect(worker) for worker in cold]
        for worker in cold:
            if worker.state == IDLE:  # else it is being replaced, and tried when it has loaded
                self._try(worker)
        await asyncio.gather(*tried)

    async def close(self) -> None:
        self._closing = True
        await asyncio.gather(*self._retired, *(worker.close() for worker in self.all_workers()))
        if self.template is not None:
            await self.template.close()

    def _expect(self, worker: Worker) -> asyncio.Future[str]:
        future: asyncio.Future[str] = self._loop.create_future()
        self._loading[worker] = future
        return future

    # Requests

    def submit(self, job: Job) -> None:
        """Queue a request; it is dispatched when this turn of the event loop ends."""
        if self.full and not job.limit:
            job.end(overloaded())
            return
        job.queued = monotonic()
        job.alone = job.alone or self.solo
        if not self._proven:
            job.deadline = job.queued + self.settings.start_timeout
        if job.limit:
            self.flights.waiting.append(job)
        else:
            self.line.add(job)
        self._watch()
        if self._hold is None:
            self.dispatch_soon()
        elif len(self.line) >= self._hold_for:
            self._release()

    def dispatch_soon(self) -> None:
        if not self._dispatching:
            self._dispatching = True
            self._loop.call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Give every idle worker a batch."""
        self._dispatching = False
        for worker in self.workers:
            if self._proven and not worker.warm:
                continue
            if worker.solo:
                self.flights.fill(worker)
            elif worker.state == IDLE and self._ripe():
                batch = self.next(worker)
                if batch:
                    inputs, now = join([job.inputs for job in batch]), monotonic()
                    worker.big = self.line.is_big(batch[0])
                    self._note_taken(batch, inputs.rows, now)
                    self.metrics.took(inputs, len(batch) + len(self.line))
                    worker.predict(batch, inputs, now)
        self.flights.fill_with_jobs()

    def _note_taken(self, batch: list[Job], rows: int, now: float) -> None:
        for job in batch:
            job.taken, job.batch_rows = now, rows
            self.metrics.queued.observe(now - job.queued)

    def _ripe(self) -> bool:
        """Whether the next batch should go now: `wait` is over, or as many rows came as may."""
        wait = self.settings.wait
        if not wait or not self.max_rows or self.line.again or not self.line:
            return True
        first = self.line.first
        left = first.queued + wait - monotonic()
        if first.alone or left <= 0 or self.line.rows >= self.max_rows:
            return True
        if self._waking is None:
            self._waking = self._loop.call_later(left, self._wake)
        return False

    def _wake(self) -> None:
        self._waking = None
        self.dispatch_soon()

    def next(self, worker: Worker) -> list[Job]:
        """The batch that this worker takes next.

        Where the oldest request is big, the oldest small one goes before it, if any waits, when
        this worker's last one was big too or all others are busy with big ones. So a small one
        waits for no more than one big one, a big one for no more than one batch of small ones and
        one turn of a worker, and no worker idles for it.
        """
        return self.line.next(partial(self._turn_of_small, worker))

    def _turn_of_small(self, worker: Worker) -> bool:
        others = [one for one in self.workers if one is not worker and one.serves]
        return worker.big or (bool(others) and all(one.state == BUSY and one.big for one in others))

    # Holding: those just answered are likely to ask again at once

    def _go_on_after(self, batch: list[Job], took: float) -> None:
        """Have the worker take the next batch, or let that fill up for a small part of the time
        the last one took.

        Clients that send one request after the other would else fall into two groups that take
        turns, each batch half full. The pause ends when as many wait as can be expected, and is
        made twice as long when most have come; when they do not come, the next pauses are left out.
        """
        self._skip_holds = max(0, self._skip_holds - 1)
        joining = self.max_rows and not batch[0].alone and len(self.workers) == 1
        if self.settings.wait or not joining or took < WORTH_HOLDING or self._skip_holds:
            self._dispatch()  # before the answers are written: the worker need not wait for that
            return
        self._hold_for = min(len(self.line) + len(batch), self.max_rows)
        most = len(self.line) + len(batch) // 2
        pause = min(took / 5, LONGEST_HOLD)
        self._hold = self._loop.call_soon(self._await_more, most, pause)  # answers go out first

    def _await_more(self, most: int, pause: float) -> None:
        self._hold = self._loop.call_later(pause, self._held_long, most, pause)

    def _held_long(self, most: int, longer: float) -> None:
        """Not all have come: wait for the rest, or go on, and pause no more for a while."""
        if len(self.line) >= most and longer:
            self._hold = self._loop.call_later(longer, self._held_long, most, 0.0)
            return
        if len(self.line) < most:
            self._skip_holds = HOLDS_SKIPPED
        self._release()

    def _release(self) -> None:
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        self.dispatch_soon()

    # Answers

    def _answered(self, worker: Worker, result: Result) -> None:
        batch: list[Job] = worker.batch
        worker.batch = None
        worker.served += len(batch)
        took = monotonic() - worker.started
        self.metrics.predicted(sum(job.inputs.rows for job in batch), took)
        self._observe(len(batch) / max(took, 1e-6))
        if worker.warm:
            self.calm(worker)
        for job in batch:
            job.predicting = took
        self._go_on_after(batch, took)
        if isinstance(result, Refusal):
            self._failed(batch, result)
        else:
            self.has_predicted(worker)
            self.metrics.gave(result)
            self._deliver(batch, result)
        self.done_with(worker)

    def done_with(self, worker: Worker) -> None:
        """It has done something: let it go if it is to end and was the last, or see whether it
        should."""
        if worker in self._retiring:
            if not worker.flights:
                self._retire(worker)
        elif self._proven:
            self._recycle_if_worn(worker)

    def has_predicted(self, worker: Worker) -> None:
        """It has given a result; the first one, of the sample, shows that it can."""
        worker.warm = worker.warm or not self._proven

    def _observe(self, rate: float) -> None:
        self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate

    def _deliver(self, batch: list[Job], whole: Outputs) -> None:
        """Give each request of a batch its result."""
        parts = whole.split([job.inputs.rows for job in batch])
        if parts is None:
            self._halve(batch)
            return
        for job, part in zip(batch, parts):
            job.end(part)

    def _failed(self, batch: list[Job], refusal: Refusal) -> None:
        if len(batch) > 1 and not refusal.common:
            self._halve(batch)
            return
        for job in batch:
            job.end(refusal)

    def part(self, batch: list[Job]) -> None:
        """Run each by itself, first."""
        for job in reversed(batch):
            job.alone = True
            self.line.go_first([job])
        self._release()

    def _halve(self, batch: list[Job]) -> None:
        """Run each half as a batch of its own, first, so that in the end only those at fault fail.

        One at fault among n costs 2 log2(n) predictions more, and log2(n) + 1 workers if it
        crashes them.
        """
        alive = [job for job in batch if still_wanted(job)]
        middle = (len(alive) + 1) // 2
        for half in (alive[middle:], alive[:middle]):
            if half:
                self.line.go_first(half)
        self._release()

    # Deadlines

    def _watch(self) -> None:
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        """End what is past its deadline; go on for as long as anything is held."""
        now = monotonic()
        for job in self.line:
            if job.deadline < now:
                job.end(timed_out(self.timeout))
        self.line.forget_unwanted()
        for worker in self.all_workers():
            if worker.state == BUSY:
                self._check(worker, now)
        self.flights.check(now)
        self._ticking = bool(self.held)
        if self._ticking:
            self._loop.call_later(TICK, self._tick)

    def _check(self, worker: Worker, now: float) -> None:
        if worker.batch is None:
            return
        limit = self.timeout if worker.warm else self.settings.start_timeout
        for job in worker.batch:
            if job.deadline < now:
                job.end(worker.late(limit))
        if now - worker.started > limit:
            say(f"worker {worker.pid} has been predicting for {limit:g} s: it is replaced")
            for job in worker.batch:
                job.end(worker.late(limit))
            worker.kill(f"by us, as it had been predicting for {limit:g} s")
        elif not any(job.wanted for job in worker.batch):
            worker.forsake()

    # The life of workers

    def _begin(self, worker: Worker) -> None:
        """Start it, and see to it that its loading ends. Raises OSError."""
        worker.start()
        self._loop.call_later(
            self.settings.start_timeout, self._loading_long, worker, worker.process
        )

    def _loading_long(self, worker: Worker, process: Any) -> None:
        if worker.process is process and worker.state == LOADING:
            limit = self.settings.start_timeout
            worker.kill(f"by us, as it had not loaded within {limit:g} s")

    def _loaded(self, worker: Worker, kind: str) -> None:
        self.solo = self.solo or worker.solo
        self._loads_in = monotonic() - worker.began
        if self._proven:
            self._try(worker)
        else:
            self._settle(worker, kind)

    def _try(self, worker: Worker) -> None:
        """Have it predict the sample, if there is one, before it serves."""
        if self.sample is None:
            self._tried(worker, None)
            return
        now = monotonic()
        deadline = now + self.settings.start_timeout
        job = Job(self.sample, partial(self._tried, worker), deadline, Caller())
        worker.predict([job], self.sample, now)
        self._watch()

    def _tried(self, worker: Worker, result: Result | None) -> None:
        if isinstance(result, Refusal):
            why = f"The sample was not predicted: {result.sentence}"
            self.note(why, why)
            self._settle(worker, LoadFailed(why))
            worker.kill(f"by us, as it failed on the sample: {result.sentence}")
            return
        worker.warm = True
        worker.fresh = resident(worker.pid) if self.settings.recycle_memory else 0
        self._loop.call_later(CALM, self._calm_still, worker, worker.process)
        if not self._settle(worker, self.kind):
            say(f"worker {worker.pid} is ready")
        if worker in self._successors:
            self._take_over(worker)
        self.dispatch_soon()

    def _calm_still(self, worker: Worker, process: Any) -> None:
        if worker.process is process and worker.serves:
            self.calm(worker)

    def calm(self, worker: Worker) -> None:
        """It works; once all do, what happened before is no longer of interest."""
        worker.failures = 0
        if self.error and all(one.serves and not one.failures for one in self.workers):
            self.note("", "")

    def note(self, error: str, reason: str, traceback: str = "") -> None:
        """Have this be what is wrong. reason: the same without anything that may be private."""
        self.error, self.reason, self.traceback = error, reason, traceback or error

    def _load_failed(self, worker: Worker, why: str, traceback: str) -> None:
        kind = re.match(r"[\w.]+(?=:|$)", why)
        self.note(why, f"Loading it raised {kind[0] if kind else 'an error'}.", traceback)
        worker.failed = True
        self._settle(worker, LoadFailed(why))

    def _ended(self, worker: Worker) -> None:
        if self._closing:
            return
        self.flights.lost(worker)
        how = f"The worker ended {worker.fate}."
        if not worker.warm:
            how = f"While loading the model, {how[0].lower()}{how[1:]}"
        if not worker.failed:
            self.note(how, how)
        if self._settle(worker, LoadFailed(self.error)) or (worker.failed and not self._proven):
            return  # the front is about to give up
        if not worker.warm and not self.ready:
            self._refuse_all()
        joined = self._lost_batch(worker)
        if worker in self._retiring:
            self._retiring.discard(worker)
        elif worker in self._successors:
            self._recycle_from = monotonic() + RECYCLE_PAUSE
            old = self._successors.pop(worker)
            say(f"worker {worker.pid}, to replace {old.pid}, ended {worker.fate}")
        elif not self._succeed(worker):
            self._replace(worker, at_once=joined or bool(self.line.again))

    def _refuse_all(self) -> None:
        """A replacement could not load: what waits for it need not wait for the next."""
        self._back_by = 0.0
        for job in self.line:
            job.end(not_ready(self.reason))

    def _lost_batch(self, worker: Worker) -> bool:
        """Run what it was at again, or end it; whether the culprit is one of several."""
        batch: list[Job] = worker.batch or []
        worker.batch = None
        if len(batch) > 1:
            self._halve(batch)
            return True
        for job in batch:
            job.end(worker_died(worker.fate))
        return False

    def _replace(self, worker: Worker, at_once: bool = False) -> None:
        """Start it again, later and later; at once while a culprit is being searched for."""
        delay = 0.0 if at_once else BACK_OFF[min(worker.failures, len(BACK_OFF) - 1)]
        worker.failures += not at_once
        worker.restarts += 1
        self._back_by = 0.0 if delay else monotonic() + 2 * self._loads_in + 1
        say(f"worker {worker.pid} ended {worker.fate}; another is started in {delay:g} s")
        self.metrics.event(
            "worker", how=worker.fate, error=self.error, traceback=self.traceback[-LONGEST_TOLD:]
        )
        self._loop.call_later(delay, self._start_again, worker)

    def _start_again(self, worker: Worker) -> None:
        if self._closing or worker.state != DEAD:
            return
        try:
            self._begin(worker)
        except OSError as error:
            self.note(f"The worker cannot be started: {error}", "A worker cannot be started.")
            self._replace(worker)

    # Recycling: a fresh worker takes over when it is ready, so no request is refused

    def _recycle_if_worn(self, worker: Worker) -> None:
        if worker.warm and self._worn(worker) and not self._successors:
            now = monotonic()
            if now >= self._recycle_from and worker in self.workers:
                self._recycle(worker)

    def _worn(self, worker: Worker) -> bool:
        settings = self.settings
        if settings.recycle_requests and worker.served >= settings.recycle_requests:
            return True
        limit, now = settings.recycle_memory, monotonic()
        if not limit or worker.fresh >= limit or now - worker.looked < 1:
            return False
        worker.looked = now
        return resident(worker.pid) > limit

    def _recycle(self, worker: Worker) -> None:
        fresh = self._make()
        self._successors[fresh] = worker
        try:
            self._begin(fresh)
        except OSError as error:
            del self._successors[fresh]
            self._recycle_from = monotonic() + RECYCLE_PAUSE
            say(f"worker {worker.pid} cannot be recycled: {error}")

    def _take_over(self, fresh: Worker) -> None:
        old = self._successors.pop(fresh)
        self._put_in_place(fresh, old)
        self.recycles += 1
        say(f"worker {fresh.pid} takes over from {old.pid}")
        self._retiring.add(old)
        if old.state == IDLE and not old.flights:
            self._retire(old)

    def _put_in_place(self, fresh: Worker, old: Worker) -> None:
        self.workers[self.workers.index(old)] = fresh
        fresh.restarts = old.restarts

    def _succeed(self, old: Worker) -> bool:
        """A worker ended while its successor was loading: that one is its replacement."""
        for fresh, one in list(self._successors.items()):
            if one is old:
                del self._successors[fresh]
                self._put_in_place(fresh, old)
                fresh.restarts += 1
                return True
        return False

    def _retire(self, worker: Worker) -> None:
        """Let it end, now that it has nothing left to do."""
        self._retiring.discard(worker)
        task = self._loop.create_task(worker.close())
        self._retired.add(task)
        task.add_done_callback(self._retired.discard)

    def _settle(self, worker: Worker, result: str | Exception) -> bool:
        """Give whoever waits for this worker an end; whether anybody did."""
        future = self._loading.pop(worker, None)
        if future is None:
            return False
        if future.done():
            return True
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
        return True


def processes(
    launch: Launch, settings: Settings, metrics: Metrics, begun: Iterable[Begun] = ()
) -> Pool:
    """A pool of processes that run the model. begun: those that were started already."""
    template = Template(launch) if launch.preload else None
    pool = Pool(partial(ProcessWorker, template or launch), settings, metrics, template)
    takers: list[Worker] = [template] if template else pool.workers
    for worker, one in zip(takers, begun):
        worker.begun = one
    return pool


class LoadFailed(Exception):
    """The model could not be loaded; the text is its last line of traceback."""


def resident(pid: int | None) -> int:
    """Bytes of memory that a process holds; 0 when that cannot be known."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return 0
