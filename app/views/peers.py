"""Whose program it is that connects to us from this machine, as the kernel knows."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from app import portable

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Linux's connections: the addresses and ports of both ends, and the user who opened this one."""


def may_come_in(address: str, port: str, ours: int) -> bool:
    """Whether a connection from there to our port of 127.0.0.1 is of this user's programs.

    An address that lets somebody in is on the command line of the browser that opens it, where
    every user of a Linux machine can read it. Root may do all anyway, and passes ports on.
    True where the kernel does not say; other systems have no such table
    (docs/decisions/0058-who-comes-in.md).
    """
    owner = _owner(_end(address, int(port)), _end("127.0.0.1", ours))
    return owner is None or owner in (0, portable.user())


def _owner(end: str, other: str) -> int | None:
    """Who has the socket at that end; what has no inode is nobody's any more."""
    for table in TABLES:
        with suppress(OSError):
            for line in table.read_text("ascii").splitlines()[1:]:
                _, local, remote, _, _, _, _, user, _, inode = line.split(maxsplit=10)[:10]
                if local.endswith(end) and remote.endswith(other) and inode != "0":
                    return int(user)
    return None


def _end(address: str, port: int) -> str:
    """As the tables write it, also within an address of IPv6."""
    return f"{socket.inet_aton(address)[::-1].hex().upper()}:{port:04X}"
