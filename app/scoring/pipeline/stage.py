"""One stage being asked: in time, once more where it may be, and not while it keeps failing."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from ..errors import Refusal
from ..inputs import Inputs
from ..line import Job, Result
from ..metrics import Metrics
from ..outputs import Outputs
from ..readers import weight
from . import table, wire
from .ask import Broken, Client, Late, Response
from .graph import Stage
from .table import Unfit
from .wire import Known

MOST_FAILURES = 5
PAUSE = 5.0  # seconds until a stage that kept failing is tried again
LEARNING = 2.0  # seconds that the answer of /schema may take
LOOK = 0.2
LARGE = 1 << 20
"""Bytes from which Python's own work on them goes to a thread: 1 MiB of numbers is 15 ms of it."""
_LINEAGE = re.compile(rb"[a-z0-9_/=, ]{1,4096}").fullmatch
AGAIN = (502, 503, 504)

SHARING = 0.0005
"""Seconds after which that thread leaves Python to the front, where 0.005 is usual."""

_thread = ThreadPoolExecutor(1, initializer=partial(sys.setswitchinterval, SHARING))
T = TypeVar("T")


class Context(NamedTuple):
    """What goes with a batch. until: when it must have been answered. headers: whole lines."""

    until: float
    headers: bytes = b""


class Reply(NamedTuple):
    """lineage, missing: as X-Pipeline and X-Pipeline-Missing of a stage that is a pipeline."""

    outputs: Outputs
    version: int | None = None
    lineage: str = ""
    missing: str = ""


class Failed(Exception):
    """again: whether it may be asked once more. counts: whether it speaks against the stage."""

    def __init__(self, refusal: Refusal, again: bool = False, counts: bool = False) -> None:
        super().__init__(refusal.sentence)
        self.refusal, self.again, self.counts = refusal, again, counts


async def beside(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """What `work` gives, made in a thread when there is much to do.

    There is one thread: more would only take Python from each other, and from the front.
    """
    if size < LARGE:
        return work(*arguments)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, partial(work, *arguments))


