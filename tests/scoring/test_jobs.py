"""Jobs: requests that are answered later, and their answers kept."""

import json
import os
import stat
import time

import pytest

from app.scoring import jobs as kept

from .conftest import wait_for
from .test_streams import EVENTS, OIP, events

LATER = {"Prefer": "respond-async"}
WAITS = """
import pathlib, time

def predict(model, inputs):
    if isinstance(inputs, dict) and "gate" in inputs:
        gate = pathlib.Path(inputs["gate"])
        gate.with_suffix(".began").touch()
        while not gate.exists():
            time.sleep(0.01)
    if inputs == "raise":
        raise ValueError
    return inputs
"""
STREAM = """
import pathlib, time

def predict(model, inputs):
    try:
        yield 1
        yield 2
        gate = pathlib.Path(inputs["gate"])
        while not gate.exists():
            time.sleep(0.01)
            if inputs.get("tick"):
                yield 0
        yield 3
    finally:
        pathlib.Path(inputs["gate"] + ".closed").touch()
"""


def ask(front, body, path="/score", **headers):
    """Hand in a job; its address."""
    answer = front.post(path, body, **LATER, **headers)
    assert answer.status == 202, answer.body
    assert answer.headers["Preference-Applied"] == "respond-async"
    said = answer.json
    assert said["url"] == answer.headers["Location"] == f"/jobs/{said['job']}"
    assert len(said["job"]) == 32
    return said["url"]


def result(front, url, seconds=20):
    """The answer of a job, once it is there."""
    wait_for(lambda: front.get(url).status != 202, seconds)
    return front.get(url)


def files(front_or_instance, ending=""):
    folder = front_or_instance / "run" / "jobs"
    return sorted(path.name for path in folder.glob(f"*{ending}"))


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


def began(gate):
    wait_for(gate.with_suffix(".began").exists)


def test_a_job_is_answered_with_what_the_request_would_have_had(shared):
    front = shared(WAITS)
    for path, body in (("/score", [1]), ("/invocations", {"instances": [1]})):
        direct, later = front.post(path, body), result(front, ask(front, body, path))
        assert (later.status, later.body) == (direct.status, direct.body)
        assert later.headers["Content-Type"] == direct.headers["Content-Type"]
    later = result(front, ask(front, {**OIP, "id": "9"}, "/v2/models/churn/infer"))
    assert later.json["id"] == "9"


def test_an_error_is_an_answer_too(shared):
    front = shared(WAITS)
    direct = front.post("/score", '"raise"')
    later = result(front, ask(front, '"raise"'))
    assert (later.status, later.body) == (500, direct.body)


def test_what_cannot_be_read_is_refused_at_once(shared):
    assert shared(WAITS).post("/score", "{", **LATER).status == 400


def test_it_tells_how_it_stands(shared, gate):
    front = shared(WAITS)
    first, second = ask(front, {"gate": str(gate)}), ask(front, [2])
    began(gate)
    running, waiting = front.get(first), front.get(second)
    assert (running.status, running.json["state"]) == (202, "running")
    assert (waiting.status, waiting.json["state"]) == (202, "waiting")
    assert running.headers["Retry-After"]
    gate.touch()
    assert result(front, second).json["predictions"] == [2]


def test_requests_go_before_jobs(shared, gate):
    script = (
        WAITS
        + "\norder = []\nplain = predict\n"
        + (
            "def predict(model, inputs):\n"
            "    order.append(str(inputs)[:1])\n"
            "    plain(model, inputs)\n"
            "    return ''.join(order)\n"
        )
    )
    front = shared(script)
    first = ask(front, {"gate": str(gate)})
    began(gate)
    last = ask(front, '"z"')
    client = front.client()
    client.request("POST", "/score", '"a"')
    wait_for(lambda: b'queue_depth{instance="churn",model="churn",version="1"} 1' in metrics(front))
    gate.touch()
    assert json.loads(client.getresponse().read())["predictions"] == "{a"
    assert result(front, last).json["predictions"] == "{az"
    assert result(front, first).status == 200
    client.close()


def metrics(front):
    return front.get("/metrics").body


def test_jobs_leave_one_worker_for_requests(serve, gate):
    front = serve(WAITS, workers=2)
    urls = [ask(front, {"gate": str(gate)}) for _ in range(3)]
    began(gate)
    assert front.score("[1]") == [1]
    states = [front.get(url).json["state"] for url in urls]
    assert sorted(states) == ["running", "waiting", "waiting"]
    gate.touch()
    assert {result(front, url).status for url in urls} == {200}


