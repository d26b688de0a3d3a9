"""`metrics.sqlite` by itself: what stays of months, and what a bad file or disk does to it."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from app.scoring import recording, samples, sketch, summaries
from app.scoring.recording import File, Sample
from app.scoring.tap import Event

DAY = 86_400
NOW = 1_800_000_000


def summary(seed):
    numbers, chance = summaries.Numbers(), random.Random(seed)
    numbers.add([chance.gauss(seed, 1) for _ in range(200)])
    return numbers.as_json()


SUMMARIES = {f"column_{seed}": summary(seed) for seed in range(30)}


def body(n=1, columns=0):
    return {
        **samples.empty(),
        "seconds": 10.0,
        "requests": {"200": n},
        "latency": sketch.of([0.001 * n]),
        "inputs": dict(list(SUMMARIES.items())[:columns]),
    }


def row(at, n=1, step=10, release="v1-a", **more):
    return Sample(step, at, release, 1, body(n, **more))


class Heard(list):
    def __call__(self, what, why):
        self.append((what, why))


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def memory(tmp_path):
    """A folder that waits for no disk."""
    if not Path("/dev/shm").is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def file(memory, heard):
    made = File(memory / "run" / recording.FILE, 4 << 20, tell=heard)
    yield made
    made.close()


def kept(file, sql="SELECT step, at, release, version, body FROM samples ORDER BY 1, 2"):
    with contextlib.closing(sqlite3.connect(file.path)) as db:
        return db.execute(sql).fetchall()


def total(file):
    found = [samples.unpack(body) for *_, body in kept(file)]
    return sum(sum(each["requests"].values()) for each in found)


def test_rows_are_kept_as_they_were(file):
    assert file.write([row(NOW, 7)], [Event(NOW + 0.5, "ready", {"pid": 1})], now=NOW)
    [(step, at, release, version, found)] = kept(file)
    assert (step, at, release, version) == (10, NOW, "v1-a", 1)
    assert samples.unpack(found) == body(7)
    assert kept(file, "SELECT at, kind, body FROM events") == [(NOW + 0.5, "ready", '{"pid":1}')]
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_two_fronts_add_to_one_row(file):
    other = File(file.path, file.size)
    for each, n in ((file, 3), (other, 4), (file, 5)):
        assert each.write([row(NOW, n)], now=NOW)
    other.close()
    assert len(kept(file)) == 1
    assert total(file) == 12
    assert samples.unpack(kept(file)[0][4])["seconds"] == 30.0


def test_rows_become_coarser_and_nothing_is_lost(file):
    start = NOW // 900 * 900
    for at in range(start, start + 900, 10):
        file.write([row(at)], now=start)
    file.write([row(start, 0, step=900, columns=1)], now=start)  # columns, as they are written
    assert {step for step, *_ in kept(file)} == {10, 900}
    for _ in range(20):
        file.write(now=start + DAY + 900)
    assert [step for step, *_ in kept(file)] == [60] * 15 + [900]
    assert total(file) == 90
    for _ in range(20):
        file.write(now=start + 14 * DAY + 900)
    [(step, at, _release, _version, found)] = kept(file)
    assert (step, at) == (900, start)
    said = samples.unpack(found)
    assert (said["seconds"], said["requests"]) == (910.0, {"200": 90})
    assert said["inputs"]["column_0"]["count"] == 200


def test_what_is_not_old_enough_as_a_whole_stays_fine(file):
    start = NOW // 60 * 60
    file.write([row(start), row(start + 50)], now=start)
    file.write(now=start + DAY + 59)
    assert [step for step, *_ in kept(file)] == [10, 10]
    file.write(now=start + DAY + 60)
    assert [step for step, *_ in kept(file)] == [60]


def test_releases_stay_apart_when_rows_become_coarser(file):
    start = NOW // 60 * 60
    file.write([row(start, 1, release="v1-a"), row(start + 10, 2, release="v2-b")], now=start)
    file.write(now=start + 2 * DAY)
    assert [(step, release) for step, _, release, *_ in kept(file)] == [(60, "v1-a"), (60, "v2-b")]


def test_months_fit_into_the_size_and_the_oldest_goes(memory):
    """Two months of quarters with thirty columns, an hour of fine rows at their end."""
    file = File(memory / recording.FILE, 2 << 20)
    start = NOW // 900 * 900
    most = 0
    for at in range(start, start + 60 * DAY, 6 * 900):
        quarters = [row(at + n * 900, step=900, columns=30) for n in range(6)]
        assert file.write(quarters, now=at)
        most = max(most, file.path.stat().st_size)
    end = start + 60 * DAY
    for at in range(end, end + 3600, 10):
        assert file.write([row(at)], now=at)
    assert most <= 2 << 20
    found = kept(file, "SELECT step, at FROM samples ORDER BY 1, 2")
    assert [at for step, at in found if step == 10] == list(range(end, end + 3600, 10))
    quarters = [at for step, at in found if step == 900]
    assert quarters == list(range(quarters[0], end, 900))  # without gaps, up to the end
    assert start < quarters[0] < end - DAY
    file.close()


def test_file_shrinks_to_a_size_that_was_made_smaller(file):
    for at in range(NOW, NOW + 900 * 1500, 900 * 10):
        file.write([row(at + n * 900, step=900, columns=30) for n in range(10)], now=NOW)
    file.close()
    assert file.path.stat().st_size > 2 << 20
    smaller = File(file.path, 1 << 20)
    for _ in range(5):
        assert smaller.write([row(NOW + 900 * 2000)], now=NOW)
    smaller.close()
    assert file.path.stat().st_size <= 1 << 20
    assert kept(file)[0][1] == NOW + 900 * 2000  # the newest


def test_whole_requests_are_bounded_by_age_and_size(memory):
    file = File(memory / recording.FILE, 4 << 20, kept=3600)
    text = "x" * 50_000
    for n in range(31):
        rows = [
            (NOW + n * 10.0 + m, f"{n}-{m}", "v1-a", 200, 0.1, "score", text, "") for m in range(2)
        ]
        assert file.write(requests=rows, now=NOW + n * 10)
    names = [name for name, _ in kept(file, "SELECT id, at FROM requests")]
    assert 15 <= len(names) <= 25
    assert "30-1" in names
    assert "0-0" not in names
    file.write(now=NOW + 2 * 3600)
    assert kept(file, "SELECT id FROM requests") == []
    file.close()


def test_clock_that_jumps_back_costs_nothing(file):
    for at in (NOW, NOW + 10, NOW - 7 * DAY, NOW - 7 * DAY + 10, NOW, NOW + 20):
        assert file.write([row(at)], now=at)
    assert total(file) == 6  # those of the week before have become coarser once it is over
    assert {(step, at // 60 * 60) for step, at, *_ in kept(file)} == {
        (60, (NOW - 7 * DAY) // 60 * 60),
        (10, NOW // 60 * 60),
    }


# What is wrong with the file


def aside(file):
    return file.path.with_name("metrics.sqlite.damaged")


@pytest.mark.parametrize("content", [b"junk" * 5000, b"SQLite format 3\0" + b"\xff" * 9000])
def test_file_of_something_else_is_moved_aside(file, heard, content):
    file.path.parent.mkdir()
    file.path.write_bytes(content)
    assert file.write([row(NOW)], now=NOW)
    assert aside(file).read_bytes() == content
    assert [what for what, _ in heard] == ["damaged"]
    assert total(file) == 1


def test_file_that_is_damaged_while_it_is_used_is_moved_aside_and_one_is_kept(file, heard):
    for turn in range(2):
        for at in range(NOW, NOW + 3000, 10):
            assert file.write([row(at, columns=3)], now=NOW)
        file.close()
        with file.path.open("r+b") as raw:
            raw.seek(4096)
            raw.write(os.urandom(file.path.stat().st_size - 4096))
        assert file.write([row(NOW + 5000 + turn)], now=NOW)
        assert total(file) == 1
    assert [what for what, _ in heard] == ["damaged", "damaged"]
    assert aside(file).stat().st_size > 100_000
    assert sorted(each.name for each in file.path.parent.iterdir()) == [
        "metrics.sqlite",
        "metrics.sqlite.damaged",
    ]


def test_file_cut_short_is_moved_aside(file, heard):
    for at in range(NOW, NOW + 1000, 10):
        file.write([row(at, columns=3)], now=NOW)
    file.close()
    os.truncate(file.path, 20_000)
    assert file.write([row(NOW)], now=NOW)
    assert [what for what, _ in heard] == ["damaged"]


def test_new_file_of_another_front_is_left_alone(file, heard):
    """Two fronts find the same damage: the second must not throw away the first's new file."""
    other = File(file.path, file.size, tell=heard)
    for each in (file, other):
        assert each.write([row(NOW, columns=3)], now=NOW)
    file.path.write_bytes(b"junk" * 5000)
    assert file.write([row(NOW + 10)], now=NOW)
    assert other.write([row(NOW + 20)], now=NOW)
    other.close()
    assert [what for what, _ in heard] == ["damaged"]
    assert [at for _, at, *_ in kept(file)] == [NOW + 10, NOW + 20]


