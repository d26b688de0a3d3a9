import hashlib
import os
import stat
import threading
import time

import pytest

from app.errors import NotFound, Problem
from app.store.blobs import CHUNK, Blobs, hash_files


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_a_file_is_kept_under_the_digest_of_its_content(blobs, tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert blobs.put_file(tmp_path / "file") == (sha256(content), size)
    assert blobs.read(sha256(content)) == content
    assert blobs.verify(sha256(content))


def test_many_files_are_handed_out_together_and_come_back_in_order(blobs, tmp_path, monkeypatch):
    monkeypatch.setattr("app.store.blobs.MANY", 10)
    monkeypatch.setattr("app.store.blobs.TOGETHER", 4)
    paths = [tmp_path / str(number) for number in range(13)]
    for path in paths:
        path.write_text(path.name)
    wanted = [sha256(path.name.encode()) for path in paths]
    assert [one.digest for one in hash_files(paths)] == wanted
    assert [one.digest for one in blobs.put_files(paths)] == wanted
    assert all(map(blobs.verify, wanted))
    paths[6].unlink()
    with pytest.raises(Problem, match="cannot be read"):
        blobs.put_files(paths)


def test_a_blob_is_read_only_and_nothing_is_left_over(blobs, tmp_path):
    digest = blobs.put_bytes(b"hello")
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o444
    assert blobs.path(digest) == tmp_path / "blobs" / digest[:2] / digest
    assert list(blobs.incoming.iterdir()) == []


def test_the_same_content_is_kept_once(blobs, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    stored = blobs.put_files([tmp_path / "a", tmp_path / "b"])
    assert {one.digest for one in stored} == {sha256(b"same")}
    assert list(blobs.all()) == [sha256(b"same")]


def test_many_files_come_back_in_order(blobs, tmp_path):
    paths = [tmp_path / f"{number}" for number in range(300)]
    for path in paths:
        path.write_text(path.name)
    stored = blobs.put_files(paths)
    assert [one.digest for one in stored] == [sha256(path.name.encode()) for path in paths]
    assert [one.digest for one in hash_files(paths)] == [one.digest for one in stored]


def test_a_missing_blob_is_said_so(blobs):
    with pytest.raises(NotFound, match="missing from the store"):
        blobs.open(sha256(b"x"))
    assert not blobs.has(sha256(b"x"))
    assert not blobs.verify(sha256(b"x"))
    assert blobs.missing([sha256(b"x"), blobs.put_bytes(b"y")]) == {sha256(b"x")}


def test_a_flipped_bit_a_cut_and_a_swap_are_found(blobs):
    digest = blobs.put_bytes(b"hello")
    for content in (b"hellp", b"hell", b""):
        blobs.path(digest).unlink()
        blobs.path(digest).write_bytes(content)
        assert not blobs.verify(digest)


def test_a_damaged_blob_is_healed_by_putting_it_again_after_its_removal(blobs):
    digest = blobs.put_bytes(b"hello")
    blobs.path(digest).unlink()
    assert blobs.put_bytes(b"hello") == digest
    assert blobs.verify(digest)


def test_a_file_that_keeps_changing_is_refused(blobs, tmp_path):
    path, stop = tmp_path / "growing", threading.Event()
    path.touch()
    os.truncate(path, 20 * CHUNK)  # so long that the writer gets a turn meanwhile

    def write():
        with path.open("r+b", buffering=0) as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(64))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for read in (blobs.put_file, lambda path: hash_files([path])):
            with pytest.raises(Problem, match="changes while it is read"):
                read(path)
    finally:
        stop.set()
        writer.join()
    assert list(blobs.all()) == []
    assert list(blobs.incoming.iterdir()) == []


def test_a_file_that_grows_for_a_moment_is_read_again(blobs, tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(bytes(40 * CHUNK))

    def grow():
        with path.open("ab") as file:
            file.write(b"more")

    writer = threading.Timer(0.01, grow)
    writer.start()
    digest, size = blobs.put_file(path)
    writer.join()
    assert blobs.path(digest).stat().st_size == size
    assert blobs.verify(digest)


def test_what_is_no_plain_file_is_refused(blobs, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name, said in (("pipe", "no plain file"), ("link", "cannot be read"), ("gone", "read")):
        with pytest.raises(Problem, match=said):
            blobs.put_file(tmp_path / name)


def test_one_bad_file_among_many_leaves_nothing_half(blobs, tmp_path):
    paths = [tmp_path / f"{number}" for number in range(50)]
    for path in paths[:-1]:
        path.write_text(path.name)
    with pytest.raises(Problem, match="cannot be read"):
        blobs.put_files(paths)
    assert list(blobs.incoming.iterdir()) == []
    assert all(blobs.verify(digest) for digest in blobs.all())


def test_discarded_blobs_go_to_the_trash_and_are_deleted_a_day_later(blobs):
    digest = blobs.put_bytes(b"hello")
    assert blobs.discard(digest, grace=60) is None
    assert blobs.discard(digest, grace=0) == 5
    assert not blobs.has(digest)
    assert blobs.empty_trash() == 0
    yesterday = time.time() - 90_000
    os.utime(blobs.trash / digest, (yesterday, yesterday))
    assert blobs.empty_trash() == 5
    assert list(blobs.trash.iterdir()) == []
