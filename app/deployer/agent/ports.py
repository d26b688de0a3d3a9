"""Ports of this host: who listens on them, and which one an instance gets for its own."""

from __future__ import annotations

import fcntl
import os
import socket
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import replace
from .layout import Instance, instances
from .locks import open_lock
from .loop import op
from .supervise import listening_sockets

if TYPE_CHECKING:
    from .loop import Agent, Payload

FIRST = 8101
ANYWHERE = "0.0.0.0"

_claims: dict[int, socket.socket] = {}


@op("reserve")
def reserve(agent: Agent, args: dict[str, Any], payload: Payload) -> int:
    """A port that is free and nobody else's from now on. args: name.

    Here the instance's file says so. Other bases on this host do not see that, so we claim it too,
    until we end: by then the instance listens.
    """
    instance = Instance(agent.base, args["name"])
    lock = open_lock(agent.base / ".ports")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        port = instance.port()
        if port is None or not _got(port):
            port = next(filter(_got, _unreserved(agent.base)))
        replace(instance.port_file, f"{port}\n".encode())
    finally:
        os.close(lock)
    return port


def free_port(base: Path) -> int:
    """The first port that is nobody's."""
    return next(port for port in _unreserved(base) if not taken_by(port))


def taken_by(port: int, host: str = ANYWHERE) -> str | None:
    """Who listens on that port of this host: "nginx (pid 12)", "another process", or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError:
            return "the system: ports below 1024 need root" if os.getuid() else None
        except OSError:
            return _listener(port) or "another process"
    return None


def _unreserved(base: Path) -> filter[int]:
    reserved = {each.port() for each in instances(base)}
    return filter(lambda port: port not in reserved, count(FIRST))


def claim(port: int) -> bool:
    """Keep whoever else deploys on this host off a port while it is closed, until we end.

    The claim is an abstract Unix socket: it ends with its process, and all users of a network
    namespace see it, as they do ports. Only Linux has them. False when somebody else has it.
    """
    if port in _claims or sys.platform != "linux":
        return True
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.bind(f"\0rhythmicml/port/{port}")
    except OSError:
        mark.close()
        return False
    _claims[port] = mark
    return True


def _got(port: int) -> bool:
    """Whether a port is claimed and then found free; the other way round it could be lost."""
    if not claim(port):
        return False
    if not taken_by(port):
        return True
    if port in _claims:
        _claims.pop(port).close()
    return False


def _listener(port: int) -> str | None:
    wanted = listening_sockets(port)
    for process in Path("/proc").glob("[0-9]*"):
        if _holds(process, wanted):
            name = (process / "comm").read_text().strip()
            return f"{name} (pid {process.name})"
    return None


def _holds(process: Path, wanted: set[str]) -> bool:
    try:
        return any(os.readlink(link) in wanted for link in (process / "fd").iterdir())
    except OSError:
        return False
