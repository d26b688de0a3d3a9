"""The agent's `metrics`: all that instances of a base recorded, and what is wrong with some."""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from app.deployer.agent.metrics import parts
from app.deployer.road import open_local
from app.scoring import samples
from app.scoring.recording import File, Sample
from app.scoring.tap import Event

NOW = 1_800_000_000


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base" / "instances").mkdir(parents=True)
    return tmp_path / "base"


@pytest.fixture
def road(base):
    with open_local(base) as opened:
        yield opened


def path_of(base, name):
    return base / "instances" / name / "run" / "metrics.sqlite"


def record(base, name, count, start=0):
    file = File(path_of(base, name), 4 << 20)
    for n in range(start, start + count):
        body = {**samples.empty(), "seconds": 10.0, "requests": {"200": n}}
        row = Sample(10, NOW + n * 10, "v1-a", 1, body)
        assert file.write([row], [Event(NOW + n, "ready", {"n": n})], now=NOW)
    file.close()


def ask(road, name=None, **more):
    return parts(road.call("metrics", name=name, **more))


def counts(said, name):
    found = said["instances"][name]["samples"]
    return [samples.unpack(body)["requests"]["200"] for *_, body in found]


def test_rows_of_all_instances_newest_first(base, road):
    record(base, "churn", 3)
    record(base, "prices", 2)
    (base / "instances" / "silent").mkdir()
    said = ask(road)
    assert abs(said["now"] - time.time()) < 5
    assert counts(said, "churn") == [2, 1, 0]
    assert counts(said, "prices") == [1, 0]
    rowid, step, at, release, version, _body = said["instances"]["churn"]["samples"][0]
    assert (rowid, step, at, release, version) == (3, 10, NOW + 20, "v1-a", 1)
    assert said["instances"]["churn"]["events"][0][1:] == [NOW + 2.0, "ready", '{"n":2}']
    nothing = {"file": "", "samples": [], "events": [], "more": False}
    assert said["instances"]["silent"] == nothing
    assert ask(road, "prices")["instances"].keys() == {"prices"}


def test_only_what_is_newer_in_pages(base, road):
    record(base, "churn", 20)
    first = ask(road, "churn", most=2000)
    page = first["instances"]["churn"]
    assert page["more"]
    got = counts(first, "churn")
    assert got[0] == 19
    since = {"file": page["file"], "sample": 0, "before": page["samples"][-1][0], "event": 20}
    while page["more"]:
        said = ask(road, "churn", since={"churn": since}, most=2000)
        page = said["instances"]["churn"]
        assert page["events"] == []
        got += counts(said, "churn")
        since["before"] = page["samples"][-1][0]
    assert got == list(range(19, -1, -1))
    record(base, "churn", 2, start=20)
    since = {"file": page["file"], "sample": 20, "event": 20}
    said = ask(road, since={"churn": since})
    assert counts(said, "churn") == [21, 20]
    assert [event[0] for event in said["instances"]["churn"]["events"]] == [22, 21]


def test_another_file_in_its_place_is_read_from_its_beginning(base, road):
    record(base, "churn", 5)
    page = ask(road)["instances"]["churn"]
    path_of(base, "churn").unlink()
    record(base, "churn", 2)
    since = {"file": page["file"], "sample": 5, "event": 5}
    said = ask(road, since={"churn": since})
    assert counts(said, "churn") == [1, 0]
    assert said["instances"]["churn"]["file"] != page["file"]


def test_what_is_wrong_with_one_is_said_of_that_one(base, road, tmp_path):
    record(base, "churn", 1)
    for name in ("junk", "link", "fifo", "other", "folder"):
        path_of(base, name).parent.mkdir(parents=True)
    path_of(base, "junk").write_bytes(os.urandom(10_000))
    path_of(base, "link").symlink_to(path_of(base, "churn"))
    os.mkfifo(path_of(base, "fifo"))
    path_of(base, "folder").mkdir()
    with contextlib.closing(sqlite3.connect(path_of(base, "other"))) as db:
        db.execute("CREATE TABLE wine(name)")
    found = ask(road)["instances"]
    assert len(found.pop("churn")["samples"]) == 1
    assert found["junk"] == {"error": "DatabaseError: file is not a database"}
    assert found["other"] == {"error": "OperationalError: no such table: about"}
    assert {name: found[name].get("samples") for name in ("link", "fifo", "folder")} == {
        "link": [],
        "fifo": [],
        "folder": [],
    }


def test_query_that_never_ends_is_given_up(base, road):
    path_of(base, "churn").parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(path_of(base, "churn"))) as db:
        db.executescript("""
            CREATE TABLE about(key, value); INSERT INTO about VALUES('id', 'x');
            CREATE TABLE events(at, kind, body);
            CREATE VIEW samples AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
            SELECT i AS rowid, i AS step, i AS at, '' AS release, i AS version, '' AS body FROM n;
        """)
    began = time.monotonic()
    assert ask(road)["instances"]["churn"] == {"error": "OperationalError: interrupted"}
    assert time.monotonic() - began < 15


def test_file_that_is_being_written_can_be_read(base, road):
    record(base, "churn", 1)
    script = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute('DELETE FROM samples')\nprint('begun', flush=True)\nsys.stdin.read()\n"
    )
    words = [sys.executable, "-c", script, path_of(base, "churn")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"begun\n"
        assert counts(ask(road), "churn") == [0]
        other.communicate()


def test_whole_request_by_its_id(base, road):
    file = File(path_of(base, "churn"), 4 << 20)
    row = (NOW + 0.5, "abc", "v1-a", 200, 0.25, "score", '[{"a":1}]', "[1]")
    file.write(requests=[row], now=NOW)
    file.close()
    (found,) = road.call("trace", name="churn", id="abc")["found"]
    assert list(found["sampled"].values()) == list(row)
    assert found["sampled"]["inputs"] == '[{"a":1}]'
    assert road.call("trace", name="churn", id="other")["found"] == []
    assert road.call("trace", name="nobody", id="abc")["found"] == []


def test_a_request_is_found_in_the_log_of_whichever_instance_answered_it(base, road):
    for name in ("churn", "prices"):
        (base / "instances" / name / "log").mkdir(parents=True)
    line = '{"time":"2027-01-15T08:00:00.000+00:00","request":"abc","release":"v1-a","status":500}'
    noise = "x" * 300_000 + '\nabc is only named here\n{"request": broken "abc"\n'
    (base / "instances/churn/log/v1-a.log").write_text(noise)
    (base / "instances/prices/log/v1-a.log").write_text(f"{noise}{line}\nmore\n")
    (found,) = road.call("trace", name=None, id="abc")["found"]
    assert (found["name"], found["line"]["status"]) == ("prices", 500)
    assert found["sampled"] is None
    assert road.call("trace", name="churn", id="abc")["found"] == []
