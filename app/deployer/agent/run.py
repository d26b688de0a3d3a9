"""Run a program on the host: both streams drained, output bounded, never beyond its deadline."""

from __future__ import annotations

import codecs
import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from typing import IO, Any, NamedTuple

from .failure import Failure
from .loop import Agent, ClientGone, Payload, op

KEPT = 1024 * 1024
AFTERWARDS = 0.5
MISSING, FORBIDDEN, LATE = 127, 126, 124

OnLine = Callable[[str, str], None]


class Done(NamedTuple):
    """How a program ended. code: its exit status, -N for a signal, 124 when it ran out of time."""

    code: int
    out: str
    err: str
    lost: int
    late: bool


@op("run")
def run(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Run `argv` (cwd, env on top of ours, deadline in seconds); the payload is its input.

    lines=true: each line is an event {"out": …} or {"err": …} as it comes.
    """

    def say(stream: str, line: str) -> None:
        agent.event(**{stream: line})

    done = execute(
        agent,
        args["argv"],
        cwd=args.get("cwd"),
        env=args.get("env"),
        deadline=args.get("deadline"),
        given=payload.whole(),
        on_line=say if args.get("lines") else None,
    )
    return done._asdict()


def execute(
    agent: Agent,
    argv: list[str],
    *,
    cwd: str | os.PathLike[str] | None = None,
    env: dict[str, str] | None = None,
    deadline: float | None = None,
    given: bytes = b"",
    on_line: OnLine | None = None,
) -> Done:
    """Run `argv` to its end. Its whole process group dies at the deadline or with the client."""
    if cwd is not None and not os.path.isdir(cwd):
        raise Failure(f'The folder "{cwd}" is not on the host.', kind="NotFound")
    try:
        process = start(argv, cwd, env)
    except FileNotFoundError:
        return Done(MISSING, "", f"{argv[0]}: not found", 0, False)
    except PermissionError:
        return Done(FORBIDDEN, "", f"{argv[0]}: permission denied", 0, False)
    with process:
        watch = Watch(agent, process, given, deadline, on_line)
        try:
            late = watch.until_end()
        except BaseException:
            kill_group(process)
            raise
        finally:
            watch.selector.close()
        code = LATE if late else process.wait()
    out, err = watch.streams
    return Done(code, out.text(), err.text(), out.lost + err.lost, late)


def start(
    argv: list[str], cwd: str | os.PathLike[str] | None, env: dict[str, str] | None
) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        bufsize=0,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Output:
    """One stream: its last KEPT bytes, and its lines to whom they are due."""

    def __init__(self, name: str, on_line: OnLine | None) -> None:
        self.name = name
        self.kept = bytearray()
        self.lost = 0
        self._on_line = on_line
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = ""

    def take(self, data: bytes) -> None:
        self.kept += data
        if len(self.kept) > 2 * KEPT:
            self._trim()
        if self._on_line:
            *lines, self._line = (self._line + self._decode(data)).split("\n")
            for line in lines:
                self._on_line(self.name, line)
            self._line = self._line[-KEPT:]

    def text(self) -> str:
        self._trim()
        if self._on_line and self._line:
            self._on_line(self.name, self._line)
        return self.kept.decode("utf-8", "replace")

    def _trim(self) -> None:
        surplus = max(0, len(self.kept) - KEPT)
        del self.kept[:surplus]
        self.lost += surplus


class Watch:
    """Feeds and drains one process until it has ended."""

    def __init__(
        self,
        agent: Agent,
        process: subprocess.Popen[bytes],
        given: bytes,
        deadline: float | None,
        on_line: OnLine | None,
    ) -> None:
        self.agent = agent
        self.process = process
        self.end = None if deadline is None else time.monotonic() + deadline
        self.given = memoryview(given)
        self.streams = Output("out", on_line), Output("err", on_line)
        self.selector = selectors.DefaultSelector()
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self.open = 2
        for pipe, stream in ((process.stdout, self.streams[0]), (process.stderr, self.streams[1])):
            self.selector.register(pipe, selectors.EVENT_READ, stream)
        os.set_blocking(process.stdin.fileno(), False)
        self.selector.register(process.stdin, selectors.EVENT_WRITE)

    def until_end(self) -> bool:
        """Whether the deadline ended it."""
        while self.open:
            for key, _ in self.selector.select(0.2):
                self._move(key)
            if self.agent.gone.is_set():
                raise ClientGone
            if self.end is not None and time.monotonic() > self.end:
                kill_group(self.process)
                return True
            if self.process.poll() is not None:
                self._leave_soon()
        return self._outlives_its_streams()

    def _leave_soon(self) -> None:
        """The process has ended; what it left running may keep the streams open for ever."""
        end = time.monotonic() + AFTERWARDS
        while self.open and time.monotonic() < end:
            ready = self.selector.select(0.05)
            for key, _ in ready:
                self._move(key)
        self.open = 0

    def _outlives_its_streams(self) -> bool:
        while self.process.poll() is None:
            if self.agent.gone.wait(0.01):
                raise ClientGone
            if self.end is not None and time.monotonic() > self.end:
                kill_group(self.process)
                return True
        return False

    def _move(self, key: selectors.SelectorKey) -> None:
        if key.data is None:
            self._feed(self.process.stdin)
            return
        data = os.read(key.fd, 64 * 1024)
        if data:
            key.data.take(data)
        else:
            self.selector.unregister(key.fileobj)
            self.open -= 1

    def _feed(self, stdin: IO[bytes] | None) -> None:
        assert stdin
        try:
            if self.given:
                self.given = self.given[os.write(stdin.fileno(), self.given[: 64 * 1024]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self.given = memoryview(b"")
        if not self.given:
            self.selector.unregister(stdin)
            stdin.close()
