"""The servers that are compared: how each is started, and where it answers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import ground

PEERS = ground.ROOT / "bench" / "peers"


def ours(instance: Path, port: int) -> list[str | Path]:
    runtime = instance / "releases" / "current" / "runtime"
    return [
        *(runtime / "env" / "bin" / "python", "-I", runtime / "program", "front"),
        *("--instance", instance, "--release", "current", "--listen", f"127.0.0.1:{port}"),
    ]


def fastapi(env: Path, port: int) -> list[str | Path]:
    return [
        *(env / "bin" / "python", "-m", "uvicorn", "fastapi_app:app", "--app-dir", PEERS),
        *("--port", str(port), "--loop", "uvloop", "--http", "httptools"),
        *("--no-access-log", "--log-level", "warning"),
    ]


@contextmanager
def running(command: list[str | Path], port: int, **environment: str) -> Iterator[None]:
    """The server, from its first right answer to its end."""
    process = subprocess.Popen(
        command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_answer(port, process)
        yield
    finally:
        process.terminate()
        process.wait(40)


def wait_for_answer(port: int, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    url, limit = f"http://127.0.0.1:{port}/score", time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(asked(url), timeout=10) as answer:
                assert b"predictions" in answer.read()
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > limit:
                raise
            time.sleep(0.05)


def asked(url: str) -> urllib.request.Request:
    return urllib.request.Request(url, ground.body(), {"Content-Type": "application/json"})


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
