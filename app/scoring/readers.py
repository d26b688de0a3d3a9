"""Large bodies are read, and large answers written, by a process beside the front.

Parsing a hundred megabytes takes a second, in which the front could answer nobody. The helper is
started by the first large body and ends when it has had nothing to do for a while, or with the
front. What it has read (`Asked`) the front gets whole, and nothing stays here: how to write the
answer is small, and goes back with the outputs when those are large.

Frames, both ways: header length, payload length; the header pickled; the payload raw.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from math import prod
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from . import compression
from .channel import Channel, Form
from .errors import Refusal, overloaded
from .http import Request
from .inputs import Buffer, Reader
from .launch import begin
from .outputs import Column, Outputs
from .protocols import Dialect, take

LARGE = 1 << 20
PACKED = 20  # how many times its size a compressed body may well be
MOST_BYTES = 256 * 1024 * 1024
IDLE_SECONDS = 60.0
PATIENCE = 60.0
HEAD = struct.Struct("!QQ")
_PICKLED = Form(HEAD, partial(pickle.dumps, protocol=5), pickle.loads)
_PIECE = 1 << 20
_START = """import sys
sys.path.insert(0, sys.argv[1])
from importlib import import_module
import_module(sys.argv[2]).main(int(sys.argv[3]))"""

Done = Callable[[Any], None]  # is told what was read or written, or a Refusal


class Unread(NamedTuple):
    """A body that the front may as well read itself; what was in it, if it was compressed."""

    unpacked: Any


class Readers:
    """The front's side: at most one helper, started when it is needed."""

    def __init__(self, max_body: int, most_rows: int, most_bytes: int = MOST_BYTES) -> None:
        self.limits = (max_body, most_rows)
        self.most_bytes = most_bytes
        self.helper: Helper | None = None

    def wanted(self, request: Request, reader: Reader) -> bool:
        """Whether reading this body would keep the front from all else."""
        size = len(request.body) * (PACKED if b"content-encoding" in request.headers else 1)
        return size > LARGE and reader.kind != "bytes"

    def read(self, dialect: Dialect, request: Request, reader: Reader, done: Done) -> None:
        """done(asked or refusal), later; done(None) when it may as well be read here."""
        helper = self._helper()
        if helper.sending + len(request.body) > self.most_bytes and helper.waiting:
            raise overloaded()
        asks = (request.method, request.path, request.query, request.headers)
        about = (dialect, asks, reader, self.limits)
        helper.ask("read", about, [request.body], partial(_told, request, done))

    def writes(self, outputs: Outputs) -> bool:
        """Whether writing this answer would keep the front from all else."""
        return weight(outputs) > LARGE

    def write(self, write: Any, outputs: Outputs, accept: bytes, done: Done) -> None:
        """done(what `write` gives, compressed as the client accepts, or a refusal), later."""
        numbers: list[pickle.PickleBuffer] = []  # go as they lie in memory: they are not copied
        text = pickle.dumps((write, outputs, accept), 5, buffer_callback=numbers.append)
        parts = [each.raw() for each in numbers]
        self._helper().ask("write", (text, list(map(len, parts))), parts, done)

    def _helper(self) -> Helper:
        if self.helper is None or self.helper.ended:
            self.helper = Helper()
        return self.helper

    def check(self, now: float) -> None:
        """Called a few times a second: end a helper that hangs, or that nobody needs."""
        helper = self.helper
        if helper is not None and not helper.ended:
            helper.check(now)

    def close(self) -> None:
        if self.helper is not None and not self.helper.ended:
            self.helper.close()


class Helper:
    """One process and what it has been asked, which it does in that order."""

    def __init__(self) -> None:
        self.waiting: deque[Done] = deque()
        self.since = monotonic()  # when it last finished something, or had nothing to do
        self._loop = asyncio.get_running_loop()
        self.process, sock, _ = begin(_command())
        self._channel = Channel(sock, _PICKLED, self._heard, self._lost, _PIECE)

    @property
    def ended(self) -> bool:
        return self._channel.closed

    @property
    def sending(self) -> int:
        """Bytes that it has not taken yet."""
        return self._channel.unsent

    def ask(self, what: str, about: Any, parts: Sequence[Buffer], done: Done) -> None:
        if self.ended:
            done(_gone())
            return
        if not self.waiting:
            self.since = monotonic()
        self.waiting.append(done)
        self._channel.send((what, about), parts)

    def _heard(self, header: tuple[str, Any], payload: Any) -> None:
        got = self._result(*header, payload)
        self.since = monotonic()
        self.waiting.popleft()(got)

    def _result(self, kind: str, about: Any, payload: Any) -> Any:
        if kind == "refused":
            return Refusal(**about)
        if kind == "read":
            asked, sizes = about
            parts = list(_cut(payload, sizes))
            return asked._replace(inputs=asked.inputs._replace(parts=parts))
        if kind == "written":
            return about._replace(body=payload)
        return Unread(payload)

    def check(self, now: float) -> None:
        quiet = now - self.since
        if self.waiting:
            if quiet > PATIENCE:
                self.process.kill()
        elif quiet > IDLE_SECONDS:
            self.close()

    def close(self) -> None:
        """Let it end: it reads the end of the socket."""
        self._channel.close()
        self._reap()

    def _lost(self) -> None:
        """It died: of the first that it was asked, most likely; the others may be tried again."""
        self._reap()
        waiting, self.waiting = self.waiting, deque()
        for number, done in enumerate(waiting):
            done(_gone() if number else Refusal(500, "The body could not be read.", reason="front"))

    def _reap(self, tries: int = 100) -> None:
        """Collect the process without waiting for it."""
        if self.process.poll() is None and not self._loop.is_closed():
            if not tries:
                self.process.kill()
            self._loop.call_later(0.05, self._reap, max(0, tries - 1))


