"""The way to a host: start the agent there, speak to it, send it files, reach its ports.

Two kinds, one contract: this machine (local.py, within.py) and SSH (ssh.py). What differs
is a Link.
"""

from __future__ import annotations

import itertools
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from app.deployer import keychain, uploads
from app.deployer.agent import frames
from app.deployer.forward import Forward
from app.deployer.keychain import Ask
from app.deployer.link import PATIENCE, Address, Link, Lost
from app.deployer.starting import START
from app.deployer.trust import Trust
from app.deployer.uploads import Blob, Progress
from app.errors import Busy, GateFailed, Left, NotFound, Problem, Refused, Stale, Unreachable

if TYPE_CHECKING:
    from app.models import Location

OnEvent = Callable[[dict[str, Any]], None]

SILENCE = 45.0
BEAT = 10.0
CHUNK = 1024 * 1024
SPECIAL = (Busy, NotFound, GateFailed, Refused, Stale, Unreachable)
KINDS: dict[str, type[Problem]] = {kind.__name__: kind for kind in SPECIAL}


class Pending:
    """An answer that is on its way."""

    def __init__(
        self, place: str, do: str, on_event: OnEvent | None, into: BinaryIO | None
    ) -> None:
        self.place = place
        self.do = do
        self.into = into
        self.failed = False
        self._on_event = on_event
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def hear(self, kind: str, value: Any) -> None:
        """Called by the reader: "event", "ok", or "error" with the Problem."""
        self.failed = self.failed or kind == "error"
        self._news.put((kind, value))

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the answer, passing on events as they come. Raises the host's Problem."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            kind, value = self._next(end, timeout)
            if kind == "ok":
                return value
            if kind == "error":
                raise value
            if self._on_event:
                self._on_event(value)

    def _next(self, end: float | None, timeout: float | None) -> tuple[str, Any]:
        left = None if end is None else max(0.0, end - time.monotonic())
        try:
            return self._news.get(timeout=left)
        except queue.Empty:
            raise Problem(
                f'{self.place} did not finish "{self.do}" within {timeout:g} seconds.',
                remedy="See what it is doing, or try again.",
            ) from None


class Road:
    """An open way to a host. `hello` is what the host said of itself when we came.

    lists: the folder that remembers what large files are made of (chunking.Lists).
    """

    def __init__(
        self, connect: Callable[[], Link], base: str, *, lists: Path | None = None
    ) -> None:
        self.lists = lists
        self._connect = connect
        self._base = base
        self._client = secrets.token_hex(16)
        self._locks: dict[str, dict[str, Any]] = {}
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._forwards: list[Forward] = []
        self.hello: dict[str, Any] = self._open()

    def __enter__(self) -> Road:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Asking

    def call(
        self,
        do: str,
        /,
        *,
        payload: bytes | Iterable[bytes] = b"",
        size: int | None = None,
        on_event: OnEvent | None = None,
        into: BinaryIO | None = None,
        timeout: float | None = None,
        **args: Any,
    ) -> Any:
        """Have the agent do something and wait for what it gives back.

        payload: bytes, or pieces that make `size` bytes. An answer of bytes is returned as bytes,
        or written `into` a file (then its length is returned). timeout: how long we wait.
        """
        pending = self.send(do, payload=payload, size=size, on_event=on_event, into=into, **args)
        return pending.result(timeout)

    def send(
        self,
        do: str,
        /,
        *,
        payload: bytes | Iterable[bytes] = b"",
        size: int | None = None,
        on_event: OnEvent | None = None,
        into: BinaryIO | None = None,
        **args: Any,
    ) -> Pending:
        """Ask without waiting. Requests are done in the order in which they were sent."""
        pending = Pending(self.place, do, on_event, into)
        if isinstance(payload, bytes):
            payload, size = [payload], len(payload)
        if size is None:
            raise TypeError("pieces need their size")
        with self._sending:
            if self._ended:
                raise self._ended
            if do == "lock":
                args = self._locks[args["name"]] = {"client": self._client, **args}
            number = next(self._numbers)
            self._waiting[number] = pending
            header = {"id": number, "do": do, "args": args}
            self._write(do, frames.encode(header, size), exactly(payload, size))
        return pending

    def _write(self, do: str, header: bytes, pieces: Iterable[bytes]) -> None:
        """A frame, whole. Broken off, it would leave the agent waiting: then the road ends."""
        try:
            for piece in joined(header, pieces):
                self._link.write(piece)
        except Lost:
            self._end(self._link.ending())
            raise at(do, self._ended or self._link.ending()) from None
        except BaseException:
            self._end(Problem(f"The way to {self.place} was closed in the middle of a request."))
            self._link.close()
            raise

    # Files

    def upload(
        self,
        blobs: Iterable[Blob],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Put (digest, size, file) into the host's blob store, over this connection alone.

        on_progress gets (bytes there, bytes in all).
        """
        wanted = list(blobs)
        uploads.upload(self, wanted, Progress(sum(size for _, size, _ in wanted), on_progress))

    # Reaching ports

    def dial(self, address: Address) -> Any:
        """A connected socket (or its like) to (host, port) or to a Unix socket's path."""
        return self._link.dial(address)

    def forward(self, local_port: int, remote_port: int) -> Forward:
        """Listen on 127.0.0.1:local_port (0: any); connections go on to the host's port."""
        forward = Forward(local_port, lambda: self.dial(("127.0.0.1", remote_port)))
        self._forwards.append(forward)
        return forward

    # Beginning and end

    def close(self) -> None:
        """End the agent, and wait until it has let its locks go."""
        for forward in self._forwards:
            forward.close()
        self._end(Left(f"The way to {self.place} is closed."))
        self._link.end_input()
        self._threads[0].join(2)
        self._stop()

    @property
    def lost(self) -> bool:
        """Whether nothing is answered any more."""
        return self._ended is not None

    def reopen(self) -> None:
        """Go there again with a new agent, which takes over the locks of the one we lost.

        What else the lost one held for us (ports) is gone. Raises Unreachable.
        """
        self._stop()
        self._open()
        for args in self._locks.values():
            self.call("lock", **args)

    def _open(self) -> dict[str, Any]:
        self._link = self._connect()
        self.place = self._link.place
        self._waiting: dict[int, Pending] = {}
        self._ended: Problem | None = None
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=work, daemon=True, name=f"road {work.__name__}")
            for work in (self._listen, self._beat)
        ]
        return self._start()

    def _start(self) -> dict[str, Any]:
        pending = self._waiting[0] = Pending(self.place, "hello", None, None)
        request = frames.encode({"id": 0, "do": "hello"})
        try:
            self._link.start(self._base, SILENCE, request)
            for thread in self._threads:
                thread.start()
            hello: dict[str, Any] = pending.result(START)
        except BaseException:
            self._end(Problem(f"The way to {self.place} is closed."))
            self._stop()
            raise
        return hello

    def _stop(self) -> None:
        self._link.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2)

    def _end(self, why: Problem) -> None:
        """From now on nothing is answered. The first reason is the one that counts."""
        self._ended = self._ended or why
        self._closed.set()
        for number in list(self._waiting):
            pending = self._waiting.pop(number, None)
            if pending:
                pending.hear("error", at(pending.do, self._ended))

    # What the two threads do

    def _listen(self) -> None:
        """Hand each frame to the one who waits for it."""
        try:
            while True:
                self._deliver(*frames.read_header(self._link.read))
        except TimeoutError:
            self._end(silent(self.place))
            self._link.close()
        except (Lost, frames.Ended, ValueError, KeyError):
            if not self._closed.is_set():
                self._end(self._link.ending())
        except OSError as error:
            self._end(Problem("What the host sent could not be written.", cause=str(error)))
            self._link.close()

    def _deliver(self, header: dict[str, Any], size: int) -> None:
        number = header.get("id", -1)
        pending = self._waiting.get(number)
        if "event" in header:
            if pending:
                pending.hear("event", header["event"])
            return
        if "error" in header:
            value: Any = problem_of(header["error"])
        else:
            value = header["ok"] if "ok" in header else self._receive(size, pending)
        self._waiting.pop(number, None)
        if pending:
            pending.hear("error" if "error" in header else "ok", value)

    def _receive(self, size: int, pending: Pending | None) -> bytes | int:
        into = pending.into if pending else None
        if into is None:
            return frames.read_exactly(self._link.read, size)
        left = size
        while left:
            piece = frames.read_exactly(self._link.read, min(left, CHUNK))
            into.write(piece)
            left -= len(piece)
        return size

    def _beat(self) -> None:
        """Be heard every ten seconds. Whoever is sending is heard anyway."""
        while not self._closed.wait(BEAT):
            if self._sending.acquire(blocking=False):
                try:
                    self._link.write(frames.encode({}))
                except Lost:
                    return  # the listening thread notices too, and says why
                finally:
                    self._sending.release()


