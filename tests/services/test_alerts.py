"""Alerts from readings on: when they begin, are told, are seen, end. Rows as `status` has them."""

import threading

import pytest
from client import write_model

from app.errors import NotFound
from app.models import Instance
from app.scoring import samples, sketch, summaries
from app.services import (
    alerts,
    drifting,
    limits,
    models,
    moved,
    notices,
    telling,
    versions,
)
from app.store.recorded import Sample

NOW = 1_800_000_000.0


def instance(model="churn", location="ams", **known):
    row = {"model": model, "location": location, "state": "serving", "error": "", "version": None}
    return {**row, **known}


@pytest.fixture
def looked(work):
    """Looks at the instances as they are said to be, a quarter of a minute after the last look."""
    notices.want(work, False)
    with work.open_store() as store:
        for model in ("churn", "fraud"):
            store.models.add(model, f"/nowhere/{model}")
        for model, location in (("churn", "ams"), ("fraud", "ams"), ("churn", "ber")):
            store.instances.upsert(Instance(model, location, 8100, "v1-a", 1, "serving"))
    clock = [NOW]

    def look(*rows, times=1, every=15.0):
        found = []
        for _ in range(times):
            clock[0] += every
            found += alerts.evaluate(work, rows, clock[0])
        return [(each.kind, each.told) for each in found]

    return look


def open_alerts(work):
    return [(a["rule"], a["model"], a["location"]) for a in alerts.listed(work)]


FAILING = instance(state="failing", error="Its process ended.")


def test_an_alert_begins_once_and_ends_once(work, looked):
    assert looked(FAILING, times=4) == []
    assert looked(FAILING) == [("began", True)]
    assert looked(FAILING, times=50) == []
    assert open_alerts(work) == [("down", "churn", "ams")]
    assert looked(instance(), times=2) == []
    assert looked(instance(), times=9) == [("ended", True)]
    assert open_alerts(work) == []
    (was,) = alerts.listed(work, open_only=False)
    assert was["words"] == "It does not answer (failing). Its process ended."
    assert was["began"] < was["ended"]


def test_words_of_a_host_are_text_for_a_terminal(work, looked):
    looked(instance(state="failing", error="\x1b[2J\u202eevil\n" + "x" * 9000), times=6)
    (alert,) = alerts.listed(work)
    assert alert["words"].startswith("It does not answer (failing).  [2J evil\nxx")
    assert len(alert["words"]) == 500


def test_one_that_comes_and_goes_is_told_once_in_half_an_hour(work, looked):
    rows = [row for _ in range(6) for row in (FAILING, instance())]
    told = [each for row in rows for each in looked(row, times=6) if each[1]]
    assert told == [("began", True), ("ended", True)]
    assert len(alerts.listed(work, open_only=False)) == 6
    looked(instance(), every=3600)
    assert looked(FAILING, times=6) == [("began", True)]


def test_a_host_out_of_reach_is_one_alert_and_its_instances_stay_as_they_are(work, looked):
    assert looked(FAILING, instance("fraud"), times=6) == [("began", True)]
    gone = [{**row, "state": "unreachable"} for row in (FAILING, instance("fraud"))]
    assert looked(*gone, times=10) == [("began", True)]
    assert open_alerts(work) == [("down", "", "ams"), ("down", "churn", "ams")]
    assert alerts.listed(work)[0]["about"] == "The host ams"
    assert looked(FAILING, instance("fraud"), times=10) == [("ended", True)]
    assert open_alerts(work) == [("down", "churn", "ams")]


def test_acknowledged_by_whom_and_only_once(work, looked):
    looked(FAILING, {**FAILING, "location": "ber"}, times=6)
    first, second = alerts.listed(work)
    (seen,) = alerts.acknowledge(work, [first["id"]])
    assert "@" in seen["who"]
    assert alerts.acknowledge(work, [first["id"]])[0]["acknowledged"] == seen["acknowledged"]
    assert [each["id"] for each in alerts.listed(work)] == [second["id"], first["id"]]
    with pytest.raises(NotFound) as told:
        alerts.acknowledge(work, [second["id"], 99])
    assert "99" in told.value.what
    assert alerts.listed(work)[0]["acknowledged"] is None
    looked(instance(), instance(location="ber"), times=6)
    with pytest.raises(NotFound):
        alerts.acknowledge(work, [first["id"]])


def test_alerts_of_what_is_not_deployed_any_more_end_untold(work, looked):
    looked(FAILING, {**FAILING, "location": "ber"}, times=6)
    with work.open_store() as store:
        store.instances.remove("churn", "ams")
    assert looked({**FAILING, "location": "ber"}) == [("ended", False)]
    with work.open_store() as store:
        store.instances.remove("churn", "ber")
    assert open_alerts(work) == []  # nothing is looked at any more


