"""The life of a front: ready, admin, hang, crash, drain; and what systemd is told."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from app.scoring.notify import handed_sockets, watchdog_seconds

from .conftest import SCORING, Front, environment, pythons, wait_for
from .test_batching import together

MODEL = """
import os, time

def predict(model, inputs):
    if isinstance(inputs, dict):
        if "hang" in inputs:
            time.sleep(60)
        if "crash" in inputs:
            os._exit(9)
        time.sleep(inputs.get("sleep", 0))
        return os.getpid()
    if "crash" in inputs:
        os._exit(9)
    time.sleep(0.05)
    return inputs
"""
SLOW_LOAD = "import time\ndef load(a):\n    time.sleep(60)\ndef predict(m, i):\n    return i\n"


def test_a_hanging_worker_is_replaced_and_its_request_is_504(serve):
    front = serve(MODEL, timeout=0.5)
    before = front.score({})
    started = time.monotonic()
    hung, queued = together(front, [{"hang": 1}, {"sleep": 0}])
    assert hung.status == 504
    assert "0.5 s" in hung.json["error"]["what"]
    assert time.monotonic() - started < 2
    wait_for(lambda: front.get("/readyz").status == 200)
    assert front.score({}) != before
    assert queued.status in (200, 504)
    assert 'worker_restarts_total{instance="churn",model="churn",version="1"} 1' in front.get(
        "/metrics"
    ).body.decode().replace("rhythmicml_", "")


def test_what_is_queued_behind_a_hanging_request_goes_on(serve):
    front = serve(MODEL, timeout=1.0)
    client = front.client()
    client.request("POST", "/score", '{"hang": 1}')
    time.sleep(0.7)
    assert front.post("/score", {"sleep": 0}).status == 200
    assert client.getresponse().status == 504
    client.close()


def test_a_short_prediction_that_waited_long_does_not_kill_the_worker(serve):
    front = serve(MODEL, timeout=1.0, batch=None)
    before = front.score({})
    codes = [answer.status for answer in together(front, [{"sleep": 0.4}] * 5)]
    assert sorted(codes)[:2] == [200, 200]
    assert 504 in codes
    wait_for(lambda: front.post("/score", {}).status == 200)
    assert front.score({}) == before


def test_a_crashing_request_fails_alone_and_the_worker_is_replaced(serve):
    front = serve(MODEL)
    answers = together(front, [["crash"] if number == 3 else [number] for number in range(8)])
    codes = [answer.status for answer in answers]
    assert codes[3] in (500, 503)
    assert all(code in (200, 503) for number, code in enumerate(codes) if number != 3)
    wait_for(lambda: front.get("/readyz").status == 200)
    assert front.score([1]) == [1]


def test_a_dead_worker_shows_at_once_and_requests_wait_for_the_next(serve):
    slow = MODEL + "\ndef load(artifacts):\n    time.sleep(0.5)\n"
    front = serve(slow)
    dead = front.score({})
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: front.get("/readyz").status == 503, 2)
    answers = together(front, [{}] * 8)
    assert {answer.status for answer in answers} == {200}
    assert dead not in [answer.json["predictions"] for answer in answers]
    assert front.get("/readyz").status == 200


def test_a_worker_that_loads_slowly_is_replaced_and_not_waited_for(serve):
    slow = MODEL + "\ndef load(artifacts):\n    time.sleep(3.1)\n"
    front = serve(slow)
    os.kill(front.score({}), signal.SIGKILL)
    wait_for(lambda: front.get("/readyz").status == 503, 2)
    answer = front.post("/score", {})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert front.get("/livez").status == 200
    wait_for(lambda: front.get("/readyz").status == 200)
    assert front.admin("GET", "/admin/state").json["workers"][0]["restarts"] == 1


def test_no_process_is_left_undead(serve):
    front = serve(MODEL)
    for _ in range(3):
        front.post("/score", {"crash": 1})
        wait_for(lambda: front.get("/readyz").status == 200)
    wait_for(lambda: len(psutil.Process(front.process.pid).children()) == 1)


def test_the_sample_is_predicted_before_ready(serve, instance):
    script = "def predict(m, i):\n    print('predicting', i)\n    return i\n"
    front = serve(script, files={"sample.json": b"[41]"}, sample="sample.json")
    assert front.log.index("predicting [41]") < front.log.index("is ready")


@pytest.mark.parametrize("sample", [b"{", b"[0]"])
def test_a_sample_that_fails_ends_the_front(serve, sample):
    script = "def predict(m, i):\n    return 1 / i[0]\n"
    front = serve(script, ready=False, files={"sample.json": sample}, sample="sample.json")
    assert front.process.wait(20) == 1
    assert "sample" in front.log


def test_a_failed_sample_is_told_in_a_sentence(serve):
    script = "def predict(m, i):\n    return 1 / i[0]\n"
    front = serve(script, ready=False, files={"sample.json": b"[0]"}, sample="sample.json")
    assert front.process.wait(20) == 1
    said = "The sample was not predicted: The model failed on this request. It raised"
    assert f"{said} ZeroDivisionError. Its log has the traceback.\n" in front.log


@pytest.mark.parametrize("answer", ["[1, 2, 3]", "[]", "[i[0], i[0]]"])
def test_a_sample_with_more_or_fewer_answers_than_rows_ends_the_front(serve, answer):
    script = f"def predict(m, i):\n    return {answer}\n"
    front = serve(script, ready=False, files={"sample.json": b"[41]"}, sample="sample.json")
    assert front.process.wait(20) == 1
    assert "The sample has 1 row, but its answer has" in front.log
    assert "batch = false" in front.log


@pytest.mark.parametrize(
    ("answer", "sample", "settings"),
    [
        ("[1, 2, 3]", b"[41]", {"batch": None}),
        ("[1, 2, 3]", b'{"prompt": "Once"}', {}),
        ('{"all": 1}', b"[41]", {}),
        ("(n for n in range(3))", b"[41]", {}),
    ],
)
def test_a_sample_that_is_joined_with_nothing_may_have_any_answer(serve, answer, sample, settings):
    script = f"def predict(m, i):\n    return {answer}\n"
    front = serve(script, files={"sample.json": sample}, sample="sample.json", **settings)
    assert front.post("/score", sample).status == 200


@pytest.mark.parametrize("when", ["loading", "ready"])
def test_sigterm_is_answered_with_exit_0(serve, when):
    front = serve(SLOW_LOAD if when == "loading" else MODEL, ready=when == "ready")
    if when == "loading":
        wait_for(front.listens)
        state = front.admin("GET", "/admin/state").json
        assert (state["ready"], state["accepting"]) == (False, False)
        assert state["workers"][0]["state"] == "loading"
        assert front.admin("POST", "/admin/serve").status == 503
    started = time.monotonic()
    assert front.end() == 0
    assert time.monotonic() - started < 3
    assert not front.private.exists()


def test_sigterm_twice_still_drains(serve):
    front = serve(MODEL)
    client = front.client()
    client.request("POST", "/score", '{"sleep": 0.6}')
    wait_for(lambda: front.admin("GET", "/admin/state").json["workers"][0]["state"] == "busy")
    front.process.terminate()
    time.sleep(0.1)
    front.process.terminate()
    assert client.getresponse().status == 200
    client.close()
    assert front.process.wait(5) == 0


def test_a_candidate_answers_the_public_only_when_told(instance, serve):
    old = serve(MODEL)
    name = instance.release(MODEL + "# 2\n", number=2, current=False)
    new = Front(instance, name, sock=old.sock)
    try:
        new.wait_ready()
        assert new.admin("GET", "/admin/state").json["accepting"] is False
        assert new.admin("POST", "/score").status == 400
        assert {old.get("/livez").headers["X-Model-Version"] for _ in range(20)} == {"1"}
        instance.switch(name)
        assert new.admin("POST", "/admin/serve").status == 200
        wait_for(lambda: new.admin("GET", "/admin/state").json["accepting"])
        assert old.end() == 0
        assert {new.get("/livez").headers["X-Model-Version"] for _ in range(20)} == {"2"}
    finally:
        new.close()


def test_a_switch_under_load_loses_nothing(instance, serve):
    old = serve(MODEL)
    name = instance.release(MODEL + "# 2\n", number=2, current=False)
    new = Front(instance, name, sock=old.sock)
    codes = []
    try:
        new.wait_ready()
        limit = time.monotonic() + 3
        switched = False
        while time.monotonic() < limit:
            codes.append(old.post("/score", [1]).status)
            if not switched and time.monotonic() > limit - 2:
                switched = new.admin("POST", "/admin/serve").status == 200
                old.process.terminate()
        assert old.process.wait(5) == 0
    finally:
        new.close()
    assert set(codes) == {200}
    assert len(codes) > 20


def test_admin_is_not_public(shared):
    front = shared(MODEL)
    assert front.get("/admin/state").status == 404
    assert front.post("/admin/serve", "").status == 404


def test_state_says_what_the_design_says(shared):
    state = shared(MODEL).admin("GET", "/admin/state").json
    assert state.keys() == {
        *("release", "version", "model", "ready", "accepting", "draining", "pid", "workers"),
        "asked",
        *("started", "requests", "takes", "error", "traceback", "schema"),
    }
    assert state["workers"][0].keys() == {"pid", "state", "restarts"}


def takes(front):
    return front.admin("GET", "/admin/state").json["takes"]


def test_state_says_how_long_requests_wait_and_what_the_last_ones_took(serve):
    slow = "import time\n\ndef predict(model, inputs):\n    time.sleep(0.4)\n    return inputs\n"
    front = serve(slow, batch=None)
    assert takes(front) == 0.0
    with ThreadPoolExecutor(4) as callers:
        asked = [callers.submit(front.score, [1]) for _ in range(4)]
        wait_for(lambda: takes(front) >= 0.4)  # one has waited so long, though few were answered
    assert [each.result() for each in asked] == [[1]] * 4
    assert takes(front) == 0.0


def test_state_says_what_half_of_the_last_requests_took(serve):
    front = serve(
        "import time\n\ndef predict(model, inputs):\n    time.sleep(0.1)\n    return inputs\n"
    )
    for _ in range(20):
        front.score([1])
    assert 0.1 <= takes(front) < 1.0


def test_systemd_hears_ready_the_watchdog_and_stopping(serve, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "n"))
        heard.settimeout(10)
        variables = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "200000"}
        front = serve(MODEL, environment=variables)
        assert heard.recv(200).startswith(b"READY=1\n")
        assert [heard.recv(200) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        front.process.terminate()
        while (said := heard.recv(200)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"


def test_sockets_meant_for_another_process_are_not_taken():
    variables = {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    assert handed_sockets(variables) == ([], [])
    assert variables == {}


def test_the_watchdog_is_fed_twice_as_often_as_asked(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert watchdog_seconds() == 15


@pytest.mark.parametrize("release", ["none", "../../etc"])
def test_a_release_that_is_not_there_is_one_clear_line(instance, release):
    done = subprocess.run(
        [*by_hand(instance, release)], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("front: cannot start: FileNotFoundError")
    assert "Traceback" not in done.stderr


def test_a_private_path_may_be_long(instance):
    path = instance.folder / ("d" * 100) / ("e" * 100) / "x.sock"
    command = by_hand(instance, instance.release(MODEL), "--private", path)
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stderr=subprocess.DEVNULL
    ) as front:
        wait_for(path.is_socket)
        assert path.stat().st_mode & 0o777 == 0o600
        front.terminate()
        assert front.wait(10) == 0
    assert not path.exists()


@pytest.mark.parametrize("python", pythons((3, 9)), ids=lambda path: path.parts[-3])
def test_the_front_runs_on_each_python_here(instance, python):
    instance.runtime = environment(("-r", str(SCORING / "runtime.lock")), python)
    front = Front(instance, instance.release(MODEL))
    try:
        assert front.wait_ready().score([1]) == [1]
        assert front.end() == 0
    finally:
        front.close()


def by_hand(instance, release, *more):
    program = [sys.executable, "-I", instance.program, "front"]
    return [*program, "--instance", instance.folder, "--release", release, *more]