def at(do: str, why: Problem) -> Problem:
    """A lost connection, with what was being done."""
    if not isinstance(why, Unreachable) or why.cause:
        return why
    cause = f'It was at "{do}".'
    return Unreachable(why.what, cause=cause, detail=why.detail, remedy=why.remedy)


def silent(place: str) -> Unreachable:
    return Unreachable(
        f"{place} has not been heard for {PATIENCE:g} seconds.",
        remedy="Check the network, then run the same command again.",
    )


def problem_of(error: dict[str, str]) -> Problem:
    """The Problem that the agent's Failure stands for."""
    kind = KINDS.get(error["kind"], Problem)
    return kind(error["what"], remedy=error["remedy"], detail=error["detail"], cause=error["cause"])


def exactly(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The pieces, which must make `size` bytes."""
    for piece in pieces:
        size -= len(piece)
        if size < 0:
            break
        yield piece
    if size:
        raise Problem("What was to be sent changed its size meanwhile.")


def joined(header: bytes, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Header and pieces; a short first piece travels together with the header."""
    rest = iter(pieces)
    first = next(rest, b"")
    if len(first) < 16 * 1024:
        yield header + first
    else:
        yield header
        yield first
    yield from rest


def open_local(base: Path, lists: Path | None = None) -> Road:
    """The way to this machine."""
    from app.deployer.local import LocalLink

    return Road(LocalLink, str(base), lists=lists)


def open_within(base: Path) -> Road:
    """A way to this machine for questions: no process is started (within.py)."""
    from app.deployer.within import WithinLink

    return Road(lambda: WithinLink(str(base), SILENCE), str(base))


def open_ssh(
    location: Location, *, trust: Trust, ask: Ask | None = None, lists: Path | None = None
) -> Road:
    """The way to a server. `ask` gets a prompt and gives a password or passphrase, or None."""
    from app.deployer.ssh import connect

    return Road(lambda: connect(location, trust, ask), location.base, lists=lists)


def open_road(
    location: Location, home: Path, *, ask: Ask | None = None, looking: bool = False
) -> Road:
    """The way to a location, whichever kind it is. home: the user's data folder.

    looking: only questions will be asked.
    """
    lists = home / "chunks"
    if location.kind == "local":
        base = Path(location.base or home / "local")
        return open_within(base) if looking else open_local(base, lists)
    with keychain.answering(ask) as answers:
        return open_ssh(location, trust=Trust.of(home), ask=answers, lists=lists)
