"""The agent's loop: requests in, one after the other, events and answers out.

One thread reads, another works. A payload is read by the operation it belongs to, straight from
the input, so nothing big is ever held whole. A third tells the client that we live, and has us end
when the client does not.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import OPS, crash, frames, signals
from .failure import Failure

CHUNK = 1024 * 1024
BEAT = 10.0
GRACE = 15.0
"""Seconds to take back what was begun, once the client is gone; then we end whatever we do."""
SYSTEM_BASE = "/var/lib/rhythmicml"
USER_BASE = "~/.local/share/rhythmicml"

Operation = Callable[["Agent", dict[str, Any], "Payload"], Any]
_operations: dict[str, Operation] = {}


def op(name: str) -> Callable[[Operation], Operation]:
    """Register an operation: `def name(agent, args, payload) -> value`.

    The value is JSON, or a Stream when bytes go back.
    """

    def register(operation: Operation) -> Operation:
        _operations[name] = operation
        return operation

    return register


def operation(name: str) -> Operation:
    """The operation of that name."""
    return _operations[name]


class Stream(NamedTuple):
    """An answer of bytes."""

    size: int
    chunks: Iterable[bytes]


class ClientGone(Exception):
    """The client ended, or was not heard for too long."""


class Payload:
    """The bytes that came with a request; they can be read once."""

    def __init__(self, size: int, read: Callable[[int], bytes]) -> None:
        self.size = size
        self.left = size
        self._read = read
        self.when_read: Callable[[], None] = lambda: None

    def read(self, size: int = CHUNK) -> bytes:
        """Up to `size` bytes, b"" when there are no more."""
        if not self.left:
            return b""
        part = self._read(min(size, self.left))
        if not part:
            raise ClientGone
        self.left -= len(part)
        if not self.left:
            self.when_read()
        return part

    def chunks(self, size: int | None = None) -> Iterator[bytes]:
        """The next `size` bytes (all that are left when None), in pieces."""
        end = self.left - (self.left if size is None else size)
        while self.left > end:
            yield self.read(min(CHUNK, self.left - end))

    def whole(self, limit: int = 64 * CHUNK) -> bytes:
        """All of it, when it is known to be small."""
        if self.left > limit:
            raise Failure(f"A payload of {self.left} bytes is more than the {limit} we hold.")
        return b"".join(self.chunks())

    def drain(self) -> None:
        for _ in self.chunks():
            pass


class Request(NamedTuple):
    id: int
    do: str
    args: dict[str, Any]
    payload: Payload


class Agent:
    """What an operation may use: the base folder, events, and whether the client is gone."""

    def __init__(self, base: Path, mode: str, wires: tuple[int, int], silence: float) -> None:
        self.base = base
        self.mode = mode
        self.silence = silence
        self.gone = threading.Event()
        self.unusable: Failure | None = None
        # What to take back when we end before it has become production.
        self.undo: list[Callable[[], None]] = []
        self.opened = False  # whether the port was closed before we came
        self.beats = True
        self.input, self.output = wires
        self._writing = threading.Lock()
        self._requests: queue.Queue[Request | None] = queue.Queue(64)
        self._drained = threading.Event()
        self._answering = 0
        self._listening_since: float | None = None
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._watch, self._listen)
        ]

    @property
    def system_wide(self) -> bool:
        """Whether we install for the whole host, as root; by which way does not matter."""
        return self.mode not in ("user", "local")

    def event(self, **said: Any) -> None:
        """Tell the client something about the request at hand."""
        self._send({"id": self._answering, "event": said})

    def take_back(self) -> None:
        """Undo what was begun and not made production, the last first."""
        while self.undo:
            with contextlib.suppress(Exception):
                self.undo.pop()()

    def hang_up(self) -> None:
        """Let go of the client, once served, where the program goes on without it."""
        watch, listen = self._threads
        self._give_up()
        watch.join()  # it looks at the output
        os.close(self.output)
        listen.join()  # until the client lets go too
        os.close(self.input)

    # What the thread does that works.

    def serve(self) -> None:
        """Answer requests until the client is gone."""
        for thread in self._threads:
            thread.start()
        while not self.gone.is_set():
            request = self._requests.get()
            if request is None or self.gone.is_set():
                return
            self._answering = request.id
            try:
                self._answer(request)
            except (ClientGone, BrokenPipeError):
                return

    def _answer(self, request: Request) -> None:
        """A failure is told before what is left of the payload is read: the client may stop."""
        try:
            value = self._do(request)
        except Failure as failure:
            self._send({"id": request.id, "error": failure.as_dict()})
        else:
            if isinstance(value, Stream):
                self._send({"id": request.id}, value.size, value.chunks)
            else:
                self._send({"id": request.id, "ok": value})
        request.payload.drain()

    def _do(self, request: Request) -> Any:
        operation = _operations.get(request.do)
        if operation is None:
            raise Failure(f'The agent knows no operation "{request.do}".')
        if self.unusable and request.do not in ("hello", "ping"):
            raise self.unusable
        with failures_of(request.do, self.base):
            crash.crash_point(f"{request.do}:before")
            value = operation(self, request.args, request.payload)
            crash.crash_point(f"{request.do}:after")
            return value

    def _send(self, header: dict[str, Any], size: int = 0, chunks: Iterable[bytes] = ()) -> None:
        with self._writing:
            self.write(frames.encode(header, size))
            for chunk in chunks:
                self.write(chunk)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.output, view) :]

    # What the other threads do.

    def _read(self, size: int) -> bytes:
        """Wait for input; only while we do does the client's silence count."""
        self._listening_since = time.monotonic()
        try:
            return os.read(self.input, size)
        finally:
            self._listening_since = None

    def _listen(self) -> None:
        try:
            while True:
                header, size = frames.read_header(self._read)
                if "do" in header:
                    self._take(header, size)
        except (frames.Ended, OSError, ValueError):
            self._give_up()

    def _take(self, header: dict[str, Any], size: int) -> None:
        """Queue a request. One with a payload owns the input until its payload is read."""
        payload = Payload(size, self._read)
        payload.when_read = self._drained.set
        self._drained.clear()
        self._requests.put(Request(header["id"], header["do"], header.get("args", {}), payload))
        if size:
            self._drained.wait()

    def _watch(self) -> None:
        """Beat, so that the client knows we live; give up when it does not."""
        last_beat = time.monotonic()
        while not self.gone.wait(min(1.0, self.silence / 4)):
            if self._client_is_silent() or self._client_hung_up():
                break
            if time.monotonic() - last_beat > min(BEAT, self.silence / 4):
                last_beat = time.monotonic()
                self._beat()
        self._give_up()

    def _beat(self) -> None:
        """Without ever waiting: a client that reads nothing must not stop the watch."""
        if self._writing.acquire(blocking=False):
            try:
                if self.beats and self._poll(select.POLLOUT) & select.POLLOUT:
                    self.write(frames.encode({}))
            except OSError:
                self._give_up()
            finally:
                self._writing.release()

    def _client_is_silent(self) -> bool:
        since = self._listening_since
        return since is not None and time.monotonic() - since > self.silence

    def _client_hung_up(self) -> bool:
        """Whether the other end is closed, even while nobody reads."""
        return bool(self._poll(0) & (select.POLLHUP | select.POLLERR))

    def _poll(self, interest: int) -> int:
        poll = select.poll()
        poll.register(self.output, interest)
        return sum(happened for _, happened in poll.poll(0))

    def _give_up(self) -> None:
        self.gone.set()
        self._drained.set()
        try:
            self._requests.put_nowait(None)
        except queue.Full:
            pass  # `serve` looks at `gone` before it takes the next one