class Circuit:
    """Is open while a stage need not be asked: after some failures in a row, but for one try."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.failures = 0
        self.why = ""
        self._until = 0.0
        self._trying = False

    def enter(self) -> None:
        """Raises a Refusal while it is open."""
        if self.failures < MOST_FAILURES:
            return
        left = self._until - monotonic()
        if left > 0 or self._trying:
            raise Refusal(
                503,
                f'Stage "{self.stage}" is not asked at the moment.',
                cause=f"It failed {self.failures} times in a row. {self.why}",
                remedy=f"It is tried again in {max(left, 1):.0f} s.",
                reason="stage",
                common=True,
            )
        self._trying = True

    def leave(self) -> None:
        self._trying = False

    def worked(self) -> None:
        self.failures = 0

    def failed(self, why: str) -> None:
        self.failures += 1
        self.why = why
        self._until = monotonic() + PAUSE


class Remote:
    """A stage that is an instance, here or elsewhere."""

    def __init__(self, stage: Stage, client: Client, metrics: Metrics) -> None:
        self.stage = stage
        self.name = stage.name
        self.known: Known | None = None
        self.circuit = Circuit(stage.name)
        self._client = client
        self._metrics = metrics
        self._learning: asyncio.Task[None] | None = None

    def nothing(self) -> Outputs:
        """Its answer about no rows, for which it need not be asked."""
        return self.known.nothing() if self.known else Outputs("json", [])

    async def ask(self, given: Outputs, context: Context) -> Reply:
        """Its answer about these rows. Raises a Refusal that names the stage."""
        self.circuit.enter()
        try:
            reply = await self._patiently(given, context._replace(until=self._until(context)))
        except Failed as failed:
            if failed.counts:
                self.circuit.failed(failed.refusal.cause)
            elif failed.refusal.status != 503:
                self.circuit.worked()  # it answers, whatever that is
            raise failed.refusal from None
        finally:
            self.circuit.leave()
        self.circuit.worked()
        return reply

    def _until(self, context: Context) -> float:
        """Its own limit, or what is left; one that the rest can do without leaves them some."""
        now = monotonic()
        left = (context.until - now) * (0.8 if self.stage.optional else 1.0)
        return now + min(left, self.stage.timeout or left)

    async def _patiently(self, given: Outputs, context: Context) -> Reply:
        try:
            return await self._once(given, context)
        except Failed as failed:
            if not (failed.again and self.stage.idempotent and monotonic() < context.until):
                raise
        return await self._once(given, context)

    async def _once(self, given: Outputs, context: Context) -> Reply:
        known = self.known or await self._learn(context.until)
        response = await self._send(given, known, context)
        if response.status in (400, 404) and self._is_new(response):
            known = await self._learn(context.until)  # it has another schema now: nothing was done
            response = await self._send(given, known, context)
        if response.status != 200:
            raise self._refused(response)
        if self._is_new(response):
            self.learn_soon()
        return await self._read(given, response)

    async def _send(self, given: Outputs, known: Known, context: Context) -> Response:
        try:
            asking = await beside(weight(given), wire.asking, given, known)
        except Unfit as error:
            raise Failed(self._bad("It cannot be given these rows.", str(error))) from None
        return await self._ask(
            "POST", asking.path, asking.parts, asking.headers + context.headers, context.until
        )

    async def _ask(
        self, method: str, path: str, parts: Any, headers: bytes, until: float
    ) -> Response:
        begun, code = monotonic(), "none"
        try:
            response = await self._client.ask(method, path, parts, headers, until=until)
            code = str(response.status)
        except Broken as error:
            raise Failed(self._bad(str(error), common=True), again=True, counts=True) from None
        except Late:
            raise Failed(self._late(until - begun), counts=True) from None
        finally:
            if method == "POST":
                self._metrics.staged(self.name, code, monotonic() - begun)
        return response

    async def _read(self, given: Outputs, response: Response) -> Reply:
        version = _number(response.headers.get(b"x-model-version"))
        if self.stage.version is not None and version != self.stage.version:
            raise Failed(self._bad(_not_pinned(self.stage.version, version), common=True))
        try:
            outputs = await beside(len(response.body), wire.answered, response)
        except ValueError as error:
            why = f"Its answer cannot be read: {error}"
            raise Failed(self._bad(why), again=True, counts=True) from None
        if None not in (given.rows, outputs.rows) and given.rows != outputs.rows:
            why = f"It was given {given.rows} rows and gave {outputs.rows}."
            raise Failed(self._bad(why))
        lineage = _lineage(response.headers.get(b"x-pipeline"))
        missing = _lineage(response.headers.get(b"x-pipeline-missing"))
        return Reply(outputs, version, lineage, missing)

    # What it is

    async def _learn(self, until: float) -> Known:
        """Ask what it takes and gives. Raises Failed."""
        limit = min(until, monotonic() + LEARNING)
        response = await self._ask("GET", "/schema", (), b"", limit)
        if response.status != 200:
            raise self._refused(response)
        try:
            self.known = wire.known(response.body)
        except ValueError:
            raise Failed(self._bad("What it says at /schema cannot be read."), True, True) from None
        return self.known

    def _is_new(self, response: Response) -> bool:
        """Whether another release answered than the one whose schema we know."""
        release = response.headers.get(b"x-release", b"")
        return self.known is not None and release != self.known.release.encode()

    def learn_soon(self) -> None:
        """Ask what it is now, without waiting for that."""
        if self._learning is None or self._learning.done():
            self._learning = asyncio.get_running_loop().create_task(self._learn_quietly())

    async def _learn_quietly(self) -> None:
        try:
            await self._learn(monotonic() + LEARNING)
        except Failed:
            pass  # the next answer of the new release is the next occasion

    async def wait(self, say: Callable[[str, str], None]) -> None:
        """Until it has said what it is, as what it is pinned to. say(name, why not)."""
        while True:
            try:
                known = await self._learn(monotonic() + LEARNING)
                if self.stage.version in (None, known.version):
                    say(self.name, "")
                    return
                say(self.name, _not_pinned(self.stage.version, known.version))
            except Failed as failed:
                say(self.name, failed.refusal.cause)
            await asyncio.sleep(LOOK)

    def close(self) -> None:
        if self._learning is not None:
            self._learning.cancel()
        self._client.close()

    # Its failures, in our words

    def _bad(self, cause: str, more: str = "", common: bool = False) -> Refusal:
        cause = f"{cause} {more}".strip()
        return failure(self.name, 502, cause, common)

    def _late(self, limit: float) -> Refusal:
        seconds = max(round(limit, 1), 0.1)
        return failure(self.name, 504, f"It had not answered within {seconds:g} s.", True)

    def _refused(self, response: Response) -> Failed:
        """What its error means to the caller of the pipeline."""
        status = response.status
        said = wire.message(response) or f"It answered with the status {status}."
        if status in (503, 504, 508):
            refusal = failure(self.name, status, said, True)
        elif status in (400, 413, 422) and self.stage.takes_input:
            refusal = failure(self.name, status, said)
        else:
            common = status not in (400, 413, 422, 500)
            refusal = failure(self.name, 502, said, common)
        return Failed(refusal, again=status in AGAIN, counts=status in (502, 504))


def failure(stage: str, status: int, cause: str, common: bool = False) -> Refusal:
    """A stage's failure, named."""
    what = f'Stage "{stage}" failed.' if status >= 500 else f'Stage "{stage}" refused the rows.'
    return Refusal(status, what, cause=cause, reason="stage", common=common)


