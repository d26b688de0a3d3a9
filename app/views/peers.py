"""Whose program it is that connects to us from this machine, as the kernel knows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from app import portable

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Linux's connections: the addresses and ports of both ends, and the user who opened this one."""


def may_come_in(port: str | None, ours: int) -> bool:
    """Whether a connection from a port of this machine to `ours` is of this user's programs.

    An address that lets somebody in is on the command line of the browser that opens it, where
    every user of a Linux machine can read it. Root may do all anyway, and passes ports on.
    True where the kernel does not say: other systems show command lines to their owner only, or
    have no such table.
    """
    owner = _owner(int(port), ours) if port and port.isdigit() else None
    return owner is None or owner in (0, portable.user())


def _owner(port: int, peer: int) -> int | None:
    for table in TABLES:
        with suppress(OSError):
            for line in table.read_text("ascii").splitlines()[1:]:
                _, local, remote, *_, user = line.split(maxsplit=8)[:8]
                if (_port(local), _port(remote)) == (port, peer):
                    return int(user)
    return None


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
