"""How processes of the front are started. Imports little, for it is what a front does first."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Protocol

HEAD = struct.Struct("!IQ")
SHIM = Path(__file__).with_name("worker.py")
_BUFFER = 1 << 20
_OURS = (
    *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "PYTHONPATH", "PYTHONHOME"),
    *("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
)


class Process(Protocol):
    """A process as its starter holds it: a child of ours, or a fork of the template."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code once it has ended, negative for a signal."""

    def kill(self) -> None: ...


class Begun(NamedTuple):
    """A process that runs, our end of the socket to it, and when it began."""

    process: Process
    sock: socket.socket
    at: float


class Launch(NamedTuple):
    """How to start a worker for a release, or with `preload` the template of its workers."""

    python: Path
    files: Path
    script: str
    artifacts: str
    input: str | None
    env: Mapping[str, str]
    preload: bool = False
    secrets: Mapping[str, str] = {}
    """Told over the socket: whoever may see a process's environment would see them there."""

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in _OURS}
        return {**kept, "PYTHONUNBUFFERED": "1", **self.env}

    def begin(self) -> Begun:
        """Start a process and tell it what to load. Raises OSError when it cannot be run."""
        command = [str(self.python), str(SHIM)]
        return begin(command, self._order(), cwd=self.files, env=self.environment())

    def _order(self) -> bytes:
        order = {"script": self.script, "artifacts": self.artifacts, "input": self.input}
        return frame({**order, "preload": self.preload, "secrets": dict(self.secrets)})


def begin(
    command: Sequence[str],
    order: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Begun:
    """Start a process that is told, as last argument, which of its files is the socket to us.

    order: what it finds there. Raises OSError when it cannot be run.
    """
    ours, theirs = pair()
    try:
        process = subprocess.Popen(
            [*command, str(theirs.fileno())],
            cwd=cwd,
            env=env,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2,
        )
        ours.sendall(order)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    ours.setblocking(False)
    return Begun(process, ours, monotonic())


def pair() -> tuple[socket.socket, socket.socket]:
    """Our end and theirs."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
    return ours, theirs


def frame(header: Mapping[str, object]) -> bytes:
    """A frame without payload."""
    text = json.dumps(header).encode()
    return HEAD.pack(len(text), 0) + text


def ending(code: int) -> str:
    """How a process ended, from its exit code: "by SIGSEGV", "with exit code 3"."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"by {name}{memory}"
