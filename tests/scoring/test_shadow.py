"""Copies of production's requests go to another front, whose answers are compared."""

import json
import os
import re
import time

import pytest

from app.scoring import sketch

from .conftest import Front, call, wait_for

DOUBLE = "def predict(model, inputs):\n    return [2.0 * row[0] for row in inputs]\n"
MORE = "def predict(model, inputs):\n    return [2.0 * row[0] + row[1] for row in inputs]\n"
FAILS = """
def predict(model, inputs):
    if len(inputs) > 1:
        raise ValueError("not so many")
    return [0.0 for row in inputs]
"""
SLOW = """
import time
def predict(model, inputs):
    time.sleep(0.2)
    return [0.0 for row in inputs]
"""
SETTINGS = {"input": "ndarray", "sample": "sample.json", "files": {"sample.json": b"[[1.0, 0.0]]"}}


def order(front, release, percent=100, **more):
    said = {"release": release, "version": 2, "socket": str(front.private), "percent": percent}
    return {**said, "since": "2026-11-28T08:00:00+00:00", **more}


def counters(front):
    """What `/metrics` says of the shadow, which nobody has to ask the private socket for."""
    lines = front.admin("GET", "/metrics").body.decode().splitlines()
    found = (re.match(r"rhythmicml_shadow_(\w+)_total{.*} (\d+)$", line) for line in lines)
    return {each[1]: int(each[2]) for each in found if each}


def report(front):
    return front.admin("GET", "/admin/shadow").json


@pytest.fixture
def both(serve, instance, science):
    """Production, and another release beside it that gets copies."""
    instance.python = science
    fronts = []

    def start(source, percent=100, **more):
        production = serve(DOUBLE, **SETTINGS)
        name = instance.release(source, number=9, current=False, **SETTINGS)
        fronts.append(Front(instance, name, production.sock))
        candidate = fronts[-1].wait_ready()
        said = json.dumps(order(candidate, name, percent, **more))
        assert production.admin("POST", "/admin/shadow", said).status == 200
        return production, candidate, name

    yield start
    for front in fronts:
        front.close()


def test_answers_are_compared_and_thrown_away(both):
    production, candidate, name = both(MORE)
    for _ in range(5):
        assert production.score("[[1.0, 0.0], [2.0, 0.5]]") == [2.0, 4.0]
    wait_for(lambda: report(production)["compared"] == 5)
    said = report(production)
    assert (said["asked"], said["dropped"], said["failed"]) == (5, 0, 0)
    assert (said["rows"], said["differ"], said["largest"]) == (10, 5, 0.5)
    assert said["mean_distance"] == 0.25
    counted = {"compared": 5, "differing": 5, "dropped": 0, "failed": 0}
    assert counters(production) == counted
    assert counters(candidate) == {}
    assert said["first"][0]["row"] == 2
    assert (said["first"][0]["wanted"], said["first"][0]["got"]) == ("4.0", "4.5")
    assert said["release"] == name
    for side in ("production", "candidate"):
        assert sketch.count(said["latency"][side]) == 5
        assert 0 < sketch.quantile(said["latency"][side], 0.5) < 5
    state = candidate.admin("GET", "/admin/state").json
    assert not state["accepting"]


def test_answers_within_the_tolerance_are_the_same(both):
    production, _, _ = both(MORE, tolerance=[0.0, 0.6])
    production.score("[[2.0, 0.5]]")
    wait_for(lambda: report(production)["compared"] == 1)
    assert report(production)["differ"] == 0


def test_share_of_the_requests_is_copied(both):
    production, _, _ = both(DOUBLE, percent=20)
    client = production.client()
    for _ in range(400):
        assert call(client, "POST", "/score", "[[1.0, 0.0]]").status == 200
    assert 40 <= report(production)["asked"] <= 130


def test_errors_of_the_candidate_are_its_own(both):
    production, _, _ = both(FAILS)
    assert production.score("[[1.0, 0.0], [2.0, 0.0]]") == [2.0, 4.0]
    wait_for(lambda: report(production)["failed"] == 1)
    assert report(production)["error"].startswith("500: ")


def test_slow_candidate_has_copies_dropped(both):
    production, _, _ = both(SLOW)
    client = production.client()
    for _ in range(60):
        assert call(client, "POST", "/score", "[[1.0, 0.0]]").json["predictions"] == [2.0]
    said = report(production)
    assert said["asked"] == 60
    assert said["dropped"] > 10


def test_candidate_that_is_gone_disturbs_nobody(both):
    production, candidate, _ = both(DOUBLE)
    candidate.close()
    assert production.score("[[1.0, 0.0]]") == [2.0]
    wait_for(lambda: report(production)["failed"] == 1)
    assert production.score("[[1.0, 0.0]]") == [2.0]


def test_copying_ends_when_told(both):
    production, _, _ = both(DOUBLE)
    assert production.admin("POST", "/admin/shadow", "{}").status == 200
    production.score("[[1.0, 0.0]]")
    assert report(production) == {}


@pytest.mark.parametrize("body", ["[]", '{"release": 1}', "no"])
def test_an_order_that_makes_no_sense_changes_nothing(both, body):
    production, _, name = both(DOUBLE)
    assert production.admin("POST", "/admin/shadow", body).status == 400
    assert report(production)["release"] == name


def test_restarted_front_goes_on_with_its_report(both, instance):
    production, candidate, name = both(MORE)
    (instance.folder / "shadow.json").write_text(json.dumps(order(candidate, name)))
    production.score("[[1.0, 0.5]]")
    wait_for(lambda: report(production)["compared"] == 1)
    current = os.readlink(instance.releases / "current")
    (instance.folder / "run").mkdir(exist_ok=True)
    assert production.end() == 0
    again = Front(instance, current, production.sock).wait_ready()
    try:
        again.score("[[1.0, 0.5]]")
        wait_for(lambda: report(again)["compared"] == 2)
        assert report(again)["differ"] == 2
        assert sketch.count(report(again)["latency"]["candidate"]) == 2
    finally:
        again.close()


def test_candidate_lets_production_go_first(serve, instance, science):
    instance.python = science
    serve(DOUBLE, **SETTINGS)
    name = instance.release(MORE, number=9, current=False, **SETTINGS)
    said = {"release": name, "percent": 10}
    (instance.folder / "shadow.json").write_text(json.dumps(said))
    candidate = Front(instance, name).wait_ready()
    try:
        state = candidate.admin("GET", "/admin/state").json
        for pid in (state["pid"], state["workers"][0]["pid"]):
            assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    finally:
        candidate.close()


def test_texts_and_tables_are_compared_too(serve, instance, science):
    instance.python = science
    source = """
import pandas as pd
def predict(inputs: pd.DataFrame):
    return pd.DataFrame({"name": inputs["name"].str.upper(), "n": inputs["n"] %s})
"""
    files = {"sample.json": b'[{"name": "ann", "n": 1}]'}
    production = serve(source % "+ 0", sample="sample.json", files=files)
    name = instance.release(
        source % "* 2", number=9, current=False, sample="sample.json", files=files
    )
    candidate = Front(instance, name, production.sock).wait_ready()
    try:
        said = json.dumps(order(candidate, name))
        assert production.admin("POST", "/admin/shadow", said).status == 200
        production.score('[{"name": "bob", "n": 3}, {"name": null, "n": 0}]')
        wait_for(lambda: report(production)["asked"] == 1)
        time.sleep(0.05)
        wait_for(lambda: report(production)["compared"] == 1)
        assert report(production)["differ"] == 1
        assert report(production)["first"][0]["path"] == "n"
    finally:
        candidate.close()