def _not_pinned(wanted: int | None, version: int | None) -> str:
    return f"It is pinned to version {wanted}, but version {version or '?'} answered."


def _number(text: bytes | None) -> int | None:
    return int(text) if text and text.isdigit() and len(text) < 10 else None


def _lineage(text: bytes | None) -> str:
    return text.decode() if text and _LINEAGE(text) else ""


# The folder's own script


class Waiter:
    """Who waits for a script's answer, as a Job has it."""

    gone = False


class Script:
    """A stage that is the folder's own script, run by workers of this front."""

    def __init__(self, stage: Stage, submit: Callable[[Job], None], metrics: Metrics) -> None:
        self.stage = stage
        self.name = stage.name
        self.kind = "json"  # of what predict takes; known when it has been loaded
        self._submit = submit
        self._metrics = metrics

    def nothing(self) -> Outputs:
        return Outputs("json", [])

    async def ask(self, given: Outputs, context: Context) -> Reply:
        now = monotonic()
        left = context.until - now
        until = now + min(left, self.stage.timeout or left)
        inputs = await beside(weight(given), self._inputs, given)
        result = await self._predict(inputs, until)
        code = result.status if isinstance(result, Refusal) else 200
        self._metrics.staged(self.name, str(code), monotonic() - now)
        if isinstance(result, Refusal):
            status = result.status if result.status in (503, 504) else 502
            raise failure(self.name, status, result.sentence)
        if not isinstance(result, Outputs):
            raise failure(self.name, 502, "It yields items, which a stage cannot.", True)
        return Reply(result)

    def _inputs(self, given: Outputs) -> Inputs:
        try:
            return table.to_inputs(given, self.kind)
        except Unfit as error:
            raise failure(self.name, 502, f"It cannot be given these rows: {error}.") from None

    async def _predict(self, inputs: Inputs, until: float) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        waiter = Waiter()
        job = Job(inputs, partial(_tell, future), until, waiter)
        job.alone = True
        self._submit(job)
        try:
            return await future
        finally:
            waiter.gone = True


def _tell(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)
