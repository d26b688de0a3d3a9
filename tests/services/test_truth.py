"""What became of an attempt, by what its host says; and how that is told."""

import pytest

from app.models import Deployment
from app.services import truth

STEPS = ("place", "start", "switch", "prune")


def attempt(begun=0, ended=None, action="deploy", result="", steps=STEPS):
    ended = begun if ended is None else ended
    journal = [
        {
            "do": do,
            "words": do.title(),
            "began": "t" if number < begun else "",
            "ended": "t" if number < ended else "",
        }
        for number, do in enumerate(steps)
    ]
    return Deployment(
        1, "churn", "srv", action, 4, "v4", "v3", "ana@laptop", "t", "", result,
        attempt="a1", steps=tuple(journal),
    )  # fmt: skip


def said(**more):
    facts = {"known": True, "stopped": False, "history": [], "holder": None, "unconfirmed": None}
    return {**facts, "current": "v3", "versions": {"v3": 3, "v4": 4}, **more}


LINE = {"id": "a1", "action": "deploy", "release": "v4"}


@pytest.mark.parametrize(
    ("made", "facts", "result"),
    [
        (attempt(2), said(), "interrupted"),
        (attempt(3, 2), said(history=[LINE]), "done"),
        (attempt(3, 2), said(history=[{**LINE, "id": "other"}]), "interrupted"),
        (attempt(3, 2), said(history=[{**LINE, "action": "take-back"}]), "taken back"),
        (attempt(3, 2), said(unconfirmed=LINE, current="v4"), None),
        (attempt(3, 2), said(unconfirmed=LINE), "interrupted"),
        (attempt(3, 2), said(unconfirmed={**LINE, "id": "other"}), "interrupted"),
        (attempt(2), said(holder={"who": "ana", "id": "a1"}), None),
        (attempt(2), said(holder={"who": "bob", "id": "b2"}), "interrupted"),
        (attempt(2, steps=("place", "listen")), said(), "done"),
        (attempt(1, 0, "stop", steps=("stop",)), said(stopped=True), "done"),
        (attempt(1, 0, "stop", steps=("stop",)), said(), "interrupted"),
        (attempt(1, 0, "undeploy", steps=("undeploy",)), said(known=False), "done"),
    ],
)
def test_host_says_what_became_of_it(made, facts, result):
    assert truth.outcome(made, facts) == result


@pytest.mark.parametrize(
    ("made", "result"),
    [
        (attempt(0), "interrupted"),
        (attempt(2, 1), "interrupted"),
        (attempt(3, 2), "unknown"),
        (attempt(4, 3), "done"),
        (attempt(1, 0, "stop", steps=("stop",)), "unknown"),
        (attempt(0, steps=()), "unknown"),
    ],
)
def test_what_can_be_known_from_here_when_it_breaks_off(made, result):
    assert truth.broken_off(made) == result


def test_cut_off_attempt_is_told_with_what_resumes_and_what_undoes_it():
    told = truth.told(attempt(2, 1, result="interrupted"), 3)
    assert told == (
        'The deploy of churn v4 on srv by ana@laptop was cut off at "Start" (step 2 of 4): '
        "v3 is production there. rhythmicml deploy churn@4 --to srv resumes it, "
        "rhythmicml switch churn@3 --to srv ends what was begun."
    )
    first = truth.told(attempt(0, result="interrupted"), None)
    assert "nothing is production there" in first
    assert "rhythmicml undeploy churn --to srv ends" in first


def test_what_went_live_is_told_so():
    told = truth.told(attempt(3, 2, result="done"), 4)
    assert "was cut off after it was done: v4 is production there" in told
    assert "rhythmicml rollback churn --to srv undoes it" in told
    assert "taken back" in truth.told(attempt(3, 2, result="taken back"), 3)
