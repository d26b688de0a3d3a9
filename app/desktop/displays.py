"""Whether there is a screen to show a window on."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any


def has_display() -> bool:
    """Whether somebody answers where the environment says that the display is.

    Asked before GTK is: with a dead display it ends the whole program.
    """
    if sys.platform != "linux":
        return True
    return any(_answers(family, address) for family, address in displays(os.environ))


def displays(environ: Any) -> list[tuple[socket.AddressFamily, Any]]:
    """The sockets that WAYLAND_DISPLAY and DISPLAY name; Windows has no such thing."""
    found: list[tuple[socket.AddressFamily, Any]] = []
    if sys.platform == "win32":
        return found
    if wayland := environ.get("WAYLAND_DISPLAY"):
        runtime = environ.get("XDG_RUNTIME_DIR", "/nonexistent")
        found.append((socket.AF_UNIX, f"{runtime}/{wayland}"))
    host, colon, number = environ.get("DISPLAY", "").rpartition(":")
    screen = number.partition(".")[0]
    if colon and screen.isdigit():
        if host in ("", "unix"):
            path = f"/tmp/.X11-unix/X{screen}"
            found += [(socket.AF_UNIX, path), (socket.AF_UNIX, "\0" + path)]
        else:
            found.append((socket.AF_INET, (host, 6000 + int(screen))))
    return found


def _answers(family: socket.AddressFamily, address: Any) -> bool:
    try:
        with socket.socket(family) as link:
            link.settimeout(2)
            link.connect(address)
    except OSError:
        return False
    return True