@contextlib.contextmanager
def failures_of(do: str, base: Path) -> Iterator[None]:
    """What an operation did not expect becomes a Failure too, with the traceback as its detail."""
    try:
        yield
    except (Failure, ClientGone, BrokenPipeError):
        raise
    except Exception as error:
        from .blobs import disk_trouble

        if isinstance(error, OSError) and (trouble := disk_trouble(base, error)):
            raise trouble from error
        raise Failure(f'"{do}" failed on the host.', detail=traceback.format_exc()) from error


def base_folder(wanted: str, system: bool) -> Path:
    """Where our things go on this host; made only when something is put there."""
    path = Path(wanted or (SYSTEM_BASE if system else USER_BASE)).expanduser()
    there = next(each for each in (path, *path.parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise Failure(
            f'The folder "{path}" cannot be made on the host.',
            cause=f'"{there}" is not ours to write to.',
            remedy="Choose another one: location add … --base FOLDER",
        )
    return path


def claim_wires() -> tuple[int, int]:
    """Input and output for us alone: what anybody else prints goes to stderr."""
    wires = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    return wires


def made(base: str, mode: str, wires: tuple[int, int], silence: float) -> Agent:
    """An agent that knows all operations. base: as the client has it, "" for the usual one."""
    for module in OPS:
        importlib.import_module("." + module, __package__)
    agent = Agent(Path("/"), mode, wires, silence)
    try:
        agent.base = base_folder(base, os.getuid() == 0)
    except Failure as failure:
        agent.unusable = failure
    return agent


def main(chosen: dict[str, Any], mode: str) -> None:
    """Say the sentinel, then serve until the client is gone."""
    os.umask(0o022)
    crash.asked = chosen.get("crash", "")
    agent = made(chosen["base"], mode, claim_wires(), chosen["silence"])
    signals.set_by(agent.gone, signal.SIGTERM)  # `unlock` asks us to end
    # Backwards: something else than we may be there, and send back what it gets.
    os.write(agent.output, chosen["sentinel"][::-1].encode())
    threading.Thread(target=end_at_last, args=(agent.gone,), daemon=True).start()
    agent.serve()
    agent.take_back()
    sys.stderr.flush()
    os._exit(0)


def end_at_last(gone: threading.Event) -> None:
    """Whatever is being done still when the client is gone."""
    gone.wait()
    time.sleep(GRACE)
    os._exit(75)
