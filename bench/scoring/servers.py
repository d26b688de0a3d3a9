"""Servers while they are measured: how ours is started, and one's life from start to end."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from . import ground
from .load import Ask

PEERS = ground.ROOT / "bench" / "peers"
PATIENCE = 90.0
BEARING = 20.0
ONE_ROW = Ask("/score", ground.body())


class Wrong(Exception):
    """The server cannot be measured; the text says why."""


class Running(NamedTuple):
    """started: seconds from the spawn to the first 200."""

    process: subprocess.Popen[bytes]
    port: int
    started: float


def ours(instance: Path, port: int) -> list[Any]:
    runtime = instance / "releases" / "current" / "runtime"
    return [
        *(runtime / "env" / "bin" / "python", "-I", runtime / "program", "front"),
        *("--instance", instance, "--release", "current", "--listen", f"127.0.0.1:{port}"),
    ]


@contextmanager
def running(
    command: list[Any], port: int, variables: Mapping[str, str] | None = None, ask: Ask = ONE_ROW
) -> Iterator[Running]:
    """The server, from its first answer to its end. What it says goes to a log in the cache."""
    ground.CACHE.mkdir(parents=True, exist_ok=True)
    with (ground.CACHE / "server.log").open("wb+") as log:
        spawned = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command],
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_for_answer(port, process, ask, log)
            yield Running(process, port, time.monotonic() - spawned)
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then end what is left of its session."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def wait_for_answer(port: int, process: subprocess.Popen[bytes], ask: Ask, log: Any) -> None:
    """Until a 200; other answers are borne with for a while, as "not ready" has many codes."""
    limit, refused = time.monotonic() + PATIENCE, b""
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, said = answer(port, ask)
            if status == 200:
                return
            if not refused:
                limit = min(limit, time.monotonic() + BEARING)
            refused = b"answered %d: %b" % (status, said[:200])
        if process.poll() is not None:
            raise Wrong(f"ended by itself: {last_line(log)}")
        if time.monotonic() > limit:
            raise Wrong(refused.decode(errors="replace") or f"no answer: {last_line(log)}")
        time.sleep(0.005)


def answer(port: int, ask: Ask, method: str = "POST") -> tuple[int, bytes]:
    """Status and body of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, ask.path, ask.body, ask.headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def last_line(log: Any) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
