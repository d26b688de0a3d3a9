"""Workers as the Pool has them, and the front's side of a process that is one."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

import msgspec

from . import outputs
from .channel import Channel, Form
from .errors import Refusal, bad_input, hung_fork, model_failed, timed_out
from .inputs import Inputs
from .launch import HEAD, Begun, Launch, Process, ending, frame, pair
from .line import Result
from .streams import ENDED

_LOOK = 0.005  # how often a dying process is looked at
_DEAF = 5.0  # how long a template may take to kill a fork
_DYING = 0.5  # how long a process without its socket may live
_JSON = Form(HEAD, msgspec.json.encode, msgspec.json.decode)

SLOTS = 64
"""How many requests an asynchronous model is given at once."""

LOADING, IDLE, BUSY, ENDING, DEAD = "loading", "idle", "busy", "ending", "dead"


def say(line: str) -> None:
    """A line of the front's own log."""
    print(f"front: {line}", file=sys.stderr, flush=True)


class Origin(Protocol):
    """Where workers come from."""

    def begin(self) -> Begun:
        """Start one. Raises OSError."""


class Worker:
    """Whoever takes batches of the Pool, one at a time, and says how each went: a process, or a
    pipeline's lane.

    on_ready(worker, kind), on_failed(worker, why, traceback): how loading ended. on_answer(worker,
    result): of the batch given last; Outputs or a Refusal. on_end(worker): it is gone; `fate` says
    how. on_item(worker, header, payload), on_landed(worker, number, result): of a flight.
    """

    def __init__(
        self,
        on_ready: Callable[[Worker, str], None],
        on_failed: Callable[[Worker, str, str], None],
        on_answer: Callable[[Worker, Result], None],
        on_end: Callable[[Worker], None],
    ) -> None:
        self.on_ready, self.on_failed = on_ready, on_failed
        self.on_answer, self.on_end = on_answer, on_end
        self.on_item: Callable[[Worker, dict[str, Any], bytes], None]
        self.on_landed: Callable[[Worker, int, Result], None]
        self.state = DEAD
        self.process: Process | None = None
        self.begun: Begun | None = None  # for the next start, when its process runs already
        self.batch: Any = None  # what it is busy with, for whoever gave it
        self.started = 0.0  # when that was given
        self.began = 0.0  # when it was started itself
        self.restarts = 0
        self.failures = 0  # in a row
        self.warm = False  # whether it has shown that it can predict
        self.big = False  # whether its last batch was one big request
        self.served = 0  # requests since it was started
        self.fresh = 0  # bytes of memory it had when it was warm
        self.looked = 0.0  # when its memory was looked at
        self.failed = False  # whether it said why it could not load
        self.fate = ""  # how it ended: "by SIGSEGV"
        self.streams = self.tasks = False  # whether predict yields items; whether it is async
        self.flights: dict[int, Any] = {}  # what it does besides a batch: see flights.py
        self.pinged = 0.0  # when an asynchronous worker was asked for a sign of life
        self._number = 0

    @property
    def pid(self) -> int | None:
        return None

    @property
    def serves(self) -> bool:
        """Whether requests may count on it."""
        return self.warm and self.state in (IDLE, BUSY)

    @property
    def solo(self) -> bool:
        """Whether each request must go to it by itself."""
        return self.streams or self.tasks

    @property
    def room(self) -> bool:
        """Whether it can take one more flight."""
        return self.state == IDLE and len(self.flights) < (SLOTS if self.tasks else 1)

    def start(self) -> None:
        """Begin to load. Raises OSError when that is not possible."""
        raise NotImplementedError

    def predict(self, batch: Any, inputs: Inputs, now: float) -> None:
        """Give rows to an idle worker; `batch` is kept for whoever asks later."""
        self.state, self.batch, self.started = BUSY, batch, now
        self._number += 1
        self._give(inputs)

    def fly(self, flight: Any, inputs: Inputs) -> int:
        """Give one request's rows besides others; the number of the flight."""
        self._number += 1
        self.flights[self._number] = flight
        self.state = IDLE if self.room else BUSY
        self._give(inputs)
        return self._number

    def _give(self, inputs: Inputs) -> None:
        """Have these rows predicted, under the number given last."""
        raise NotImplementedError

    def land(self, number: int) -> None:
        """Forget a flight: its last frame has come, or is no longer waited for."""
        self.flights.pop(number, None)
        if self.state == BUSY:
            self.state = IDLE

    def tell(self, **header: Any) -> None:
        """Say something about a flight, such as cancel=5."""
        raise NotImplementedError

    def forsake(self) -> None:
        """Nobody waits for its batch any more. A process has to end it all the same."""

    def late(self, limit: float) -> Refusal:
        """What is said of a batch that took longer than `limit` seconds."""
        return timed_out(limit)

    def kill(self, why: str = "") -> None:
        """End it at once; `on_end` is told when it has ended."""
        raise NotImplementedError

    async def close(self, patience: float = 1.0) -> None:
        """Let it end by itself, then make it."""
        raise NotImplementedError


