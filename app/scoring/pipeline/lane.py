"""A pipeline in a front: its lanes stand where a model's workers stand in the Pool."""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from ..batching import LoadFailed, Pool, Settings, processes
from ..errors import Refusal, cancelled, timed_out
from ..http import Request
from ..inputs import Inputs
from ..launch import Begun
from ..line import Job
from ..metrics import Metrics
from ..outputs import Outputs
from ..release import Release
from ..workers import DEAD, IDLE, LOADING, Worker
from . import graph as graphs
from .ask import Client, Target, unix, web
from .graph import INPUT, Graph, Stage
from .run import Askable, Run
from .stage import LARGE, Context, Remote, Script, beside

ALONE = 8  # lanes of a pipeline whose requests are never joined
HOPS, VIA, TRACE = b"x-pipeline-hops", b"x-pipeline-via", b"x-pipeline-trace"


class Pipeline:
    """The stages of one release and how each is asked. Raises ValueError for what cannot be."""

    def __init__(self, release: Release, metrics: Metrics, begun: Iterable[Begun] = ()) -> None:
        self.release = release
        self.graph: Graph = graphs.parse(release.scoring)
        self.settings = Settings.read(release.scoring)
        self.asked: dict[str, Askable] = {}
        self.script_pool: Pool | None = None
        self.mark = os.urandom(6).hex().encode()  # what says that a request has been here
        self._waiting: dict[str, str] = {}  # stages that are not up yet, and why
        for stage in self.graph.stages.values():
            if stage.script:
                pool = self.script_pool = processes(
                    release.launch(), self.settings, Metrics({}, {}), begun
                )
                self.asked[stage.name] = Script(stage, pool.submit, metrics)
            elif stage.instance:
                self.asked[stage.name] = Remote(stage, self._client(stage), metrics)

    def pool(self, metrics: Metrics) -> Pool:
        """Where requests wait for a lane."""
        lanes = self.settings._replace(
            workers=self.graph.parallel or self._lanes(), recycle_requests=0, recycle_memory=0
        )
        return Pool(partial(Lane, self), lanes, metrics)

    def _lanes(self) -> int:
        """One where requests are joined: a stage is quicker with one batch than with its parts."""
        return 1 if self.settings.max_rows else ALONE

    def _client(self, stage: Stage) -> Client:
        reach = stage.reach or {}
        name = reach.get("token")
        headers = b""
        if name:
            headers = f"Authorization: Bearer {self.release.secrets()[name]}\r\n".encode()
        return Client(self._target(stage, reach), headers)

    def _target(self, stage: Stage, reach: Mapping[str, Any]) -> Target:
        if "url" in reach:
            return web(reach["url"], reach.get("certificate") or "")
        base = self.release.instance_folder.parent.parent
        path = base / "ask" / f"{reach.get('socket') or stage.instance}.sock"
        return unix(path, reach.get("certificate") or "")

    # What it is, once its stages have said what they are

    @property
    def kind(self) -> str:
        """What it takes: as said, else as the stages that are given the input whole."""
        said = self.release.scoring.get("input")
        if said:
            return str(said)
        if self.graph.names_input:
            return "dataframe"
        for name, asked in self.asked.items():
            if INPUT in self.graph.needs(name) and isinstance(asked, Remote) and asked.known:
                return asked.known.kind
        return "json"

    @property
    def depth(self) -> int:
        """How many pipelines are in each other here, itself counted."""
        known = [one.known for one in self.asked.values() if isinstance(one, Remote)]
        return 1 + max((one.depth for one in known if one), default=0)

    async def open(self, pool: Pool) -> None:
        """Until all stages are up that it cannot do without. Raises LoadFailed."""
        remotes = [one for one in self.asked.values() if isinstance(one, Remote)]
        needed = [one for one in remotes if not one.stage.optional]
        self._waiting = {one.name: "It has not been asked yet." for one in needed}
        waits = [one.wait(partial(self._heard, pool)) for one in needed]
        try:
            limit = self.settings.start_timeout
            await asyncio.wait_for(asyncio.gather(*waits, self._load_script()), limit)
        except asyncio.TimeoutError:
            raise LoadFailed(self._not_up()) from None
        for one in remotes:
            if one.stage.optional:
                one.learn_soon()
        await beside(LARGE, int)  # starting the thread can take a while when all are busy
        pool.note("", "")

    async def _load_script(self) -> None:
        if self.script_pool is None:
            return
        kind = await self.script_pool.start()
        await self.script_pool.warm()
        for one in self.asked.values():
            if isinstance(one, Script):
                one.kind = kind

    def _heard(self, pool: Pool, stage: str, why: str) -> None:
        """A stage is up, or not up yet for this reason: /readyz says so."""
        if why:
            self._waiting[stage] = why
        else:
            self._waiting.pop(stage, None)
        pool.note(self._not_up(), self._not_up())

    def _not_up(self) -> str:
        return " ".join(f'Stage "{name}" is not up. {why}' for name, why in self._waiting.items())

    def check(self, request: Request) -> None:
        """Raises a Refusal for a request that has come through too many pipelines already, or
        through this one: its lanes would wait for each other."""
        name = self.release.instance
        if self.mark in request.headers.get(VIA, b""):
            raise _circle(f'Pipelines ask each other in a circle: "{name}" has come round.')
        if hops(request.headers) > self.graph.max_hops:
            deep = f"more than {self.graph.max_hops} deep"
            raise _circle(f'Pipelines ask each other {deep}: "{name}" is the last of them.')

    async def close(self) -> None:
        for one in self.asked.values():
            if isinstance(one, Remote):
                one.close()
        if self.script_pool is not None:
            await self.script_pool.close()


