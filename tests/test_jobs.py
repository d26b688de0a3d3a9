"""Jobs: what a service says is kept, and how it ended."""

import threading
import time

import pytest

from app import jobs
from app.errors import Problem
from app.models import Event
from app.workspace import Workspace


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path)


def ended(work, number):
    for _ in range(200):
        with work.open_store() as store:
            job = store.jobs.get(number)
        if job.state != "running":
            return job
        time.sleep(0.02)
    raise AssertionError("the job did not end")


def heard(work, number):
    with work.open_store() as store:
        return [event.text for _, event in store.jobs.events(number)]


def test_events_are_kept_in_order_and_the_result_is_the_outcome(work):
    def task():
        yield Event("step", "one")
        yield Event("result", "two", data={"version": 3})

    number = jobs.start(work, "deploy", "churn", task)
    job = ended(work, number)
    assert (job.state, job.outcome) == ("done", {"version": 3})
    assert heard(work, number) == ["one", "two"]


def test_problem_is_the_outcome_of_a_failed_job(work):
    def task():
        yield Event("step", "one")
        raise Problem("It rains.", remedy="Wait.")

    job = ended(work, jobs.start(work, "deploy", "churn", task))
    assert job.state == "failed"
    assert job.outcome == {"kind": "Problem", "what": "It rains.", "remedy": "Wait."}


def test_cancelled_job_closes_its_work_between_events(work):
    closed, going = threading.Event(), threading.Event()

    def task():
        try:
            yield Event("step", "one")
            going.wait(5)
            yield Event("step", "two")
            yield Event("step", "never heard")
        finally:
            closed.set()

    number = jobs.start(work, "deploy", "churn", task)
    with work.open_store() as store:
        store.jobs.cancel(number)
    going.set()
    assert ended(work, number).state == "cancelled"
    assert closed.wait(5)
    assert "never heard" not in heard(work, number)


def test_order_is_kept_and_can_be_repeated(work, tmp_path_factory):
    from client import write_model

    from app.services import models, orders

    models.add(work, write_model(tmp_path_factory.mktemp("model"), "again"))
    order = orders.Order("commit", "again", {"message": "the first"})
    first = ended(work, orders.start(work, order))
    assert (first.state, first.outcome["version"], first.outcome["new"]) == ("done", 1, True)
    assert orders.of(first) == order
    second = ended(work, orders.again(work, first.id))
    assert (second.state, second.outcome["version"], second.outcome["new"]) == ("done", 1, False)
    assert order.command == "rhythmicml commit again --message 'the first'"
