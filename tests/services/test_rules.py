"""Rules and hysteresis: pure, so whole values are compared."""

import pytest

from app.services import hysteresis, limits, rules
from app.services.rules import Facts, HostFacts
from app.store.alerts import Run

NOW = 1_800_000_000.0
LIMITS = limits.DEFAULTS
DAY = 86_400.0


def read(limit=LIMITS, **known):
    facts = Facts(**{"model": "churn", "location": "ams", "state": "serving", **known})
    return {(r.rule, r.subject): r for r in rules.of_instance(facts, limit, NOW)}


def share(rule, **known):
    found = read(**known)[rule, ""].share
    return None if found is None else round(found, 3)


@pytest.mark.parametrize(
    ("state", "expected"),
    [("failing", 2.0), ("unknown job", 2.0), ("serving", 0.0), ("degraded", 0.0), ("stopped", 0.0),
     ("starting", None)],
)  # fmt: skip
def test_down_is_who_should_answer_and_does_not(state, expected):
    assert share("down", state=state) == expected


def test_down_waits_as_long_as_its_limit_says():
    reading = read(state="failing", error="Its process ended (killed).")["down", ""]
    assert (reading.hold, reading.words) == (
        60.0,
        "It does not answer (failing). Its process ended (killed).",
    )


@pytest.mark.parametrize(
    ("requests", "errors", "expected"),
    [(100, 0.1, 2.0), (100, 0.05, 1.0), (100, None, 0.0), (19, 1.0, 0.0), (None, None, 0.0)],
)
def test_errors_of_a_few_requests_say_nothing(requests, errors, expected):
    assert share("errors", requests=requests, errors=errors) == expected


def test_slow_answers_are_told_with_their_limit():
    reading = read(requests=100, p95=6.12)["p95", ""]
    assert reading.words == "One request in 20 takes over 6.1 s; the limit is 5 s."
    assert reading.share == pytest.approx(1.224)
    assert reading.hold > 0


@pytest.mark.parametrize(
    ("requests", "p95", "takes", "expected"),
    [(100, 2.5, 7.5, 1.5), (3, 60.0, 7.5, 1.5), (100, 7.5, None, 1.5), (3, 60.0, None, 0.0),
     (None, None, 10.0, 2.0)],
)  # fmt: skip
def test_slow_is_also_what_requests_take_just_now(requests, p95, takes, expected):
    assert share("p95", requests=requests, p95=p95, takes=takes) == expected


def test_memory_counts_only_where_there_is_a_limit_to_it():
    assert ("memory", "") not in read(memory=1e9)
    reading = read(memory=1.9e9, most=2e9)["memory", ""]
    assert reading.value == 0.95
    assert reading.words == "It takes 1.9 GB of the 2.0 GB it may."
    assert share("memory", memory=None, most=2e9) is None
    assert share("memory", state="stopped", most=2e9) == 0.0


@pytest.mark.parametrize(
    ("days", "expected", "words"),
    [(30, 0.467, "in 30 days"), (7, 2.0, "in 7 days"), (1, 14.0, "in 1 day"), (-1, 100.0, "over")],
)
def test_certificate_is_over_when_few_days_are_left(days, expected, words):
    assert share("certificate", ends=NOW + days * DAY) == expected
    assert words in read(ends=NOW + days * DAY)["certificate", ""].words


def test_drift_is_one_reading_for_each_column():
    found = read(drift={"amount": 0.5, "age": 0.01})
    assert found["drift", "amount"].share == 2.0
    assert "amount" in found["drift", "amount"].words
    assert found["drift", "age"].share == pytest.approx(0.04)
    assert not [key for key in read(drift=None) if key[0] == "drift"]


def test_rule_that_is_off_says_nothing():
    off = dict.fromkeys(LIMITS)
    known = {"state": "failing", "ends": NOW, "drift": {"a": 9.0}, "memory": 9, "most": 1}
    assert read(off, requests=100, p95=99.0, errors=1.0, **known) == {}
    assert list(rules.of_host(HostFacts("ams", False), off)) == []


def test_host_out_of_reach_is_one_alert_for_all_on_it():
    facts = HostFacts("ams", False, "ams did not answer.", 20, {"disk": (95.0, 100.0)})
    down, memory, disk = rules.of_host(facts, LIMITS)
    assert (down.key, down.share) == (("down", "", "ams", ""), 2.0)
    assert down.words == "It cannot be reached (20 instances there): ams did not answer."
    assert memory.share is None
    assert disk.share == pytest.approx(0.95 / 0.9)


# Hysteresis


def after(*shares, every=15.0, hold=30.0, run=None, is_open=False):
    """What is left of the run, and after how many readings it was enough, if it was."""
    for n, value in enumerate(shares, 1):
        run, enough = hysteresis.follow(run, value, NOW + n * every, hold, is_open=is_open)
        if enough:
            return run, n
    return run, None


def test_an_alert_begins_after_readings_in_a_row():
    assert after(2, 2, 2) == (None, 3)
    assert after(2, 2)[1] is None
    assert after(2, 2, 0.5, 2, 2)[1] is None
    assert after(2, hold=0.0) == (None, 1)


def test_at_its_limit_nothing_is_over_it():
    assert after(1.0, 1.0, 1.0, 1.0) == (None, None)


def test_an_alert_ends_well_below_its_limit_only():
    assert after(0.9, 0.99, 0.85, is_open=True) == (None, None)
    assert after(0.7, 0.7, 0.7, is_open=True) == (None, 3)
    assert after(0.7, 0.9, 0.7, 0.7, is_open=True)[1] is None


def test_what_is_not_known_changes_nothing():
    run, enough = after(2, None, None)
    assert (run, enough) == (Run(True, NOW + 15, NOW + 15), None)
    assert after(2, None, 2)[1] == 3


def test_readings_before_a_long_gap_do_not_count():
    begun = Run(True, NOW - 9000, NOW - 8000)
    assert after(2, run=begun)[1] is None
    assert after(2, run=Run(True, NOW + 5000, NOW + 5000))[1] is None  # the clock was set back
    assert after(2, run=Run(True, NOW - 60, NOW))[1] == 1


def test_readings_that_made_it_begin_do_not_make_it_end():
    assert after(0.1, run=Run(True, NOW - 60, NOW), is_open=True)[1] is None
