"""At the end of a long job there is a notice on the desktop, if that is wanted."""

import pytest
from screen import until
from test_notices import bus, desktop  # noqa: F401, fixtures

from app import jobs
from app.errors import Problem
from app.models import Event
from app.services import endings, notices


@pytest.fixture
def ended(work, monkeypatch):
    """Runs a job, which counts as long, to its end, and to the end of its thread."""
    monkeypatch.setattr(endings, "LONG", 0.0)

    def run(task):
        request = {"verb": "deploy", "subject": "churn@3", "options": {"to": "prod"}}
        jobs.start(work, "deploy", "churn@3", task, request=request)
        until(lambda: not jobs.unfinished())

    return run


def deploys():
    yield Event("step", "Send 2 files")
    yield Event("result", "churn v3 is serving on prod.")


def fails():
    yield Event("step", "Send 2 files")
    raise Problem("prod does not answer.")


def test_end_of_a_job_is_told(ended, desktop):  # noqa: F811
    ended(deploys)
    ended(fails)
    assert [each[3:5] for each in desktop.shown] == [
        ("Deploy churn v3 on prod is done", "churn v3 is serving on prod."),
        ("Deploy churn v3 on prod failed", "prod does not answer."),
    ]


@pytest.mark.parametrize("off", [endings, notices])
def test_not_when_it_is_not_wanted(work, ended, desktop, off):  # noqa: F811
    off.want(work, False)
    ended(deploys)
    off.want(work, True)
    ended(deploys)
    assert len(desktop.shown) == 1


def test_not_of_a_short_one(work, desktop):  # noqa: F811
    number = jobs.start(work, "deploy", "churn", deploys)
    until(lambda: not jobs.unfinished())
    assert endings.tell(work, number) == "It was short."
    assert desktop.shown == []


def test_a_job_ends_well_where_no_desktop_shows_notices(work, ended, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    ended(deploys)
    with work.open_store() as store:
        assert store.jobs.all(1)[0].state == "done"