def test_a_job_may_take_longer_than_timeout(serve, gate):
    front = serve(WAITS, timeout=0.5, job_timeout=60)
    url = ask(front, {"gate": str(gate)})
    began(gate)
    time.sleep(1.2)
    assert front.get(url).status == 202
    gate.touch()
    assert result(front, url).status == 200


def test_a_job_past_its_limit_is_504_and_the_worker_replaced(serve, gate):
    front = serve(WAITS, job_timeout=1)
    answer = result(front, ask(front, {"gate": str(gate)}))
    assert answer.status == 504
    assert "job_timeout" in answer.json["error"]["remedy"]
    wait_for(lambda: front.admin("GET", "/admin/state").json["workers"][0]["restarts"] == 1, 20)
    wait_for(lambda: front.get("/readyz").status == 200, 20)
    assert front.score("[1]") == [1]


def test_a_stream_says_how_many_items_there_are_and_is_kept_as_asked(shared, gate):
    front = shared(STREAM)
    url = ask(front, {"gate": str(gate)}, **EVENTS)
    wait_for(lambda: front.get(url).json.get("items") == 2)
    gate.touch()
    answer = result(front, url)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert events(answer.body) == [("", 1), ("", 2), ("", 3), ("end", {})]


def test_a_stream_without_accept_is_gathered(shared, gate):
    gate.touch()
    front = shared(STREAM)
    assert result(front, ask(front, {"gate": str(gate)})).json == {"predictions": [1, 2, 3]}


def test_a_waiting_job_can_be_dropped(shared, gate):
    front = shared(WAITS)
    first, second = ask(front, {"gate": str(gate)}), ask(front, {"gate": str(gate) + ".second"})
    began(gate)
    dropped = front.call("DELETE", second)
    assert (dropped.status, dropped.body) == (204, b"")
    assert "Content-Length" not in dropped.headers
    assert front.get(second).status == 410
    gate.touch()
    assert result(front, first).status == 200
    assert front.score("[1]") == [1]  # the dropped one does not hold the worker
    assert not gate.with_suffix(".second.began").exists()


def test_the_result_of_a_running_plain_job_is_discarded(shared, gate):
    front = shared(WAITS)
    url = ask(front, {"gate": str(gate)})
    began(gate)
    assert front.call("DELETE", url).status == 204
    gate.touch()
    assert front.score("[1]") == [1]
    assert (front.get(url).status, front.get(url).json["error"]["cause"]) == (410, kept.CANCELLED)


def test_a_running_stream_is_cancelled(shared, gate, tmp_path):
    front = shared(STREAM)
    url = ask(front, {"gate": str(gate), "tick": True})
    wait_for(lambda: front.get(url).json.get("items", 0) > 2)
    assert front.call("DELETE", url).status == 204
    wait_for((tmp_path / "gate.closed").exists)
    assert front.get(url).status == 410


def test_an_answer_can_be_forgotten(shared):
    front = shared(WAITS)
    url = ask(front, [1])
    assert result(front, url).status == 200
    assert front.call("DELETE", url).status == 204
    gone = front.get(url)
    assert (gone.status, gone.json["error"]["cause"]) == (410, "It was cancelled.")


@pytest.mark.parametrize("name", ["0" * 32, "../../x", "", "a"])
def test_unknown_jobs_are_404(shared, name):
    front = shared(WAITS)
    for method in ("GET", "DELETE"):
        assert front.call(method, f"/jobs/{name}").status == 404
    assert front.call("POST", f"/jobs/{name}").status == 405


def test_answers_are_private_files_that_outlive_the_front(serve, instance):
    front = serve(WAITS)
    url = ask(front, [1])
    assert result(front, url).json == {"predictions": [1]}
    folder = instance.folder / "run" / "jobs"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert front.end() == 0
    other = serve(WAITS + "\n")
    assert other.get(url).json == {"predictions": [1]}


def test_a_switch_loses_no_job(serve, gate):
    old = serve(WAITS)
    url = ask(old, {"gate": str(gate)})
    began(gate)
    new = serve(WAITS + "\n")
    assert new.get(url).json["state"] == "running"
    old.process.terminate()
    wait_for(lambda: "draining" in old.log)
    assert new.get(url).status == 202
    gate.touch()
    assert old.process.wait(30) == 0
    assert result(new, url).status == 200


def test_a_job_that_a_killed_front_had_is_gone(serve, gate):
    front = serve(WAITS)
    url = ask(front, {"gate": str(gate)})
    began(gate)
    front.process.kill()
    front.process.wait()
    gate.touch()
    gone = serve(WAITS + "\n").get(url)
    assert (gone.status, gone.json["error"]["cause"]) == (410, kept.DIED)


