"""Uploads: what is sent, what is used again, what survives a cut, what is found damaged."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
import time
import zlib
from pathlib import Path

import pytest

from app.deployer import chunking, uploads
from app.deployer.agent import layout
from app.deployer.agent.failure import Failure
from app.deployer.road import open_local
from app.deployer.squeeze import Squeeze
from app.errors import Busy, Problem, Stale, Unreachable

MIB = 1024 * 1024


def blob(folder: Path, data: bytes) -> uploads.Blob:
    digest = hashlib.sha256(data).hexdigest()
    path = folder / digest
    path.write_bytes(data)
    return digest, len(data), path


def kept(base: Path, one: uploads.Blob) -> bytes:
    return (base / "blobs" / one[0][:2] / one[0]).read_bytes()


def sent(road, *blobs: uploads.Blob) -> int:
    """Upload; how many bytes were sent for it."""
    return uploads.persist(road, list(blobs)).sent


def changed(data: bytes, at: int, new: bytes, instead_of: int) -> bytes:
    return data[:at] + new + data[at + instead_of :]


@pytest.fixture
def base(tmp_path):
    return tmp_path / "base"


@pytest.fixture
def local(base):
    with open_local(base) as road:
        yield road


# Cutting


def test_chunks_make_the_file_and_a_change_moves_only_the_cuts_near_it(tmp_path):
    data = random.Random(1).randbytes(30 * MIB)
    longer = changed(data, 10 * MIB, b"inserted", 0)
    one = list(chunking.cut(blob(tmp_path, data)[2]))
    two = list(chunking.cut(blob(tmp_path, longer)[2]))
    at = 0
    for known_by, size in one:
        assert chunking.fingerprint(data[at : at + size]) == known_by
        assert size <= chunking.MOST
        at += size
    assert at == len(data)
    assert len(set(two) - set(one)) <= 3
    assert len({each[:8] for each, _ in one}) == len(one)
    assert 60 < len(one) < 250


def test_cuts_do_not_depend_on_how_much_is_read_at_a_time(tmp_path, monkeypatch):
    path = blob(tmp_path, random.Random(2).randbytes(9 * MIB))[2]
    cuts = list(chunking.cut(path))
    for read in (1 * MIB, 3 * MIB + 17, 64 * MIB):
        monkeypatch.setattr(chunking, "READ", read)
        assert list(chunking.cut(path)) == cuts


def test_file_is_cut_once(tmp_path, monkeypatch):
    digest, size, path = blob(tmp_path, os.urandom(9 * MIB))
    lists = chunking.Lists(tmp_path / "lists")
    first = list(lists.of(digest, size, path))
    monkeypatch.setattr(chunking, "cut", None)
    assert list(lists.of(digest, size, path)) == first


def test_damaged_list_is_made_again(tmp_path):
    digest, size, path = blob(tmp_path, os.urandom(9 * MIB))
    lists = chunking.Lists(tmp_path / "lists")
    first = list(lists.of(digest, size, path))
    for damage in (b"", b"short", (tmp_path / "lists" / digest).read_bytes()[:-36]):
        (tmp_path / "lists" / digest).write_bytes(damage)
        assert list(lists.of(digest, size, path)) == first


def test_cutting_ahead_ends_with_who_asked_and_passes_errors_on():
    def endless():
        while True:
            yield 1

    before = threading.active_count()
    items = chunking.ahead(endless())
    assert next(items) == 1
    items.close()
    assert threading.active_count() == before

    def broken():
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(chunking.ahead(broken()))


# Sending what is missing


@pytest.mark.parametrize("instead_of", [0, 300_000, 1_300_000])
def test_change_in_one_place_sends_little_and_arrives_whole(local, base, tmp_path, instead_of):
    data = os.urandom(40 * MIB)
    old = blob(tmp_path, data)
    new = blob(tmp_path, changed(data, 13 * MIB, os.urandom(300_000), instead_of))
    assert sent(local, old) >= old[1]
    assert sent(local, new) < 300_000 + 3 * MIB
    assert kept(base, new) == new[2].read_bytes()
    assert (base / "blobs" / new[0][:2] / new[0]).stat().st_mode & 0o777 == 0o444


def test_what_two_new_files_share_is_sent_once(local, base, tmp_path):
    data = os.urandom(20 * MIB)
    one, two = blob(tmp_path, data + b"1"), blob(tmp_path, data + b"2")
    assert sent(local, one, two) < 22 * MIB
    assert kept(base, one) != kept(base, two) == two[2].read_bytes()


def test_next_client_finds_the_chunks_too(open_again, base, tmp_path):
    data = os.urandom(20 * MIB)
    with open_again() as road:
        sent(road, blob(tmp_path, data))
    with open_again() as road:
        assert sent(road, blob(tmp_path, b"new" + data)) < 3 * MIB


def test_progress_ends_at_the_whole(local, tmp_path):
    data, told = os.urandom(20 * MIB), []
    sent(local, blob(tmp_path, data))
    blobs = [blob(tmp_path, b"x" + data), blob(tmp_path, b"small")]
    uploads.persist(local, blobs, lambda done, total: told.append((done, total)))
    assert told[-1] == (20 * MIB + 6,) * 2
    assert told == sorted(told)


def test_lists_of_blobs_that_are_gone_go_too(local, base, tmp_path):
    one, two = (blob(tmp_path, os.urandom(9 * MIB)) for _ in range(2))
    sent(local, one)
    (base / "blobs" / one[0][:2] / one[0]).unlink()
    sent(local, two)
    assert os.listdir(base / "chunks") == [two[0]]


def test_two_clients_send_the_same_large_file(base, tmp_path):
    one = blob(tmp_path, os.urandom(40 * MIB))

    def go() -> None:
        with open_local(base) as road:
            sent(road, one)

    threads = [threading.Thread(target=go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert kept(base, one) == one[2].read_bytes()
    assert not os.listdir(base / "incoming")


# Packing


def test_slow_link_gets_packed_what_shrinks(local, base, tmp_path, monkeypatch):
    monkeypatch.setattr(Squeeze, "wanted", True)
    large = blob(tmp_path, b"".join(b"%d, " % n for n in range(2_000_000)))
    small = [blob(tmp_path, b"%d" % n * 5000) for n in range(5)]
    noise = blob(tmp_path, os.urandom(9 * MIB))
    whole = sum(size for _, size, _ in (large, *small))
    assert sent(local, large, *small) < whole / 2
    assert sent(local, noise) >= noise[1]
    for one in (large, noise, *small):
        assert kept(base, one) == one[2].read_bytes()


def test_packed_list_of_chunks_is_read_back(local, base, tmp_path, monkeypatch):
    monkeypatch.setattr(Squeeze, "wanted", True)
    same = blob(tmp_path, b"x" * 40 * MIB)  # chunks that are all alike, so their list shrinks
    sent(local, same)
    assert kept(base, same) == same[2].read_bytes()


def test_only_a_slow_link_is_packed_for():
    squeeze, text = Squeeze(), b"abc" * MIB
    assert squeeze.packed(text) is None
    squeeze.timed(MIB, lambda: time.sleep(0.1))
    assert zlib.decompress(squeeze.packed(text)) == text
    assert squeeze.packed(os.urandom(MIB)) is None
    squeeze.timed(100 * MIB, lambda: None)
    assert squeeze.packed(text) is None


@pytest.mark.parametrize("payload", [zlib.compress(b"short"), b"no zlib at all", b""])
def test_payload_that_does_not_unpack_is_refused(local, base, payload):
    digest = hashlib.sha256(b"x" * 100).hexdigest()
    with pytest.raises(Problem, match="unpack"):
        local.call("put", payload=payload, blobs=[[digest, 100]], packed=True)
    assert not [path for path in (base / "blobs").rglob("*") if path.is_file()]


# Going on after a cut


def cutter(sshd, every: int, times: int):
    """Cuts the connection each time that much more is there, as often as told."""
    cuts = [every * (number + 1) for number in range(times)]

    def cut(done: int, total: int) -> None:
        if cuts and done > cuts[0]:
            while cuts and done > cuts[0]:
                cuts.pop(0)
            for child in sshd.children():
                os.kill(child, signal.SIGKILL)

    return cut


def test_upload_goes_on_over_new_connections(serve, reach, base, tmp_path):
    sshd = serve()
    large = blob(tmp_path, os.urandom(100 * MIB))
    small = [blob(tmp_path, os.urandom(5000)) for _ in range(20)]
    with reach(sshd) as road:
        road.call("lock", name="churn", who="ana")
        cut = cutter(sshd, 20 * MIB, 4)
        progress = uploads.persist(road, [large, *small], cut)
        assert road.call("step", name="churn", step="go on")["step"] == "go on"
        with reach(sshd) as other, pytest.raises(Busy, match="ana"):
            other.call("lock", name="churn", who="ben")
    assert kept(base, large) == large[2].read_bytes()
    print("resent", (progress.sent - progress.total) / MIB)
    assert progress.sent < progress.total + 4 * 8 * MIB


def test_next_upload_goes_on_where_a_cut_one_was(serve, reach, base, tmp_path):
    sshd = serve()
    large = blob(tmp_path, os.urandom(120 * MIB))
    with reach(sshd) as road, pytest.raises(Unreachable):
        road.upload([large], cutter(sshd, 60 * MIB, 1))
    with reach(sshd) as road:
        assert sent(road, large) < 90 * MIB
    assert kept(base, large) == large[2].read_bytes()


def test_small_files_that_arrived_whole_stay_after_a_cut(open_again, base, tmp_path):
    one = blob(tmp_path, b"whole")
    with open_again() as road:
        sizes = [[one[0], 5], ["0" * 64, 1000]]
        pieces = iter([b"whole", b"and a part"])
        with pytest.raises(Problem):
            road.call("put", payload=pieces, size=1005, blobs=sizes)
    end = time.monotonic() + 5
    while not (base / "blobs" / one[0][:2] / one[0]).exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    assert kept(base, one) == b"whole"


def test_host_that_stays_away_is_told_with_how_far_it_came(serve, reach, tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "COMES_BACK", 1.0)
    sshd = serve()
    large = blob(tmp_path, os.urandom(60 * MIB))

    def end(done: int, total: int) -> None:
        if done > 30 * MIB and sshd.process:
            children = sshd.children()
            sshd.stop()
            for child in children:
                os.kill(child, signal.SIGKILL)

    with reach(sshd) as road, pytest.raises(Unreachable, match=r"during the upload.*of 62\.9 MB"):
        uploads.persist(road, [large], end)


def test_partial_that_was_damaged_meanwhile_is_sent_anew(serve, reach, base, tmp_path):
    sshd = serve()
    large = blob(tmp_path, os.urandom(100 * MIB))  # more than what is on its way when it is cut
    with reach(sshd) as road, pytest.raises(Unreachable):
        road.upload([large], cutter(sshd, 30 * MIB, 1))
    flip(base / "incoming" / large[0], 5)
    with reach(sshd) as road:
        sent(road, large)
    assert kept(base, large) == large[2].read_bytes()


def test_what_nobody_goes_on_with_is_swept_after_a_day(base):
    (base / "incoming").mkdir(parents=True)
    for name, hours in (("a" * 64, 25), ("b" * 64, 23)):
        (base / "incoming" / name).touch()
        os.utime(base / "incoming" / name, (time.time() - hours * 3600,) * 2)
    with open_local(base) as road:
        road.upload([])
    assert os.listdir(base / "incoming") == ["b" * 64]


# Damage (F26)


def flip(path: Path, at: int) -> None:
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_f26_flipped_byte_in_a_source_of_chunks_is_found_in_20_of_20_places(base, tmp_path):
    """A blob that was damaged is out of use, and what was to be made of it arrives whole."""
    chance = random.Random(26)
    data = chance.randbytes(9 * MIB)
    for number in range(20):
        old = blob(tmp_path, data[:-1] + bytes([number]))
        new = blob(tmp_path, b"%d" % number + data)
        with open_local(base / str(number)) as road:
            sent(road, old)
            flip(
                base / str(number) / "blobs" / old[0][:2] / old[0],
                chance.randrange(len(data) - MIB),
            )
            progress = uploads.persist(road, [new])
            assert progress.damaged == [old[0]]
            assert road.call("missing", digests=[old[0], new[0]]) == [old[0]]
        assert kept(base / str(number), new) == new[2].read_bytes()


def test_f26_flipped_byte_of_what_is_sent_never_appears_in_20_of_20_places(local, base, tmp_path):
    chance = random.Random(27)
    for size in (5000, 9 * MIB):
        for _ in range(10):
            one = blob(tmp_path, os.urandom(size))
            flip(one[2], chance.randrange(size))
            with pytest.raises(Problem, match=f'"{one[0]}" is something else') as caught:
                sent(local, one)
            assert not isinstance(caught.value, Stale)
            assert local.call("missing", digests=[one[0]]) == [one[0]]
    assert not [path for path in (base / "blobs").rglob("*") if path.is_file()]
    assert not os.listdir(base / "incoming")


@pytest.mark.parametrize("when", ["before it is asked", "after it was asked"])
def test_f26_source_that_was_cut_off_is_found(local, base, tmp_path, monkeypatch, when):
    data = os.urandom(20 * MIB)
    old, new = blob(tmp_path, data), blob(tmp_path, b"new" + data)
    sent(local, old)
    path = base / "blobs" / old[0][:2] / old[0]
    path.chmod(0o644)
    if when == "before it is asked":
        os.truncate(path, 10 * MIB)
    else:
        call = local.call

        def call_then_cut(do, **args):
            answer = call(do, **args)
            if do == "offer" and path.exists():
                os.truncate(path, 10 * MIB)
            return answer

        monkeypatch.setattr(local, "call", call_then_cut)
    sent(local, new)
    assert kept(base, new) == new[2].read_bytes()
    assert not (base / "chunks" / old[0]).exists()


def test_f26_cut_off_blob_is_not_put_into_a_release_and_is_sent_again(tmp_path):
    digest, size, path = blob(tmp_path, b"content")
    there = layout.blob(tmp_path, digest)
    there.parent.mkdir(parents=True)
    there.write_bytes(path.read_bytes()[:3])
    with pytest.raises(Failure, match=r'"model.bin" was damaged.*3 bytes are left of 7'):
        layout.put_files(tmp_path, tmp_path / "files", [["model.bin", digest, size, False, ""]])
    assert not there.exists()
