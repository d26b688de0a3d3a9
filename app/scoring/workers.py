"""The front's side of a worker: start it, speak frames with it, end it."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .inputs import Inputs

HEAD = struct.Struct("!IQ")
SHIM = Path(__file__).with_name("worker.py")
_READ = 1 << 18
_BUFFER = 1 << 20
_SMALL = 1 << 17
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PYTHONPATH", "PYTHONHOME")
_encode, _decode = msgspec.json.encode, msgspec.json.decode

SLOTS = 64
"""How many requests an asynchronous model is given at once."""

LOADING, IDLE, BUSY, ENDING, DEAD = "loading", "idle", "busy", "ending", "dead"


def say(line: str) -> None:
    """A line of the front's own log."""
    print(f"front: {line}", file=sys.stderr, flush=True)


class Launch(NamedTuple):
    """How to start a worker for a release."""

    python: Path
    files: Path
    script: str
    artifacts: str
    input: str | None
    env: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.env}


class Worker:
    """One process that predicts. It is told one batch at a time and says how it went.

    on_ready(worker, kind), on_failed(worker, why): how loading ended. on_answer(worker, header,
    payload): of the batch sent last. on_end(worker): the process is gone.
    """

    def __init__(
        self,
        launch: Launch,
        on_ready: Callable[[Worker, str], None],
        on_failed: Callable[[Worker, str], None],
        on_answer: Callable[[Worker, dict[str, Any], bytes], None],
        on_end: Callable[[Worker], None],
    ) -> None:
        self.launch = launch
        self.on_ready, self.on_failed = on_ready, on_failed
        self.on_answer, self.on_end = on_answer, on_end
        self.state = DEAD
        self.process: subprocess.Popen[bytes] | None = None
        self.batch: Any = None  # what it is busy with, for whoever sent it
        self.started = 0.0  # when that was sent
        self.restarts = 0
        self.failures = 0  # in a row
        self.streams = self.tasks = False  # whether predict yields items; whether it is async
        self.flights: dict[int, Any] = {}  # what it does besides a batch: see flights.py
        self.on_flight: Callable[[Worker, dict[str, Any], bytes], None] = on_answer
        self.pinged = 0.0  # when an asynchronous worker was asked for a sign of life
        self._number = 0
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def solo(self) -> bool:
        """Whether each request must go to it by itself."""
        return self.streams or self.tasks

    @property
    def room(self) -> bool:
        """Whether it can take one more flight."""
        return self.state == IDLE and len(self.flights) < (SLOTS if self.tasks else 1)

    def start(self) -> None:
        """Start the process and tell it what to load. Raises OSError when it cannot be run."""
        self._loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        try:
            self.process = self._spawn(theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._sock = ours
        self._received.clear()
        self._unsent.clear()
        self.pinged = 0.0
        self.state = LOADING
        self._loop.add_reader(ours, self._readable)
        self._send(
            {
                "script": self.launch.script,
                "artifacts": self.launch.artifacts,
                "input": self.launch.input,
            }
        )

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(self.launch.python), str(SHIM), str(theirs.fileno())],
            cwd=self.launch.files,
            env=self.launch.environment(),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
        )

    def predict(self, batch: Any, inputs: Inputs, now: float) -> None:
        """Send rows to an idle worker; `batch` is kept for whoever asks later."""
        self.state, self.batch, self.started = BUSY, batch, now
        self._send_rows(inputs)

    def fly(self, flight: Any, inputs: Inputs) -> int:
        """Send one request's rows besides others; the number its frames will have."""
        self.flights[self._number + 1] = flight
        self.state = IDLE if self.room else BUSY
        return self._send_rows(inputs)

    def land(self, number: int) -> None:
        """Forget a flight: its last frame has come, or is no longer waited for."""
        self.flights.pop(number, None)
        if self.state == BUSY:
            self.state = IDLE

    def tell(self, **header: Any) -> None:
        """Send a frame without rows, such as cancel=5."""
        if self.state in (IDLE, BUSY):
            self._send(header)

    def _send_rows(self, inputs: Inputs) -> int:
        self._number += 1
        header = {
            "id": self._number,
            "kind": inputs.kind,
            "rows": inputs.rows,
            "shape": inputs.shape,
            "codes": inputs.codes,
            "names": inputs.names,
            "sizes": [len(part) for part in inputs.parts],
        }
        self._send(header, inputs.parts)
        return self._number

    def kill(self) -> None:
        """End the process at once; `on_end` is told when its socket closes."""
        if self.process is not None:
            self.state = ENDING
            self.process.kill()

    async def close(self, patience: float = 1.0) -> None:
        """Let the process end by itself, then make it."""
        process = self.process
        if process is None:
            return
        if self.state != DEAD:
            self._disconnect()
        for _ in range(int(patience / 0.01)):
            if process.poll() is not None:
                return
            await asyncio.sleep(0.01)
        process.kill()
        process.wait()

    # The socket

    def _send(self, header: dict[str, Any], parts: list[bytes] = []) -> None:  # noqa: B006
        text = _encode(header)
        size = sum(map(len, parts))
        head = HEAD.pack(len(text), size) + text
        if size < _SMALL:
            self._unsent.append(memoryview(b"".join((head, *parts))))
        else:
            self._unsent.extend(memoryview(part) for part in (head, *parts) if part)
        self._flush()

    def _flush(self) -> None:
        """Write as much as the socket takes now; the loop calls again when it takes more."""
        unsent = self._unsent
        try:
            while unsent:
                sent = self._sock.send(unsent[0])
                if sent == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][sent:]
        except BlockingIOError:
            self._loop.add_writer(self._sock, self._flush)
            return
        except OSError:
            unsent.clear()  # the reader hears of the end too
        self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        try:
            received = self._sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._ended()
            return
        self._received += received
        self._frames()

    def _frames(self) -> None:
        buffer = self._received
        while len(buffer) >= HEAD.size and self.state != DEAD:
            header_size, size = HEAD.unpack_from(buffer)
            start = HEAD.size + header_size
            if len(buffer) < start + size:
                return
            header = _decode(buffer[HEAD.size : start])
            payload = bytes(buffer[start : start + size])
            del buffer[: start + size]
            self._heard(header, payload)

    def _heard(self, header: dict[str, Any], payload: bytes) -> None:
        if "ready" in header:
            self.state = IDLE
            self.streams, self.tasks = bool(header.get("streams")), bool(header.get("async"))
            self.on_ready(self, header["ready"])
        elif "failed" in header:
            self.on_failed(self, header["failed"])
        elif "pong" in header:
            self.pinged = 0.0
        elif header["id"] in self.flights:
            self.on_flight(self, header, payload)
        elif header["id"] == self._number and self.state == BUSY and self.batch is not None:
            if "item" in header or "end" in header:
                self.on_flight(self, header, payload)
                return
            self.state = IDLE
            self.on_answer(self, header, payload)

    def _disconnect(self) -> None:
        self.state = DEAD
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()

    def _ended(self) -> None:
        self._disconnect()
        if self.process is not None:
            self.process.kill()
            self._reap(self.process)
        self.on_end(self)

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        """Collect a dying child without waiting for it."""
        if process.poll() is None:
            self._loop.call_later(0.05, self._reap, process)