def _told(request: Request, done: Done, got: Any) -> None:
    """What was read; a body that was not read is at least not unpacked again."""
    if isinstance(got, Unread):
        if got.unpacked:
            request.body = got.unpacked
            del request.headers[b"content-encoding"]
        got = None
    done(got)


def _command() -> list[str]:
    package = __name__.rpartition(".")[0]
    top = Path(__file__).parents[package.count(".") + 1]
    return [sys.executable, "-I", "-c", _START, str(top), __name__]


def _cut(payload: Any, sizes: list[int]) -> Any:
    start = 0
    for size in sizes:
        part = payload[start : start + size]
        yield part if size > LARGE else bytes(part)
        start += size


def _gone() -> Refusal:
    return Refusal(
        503, "The body could not be read.", remedy="Try again shortly.", reason="overloaded"
    )


def weight(outputs: Outputs) -> int:
    """About how many bytes these are, when they have to be turned into something else."""
    rows = outputs.stop - outputs.start
    if outputs.columns:
        return rows * sum(map(_width, outputs.columns))
    values = outputs.values
    if outputs.kind == "bytes" or not isinstance(values, (list, str)):
        return 0
    return len(values) * (8 if isinstance(values, list) else 1)


def _width(column: Column) -> int:
    return 8 * max(1, prod(column.shape[1:]))


# The helper's own side


def main(fd: int) -> None:
    """Do what is asked, one after the other, until the front has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the front, which drains
    with suppress(OSError):  # a unit of before, or another sandbox, may forbid it
        os.nice(5)
    with socket.socket(fileno=fd) as sock:
        while True:
            try:
                what, about, payload = _receive(sock)
            except (EOFError, OSError):
                return
            answer = _attempt(what, about, payload)
            del about, payload
            _reply(sock, *answer)
            del answer


def _attempt(what: str, about: Any, payload: bytes) -> tuple[str, Any, list[bytes]]:
    try:
        if what == "read":
            return _read(about, payload)
        answer = compression.shrunk(*_written(about, payload))
        return "written", answer._replace(body=b""), [answer.body]
    except Refusal as refusal:
        return "refused", vars(refusal), []
    except Exception:
        traceback.print_exc()
        said = Refusal(500, "The front failed on this request.", reason="front")
        return "refused", vars(said), []


def _read(about: Any, payload: bytes) -> tuple[str, Any, list[bytes]]:
    dialect, (method, path, query, headers), reader, (max_body, most_rows) = about
    request = Request(method, b"%b?%b" % (path, query), headers, payload)
    compression.open_body(request, max_body)
    asked = take(lambda: dialect.read(request, reader), reader, most_rows)
    if asked.then is not None:
        return "here", None, [] if request.body is payload else [request.body]
    parts = asked.inputs.parts
    asked = asked._replace(inputs=asked.inputs._replace(parts=[]))
    return "read", (asked, list(map(len, parts))), parts


def _written(about: tuple[bytes, list[int]], payload: bytes) -> tuple[Any, bytes]:
    """The answer, and what its client accepts."""
    text, sizes = about
    numbers = _cut(memoryview(payload), sizes)
    write, outputs, accept = pickle.loads(text, buffers=numbers)  # noqa: S301 - from our front
    return write(outputs), accept


def _receive(sock: socket.socket) -> tuple[str, Any, bytes]:
    header_size, size = HEAD.unpack(_exactly(sock, HEAD.size))
    what, about = pickle.loads(_exactly(sock, header_size))  # noqa: S301 - from our front
    return what, about, bytes(_exactly(sock, size))


def _exactly(sock: socket.socket, size: int) -> bytearray:
    whole = bytearray(size)
    view = memoryview(whole)
    while view:
        count = sock.recv_into(view)
        if not count:
            raise EOFError
        view = view[count:]
    return whole


def _reply(sock: socket.socket, kind: str, about: Any, parts: list[bytes]) -> None:
    header = pickle.dumps((kind, about), 5)
    sock.sendall(HEAD.pack(len(header), sum(map(len, parts))) + header)
    for part in parts:
        sock.sendall(part)
