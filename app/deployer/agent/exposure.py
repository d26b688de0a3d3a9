"""Where an instance listens: on loopback, or to everyone; and going from one to the other.

The port is never wider than what the release that is `current` was made for, wherever we are cut
off: it is closed first, and opened last.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .layout import Instance
    from .supervise import Supervisor

LOOPBACK, PUBLIC = "loopback", "public"
NOWHERE = {4: ("192.0.2.1", 9), 6: ("2001:db8::1", 9)}
"""Addresses for examples. Connecting a datagram socket sends nothing; it only finds the way."""


def of_release(manifest: dict[str, Any]) -> str:
    """The exposure that a release was made for, by its release.json."""
    return str(manifest.get("scoring", {}).get("expose") or LOOPBACK)


def turn(
    manager: Supervisor, instance: Instance, release: str | None, opening: dict[str, Any]
) -> None:
    """Close the port, make the release current, and open the port as that one wants it.

    opening: exposure, port, units (the files to write).
    """
    manager.halt(instance)
    if opening["exposure"] == PUBLIC:
        instance.make_current(release)
    manager.write_units(opening["units"])
    instance.make_current(release)
    if release:
        manager.listen(instance, opening["port"], release, opening["exposure"])


def way_back(
    manager: Supervisor, instance: Instance, opening: dict[str, Any]
) -> Callable[[], None]:
    """What brings back everything that `turn` with that opening is about to change."""
    release = instance.current()
    before = {
        "exposure": manager.exposure(instance),
        "port": opening["port"],
        "units": manager.units(list(opening["units"])),
    }

    def back() -> None:
        turn(manager, instance, release, before)
        if release:
            manager.start(instance, release)

    return back


def has_ipv6() -> bool:
    """Whether a socket for all addresses can be one of IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def own_addresses() -> list[str]:
    """The addresses by which this host goes out, which is how most others know it."""
    found = []
    for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(NOWHERE[version])
                found.append(str(probe.getsockname()[0]))
        except OSError:
            continue
    return found