def test_hostile_rows_of_a_whole_file_are_dropped(file):
    start = NOW // 60 * 60
    file.write([row(start)], now=start)
    with contextlib.closing(sqlite3.connect(file.path)) as db:
        for at, held in enumerate(
            (b"junk", "text", None, samples.pack({"requests": 7}), samples.pack({"latency": []}))
        ):
            values = (10, start + at, "v9-x", 1, held)
            db.execute("INSERT INTO samples VALUES(?, ?, ?, ?, ?)", values)
        db.commit()
    assert file.write([row(start + 10)], now=start + 2 * DAY)
    assert {step for step, *_ in kept(file)} == {60}


def test_locked_file_is_tried_again(file, heard):
    assert file.write([row(NOW)], now=NOW)
    recording.BUSY, before = 0.2, recording.BUSY
    file.close()
    try:
        script = (
            "import sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "db.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, file.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as other:
            assert other.stdout.readline() == b"locked\n"
            assert not file.write([row(NOW + 10)], now=NOW)
            assert not file.write([row(NOW + 20)], now=NOW)
            other.communicate()
    finally:
        recording.BUSY = before
    assert file.write([row(NOW + 30)], now=NOW)
    assert heard == [("paused", "database is locked"), ("resumed", "")]
    assert not aside(file).exists()


def test_file_of_a_later_program_is_left_alone(file, heard):
    file.write([row(NOW)], now=NOW)
    file.close()
    with contextlib.closing(sqlite3.connect(file.path)) as db:
        db.execute("PRAGMA user_version=99")
    assert not file.write([row(NOW)], now=NOW)
    assert heard == [("paused", "metrics.sqlite is of a later version of RhythmicML")]


def test_folder_in_its_place_is_left_alone(file, heard):
    file.path.mkdir(parents=True)
    assert not file.write([row(NOW)], now=NOW)
    assert [what for what, _ in heard] == ["paused"]


# What is wrong with the disk


@pytest.fixture
def disk(tmp_path):
    """A file system of a megabyte of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def at_once(monkeypatch):
    """A disk that would not take it is tried again at once."""
    monkeypatch.setattr(recording, "PAUSE", 0.0)


def test_full_disk_pauses(disk, heard, at_once):
    file = File(disk / "run" / recording.FILE, 64 << 20, tell=heard)
    assert file.write([row(NOW)], now=NOW)
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as full, contextlib.suppress(OSError):
        while full.write(b"\0" * 4096):
            pass
    results = [file.write([row(NOW + n * 10, columns=30)], now=NOW) for n in range(1, 5)]
    assert not any(results)
    assert heard == [("paused", "database or disk is full")]
    ballast.unlink()
    assert file.write([row(NOW + 100)], now=NOW)
    assert [what for what, _ in heard] == ["paused", "resumed"]
    assert [at for _, at, *_ in kept(file)] == [NOW, NOW + 100]
    file.close()


def test_read_only_disk_pauses(disk, heard, at_once):
    file = File(disk / "run" / recording.FILE, 64 << 20, tell=heard)
    assert file.write([row(NOW)], now=NOW)
    file.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert not file.write([row(NOW + 10)], now=NOW)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert file.write([row(NOW + 20)], now=NOW)
    assert [what for what, _ in heard] == ["paused", "resumed"]
    assert "Read-only file system" in heard[0][1]
    file.close()


def test_disk_that_is_not_there_is_not_asked_again_at_once(tmp_path, heard):
    (tmp_path / "run").write_text("a file where the folder would be")
    file = File(tmp_path / "run" / recording.FILE, 64 << 20, tell=heard)
    for _ in range(3):
        assert not file.write([row(NOW)], now=NOW)
    assert [what for what, _ in heard] == ["paused"]
    (tmp_path / "run").unlink()
    assert not file.write([row(NOW)], now=NOW)  # not for a minute