class ProcessWorker(Worker):
    """One process that predicts."""

    def __init__(self, origin: Origin, *listeners: Any) -> None:
        super().__init__(*listeners)
        self.origin = origin
        self._killed = ""  # why we ended it ourselves
        self._pid = 0

    @property
    def pid(self) -> int | None:
        return self._pid or (self.process.pid if self.process else 0) or None

    def late(self, limit: float) -> Refusal:
        fork = isinstance(self.origin, Template) and not self.warm
        return hung_fork(limit) if fork else timed_out(limit)

    def start(self) -> None:
        """Start the process and tell it what to load. Raises OSError when it cannot be run."""
        self._loop = asyncio.get_running_loop()
        begun, self.begun = self.begun or self.origin.begin(), None
        self.process, self.began = begun.process, begun.at
        self._channel = Channel(begun.sock, _JSON, self._heard, self._ended)
        self.warm, self.big, self.served, self._pid, self._killed = False, False, 0, 0, ""
        self.state, self.failed = LOADING, False
        self.pinged = 0.0
        self.flights.clear()

    def tell(self, **header: Any) -> None:
        """Send a frame without rows, such as cancel=5."""
        if self.state in (IDLE, BUSY):
            self._channel.send(header)

    def _give(self, inputs: Inputs) -> None:
        header = {
            "id": self._number,
            "kind": inputs.kind,
            "rows": inputs.rows,
            "shape": inputs.shape,
            "codes": inputs.codes,
            "names": inputs.names,
            "sizes": [len(part) for part in inputs.parts],
        }
        self._channel.send(header, inputs.parts)

    def kill(self, why: str = "") -> None:
        """End the process at once; `on_end` is told when it has ended."""
        if self.process is not None and self.state != DEAD:
            self.state = ENDING
            self._killed = why or "by us"
            self.process.kill()

    async def close(self, patience: float = 1.0) -> None:
        """Let the process end by itself, then make it."""
        if self.begun is not None:
            self.process = self.begun.process
            self.begun.sock.close()
        elif self.state != DEAD:
            self.state = DEAD
            self._channel.close()
        process = self.process
        for step in range(int(patience / 0.01) * 2):
            if process is None or process.poll() is not None:
                return
            if step == int(patience / 0.01):
                process.kill()
            await asyncio.sleep(0.01)

    # What it says

    def _heard(self, header: dict[str, Any], payload: bytes) -> None:
        if "ready" in header:
            if self.state == LOADING:
                self.state = IDLE
                self._pid = header.get("pid", 0)
                self.streams, self.tasks = bool(header.get("streams")), bool(header.get("async"))
                self.on_ready(self, header["ready"])
        elif "failed" in header:
            self.on_failed(self, header["failed"], header.get("traceback", ""))
        elif "pong" in header:
            self.pinged = 0.0
        elif header["id"] in self.flights:
            self._heard_of_flight(header, payload)
        elif header["id"] == self._number and self.state == BUSY and self.batch is not None:
            if "item" in header or "end" in header:
                self._heard_of_flight(header, payload)
                return
            self.state = IDLE
            self.on_answer(self, result(header, payload))

    def _heard_of_flight(self, header: dict[str, Any], payload: bytes) -> None:
        if "item" in header:
            self.on_item(self, header, payload)
        else:
            self.on_landed(self, header["id"], result(header, payload))

    def _ended(self) -> None:
        """Its socket has closed: learn how the process ends, then say so."""
        self.state = ENDING
        self._look(self._loop.time() + _DYING)

    def _look(self, limit: float) -> None:
        assert self.process
        code = self.process.poll()
        if code is None:
            if self._loop.time() > limit and not self._killed:
                self._killed = "without its socket"
                self.process.kill()
            self._loop.call_later(_LOOK, self._look, limit)
            return
        self.state = DEAD
        self.fate = self._killed or ending(code)
        self.on_end(self)


