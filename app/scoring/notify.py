"""What passes between a service and its manager: sd_notify, the watchdog, sockets handed over."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import NamedTuple

FIRST_FD = 3
ASK = "ask"
"""What the socket that pipelines ask is called in LISTEN_FDNAMES; others are the port's."""
_HANDED = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class Handed(NamedTuple):
    """The listening sockets that we were started with: of the port, and for pipelines."""

    public: list[socket.socket]
    ask: list[socket.socket]


def notify(state: str) -> None:
    """Tell systemd, for instance "READY=1". Without a manager that listens, nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | _CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            pass  # a manager that has gone must not take the service with it


def watchdog_seconds() -> float | None:
    """How often systemd wants a sign of life: half of what it allows."""
    allowed = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", "")
    if not allowed.isdigit() or meant_for not in ("", str(os.getpid())):
        return None
    return int(allowed) / 2_000_000


def handed_sockets(environment: MutableMapping[str, str] = os.environ) -> Handed:
    """The listening sockets we were started with; the variables that say so are removed."""
    count, meant_for = environment.get("LISTEN_FDS", ""), environment.get("LISTEN_PID", "")
    called = environment.get("LISTEN_FDNAMES", "").split(":")
    for name in _HANDED:
        environment.pop(name, None)
    if not count.isdigit() or meant_for not in ("", str(os.getpid())):
        return Handed([], [])
    sockets = [socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + int(count))]
    for sock in sockets:
        sock.set_inheritable(False)
        sock.setblocking(False)
    names = [*called, *[""] * len(sockets)]
    asks = [sock for sock, name in zip(sockets, names) if name == ASK]
    return Handed([sock for sock in sockets if sock not in asks], asks)


_CLOEXEC = getattr(socket, "SOCK_CLOEXEC", 0)
