"""Ports for instances of several users, or homes, of one machine, who do not see each other."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from app.deployer.road import open_local

if TYPE_CHECKING:
    from pathlib import Path

    from app.deployer.road import Road


def reserve(road: Road) -> int:
    road.call("lock", name="churn", who="ana")
    port: int = road.call("reserve", name="churn")
    return port


def test_bases_that_reserve_at_once_get_different_ports(tmp_path: Path) -> None:
    reserved: list[int] = []
    start = threading.Barrier(8)

    def reserve_with_all(road: Road) -> None:
        start.wait()
        reserved.append(reserve(road))

    with ExitStack() as roads:
        threads = [
            threading.Thread(target=reserve_with_all, args=(roads.enter_context(road),))
            for road in [open_local(tmp_path / f"base{number}") for number in range(8)]
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(reserved) == len(set(reserved)) == 8


def test_reserved_port_is_its_own_until_somebody_listens_there(tmp_path: Path) -> None:
    with open_local(tmp_path / "base") as road:
        port = reserve(road)
        assert reserve(road) == port
    with open_local(tmp_path / "base") as road, ExitStack() as listening:
        with suppress(OSError):  # somebody else listens there already
            listening.enter_context(socket.create_server(("127.0.0.1", port)))
        assert reserve(road) != port


def test_claim_ends_with_the_deployment(tmp_path: Path) -> None:
    with open_local(tmp_path / "one") as road:
        reserved = reserve(road)
        assert claimed(reserved)
    deadline = time.monotonic() + 20
    while claimed(reserved):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def claimed(port: int) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(f"\0rhythmicml/port/{port}")
        except OSError:
            return True
    return False
