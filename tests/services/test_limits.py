"""Limits: set for all or for one, put back, refused; and what the states make of them."""

import time

import pytest
from recordings import keep, row

from app.errors import NotFound, Problem
from app.scoring import sketch
from app.services import limits, models, states
from app.services.series import Moment


@pytest.fixture
def store(work):
    with work.open_store() as opened:
        opened.models.add("churn", "/nowhere/churn")
        yield opened


def test_one_models_limit_comes_before_that_of_all(store):
    limits.change(store, "p95", 2.0)
    limits.change(store, "p95", 9.0, "churn")
    limits.change(store, "errors", None, "churn")
    assert limits.of(store)["p95"] == 2.0
    assert limits.of(store, "fraud") == {**limits.DEFAULTS, "p95": 2.0}
    assert limits.of(store, "churn") == {**limits.DEFAULTS, "p95": 9.0, "errors": None}
    assert limits.own(store) == {"churn": {"p95": 9.0, "errors": None}}


def test_what_is_put_back_is_the_default_or_what_holds_for_all(store):
    limits.change(store, "p95", 2.0)
    limits.change(store, "p95", 9.0, "churn")
    limits.reset(store, "p95", "churn")
    limits.reset(store, "p95", "churn")
    assert limits.of(store, "churn")["p95"] == 2.0
    assert limits.own(store) == {}
    limits.reset(store, "p95")
    assert limits.of(store) == limits.DEFAULTS


@pytest.mark.parametrize(
    ("name", "limit"),
    [("errors", 0), ("errors", 1.5), ("errors", float("nan")), ("p95", -1), ("p95", float("inf")),
     ("disk", 90), ("certificate", 4000), ("speed", 1)],
)  # fmt: skip
def test_what_is_no_limit_is_refused(store, name, limit):
    with pytest.raises(Problem) as told:
        limits.change(store, name, limit)
    assert told.value.remedy
    assert limits.of(store) == limits.DEFAULTS


def test_limit_of_a_model_that_is_not_known_is_refused(store):
    with pytest.raises(NotFound):
        limits.change(store, "p95", 1.0, "nobody")
    with pytest.raises(Problem, match="about hosts"):
        limits.change(store, "disk", 0.5, "churn")


def test_limits_follow_a_model_to_its_new_name_and_go_with_it(work, store):
    limits.change(store, "p95", 9.0, "churn")
    models.rename(work, "churn", "leavers")
    assert limits.own(store) == {"leavers": {"p95": 9.0}}
    models.remove(work, "leavers")
    assert limits.own(store) == {}


@pytest.mark.parametrize(
    ("requests", "failed", "limit", "expected"),
    [(100, 10, {}, "10% of its answers are errors"), (100, 4, {}, ""), (10, 10, {}, ""),
     (100, 10, {"errors": 0.2}, ""), (100, 100, {"errors": None}, "")],
)  # fmt: skip
def test_degraded_follows_the_limits(requests, failed, limit, expected):
    moment = Moment(seconds=30.0)
    moment.counts.update(requests=requests, failed=failed)
    assert states.excess(moment, {**limits.DEFAULTS, **limit}).startswith(expected)
    assert bool(states.excess(moment, {**limits.DEFAULTS, **limit})) == bool(expected)


def test_the_few_answers_of_a_slow_instance_are_not_hidden_by_the_many_before(work):
    now = int(time.time()) // 10 * 10
    quick = {"requests": {"200": 5000}, "latency": sketch.of([0.001] * 5000)}
    slow = {"requests": {"200": 40}, "latency": sketch.of([6.0] * 40)}
    said = {"model": "churn", "location": "local", "state": "serving", "error": "", "pinned": []}
    keep(work, [row(now - 20, **quick), row(now - 10, **quick)])
    states.judge(work, rows := [dict(said)])
    assert (rows[0]["state"], rows[0]["error"]) == ("serving", "")
    keep(work, [row(now, **slow)])
    states.judge(work, rows := [dict(said)])
    assert rows[0]["state"] == "degraded"
    assert rows[0]["error"] == "One request in 20 takes over 6 s (last 10 s)."


def test_what_requests_take_just_now_is_judged_before_any_row_is_there(work):
    now = int(time.time()) // 10 * 10
    quick = {"requests": {"200": 5000}, "latency": sketch.of([0.001] * 5000)}
    keep(work, [row(now - 10, **quick)])
    said = {"model": "churn", "location": "local", "state": "serving", "error": "", "pinned": []}
    states.judge(work, rows := [{**said, "takes": takes} for takes in (None, 4.9, 6.25)])
    assert [each["state"] for each in rows] == ["serving", "serving", "degraded"]
    assert rows[2]["error"] == "Requests take over 6.2 s just now."
