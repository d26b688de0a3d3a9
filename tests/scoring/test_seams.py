"""Where batches, streams, tasks, jobs, large bodies, tokens and recycling meet."""

import gzip
import json
import os
import re
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from .conftest import read_all, wait_for
from .test_auth import SCORE, bearer, tokens
from .test_jobs import LATER, WAITS, ask, result
from .test_protocols import PARQUET, arrow, parquet  # noqa: F401 - fixtures
from .test_readers import helper
from .test_workers import metric, state

SAMPLE = {"files": {"sample.json": b"[1]"}, "sample": "sample.json"}
LONG = """
def predict(model, inputs):
    for _ in range(8):
        yield "x" * 100_000
"""
STUBBORN = """
import asyncio, os

async def predict(model, inputs):
    while inputs[0] == "stubborn":
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
    await asyncio.sleep(inputs[0] if isinstance(inputs[0], float) else 0)
    return os.getpid()
"""


def processes(front):
    return [child.pid for child in psutil.Process(front.process.pid).children()]


# Streams and tasks in the lives of workers


def test_every_worker_of_a_stream_is_tried_with_a_long_sample(serve):
    front = serve(LONG, workers=2, start_timeout=20, **SAMPLE)
    victim = state(front)["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: re.search(r"worker \d+ is ready", front.log), 20)


def test_an_asynchronous_worker_is_recycled_though_it_is_never_idle(serve):
    front = serve(STUBBORN, recycle_requests=5, timeout=60)
    old = front.score(["a"])
    with ThreadPoolExecutor(1) as threads:
        long = threads.submit(front.score, [4.0])
        wait_for(lambda: metric(front, "requests_in_progress") == 1)
        wait_for(lambda: front.score(["a"]) != old)
        assert not long.done()
        assert long.result() == old  # which ends when it has nothing left to do
    wait_for(lambda: old not in processes(front))


def test_a_recycled_worker_ends_though_a_task_of_it_never_does(serve):
    front = serve(STUBBORN, recycle_requests=5, timeout=3)
    old = front.score(["a"])
    with ThreadPoolExecutor(1) as threads:
        hung = threads.submit(front.post, "/score", ["stubborn"])
        wait_for(lambda: metric(front, "requests_in_progress") == 1)
        wait_for(lambda: front.score(["a"]) != old)
        assert hung.result().status == 504
    wait_for(lambda: old not in processes(front))


@pytest.mark.parametrize("how", ["async def", "def"])
def test_an_asynchronous_model_takes_parquet(shared, arrow, parquet, how):  # noqa: F811
    script = "import pandas as pd\n%s predict(model, inputs: pd.DataFrame):\n    return inputs.i\n"
    front = shared(script % how, python=arrow)
    answer = front.post("/invocations", parquet, **PARQUET)
    assert (answer.status, answer.json) == (200, {"predictions": [1, 2**53 + 1]})


@pytest.mark.parametrize("rows", [5_000, 200_000])
def test_a_large_compressed_parquet_file_is_predicted(shared, arrow, tmp_path, rows):  # noqa: F811
    write = (
        "import numpy, pandas, sys; rows = int(sys.argv[2]); some = numpy.random.default_rng(1);"
        "pandas.DataFrame({'x': some.random(rows), 'y': some.random(rows)}).to_parquet(sys.argv[1])"
    )
    path = tmp_path / "rows.parquet"
    subprocess.run([arrow / "bin" / "python", "-c", write, path, str(rows)], check=True)
    script = "import pandas as pd\ndef predict(model, inputs: pd.DataFrame):\n    return inputs.x\n"
    samples = {"sample.json": b'[{"x": 1.5}]'}
    front = shared(script, python=arrow, **LARGE, files=samples, sample="sample.json")
    packed = gzip.compress(path.read_bytes())
    assert len(packed) > (1 << 20) / 20
    answer = front.post("/invocations", packed, **PARQUET, **{"Content-Encoding": "gzip"})
    assert answer.status == 200, answer.body
    assert len(answer.json["predictions"]) == rows
    assert answer.headers["X-Ignored-Columns"] == "y"


# Large bodies

LARGE = {"max_body": 40 << 20, "max_request_rows": 1 << 20}
COUNTS = "def predict(model, inputs):\n    yield len(inputs)\n"


def large(rows=100_000):
    return json.dumps({"inputs": [[number, 1.5] for number in range(rows)]})


def tensor(rows, **more):
    one = {"name": "a", "datatype": "FP64", "shape": [rows], "data": [1.5] * rows}
    return json.dumps({"inputs": [one], **more})


@pytest.mark.parametrize(
    ("path", "body"),
    [("/score", large()), ("/v2/models/churn/infer", tensor(300_000, id="7"))],
)
def test_a_large_body_is_read_beside_the_front_for_a_stream_too(serve, path, body):
    front = serve(COUNTS, **LARGE)
    answer = front.post(path, body, Accept="text/event-stream")
    assert (answer.status, answer.body.count(b"data: ")) == (200, 2)
    assert path == "/score" or b'"id":"7"' in answer.body
    assert helper(front) is not None


def test_a_job_outlives_the_helper_that_read_its_body(serve, tmp_path):
    front = serve(WAITS, **LARGE)
    gate = tmp_path / "gate"
    url = ask(front, json.dumps({"gate": str(gate), "pad": "x" * (2 << 20)}))
    wait_for(gate.with_suffix(".began").exists)
    os.kill(helper(front).pid, signal.SIGKILL)
    wait_for(lambda: helper(front) is None)
    gate.touch()
    assert result(front, url).status == 200


def test_an_output_is_not_written_as_often_as_it_is_asked_for(shared):
    front = shared("def predict(model, inputs):\n    return 1\n", **LARGE)
    outputs = [{"name": "predict"}] * 9
    answer = front.post("/v2/models/churn/infer", tensor(1, outputs=outputs))
    assert [one["name"] for one in answer.json["outputs"]] == ["predict"]


NAMED = """
def load(artifacts):
    return None

def predict(model, inputs: "pd.DataFrame"):
    return inputs["age"] * 2
"""
ONE_AGE = {"files": {"sample.json": b'[{"age": 1}]'}, "sample": "sample.json"}
TENSOR = {"name": "age", "datatype": "INT64", "shape": [1], "data": [1]}
EVENTS = {"Accept": "text/event-stream"}


def test_unused_columns_are_named_to_nobody_else(shared, science):
    front = shared(NAMED, python=science, **ONE_AGE)
    assert front.post("/score", [{"age": "x", "secret": 1}]).status == 400
    assert "X-Ignored-Columns" not in front.post("/score", [{"age": 1}]).headers
    assert front.post("/score", [{"age": 1, "mine": 1}]).headers["X-Ignored-Columns"] == "mine"


def test_streams_name_unused_columns_too(shared, science):
    front = shared(NAMED, python=science, **ONE_AGE)
    answer = front.post("/score", [{"age": 1, "mine": 1}], **EVENTS)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["X-Ignored-Columns"] == "mine"


def test_a_stream_of_no_rows_is_an_empty_stream(shared, science):
    front = shared(NAMED, python=science, **ONE_AGE)
    answer = front.post("/score", [], **EVENTS)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.body == b"event: end\ndata: {}\n\n"


def test_binary_outputs_are_refused_in_a_stream(shared, science):
    front = shared(NAMED, python=science, **ONE_AGE)
    asked = {"inputs": [TENSOR], "parameters": {"binary_data_output": True}}
    assert front.post("/v2/models/churn/infer_stream", asked).status == 400
    del asked["parameters"]
    assert b'"data":[2]' in front.post("/v2/models/churn/infer_stream", asked).body


# Tokens, logs and connections


def test_the_log_names_the_token_of_a_job_and_none_of_a_probe(serve, instance):
    (instance.folder / "tokens.json").write_text(tokens(ci_score=SCORE))
    front = serve(WAITS, access_log="all")
    client = front.client()
    client.request("POST", "/score", "1", {**LATER, **bearer(SCORE)})
    assert client.getresponse().read()
    client.request("GET", "/livez")
    assert client.getresponse().read()
    client.close()

    def lines():
        said = [json.loads(line) for line in front.log.splitlines() if line.startswith("{")]
        return [(one["endpoint"], one["status"], one.get("token"), one["peer"]) for one in said]

    wait_for(lambda: len(lines()) >= 3)
    assert sorted(lines()) == [
        ("probe", 200, None, "127.0.0.1"),
        ("score", 200, "ci", "127.0.0.1"),
        ("score", 202, "ci", "127.0.0.1"),
    ]


def test_a_pipelined_request_is_told_to_continue_in_its_turn(shared, tmp_path):
    front, gate = shared(WAITS), tmp_path / "gate"
    first = json.dumps({"gate": str(gate)}).encode()
    head = b"POST /score HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=20) as sock:
        sock.sendall(head % (b"", len(first)) + first)
        sock.sendall(head % (b"Expect: 100-continue\r\nConnection: close\r\n", 1))
        gate.touch()
        received = b""
        while not received.endswith(b"100 Continue\r\n\r\n"):
            received += sock.recv(1) or pytest.fail("it was closed")
        sock.sendall(b"7")
        assert received.startswith(b"HTTP/1.1 200")
        assert b" 200 " in read_all(sock)


def test_a_stream_of_no_weight_is_not_wanted(shared):
    front = shared(COUNTS, **LARGE)
    answer = front.post("/score", [1], Accept="text/event-stream; q=0, */*")
    assert answer.json == {"predictions": [1]}
