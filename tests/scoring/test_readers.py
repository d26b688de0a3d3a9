"""Large bodies and answers: read and written beside the front, which goes on answering."""

import asyncio
import gzip
import json
import os
import pickle
import random
import signal
import threading
import time
import zlib
from base64 import b64decode
from contextlib import suppress

import psutil
import pytest

from app.scoring import compression
from app.scoring.errors import Refusal
from app.scoring.http import Request
from app.scoring.inputs import Reader
from app.scoring.outputs import Column
from app.scoring.protocols import mlflow, native
from app.scoring.readers import Helper, Readers

from .conftest import wait_for

MODEL = """
def predict(model, inputs):
    if isinstance(inputs, dict):
        return ["x" * 100] * inputs["rows"]
    return len(inputs)
"""
ROWS = """
import numpy as np

def predict(model, inputs: np.ndarray):
    return inputs.sum(axis=1)
"""
BIG = 200 << 20
PARQUET = b"application/vnd.apache.parquet"


def helper(front):
    """The process of the front that reads large bodies, if there is one."""
    for child in psutil.Process(front.process.pid).children():
        with suppress(psutil.Error):  # it may just have ended
            if any(word.endswith(".readers") for word in child.cmdline()):
                return child
    return None


def rows(count):
    return json.dumps({"inputs": [[number, 1.5] for number in range(count)]})


def test_small_bodies_start_no_helper(shared):
    front = shared(MODEL, max_body=BIG, max_request_rows=10**8)
    assert front.score([1, 2]) == 2


@pytest.mark.parametrize("path", ["/score", "/invocations"])
def test_a_large_body_is_answered_like_a_small_one(shared, science, path):
    front = shared(ROWS, python=science, max_body=BIG, max_request_rows=10**8)
    answer = front.post(path, rows(100_000))
    assert answer.status == 200
    assert answer.json == {"predictions": [number + 1.5 for number in range(100_000)]}
    assert helper(front) is not None


def test_a_large_tensor_is_answered_in_its_protocol(shared, science):
    front = shared(ROWS, python=science, max_body=BIG, max_request_rows=10**8)
    data = [float(number) for number in range(400_000)]
    tensor = {"name": "x", "datatype": "FP64", "shape": [200_000, 2], "data": data}
    answer = front.post("/v2/models/churn/infer", {"id": "one", "inputs": [tensor]})
    assert (answer.status, answer.json["id"]) == (200, "one")
    assert answer.json["outputs"][0]["data"][-1] == data[-1] + data[-2]


