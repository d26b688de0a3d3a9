"""Lineage: who answered a request, or at a time; and the same asked once more, here."""

import time
from datetime import datetime

import pytest
from client import Client, Failed, write_model
from recordings import keep, row

from app.errors import NotFound, Problem
from app.models import Instance
from app.scoring.recording import File
from app.services import explain, models, versions

RELEASE = "v1-abc"


@pytest.fixture
def client(work):
    return Client(work.home)


@pytest.fixture
def churn(work, tmp_path):
    """A version that is production on this machine, as the store and its host have it."""
    models.add(work, write_model(tmp_path / "churn", "churn"))
    versions.commit(work, "churn", "first")
    done(work, "deploy", RELEASE, 1)
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local", 8101, RELEASE, 1, "serving"))
        return store.versions.latest(store.models.get("churn"))


def done(work, action, release, version):
    with work.open_store() as store:
        number = store.deployments.start(
            "churn", "local", action, version=version, release=release, who="ana@laptop"
        )
        store.deployments.finish(number, "done")


def answered(work, request, inputs, outputs, status=200):
    """As its front keeps a request."""
    path = work.home / "local" / "instances" / "churn" / "run" / "metrics.sqlite"
    file = File(path, 4 << 20)
    file.write(requests=[(time.time(), request, RELEASE, status, 0.002, "score", inputs, outputs)])
    file.close()


def test_a_request_leads_to_the_version_that_answered_it(work, churn, client):
    answered(work, "mine-1", "[[1,2,3]]", "[12.0]")
    (found,) = client("explain", "mine-1")
    assert (found["model"], found["location"], found["host"]) == ("churn", "local", "this machine")
    assert (found["release"], found["version"], found["message"]) == (RELEASE, 1, "first")
    assert (found["manifest"], found["lock"]) == (churn.manifest, churn.lock)
    assert found["deployed"]["who"] == "ana@laptop"
    assert found["request"] == {
        **{"id": "mine-1", "status": 200, "seconds": 0.002, "endpoint": "score"},
        **{"inputs": "[[1,2,3]]", "outputs": "[12.0]"},
    }


def test_the_same_asked_once_more_is_compared(work, churn, client):
    answered(work, "right", "[[1,2,3]]", "[12.0]")
    again = client("explain", "right", "churn", "--replay")["replay"]
    assert (again["same"], again["answer"]["predictions"]) == (True, [12.0])
    answered(work, "wrong", "[[1,2,3]]", "[13.0]")
    (row,) = explain.explain(work, "wrong")
    *_, last = explain.replay(work, row)
    assert last.data["same"] is False
    assert last.data["difference"]["first"][0]["wanted"] == 13.0


@pytest.mark.parametrize(
    ("inputs", "why"), [("", "was not kept"), ('[{"ssn":"•"}]', "columns of it were redacted")]
)
def test_what_was_not_kept_cannot_be_repeated(work, churn, client, inputs, why):
    answered(work, "secret", inputs, "")
    with pytest.raises(Failed) as refused:
        client("explain", "secret", "--replay")
    assert why in refused.value.problem["what"]


def test_a_time_leads_to_what_was_recorded_and_else_to_the_history(work, churn):
    now = int(time.time()) // 10 * 10
    keep(work, [row(now - 600, release=RELEASE), row(now - 600, release="v0-z", requests={})])
    (found,) = explain.explain(work, stamp(now - 595))
    assert (found["release"], found["requests"], found["request"]) == (RELEASE, 100, None)
    (found,) = explain.explain(work, stamp(time.time()), "churn")
    assert (found["release"], found["requests"], found["version"]) == (RELEASE, None, 1)
    done(work, "stop", RELEASE, None)
    time.sleep(0.01)
    with pytest.raises(NotFound, match="Nothing was production at"):
        explain.explain(work, stamp(time.time()), "churn")


def stamp(at):
    return datetime.fromtimestamp(at).isoformat()


def test_two_releases_that_answered_at_once_are_two_rows(work, churn):
    now = int(time.time()) // 10 * 10
    keep(work, [row(now - 600, release=RELEASE), row(now - 600, release="v9-other", version=9)])
    found = {each["release"]: each for each in explain.explain(work, stamp(now - 599))}
    assert found.keys() == {RELEASE, "v9-other"}
    assert (found["v9-other"]["version"], found["v9-other"]["manifest"]) == (None, None)


def test_what_is_neither_known_nor_a_name_nor_a_time_is_said(work, churn):
    with pytest.raises(NotFound, match="No instance knows the request nope"):
        explain.explain(work, "nope")
    for text, what in (("a b", "neither a time nor"), ("2026-13-01", "is no time")):
        with pytest.raises(Problem, match=what):
            explain.explain(work, text)
    with pytest.raises(Problem, match="still to come"):
        explain.explain(work, "2100-01-01")
    with pytest.raises(NotFound):
        explain.explain(work, "nope", "nobody")


def test_a_host_that_lies_is_left_out(work, churn):
    answered(work, "odd", "[1]", "[1]", status="two hundred")
    with pytest.raises(NotFound, match="No instance knows"):
        explain.explain(work, "odd")