def result(header: dict[str, Any], payload: bytes) -> Result:
    """What the last frame about some rows means."""
    if "end" in header:
        return ENDED
    if header.get("error") == "input":
        return bad_input("The rows cannot be made into what the model takes.")
    if "error" in header:
        return model_failed(header["raised"])
    try:
        return outputs.read(header, payload)
    except (ValueError, RecursionError):
        return model_failed("no result that JSON can hold")


class Fork:
    """A worker that the template forked, or will when it has loaded."""

    def __init__(self, template: Template, number: int) -> None:
        self.template, self.number = template, number
        self.pid = 0  # until the worker says it
        self.code: int | None = None

    def poll(self) -> int | None:
        return self.code

    def kill(self) -> None:
        self.template.kill_fork(self)


class Template(ProcessWorker):
    """A process that loads the model once; workers are forked of it and share its memory.

    It is started with the first fork asked for, and again after it ended; its forks end with it.
    """

    def __init__(self, launch: Launch) -> None:
        super().__init__(launch, self._loaded, self._load_failed, self._no_answer, self._gone)
        self._forks: dict[int, Fork] = {}
        self._asked: list[tuple[Fork, socket.socket]] = []  # until it has loaded
        self._last = 0

    def begin(self) -> Begun:
        """Have a worker forked, as soon as the model is loaded."""
        if self.state == ENDING:
            raise OSError("the template process is ending")
        if self.state == DEAD:
            self.start()
        ours, theirs = pair()
        ours.setblocking(False)
        self._last += 1
        fork = self._forks[self._last] = Fork(self, self._last)
        self._asked.append((fork, theirs))
        if self.state == IDLE:
            self._loaded(self, "")
        return Begun(fork, ours, monotonic())

    def kill_fork(self, fork: Fork) -> None:
        if self.state == IDLE:
            self._channel.send({"kill": fork.number})
            self._loop.call_later(_DEAF, self._kill_with, fork)
        else:
            self.kill("while it was loading")

    def _kill_with(self, fork: Fork) -> None:
        """A template that does not even kill is of no use."""
        if fork.code is None:
            self.kill()

    def _loaded(self, _: Worker, kind: str) -> None:
        for fork, theirs in self._asked:
            with theirs:
                try:
                    order = frame({"fork": fork.number})
                    socket.send_fds(self._channel.sock, [order], [theirs.fileno()])
                except OSError:
                    pass  # it is ending, which both readers hear of
        self._asked.clear()

    def _load_failed(self, _: Worker, why: str, traceback: str) -> None:
        """Tell each worker that was to be forked, as a worker's own process would."""
        for _fork, theirs in self._asked:
            with theirs:
                try:
                    theirs.sendall(frame({"failed": why, "traceback": traceback}))
                except OSError:
                    pass  # nobody waits for it any more
        self._asked.clear()

    def _no_answer(self, *_: Any) -> None:
        """It is never asked to predict."""

    def _heard(self, header: dict[str, Any], payload: bytes) -> None:
        if "ended" in header:
            self._forks.pop(header["ended"]).code = header["code"]
        else:
            super()._heard(header, payload)

    def _gone(self, _: Worker) -> None:
        """The template has ended, and so have its forks."""
        assert self.process
        for _fork, theirs in self._asked:
            theirs.close()
        self._asked.clear()
        for fork in self._forks.values():
            fork.code = self.process.poll()
        self._forks.clear()