def test_a_rule_that_is_turned_off_ends_its_alerts(work, looked):
    looked(FAILING, times=6)
    with work.open_store() as store:
        limits.change(store, "down", None, "churn")
    assert looked(FAILING, times=3) == [("ended", True)]


def test_two_programs_that_look_at_once_make_one_alert(work, looked):
    looked(FAILING, times=4)
    threads = [threading.Thread(target=looked, args=(FAILING,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(alerts.listed(work, open_only=False)) == 1


def test_limits_of_one_model_are_its_own(work, looked):
    with work.open_store() as store:
        limits.change(store, "down", 1e6, "churn")
    assert looked(FAILING, {**FAILING, "model": "fraud"}, times=6) == [("began", True)]
    assert open_alerts(work) == [("down", "fraud", "ams")]


# Of what was recorded


def row(at, values, **body):
    body = {**samples.empty(), "seconds": 10.0, **body}
    if values is not None:
        found = summaries.of(values)
        found.add(values)
        body["inputs"] = {"amount": found.as_json()}
    n = sum(body["requests"].values())
    packed = samples.pack(body)
    return Sample(10, at, "v1-a", 1, 0.0, 10.0, n, 0, values is not None, packed)


def keep(work, rows, model="churn"):
    with work.open_recorded() as recorded, recorded.write():
        recorded.put(recorded.source(model, "ams"), rows, ())


def test_requests_disk_and_memory_are_read_from_what_was_recorded(work, looked, monkeypatch):
    monkeypatch.setattr("app.services.states.time.time", lambda: NOW)
    host = {"cpu": 0.1, "memory": 1e9, "memory_total": 8e9, "disk": 97e9, "disk_total": 100e9,
            "load": 1.0}  # fmt: skip
    busy = {"requests": {"200": 60, "500": 40}, "latency": sketch.of([9.0] * 100), "host": host}
    keep(work, [row(int(NOW) - 20, None, **busy), row(int(NOW) - 10, None, **busy)])
    assert len(looked(instance(), times=6)) == 3
    found = {a["rule"]: a for a in alerts.listed(work)}
    assert set(found) == {"errors", "p95", "disk"}
    assert found["errors"]["words"] == "40% of its answers are errors; the limit is 5%."
    assert found["disk"]["words"] == "Disk: 97.0 GB of 100 GB is in use."
    assert found["disk"]["model"] == ""


def test_a_column_that_moved_is_told_by_its_name(work, looked):
    at = int(NOW)
    before = [row(at - 3 * 86_400 + n * 10, list(range(100))) for n in range(10)]
    keep(work, before + [row(at - 3600 + n * 10, list(range(300, 400))) for n in range(10)])
    assert looked(instance()) == [("began", True)]
    (alert,) = alerts.listed(work)
    assert (alert["rule"], alert["subject"]) == ("drift", "amount")
    assert alert["value"] > 1
    keep(work, [row(at - 7000 + n * 10, list(range(100))) for n in range(400)])
    assert looked(instance(), times=3) == []  # it is not looked at that often
    assert looked(instance(), every=drifting.EVERY) == [("ended", True)]


def test_few_values_and_rows_of_a_hostile_host_say_nothing_of_drift():
    some = [row(0, list(range(100)))] * 6
    bad = row(0, None)
    odd = samples.pack({**samples.empty(), "inputs": {"amount": {"count": 1e9, "nulls": "x"}}})

    def scores(before, now):
        tables = moved.together(now), moved.together(before)
        return drifting.scores(moved.held_against(*tables, None))

    assert scores(some[:4], some) == {}
    assert set(scores([*some, bad._replace(body=b"?")], some)) == {"amount"}
    assert set(scores([*some, bad._replace(body=odd)], some)) == {"amount"}
    assert scores([bad._replace(body=odd)], [bad._replace(body=odd)] * 2) == {}


def test_a_column_that_is_not_as_in_training_is_told(work, looked, tmp_path):
    """Also where it has been like that for the whole week."""
    folder = write_model(tmp_path / "taught", "taught")
    models.add(work, folder)
    version = versions.commit(work, "taught").version
    with work.open_store() as store:
        store.instances.upsert(Instance("taught", "ams", 8101, "v1-a", 1, "serving"))
        made = summaries.Numbers()
        made.add(list(range(1000)))
        store.training.keep(version, "train.csv", 1000, {"amount": made.as_json()})
    at = int(NOW)
    lately = [at - days * 86_400 - 3600 + n * 10 for days in (0, 2) for n in range(10)]
    keep(work, [row(each, list(range(5000, 5100))) for each in lately], "taught")
    assert looked(instance("taught")) == [("began", True)]
    assert alerts.listed(work)[0]["subject"] == "amount"


def test_nobody_is_told_when_every_way_is_off(work, looked):
    looked(FAILING, times=6)
    assert telling.ways(work) == []
    with work.open_recorded() as recorded:
        assert not recorded.alerts.is_due(NOW * 2)
