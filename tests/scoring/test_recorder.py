"""What a front records while it serves, and that serving notices no trouble there."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from app.scoring import samples, sketch

from .conftest import Front, wait_for

SUM = """
def predict(model, inputs):
    return [sum(value for value in row.values() if isinstance(value, (int, float)))
            for row in inputs]
"""
FRAME = """
import pandas as pd


def predict(inputs: pd.DataFrame):
    return pd.DataFrame({"score": inputs["age"] * 0.01, "label": inputs["country"]})
"""
MATRIX = """
import numpy as np


def predict(inputs: np.ndarray):
    return inputs.sum(axis=1)
"""
CRASH = """
import os


def predict(model, inputs):
    if inputs[0] == "die":
        os._exit(3)
    return inputs
"""
STREAM = "def predict(model, inputs):\n    yield from inputs\n"


def path_of(instance):
    return instance.folder / "run" / "metrics.sqlite"


def asked(instance, sql):
    with contextlib.closing(sqlite3.connect(path_of(instance))) as db:
        return db.execute(sql).fetchall()


def has_rows(instance):
    with contextlib.suppress(sqlite3.OperationalError):  # its tables are about to be made
        return path_of(instance).exists() and asked(instance, "SELECT 1 FROM samples")


def recorded(instance, release=None):
    """All rows as one; of one release, if it is named."""
    whole = samples.empty()
    for step, at, name, _version, body in asked(instance, "SELECT * FROM samples"):
        assert at % step == 0
        if release in (None, name):
            whole = samples.merge(whole, samples.unpack(body))
    return whole


def events(instance):
    found = asked(instance, "SELECT kind, body FROM events ORDER BY rowid")
    return [(kind, json.loads(body)) for kind, body in found]


def test_front_records_what_it_did(serve, instance):
    front = serve(SUM)
    began = time.time()
    for n in range(40):
        front.score([{"age": n, "country": "NL" if n % 4 else "DE"}])
    assert front.post("/score", "{").status == 400
    for path in ("/readyz", "/metrics", "/nowhere", "/docs"):
        front.get(path)
    assert front.end() == 0
    found = recorded(instance)
    assert found["requests"] == {"200": 40, "400": 1}
    assert sketch.count(found["latency"]) == 41
    assert found["batches"] == {"count": 40, "rows": 40}
    assert sketch.count(found["predict"]) == 40
    assert 0 < sketch.quantile(found["predict"], 0.5) < sketch.quantile(found["latency"], 1) < 5
    assert found["queue"] == {"most": 1, "refused": 0}
    assert 0 < found["seconds"] < time.time() - began + 10
    assert found["cpu"] > 0
    assert found["memory"] > 20e6
    assert found["files"] > 10
    host = found["host"]
    assert host["memory"] < host["memory_total"]
    assert host["disk"] < host["disk_total"]
    age, country = found["inputs"]["age"], found["inputs"]["country"]
    assert 30 <= age["count"] <= 40
    assert age["min"] >= 0
    assert age["max"] <= 39
    assert dict(country["top"]).keys() == {"NL", "DE"}
    assert found["outputs"]["predict"]["count"] == age["count"]
    kinds = ["started", "ready", "accepting", "draining", "ended"]
    assert [kind for kind, _ in events(instance)] == kinds
    assert {body["version"] for _, body in events(instance)} == {1}


def test_row_is_written_every_ten_seconds(serve, instance):
    front = serve(SUM)
    front.score([{"a": 1}])
    wait_for(lambda: has_rows(instance), 15)
    steps = [step for (step,) in asked(instance, "SELECT step FROM samples ORDER BY step")]
    assert steps in ([10], [10, 900])  # the latter where a quarter of an hour has just ended
    assert front.process.poll() is None


def test_columns_of_frames_and_matrices(serve, instance, science):
    instance.python = science
    sample = json.dumps({"inputs": [{"age": 1, "country": "NL"}]}).encode()
    front = serve(FRAME, files={"sample.json": sample}, sample="sample.json")
    rows = [{"age": n, "country": "NL"} for n in range(100)]
    front.score(rows)
    front.end()
    found = recorded(instance)
    assert found["inputs"]["age"]["count"] == 20  # from all over the batch
    assert (found["inputs"]["age"]["min"], found["inputs"]["age"]["max"]) == (0.0, 95.0)
    assert found["inputs"]["country"]["top"] == [["NL", 20]]
    assert found["outputs"]["score"]["max"] == pytest.approx(0.95)
    assert found["outputs"]["label"]["top"] == [["NL", 20]]
    name = instance.release(MATRIX, number=2)
    other = Front(instance, name).wait_ready()
    other.score([[n, n + 0.5] for n in range(10)])
    other.end()
    other.close()
    found = recorded(instance, name)
    assert [found["inputs"][each]["mean"] for each in "01"] == [4.5, 5.0]
    assert found["outputs"]["predict"]["mean"] == 9.5


def test_streams_are_counted(serve, instance):
    front = serve(STREAM)
    for _ in range(5):
        front.score([1, 2, 3])
    front.end()
    found = recorded(instance)
    assert found["requests"] == {"200": 5}
    assert found["inputs"]["inputs"]["count"] == 15


def test_dead_worker_is_an_event(serve, instance):
    front = serve(CRASH)
    assert front.post("/score", ["die"]).status == 500
    wait_for(lambda: front.post("/score", ["live"]).status == 200)
    front.end()
    [(_, body)] = [event for event in events(instance) if event[0] == "worker"]
    assert body["how"] == "with exit code 3"
    assert recorded(instance)["restarts"] == 1


def test_release_that_cannot_be_served_says_why(serve, instance):
    front = serve("raise ValueError('no such artifact')\n", ready=False)
    assert front.process.wait(20) == 1
    [(_, body)] = [event for event in events(instance) if event[0] == "failed"]
    assert "no such artifact" in body["error"]
    assert "Traceback" in body["traceback"]


def test_nothing_is_recorded_when_it_is_off(serve, instance):
    front = serve(SUM, monitor={"size": 0}, log={"sample": 1.0})
    front.score([{"a": 1}])
    front.end()
    assert not path_of(instance).exists()


def test_two_fronts_write_beside_each_other(serve, instance):
    """A switch: the old one goes on until it is told to end, both record."""
    first, second = serve(SUM), serve(SUM.replace("sum", "max"))
    for front in (first, second, first):
        front.score([{"a": 1}])
    ends = [threading.Thread(target=front.end) for front in (first, second)]
    for end in ends:
        end.start()
    for end in ends:
        end.join()
    names = {name for (name,) in asked(instance, "SELECT release FROM samples")}
    assert len(names) == 2
    assert recorded(instance)["requests"] == {"200": 3}
    assert sorted(recorded(instance, name)["requests"]["200"] for name in names) == [1, 2]


def test_front_that_is_killed_leaves_a_file_for_the_next(serve, instance):
    front = serve(SUM)
    front.score([{"a": 1}])
    wait_for(lambda: has_rows(instance), 15)
    front.process.send_signal(signal.SIGKILL)
    front.process.wait()
    again = serve(SUM)
    again.score([{"a": 1}])
    again.end()
    assert recorded(instance)["requests"] == {"200": 2}


# Whole requests


def requests(instance):
    return asked(instance, "SELECT * FROM requests ORDER BY at")


def test_requests_are_kept_only_when_that_is_asked_for(serve, instance):
    front = serve(SUM)
    front.score([{"a": 1}])
    front.end()
    assert requests(instance) == []


def test_whole_requests_without_what_is_redacted(serve, instance):
    front = serve(SUM, log={"sample": 1.0, "redact": ["ssn"], "keep": 3600.0})
    secret = "123-45-6789"
    answer = front.post("/score", [{"age": 4, "ssn": secret, "deep": {"ssn": secret}}])
    columns = {"columns": ["age", "ssn"], "data": [[5, secret]]}
    front.post("/invocations", {"dataframe_split": columns})
    front.post("/score", "{")
    front.end()
    one, two = requests(instance)
    _at, name, release, status, seconds, endpoint, inputs, outputs = one
    assert (name, status, endpoint) == (answer.headers["X-Request-Id"], 200, "score")
    assert release.startswith("v1-")
    assert 0 < seconds < 5
    assert json.loads(inputs) == [{"age": 4, "ssn": "•", "deep": {"ssn": "•"}}]
    assert json.loads(outputs) == [4]
    assert json.loads(two[6]) == [{"age": 5, "ssn": "•"}]
    assert secret.encode() not in path_of(instance).read_bytes()
    assert recorded(instance)["inputs"]["ssn"]["count"] == 2


def test_redacted_place_of_a_matrix(serve, instance, science):
    instance.python = science
    front = serve(MATRIX, log={"sample": 1.0, "redact": ["1"]})
    front.score([[1.5, 77.25]])
    front.end()
    [found] = requests(instance)
    assert json.loads(found[6]) == [[1.5, "•"]]
    assert recorded(instance)["inputs"]["1"]["top"] == []


def test_share_of_requests_is_kept(serve, instance):
    random.seed(1)
    front = serve(SUM, log={"sample": 0.5})
    client = front.client()
    for n in range(40):
        client.request("POST", "/score", json.dumps([{"a": n}]))
        client.getresponse().read()
    client.close()
    front.end()
    assert 1 <= len(requests(instance)) < 40


def test_large_request_is_kept_without_its_rows(serve, instance):
    front = serve(SUM, log={"sample": 1.0})
    front.score([{"a": "x" * 100_000}])
    front.end()
    [found] = requests(instance)
    assert found[6] == ""


# What goes wrong


def test_hostile_columns_are_cut_and_escaped(serve, instance):
    front = serve(SUM)
    names = ["\x1b[31m<script>\n", "x" * 3000, "x" * 3000 + "y", ""]
    for _ in range(3):
        front.score([dict.fromkeys(names, "\x07" * 300)])
    for turn in range(5):
        front.score([{f"column {turn} {n}": 1 for n in range(300)}])
    front.score([{"deep": [[[["\x00"]]]] * 100, "nan": 1e308}])
    front.end()
    found = recorded(instance)["inputs"]
    assert "\\x1b[31m<script>\\x0a" in found
    assert 300 < len(found) <= 400
    shown = [*found, *(value for each in found.values() for value, _ in each.get("top", ()))]
    assert all(len(text) <= 60 and text.isprintable() for text in shown)
    assert len([name for name in found if name.startswith("xxx")]) == 2


def serving_well(front, seconds):
    """The slowest of many answers in so many seconds, all of them right [s]."""
    client, slowest, until = front.client(), 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        client.request("POST", "/score", '[{"a": 1}]')
        answer = client.getresponse()
        assert (answer.status, json.loads(answer.read())["predictions"]) == (200, [1])
        slowest = max(slowest, time.monotonic() - began)
    client.close()
    return slowest


LOCK = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_locked_file_holds_up_neither_requests_nor_the_end(serve, instance):
    front = serve(SUM)
    wait_for(lambda: has_rows(instance), 15)
    words = [sys.executable, "-c", LOCK, path_of(instance)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"locked\n"
        assert serving_well(front, 11) < 1
        began = time.monotonic()
        assert front.end() == 0
        assert time.monotonic() - began < 5
        other.communicate()


def test_damaged_file_is_moved_aside_while_requests_are_answered(serve, instance):
    path_of(instance).parent.mkdir()
    path_of(instance).write_bytes(os.urandom(100_000))
    front = serve(SUM)
    assert serving_well(front, 0.5) < 1
    front.end()
    assert path_of(instance).with_name("metrics.sqlite.damaged").stat().st_size == 100_000
    assert recorded(instance)["requests"]["200"] > 10
    assert front.log.count("metrics.sqlite was damaged") == 1
    assert [body["what"] for kind, body in events(instance) if kind == "recording"] == ["damaged"]


def test_file_that_cannot_be_written_is_said_once(serve, instance):
    (instance.folder / "run").mkdir()
    path_of(instance).mkdir()
    front = serve(SUM)
    assert serving_well(front, 0.5) < 1
    assert front.end() == 0
    assert front.log.count("no metrics are kept for now") == 1