def test_large_and_small_ones_are_joined_and_told_apart(shared, science):
    front = shared(
        ROWS, python=science, max_body=BIG, max_request_rows=10**8, batch={"max_rows": 1_000_000}
    )
    answers = {}

    def ask(number):
        count = 90_000 + number if number % 2 else number + 1
        answers[number] = (count, front.post("/score", rows(count)).json["predictions"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    for count, predictions in answers.values():
        assert predictions == [number + 1.5 for number in range(count)]


@pytest.mark.parametrize("body", ["[" + "1," * 1_000_000, '{"inputs": "' + "a" * 2_000_000 + '"}'])
def test_what_is_wrong_with_a_large_body_is_said_as_of_a_small_one(shared, science, body):
    front = shared(ROWS, python=science, max_body=BIG, max_request_rows=10**8)
    answer = front.post("/score", body)
    assert answer.status == 400
    assert answer.json["error"]["what"]
    assert front.post("/score", rows(2)).status == 200


def test_a_large_body_with_no_rows_has_no_predictions(shared, science):
    front = shared(ROWS, python=science, max_body=BIG, max_request_rows=10**8)
    assert front.score('{"inputs": []' + " " * 2_000_000 + "}") == []


def test_a_large_answer_to_a_small_request_is_written_whole(shared):
    front = shared(MODEL, max_body=BIG, max_request_rows=10**8)
    assert front.score({"rows": 300_000}) == ["x" * 100] * 300_000


RESULTS = {
    "array": ("numpy.arange(300_000.0)", "[0.0,1.0,2.0,"),
    "table": ("pandas.DataFrame({'a': range(300_000)})", '[{"a":0},{"a":1},'),
    "json": ("['x' * 3_000_000]", '["xxx'),
    "bytes": ("b'x' * 3_000_000", "xxx"),
}


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("how", ["return", "yield"])
def test_a_large_result_of_every_kind_is_answered(shared, science, kind, how):
    source, start = RESULTS[kind]
    imports = f"import {source.partition('.')[0]}\n" if "." in source.partition("(")[0] else ""
    script = f"{imports}def predict(model, inputs):\n    {how} {source}\n"
    front = shared(script, python=science, max_body=BIG, input="json")
    answer = front.post("/score", [1])
    whole = answer.body.decode()
    if how == "yield":
        (item,) = answer.json["predictions"]
        whole = b64decode(item).decode() if kind == "bytes" else json.dumps(item)
        whole = whole.replace(", ", ",").replace(": ", ":")
    assert answer.status == 200, answer.body
    assert whole.removeprefix('{"predictions":').startswith(start)
    assert len(whole) > 2_000_000


def test_probes_are_answered_while_90_mb_are_read(serve):
    front = serve(MODEL, max_body=BIG, max_request_rows=10**8, timeout=120.0)
    body = b"[" + b"1.2345678," * 9_400_000 + b"1]"
    answers = []
    asking = threading.Thread(target=lambda: answers.append(front.post("/score", body)))
    client = front.client()
    worst, polls = 0.0, 0
    asking.start()
    while asking.is_alive():
        started = time.monotonic()
        client.request("GET", "/livez")
        assert client.getresponse().read()
        worst, polls = max(worst, time.monotonic() - started), polls + 1
        time.sleep(0.005)
    client.close()
    assert answers[0].json == {"predictions": 9_400_001}
    assert polls > 20
    print(f"worst of {polls} polls: {worst * 1000:.0f} ms")
    assert worst < 1.0


def test_a_helper_that_dies_fails_its_request_and_is_replaced(serve):
    front = serve(MODEL, max_body=BIG, max_request_rows=10**8)
    body = "[" + "1," * 1_000_000 + "1]"
    assert front.score(body) == 1_000_001
    first = helper(front)
    os.kill(first.pid, signal.SIGSTOP)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(front.post("/score", body)))
    asking.start()
    wait_for(lambda: progress(front).endswith("} 1"))
    os.kill(first.pid, signal.SIGKILL)
    asking.join()
    assert answers[0].status == 500
    assert "Traceback" not in front.log
    assert front.score(body) == 1_000_001
    assert helper(front).pid != first.pid


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_helper_ends_with_the_front(serve, how):
    front = serve(MODEL, max_body=BIG, max_request_rows=10**8)
    front.score("[" + "1," * 1_000_000 + "1]")
    child = helper(front)
    front.process.send_signal(how)
    front.process.wait(20)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_client_that_goes_away_leaves_nothing_behind(serve):
    front = serve(MODEL, max_body=BIG, max_request_rows=10**8)
    body = b"[" + b"1," * 1_000_000 + b"1]"
    for _ in range(5):
        client = front.client()
        client.request("POST", "/score", body)
        client.close()
    assert front.score(body) == 1_000_001
    wait_for(lambda: progress(front).endswith("} 0"))


def progress(front):
    text = front.get("/metrics").body.decode()
    return next(line for line in text.splitlines() if line.startswith("rhythmicml_requests_in_pr"))


@pytest.mark.parametrize("taken", ["bytes", "json"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_arrives_as_it_was_sent(shared, taken, chunked):
    script = "def predict(model, inputs):\n    return inputs\n"
    front = shared(script, max_body=BIG, max_request_rows=10**8, input=taken)
    body = json.dumps(["a" * 700_000, "é" * 700_000]).encode()
    pieces = (body[start : start + 99_999] for start in range(0, len(body), 99_999))
    client = front.client()
    client.request(
        "POST",
        "/score",
        pieces if chunked else body,
        encode_chunked=chunked,
        headers={"Transfer-Encoding": "chunked"} if chunked else {},
    )
    said = client.getresponse().read()
    client.close()
    assert (said if taken == "bytes" else json.loads(said)["predictions"]) == (
        body if taken == "bytes" else json.loads(body)
    )


def run_helper(story):
    async def told():
        helper = Helper()
        try:
            await story(helper)
        finally:
            if not helper.ended:
                helper.close()
            await asyncio.to_thread(helper.process.wait, 20)

    asyncio.run(told())


def read_beside(request):
    """What a reader's process makes of a request."""

    async def story():
        readers = Readers(BIG, 10**8)
        assert readers.wanted(request, Reader())
        told = asyncio.get_running_loop().create_future()
        readers.read(mlflow.dialect, request, Reader(), told.set_result)
        try:
            return await asyncio.wait_for(told, 20)
        finally:
            readers.close()
            await asyncio.to_thread(readers.helper.process.wait, 20)

    return asyncio.run(story())


@pytest.mark.parametrize("size", [1000, 20_000])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_body_left_to_the_front_is_unpacked_once(size, pack):
    file = random.Random(1).randbytes(100_000) * (size // 1000)
    encoding = b"gzip" if pack is gzip.compress else b"deflate"
    headers = {b"content-type": PARQUET, b"content-encoding": encoding}
    request = Request(b"POST", b"/invocations", headers, pack(file))
    assert read_beside(request) is None
    assert request.body == file
    compression.open_body(request, BIG)
    assert request.body == file


def test_a_body_left_to_the_front_stays_as_it_was():
    request = Request(b"POST", b"/invocations", {b"content-type": PARQUET}, bytes(2_000_000))
    assert read_beside(request) is None
    assert request.body == bytes(2_000_000)


def test_a_helper_that_nobody_needs_ends():
    async def story(helper):
        helper.check(time.monotonic() + 30)
        assert not helper.ended
        helper.check(time.monotonic() + 100)
        assert helper.ended

    run_helper(story)


def test_a_helper_that_hangs_is_ended():
    async def story(helper):
        got = []
        os.kill(helper.process.pid, signal.SIGSTOP)
        for _ in range(2):
            asks = (b"POST", b"/score", b"", {})
            helper.ask(
                "read", (native.dialect, asks, Reader(), (1 << 30, 10_000)), [b"[1]"], got.append
            )
        helper.check(time.monotonic() + 30)
        assert got == []
        helper.check(time.monotonic() + 100)
        while not helper.ended:
            await asyncio.sleep(0.02)
        assert [refusal.status for refusal in got] == [500, 503]

    run_helper(story)


def test_numbers_of_a_column_are_not_copied_on_their_way():
    data = bytes(range(256)) * 8192
    beside = []
    text = pickle.dumps(Column("d", data, (1 << 18,)), 5, buffer_callback=beside.append)
    assert len(text) < 200
    [numbers] = beside
    assert numbers.raw().obj is data
    assert pickle.loads(text, buffers=[data]).data is data  # noqa: S301
    again = pickle.dumps(Column("d", memoryview(data), (1 << 18,)), 5)
    assert pickle.loads(again).data == data  # noqa: S301


def test_a_refusal_is_the_same_after_its_journey():
    refusal = Refusal(400, "a", cause="b", remedy="c", reason="d", extra=b"e")
    assert vars(Refusal(**vars(refusal))) == vars(refusal)