def _circle(what: str) -> Refusal:
    return Refusal(508, what, remedy="See `max_hops` under [pipeline].", reason="hops")


class Lane(Worker):
    """Takes one batch after the other through the graph."""

    def __init__(self, pipeline: Pipeline, *listeners: Any) -> None:
        super().__init__(*listeners)
        self.pipeline = pipeline
        self._run: Run | None = None
        self._task: asyncio.Task[Outputs] | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.state, self.warm, self.failed = LOADING, False, False
        self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self.state = IDLE
        self.on_ready(self, self.pipeline.kind)

    def _give(self, inputs: Inputs) -> None:
        flight = self.flights.get(self._number)
        jobs = self.batch if flight is None else [flight.job]
        pipeline = self.pipeline
        traced = any(TRACE in headers(job) for job in jobs) and inputs.signature is None
        goes_with = context(jobs, pipeline.mark)
        self._run = Run(pipeline.graph, pipeline.asked, inputs, goes_with, traced)
        self._task = self._loop.create_task(self._run.outputs())
        self._task.add_done_callback(partial(self._done, self._number))

    def _done(self, number: int, task: asyncio.Task[Outputs]) -> None:
        if self.state == DEAD:
            return
        result = _result(task)
        if number in self.flights:
            self.on_landed(self, number, result)
        elif self.batch is not None:
            self.state = IDLE
            self.on_answer(self, result)

    def tell(self, **header: Any) -> None:
        if header.get("cancel") in self.flights:
            self.forsake()

    def forsake(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def late(self, limit: float) -> Refusal:
        refusal = timed_out(limit)
        running = sorted(self._run.running) if self._run is not None else []
        if running:
            named = ", ".join(f'"{name}"' for name in running)
            refusal.what = f"No answer within {limit:g} s from stage {named}."
        return refusal

    def kill(self, why: str = "") -> None:
        if self.state != DEAD:
            self.state, self.fate = DEAD, why or "by us"
            self.forsake()
            self._loop.call_soon(self.on_end, self)

    async def close(self, patience: float = 1.0) -> None:
        self.state = DEAD
        self.forsake()


def _result(task: asyncio.Task[Outputs]) -> Outputs | Refusal:
    if task.cancelled():
        return cancelled()
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, Refusal):
        return error
    traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    return Refusal(500, "The pipeline failed on this request.", reason="front")


def context(jobs: Sequence[Job], mark: bytes) -> Context:
    """What goes with these requests: the latest deadline, the deepest place, the first's names."""
    every = [headers(job) for job in jobs]
    via = {mark, *(one[VIA] for one in every if VIA in one)}
    lines = [
        b"X-Pipeline-Hops: %d\r\n" % (1 + max(map(hops, every))),
        b"X-Pipeline-Via: %b\r\n" % b",".join(sorted(via)),
    ]
    waiters = [job.waiter for job in jobs]
    named = next((one.id for one in waiters if getattr(one, "id", b"")), b"")
    traced = next((one.trace for one in waiters if getattr(one, "trace", None)), None)
    if named:
        lines.append(b"X-Request-Id: %b\r\n" % named)
    if traced:
        lines.append(b"traceparent: %b\r\n" % traced.header)
    return Context(max(job.deadline for job in jobs), b"".join(lines))


def headers(job: Job) -> Mapping[bytes, bytes]:
    """Of its request; whoever tries a lane with the sample has none."""
    found: Mapping[bytes, bytes] = getattr(job.waiter, "headers", {})
    return found


def hops(headers: Mapping[bytes, bytes]) -> int:
    """How many pipelines a request has come through."""
    said = headers.get(HOPS, b"")
    return int(said) if said.isdigit() and len(said) < 6 else 0