def test_a_job_that_outlasts_the_drain_is_gone(serve, gate):
    front = serve(WAITS, environment={"RHYTHMICML_DRAIN_SECONDS": "1"})
    url = ask(front, {"gate": str(gate)})
    began(gate)
    assert front.end() == 0
    gate.touch()
    gone = serve(WAITS + "\n").get(url)
    assert (gone.status, gone.json["error"]["cause"]) == (410, kept.STOPPED)


def test_a_job_dropped_through_another_front_has_no_answer(serve, gate, instance):
    old = serve(WAITS)
    url = ask(old, {"gate": str(gate)})
    began(gate)
    new = serve(WAITS + "\n")
    assert new.call("DELETE", url).status == 204
    gate.touch()
    wait_for(lambda: old.get(url).status == 410)
    assert new.get(url).status == 410


def test_asynchronous_jobs_run_at_once_and_can_be_cancelled(shared, tmp_path):
    script = """
import asyncio, pathlib

async def predict(model, inputs):
    try:
        pathlib.Path(inputs[0]).touch()
        await asyncio.sleep(60)
    finally:
        pathlib.Path(inputs[0]).unlink()
"""
    front = shared(script)
    marks = [tmp_path / "a", tmp_path / "b"]
    urls = [ask(front, [str(mark)]) for mark in marks]
    wait_for(lambda: all(mark.exists() for mark in marks))
    assert front.call("DELETE", urls[0]).status == 204
    wait_for(lambda: not marks[0].exists())
    assert marks[1].exists()
    assert front.call("DELETE", urls[1]).status == 204


# The folder, by itself


@pytest.fixture
def jobs(tmp_path):
    made = kept.Jobs(tmp_path)
    made.folder.mkdir(parents=True)
    return made


def put(jobs, number, age, size=10):
    name = f"{number:032x}"
    path = jobs.path(name, "done")
    path.write_bytes(b"x" * size)
    os.utime(path, (time.time() - age,) * 2)
    return name


def test_the_oldest_answers_are_dropped_first(jobs, monkeypatch):
    monkeypatch.setattr(kept, "MOST_JOBS", 3)
    names = [put(jobs, number, age=number) for number in range(5)]
    jobs._tidy()
    assert [jobs.path(name, "done").exists() for name in names] == [True] * 3 + [False] * 2
    assert jobs.path(names[4], "gone").read_text() == kept.DROPPED


def test_answers_are_bounded_in_bytes_and_in_time(jobs, monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 100)
    names = [put(jobs, 1, 1, 60), put(jobs, 2, 2, 60), put(jobs, 3, 3700, 1)]
    jobs._tidy()
    assert [jobs.path(name, "done").exists() for name in names] == [True, False, False]


def test_what_an_ended_front_left_is_buried(jobs):
    names = ["a" * 32, "b" * 32]
    for name in names:
        jobs.path(name, "open").write_text("deadbeef")
    jobs.path(names[0], "part").write_bytes(b"half")
    (jobs.folder / "deadbeef.front").touch()
    (half := jobs.folder / "c.done.1234").touch()
    os.utime(half, (1, 1))
    jobs._tidy()
    assert sorted(path.name for path in jobs.folder.iterdir()) == [f"{n}.gone" for n in names]


def test_what_another_front_is_at_is_left_alone(serve, gate, instance):
    front = serve(WAITS)
    url = ask(front, {"gate": str(gate)})
    began(gate)
    kept.Jobs(instance.folder)._tidy()
    assert files(instance.folder, ".open") == [url.rpartition("/")[2] + ".open"]
    gate.touch()
    assert result(front, url).status == 200


def test_too_many_unfinished_jobs_are_503(serve, gate, monkeypatch):
    front = serve(WAITS, environment={"RHYTHMICML_MOST_JOBS": "2"})
    for _ in range(2):
        ask(front, {"gate": str(gate)})
    refused = front.post("/score", "[1]", **LATER)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    gate.touch()


def test_where_nothing_can_be_written_a_job_is_refused(serve, instance):
    front = serve(WAITS)
    (instance.folder / "run").write_text("in the way")
    refused = front.post("/score", "[1]", **LATER)
    assert refused.status == 503
    assert str(instance.folder) not in refused.body.decode()
    assert front.score("[1]") == [1]


def test_systemd_says_where_they_are_kept(serve, tmp_path):
    front = serve(WAITS, environment={"STATE_DIRECTORY": str(tmp_path / "state")})
    assert result(front, ask(front, [1])).status == 200
    assert list((tmp_path / "state" / "jobs").glob("*.done"))
