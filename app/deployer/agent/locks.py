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

LOOKS = 10
END_WITHIN = 10.0
"""Seconds for an agent to take back what it began."""

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
    if not (_taken(fd) or _taken_over(path, fd, args.get("client", ""))):
        os.close(fd)
        raise busy(path)
    _held[path] = fd, {}
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    said = {key: args.get(key, "") for key in ("who", "host", "step", "id", "client")}
    return note(path, **said, since=since, pid=str(os.getpid()))


def _taken(fd: int) -> bool:
    """Whether we hold it now. Who only looks (`holder`) has it for a moment, so we ask again."""
    for _ in range(LOOKS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.01)
    return False


def holder(path: Path) -> dict[str, str] | None:
    """Who holds the lock, if somebody does; our own does not count."""
    if path in _held or not path.exists():
        return None
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_holder(path) or {"who": "another process", "since": "", "step": ""}
    finally:
        os.close(fd)
    return None


@op("unlock")
def unlock(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Have whoever holds the lock of `name` take back what it began, and end. args: name, entry.

    Gives the holder that was, or null. Ten seconds later it is killed.
    """
    instance = Instance(agent.base, args["name"])
    found = holder(instance.lock_file)
    if found:
        _end(instance, found)
        instance.remember(**args["entry"], holder=owner(found))
    return {"holder": found}


@op("abandon")
def abandon(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Have the agent end, as `unlock`, that holds `name` for the attempt `id` its client gave up.

    It would by itself, once it has noticed that nobody speaks to it. Gives whether there was one.
    """
    instance = Instance(agent.base, args["name"])
    found = holder(instance.lock_file)
    left = found is not None and found.get("id") == args["id"]
    if found and left:
        _end(instance, found)
    return {"ended": left}


def _end(instance: Instance, found: dict[str, str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(OSError):
            _signal_holder(instance.lock_file, int(found.get("pid", 0)), number)
        if _freed(instance.lock_file):
            return
    raise Failure(
        f"The lock of {instance.name} could not be freed.",
        cause=f"Process {found.get('pid')} of the host holds it.",
        remedy="End that process on the host.",
        kind="Busy",
    )


def _taken_over(path: Path, fd: int, client: str) -> bool:
    """Whether the lock was that of an agent whose client has come again, over a new connection."""
    holder = read_holder(path) or {}
    if not client or holder.get("client") != client:
        return False
    _signal_holder(path, int(holder["pid"]), signal.SIGKILL)
    deadline = time.monotonic() + END_WITHIN
    while time.monotonic() < deadline:
        if _taken(fd):
            return True
    return False


def _signal_holder(path: Path, pid: int, number: int) -> None:
    """To that process, if it still has the lock's file open."""
    wanted = os.stat(path)
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            if os.path.samestat(entry.stat(), wanted):
                os.kill(pid, number)
                return


def _freed(path: Path) -> bool:
    deadline = time.monotonic() + END_WITHIN
    while time.monotonic() < deadline:
        if holder(path) is None:
            return True
        time.sleep(0.1)
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


def owner(found: dict[str, str]) -> str:
    """ana@laptop"""
    return f"{found['who']}@{found.get('host', '')}".rstrip("@")


def busy(path: Path) -> Failure:
    holder = read_holder(path)
    if holder is None:
        return Failure(f'"{path.parent.name}" is locked by another process.', kind="Busy")
    where = f" on {holder['host']}" if holder.get("host") else ""
    at = f', now at "{holder["step"]}"' if holder.get("step") else ""
    return Failure(
        f'"{path.parent.name}" is being changed by {holder["who"]}{where} since '
        f"{_clock(holder['since'])}{at}.",
        remedy="Wait until that has ended, then try again. "
        f"If it hangs, take it over: rhythmicml unlock {path.parent.name}",
        kind="Busy",
    )


def _clock(since: str) -> str:
    """2026-11-28 11:51 UTC, from what the lock's holder wrote."""
    return f"{since[:10]} {since[11:16]} UTC" if since.endswith("+00:00") else since


def read_holder(path: Path) -> dict[str, str] | None:
    """What the lock's holder wrote; None when it is (still) nothing."""
    for _ in range(20):
        with contextlib.suppress(ValueError):
            holder: dict[str, str] = json.loads(path.read_bytes())
            return holder
        time.sleep(0.01)
    return None
