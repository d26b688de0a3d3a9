"""Models whose predict is asynchronous: many requests at once, each cancelled by itself."""

import json
import socket
import subprocess
import time

import pytest

from app.scoring import worker as shim

from .conftest import SCORING, pythons, wait_for
from .test_batching import predictions, together

MEET = """
import asyncio

here = 0

async def predict(model, inputs):
    global here
    here += 1
    most = here
    for _ in range(100):
        await asyncio.sleep(0.02)
        most = max(most, here)
        if most >= inputs[0]:
            break
    here -= 1
    return most
"""
CLASS = """
import asyncio

class Model:
    def load(self, artifacts):
        self.factor = 2

    async def preprocess(self, inputs):
        await asyncio.sleep(0)
        return [value + 1 for value in inputs]

    async def predict(self, inputs):
        await asyncio.sleep(0)
        return [value * self.factor for value in inputs]

    async def postprocess(self, outputs):
        await asyncio.sleep(0)
        return {"values": outputs}
"""
BEHAVES = """
import asyncio, pathlib, time

async def predict(model, inputs):
    try:
        if inputs[0] == "hang":
            await asyncio.sleep(60)
        if inputs[0] == "block":
            time.sleep(60)
        if inputs[0] == "raise":
            raise ValueError
        if inputs[0] == "exit":
            raise SystemExit(3)
        await asyncio.sleep(float(inputs[0]))
        return inputs
    except asyncio.CancelledError:
        pathlib.Path(inputs[1]).write_text("cancelled")
        raise
"""


def worker(front):
    return front.admin("GET", "/admin/state").json["workers"][0]


def test_requests_are_predicted_at_once_in_one_process(shared):
    answers = together(shared(MEET), [[8]] * 8)
    assert max(predictions(answers)) == 8


def test_at_most_64_are_given_to_a_worker(shared):
    answers = predictions(together(shared(MEET), [[65]] * 70))
    assert max(answers) == 64
    assert len(answers) == 70


def test_every_step_may_be_asynchronous(shared):
    assert shared(CLASS).score("[1, 2]") == {"values": [4, 6]}


def test_a_plain_function_may_return_something_to_await(shared):
    script = """
import asyncio

def predict(model, inputs):
    return later(inputs)

async def later(inputs):
    await asyncio.sleep(0)
    return inputs
"""
    assert shared(script).score("[1, 2]") == [1, 2]


def test_large_rows_and_answers_go_through(shared):
    front = shared("async def predict(model, inputs):\n    return inputs\n", max_body=1 << 24)
    text = ["x" * 5_000_000]
    assert predictions(together(front, [text] * 3)) == [text] * 3


def test_the_sample_is_predicted_by_an_asynchronous_model(serve):
    script = "async def predict(model, inputs):\n    return [len(inputs)]\n"
    front = serve(script, sample="sample.json", files={"sample.json": b"[1, 2]"})
    assert front.score("[1]") == [1]


@pytest.mark.parametrize(("word", "kind"), [("raise", "ValueError"), ("exit", "SystemExit")])
def test_one_that_raises_fails_alone(shared, word, kind):
    front = shared(BEHAVES)
    good, bad = together(front, [["0.2"], [word]])
    assert (good.status, bad.status) == (200, 500)
    assert kind in bad.json["error"]["cause"]
    assert worker(front)["restarts"] == 0


def test_a_hung_one_is_cancelled_at_its_deadline_and_the_others_live(serve, tmp_path):
    front = serve(BEHAVES, timeout=1.5)
    pid, mark = worker(front)["pid"], tmp_path / "mark"
    hung, good = together(front, [["hang", str(mark)], ["0.5"]])
    assert (hung.status, good.status) == (504, 200)
    wait_for(mark.exists)
    assert worker(front)["pid"] == pid


def test_a_worker_whose_loop_is_blocked_is_replaced(serve):
    front = serve(BEHAVES, timeout=1.0)
    pid = worker(front)["pid"]
    assert {one.status for one in together(front, [["block"], ["30", ""]])} == {504}
    wait_for(lambda: worker(front)["pid"] != pid and front.get("/readyz").status == 200, 30)
    assert front.score('["0"]') == ["0"]


def test_a_client_that_leaves_cancels_its_task(shared, tmp_path):
    front, mark = shared(BEHAVES), tmp_path / "mark"
    body = json.dumps(["hang", str(mark)])
    before = cancelled(front)
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as sock:
        sock.sendall(
            f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_for(lambda: b"requests_in_progress" in front.get("/metrics").body)
        wait_for(lambda: in_progress(front) == 1)
    wait_for(mark.exists)
    assert cancelled(front) == before + 1
    assert worker(front)["restarts"] == 0


def metric(front, start):
    text = front.get("/metrics").body.decode()
    return sum(int(line.rpartition(" ")[2]) for line in text.splitlines() if start(line))


def in_progress(front):
    return metric(front, lambda line: line.startswith("rhythmicml_requests_in_progress{"))


def cancelled(front):
    return metric(front, lambda line: 'code="499"' in line)


def test_a_worker_that_dies_fails_its_requests_and_is_replaced(serve):
    script = """
import asyncio, os

async def predict(model, inputs):
    await asyncio.sleep(0.3)
    if inputs == ["die"]:
        os._exit(3)
    await asyncio.sleep(1)
    return inputs
"""
    front = serve(script)
    assert {one.status for one in together(front, [["die"], ["a"], ["b"]])} == {500}
    wait_for(lambda: front.get("/readyz").status == 200, 30)
    assert front.score('["a"]') == ["a"]


def test_requests_are_finished_while_draining(serve):
    front = serve(BEHAVES)
    client = front.client()
    client.request("POST", "/score", '["1"]')
    wait_for(lambda: in_progress(front) == 1)
    started = time.monotonic()
    assert front.end() == 0
    assert client.getresponse().status == 200
    assert time.monotonic() - started < 20
    client.close()


@pytest.mark.parametrize("python", pythons((3, 8)), ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("kind", ["async def", "def"])
def test_streams_and_tasks_run_on_each_python_here(tmp_path, python, kind):
    script = f"{kind} predict(model, inputs):\n    for one in inputs:\n        yield one\n"
    (tmp_path / "predict.py").write_text(script)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [python, SCORING / "worker.py", str(theirs.fileno())],
            cwd=tmp_path,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        ours.settimeout(20)
        shim.send(ours, {"script": "predict.py", "artifacts": "artifacts", "input": None})
        ready = {"ready": "json", "streams": True, "async": kind == "async def"}
        ready["pid"] = process.pid
        assert shim.receive(ours)[0] == ready
        shim.send(ours, {"id": 1, "kind": "json"}, b"[1, 2]")
        frames = [shim.receive(ours) for _ in range(3)]
    assert [bytes(payload) for header, payload in frames if "item" in header] == [b"1", b"2"]
    assert frames[-1][0] == {"end": True, "id": 1}
    assert process.wait(10) == 0
