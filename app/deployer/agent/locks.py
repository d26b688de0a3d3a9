"""Locks that a living process holds: they end with it, whatever becomes of the client."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .failure import Failure
from .layout import Instance, make_base
from .loop import Agent, Payload, op

TAKING_OVER = 5.0

_held: dict[Path, tuple[int, dict[str, str]]] = {}
_base: int | None = None


@op("lock")
def lock(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, str]:
    """Take the instance `name` for `who` (on the client `host`) doing `step`. Taken: Busy."""
    path = Instance(agent.base, args["name"]).lock_file
    if path in _held:
        return note(path, step=args.get("step", ""))
    make_base(agent)
    share(agent)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = open_lock(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not taken_over(path, fd, args.get("client", "")):
            os.close(fd)
            raise busy(path) from None
    _held[path] = fd, {"client": args.get("client", ""), "pid": str(os.getpid())}
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return note(
        path, who=args["who"], host=args.get("host", ""), since=since, step=args.get("step", "")
    )


def taken_over(path: Path, fd: int, client: str) -> bool:
    """Whether the lock was that of an agent whose client has come again, over a new connection."""
    holder = read_holder(path) or {}
    if not client or holder.get("client") != client:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(holder["pid"]), signal.SIGKILL)
    end = time.monotonic() + TAKING_OVER
    while time.monotonic() < end:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
    return False


def open_lock(path: Path) -> int:
    """A lock's file. Whoever can open it could hold it, so no instance may."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.fchmod(fd, 0o600)
    return fd


def share(agent: Agent) -> None:
    """Hold the base folder's own lock with others who deploy, against `alone`."""
    global _base
    if _base is None:
        _base = open_lock(agent.base / ".lock")
    fcntl.flock(_base, fcntl.LOCK_SH)


@contextlib.contextmanager
def alone(agent: Agent) -> Iterator[bool]:
    """Whether nobody else deploys on this base, kept so while the block runs."""
    share(agent)
    assert _base is not None
    try:
        fcntl.flock(_base, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(_base, fcntl.LOCK_SH)
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(_base, fcntl.LOCK_SH)


@op("step")
def step(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, str]:
    """Write into the lock at which `step` its holder is."""
    return note(held(agent, args["name"]), step=args["step"])


def held(agent: Agent, name: str) -> Path:
    path = Instance(agent.base, name).lock_file
    if path not in _held:
        raise Failure(f'The lock of "{name}" is not ours.')
    return path


def note(path: Path, **said: str) -> dict[str, str]:
    """Write what is known about the holder, for those who find the lock taken."""
    fd, known = _held[path]
    known.update(said)
    text = json.dumps(known).encode()
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))
    return known


def busy(path: Path) -> Failure:
    holder = read_holder(path)
    if holder is None:
        return Failure(f'"{path.parent.name}" is locked by another process.', kind="Busy")
    where = f" on {holder['host']}" if holder.get("host") else ""
    at = f', now at "{holder["step"]}"' if holder.get("step") else ""
    return Failure(
        f'"{path.parent.name}" is being changed by {holder["who"]}{where} since '
        f"{holder['since']}{at}.",
        remedy="Wait until that has ended, then try again.",
        kind="Busy",
    )


def read_holder(path: Path) -> dict[str, str] | None:
    """What the lock's holder wrote; None when it is (still) nothing."""
    for _ in range(20):
        with contextlib.suppress(ValueError):
            holder: dict[str, str] = json.loads(path.read_bytes())
            return holder
        time.sleep(0.01)
    return None
