"""Uploads over links that fail: F12, F13 and F19 of the faults. Bit flips (F26) need no server:
tests/deployer/test_uploads.py."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guests import Guest, call
from slow_link import SlowLink

from app.deployer import uploads
from app.deployer.road import Road, open_ssh
from app.deployer.trust import Trust
from app.errors import Unreachable
from app.models import Location

MIB = 1024 * 1024
CHUNK = 4 * MIB
"""What is sent as one request (uploads.GROUP_SENT)."""


def random_file(path: Path, size: int) -> uploads.Blob:
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // (16 * MIB)):
            piece = os.urandom(16 * MIB)
            sha256.update(piece)
            file.write(piece)
    return sha256.hexdigest(), path.stat().st_size, path


def reach(guest: Guest, folder: Path, port: int = 0) -> Road:
    """By its own address, or by a port of this machine that leads there."""
    at = f"127.0.0.1:{port}" if port else guest.address
    trust = Trust(folder / "known_hosts")
    trust.accept(guest.fingerprint)
    location = Location("srv", url=f"ssh://root@{at}", identity=str(guest.key))
    return open_ssh(location, trust=trust)


def digest_there(guest: Guest, digest: str) -> str:
    path = f"/var/lib/rhythmicml/blobs/{digest[:2]}/{digest}"
    return guest.run(["sha256sum", path], timeout=120).stdout.split()[0]


@contextmanager
def losing(guest: Guest, percent: int) -> Iterator[None]:
    """The guest loses so many of the packets that come to it, whatever they are."""
    rules = "add table ip faults; add chain ip faults in { type filter hook input priority 0; }; "
    rules += f"add rule ip faults in numgen random mod 100 < {percent} drop"
    inside = ("nsenter", f"--target={guest.leader}", "--net", "nft")
    call(*inside, rules)
    try:
        yield
    finally:
        call(*inside, "delete table ip faults")


def cutting(cut: Callable[[], None], size: int, times: int) -> uploads.Tell:
    """Cuts the link at so many places, evenly over the upload."""
    places = [size * (n + 1) // (times + 1) for n in range(times)]

    def tell(done: int, total: int) -> None:
        if places and done > places[0]:
            places.pop(0)
            cut()

    return tell


def f13(guest: Guest, folder: Path, one: uploads.Blob) -> tuple[uploads.Progress, float]:
    """2 % loss, 100 ms, 5 disconnects in one upload: whole, and little of it sent twice. The
    seconds are from connecting to closing."""
    size, began = one[1], time.monotonic()
    with (
        losing(guest, 2),
        SlowLink((guest.address, 22), latency=0.1) as link,
        reach(guest, folder, link.port) as road,
    ):
        road.call("lock", name="churn", who="ana")
        progress = uploads.persist(road, [one], cutting(link.cut, size, 5))
        assert road.call("step", name="churn", step="on")["who"] == "ana"
    took = time.monotonic() - began
    assert digest_there(guest, one[0]) == one[0]
    assert progress.sent - size <= 5 * CHUNK
    return progress, took


def test_f13_five_disconnects_on_a_lossy_link(fresh_guest, tmp_path):
    f13(fresh_guest, tmp_path, random_file(tmp_path / "large", 64 * MIB))


@pytest.mark.faults
def test_f13_five_disconnects_in_one_gibibyte(fresh_guest, tmp_path):
    progress, took = f13(fresh_guest, tmp_path, random_file(tmp_path / "large", 1024 * MIB))
    resent = (progress.sent - progress.total) / MIB
    print(f"F13: 1 GiB in {took:.0f} s, {resent:.1f} MiB sent twice")


def sftp(guest: Guest, path: Path, port: int) -> float:
    """Seconds that OpenSSH's own client, as it comes, takes for a file."""
    options = f"-q -b - -P {port} -i {guest.key} -oIdentitiesOnly=yes -oStrictHostKeyChecking=no"
    options += " -oUserKnownHostsFile=/dev/null"
    order = f"put {path} /var/tmp/by-sftp\n"
    began = time.monotonic()
    call("sftp", *options.split(), "root@127.0.0.1", input=order)
    return time.monotonic() - began


@pytest.mark.faults
def test_f13_beside_sftp_on_the_same_link(fresh_guest, tmp_path):
    """Ours loses packets and is cut five times; sftp has the link whole, and once as lossy."""
    ratios = []
    for _ in range(3):
        one = random_file(tmp_path / "large", 256 * MIB)
        with SlowLink((fresh_guest.address, 22), latency=0.1) as link:
            whole = sftp(fresh_guest, one[2], link.port)
            with losing(fresh_guest, 2):
                lossy = sftp(fresh_guest, one[2], link.port)
        _, ours = f13(fresh_guest, tmp_path, one)
        ratios.append(whole / ours)
        print(
            f"F13, 256 MiB: sftp {whole:.1f} s on the whole link, {lossy:.1f} s on the lossy one, "
            f"ours {ours:.1f} s with five disconnects: {whole / ours:.2f} and {lossy / ours:.2f}"
        )
    assert sorted(ratios)[1] >= 0.6


@pytest.mark.faults
def test_f19_more_than_two_gibibytes_with_new_keys_on_the_way(fresh_guest, tmp_path):
    settings = fresh_guest.root / "etc/ssh/sshd_config.d/rekey.conf"
    settings.write_text("RekeyLimit 256M\nLogLevel DEBUG1\n")
    fresh_guest.run(["systemctl", "restart", "ssh"])
    one = random_file(tmp_path / "large", 2304 * MIB)
    began = time.monotonic()
    with reach(fresh_guest, tmp_path) as road:
        uploads.persist(road, [one])
    print(f"F19: 2.25 GiB in {time.monotonic() - began:.0f} s")
    assert digest_there(fresh_guest, one[0]) == one[0]
    log = fresh_guest.run(["journalctl", "-t", "sshd", "--no-pager"]).stdout
    assert log.count("ssh_set_newkeys: rekeying out") >= 3


@pytest.mark.faults
def test_f12_black_hole_during_an_upload_is_told_within_45_seconds(fresh_guest, tmp_path):
    one = random_file(tmp_path / "large", 512 * MIB)
    holed: list[float] = []

    def hole(done: int, total: int) -> None:
        if done > 100 * MIB and not holed:
            holed.append(time.monotonic())
            call("ip", "link", "set", fresh_guest.slot.link, "down")

    with reach(fresh_guest, tmp_path) as road:
        with pytest.raises(Unreachable, match="lost during the upload"):
            uploads.persist(road, [one], hole)
        seconds = time.monotonic() - holed[0]
    print(f"F12: told after {seconds:.0f} s")
    assert seconds <= 45
    fresh_guest.connect()
    with reach(fresh_guest, tmp_path) as road:
        assert uploads.persist(road, [one]).sent < one[1] - 60 * MIB
    assert digest_there(fresh_guest, one[0]) == one[0]
