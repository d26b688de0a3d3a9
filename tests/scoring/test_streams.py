"""Streams: items as events and lines, in step with the reader, ended by either side."""

import base64
import json
import os
import socket
import time

import pytest

from .conftest import read_all, wait_for
from .test_batching import together

COUNT = """
def predict(model, inputs):
    for number in range(inputs["count"]):
        yield {"number": number}
"""
COUNT_LATER = """
import asyncio

async def predict(model, inputs):
    for number in range(inputs["count"]):
        await asyncio.sleep(0)
        yield {"number": number}
"""
RETURNED = """
def predict(model, inputs):
    return ({"number": number} for number in range(inputs["count"]))
"""
CLASS = """
class Model:
    def preprocess(self, inputs):
        return inputs["count"]

    def predict(self, inputs):
        for number in range(inputs):
            yield number

    def postprocess(self, item):
        return {"number": item}
"""
FAILS = """
def predict(model, inputs):
    for number in range(inputs["count"]):
        yield number
    raise ValueError("a secret")
"""
MARKS = """
import pathlib, time

def predict(model, inputs):
    try:
        while True:
            yield inputs["text"] * inputs.get("times", 1)
            time.sleep(inputs.get("pause", 0))
    finally:
        pathlib.Path(inputs["mark"]).write_text("finally")
"""
MARKS_LATER = (
    MARKS.replace("def predict", "async def predict")
    .replace("time.sleep", "await asyncio.sleep")
    .replace("import pathlib, time", "import asyncio, pathlib")
)
SLOW = """
import time

def predict(model, inputs):
    for pause in inputs:
        time.sleep(pause)
        yield pause
"""
INFER = "/v2/models/churn/infer"
EVENTS = {"Accept": "text/event-stream"}
LINES = {"Accept": "application/x-ndjson"}
OIP = {"inputs": [{"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]}]}
ROWS = 'def predict(model, inputs):\n    yield from (row["x"] for row in inputs)\n'


def events(body):
    """Name and data of each event; "" is the name of a nameless one."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


def lines(body):
    return [json.loads(line) for line in body.splitlines()]


def numbers(count):
    return [{"number": number} for number in range(count)]


def request(body, accept="text/event-stream", version="1.1", path="/score"):
    """A request's bytes."""
    text = json.dumps(body)
    return (
        f"POST {path} HTTP/{version}\r\nHost: x\r\nAccept: {accept}\r\n"
        f"Content-Length: {len(text)}\r\n\r\n{text}"
    ).encode()


def connect(front, body, **said):
    """A connection that has asked and not yet read; its buffer is small."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", front.port))
    sock.sendall(request(body, **said))
    return sock


def resident(pid):
    """Memory of a process [bytes]."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_time(pid):
    with open(f"/proc/{pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))


WAYS = {"yield": COUNT, "async": COUNT_LATER, "returned": RETURNED, "class": CLASS}


@pytest.fixture(params=WAYS)
def counting(request, shared):
    return shared(WAYS[request.param])


def test_items_are_events(counting):
    answer = counting.post("/score", {"count": 3}, **EVENTS)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert events(answer.body) == [*(("", each) for each in numbers(3)), ("end", {})]


def test_items_are_lines(counting):
    answer = counting.post("/score", {"count": 3}, **LINES)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert lines(answer.body) == numbers(3)


def test_items_are_gathered_when_no_stream_is_asked_for(counting):
    assert counting.score({"count": 3}) == numbers(3)
    assert counting.score({"count": 0}) == []


def test_an_empty_stream_ends(counting):
    assert events(counting.post("/score", {"count": 0}, **EVENTS).body) == [("end", {})]
    assert counting.post("/score", {"count": 0}, **LINES).body == b""


def test_a_connection_serves_on_after_a_stream(counting):
    client = counting.client()
    for count in (2, 3):
        client.request("POST", "/score", json.dumps({"count": count}), LINES)
        assert lines(client.getresponse().read()) == numbers(count)
    client.close()


def test_http_1_0_gets_bytes_until_the_end(counting):
    head, _, body = counting.raw(request({"count": 2}, version="1.0")).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert events(body)[-1] == ("end", {})


def test_bytes_are_base64(shared):
    front = shared("def predict(model, inputs):\n    yield b'\\xff\\x00'\n    yield 'text'\n")
    wanted = [base64.b64encode(b"\xff\x00").decode(), "text"]
    assert [data for _, data in events(front.post("/score", "{}", **EVENTS).body)][:2] == wanted
    assert lines(front.post("/score", "{}", **LINES).body) == wanted
    assert front.score("{}") == wanted


def test_arrays_are_items(shared, science):
    script = """
import numpy as np

def predict(model, inputs: np.ndarray):
    for row in inputs:
        yield row * 2
"""
    front = shared(script, python=science)
    assert lines(front.post("/score", [[1, 2], [3, 4]], **LINES).body) == [[2, 4], [6, 8]]
    assert front.score("[[1, 2], [3, 4]]") == [[2, 4], [6, 8]]


@pytest.mark.parametrize("path", ["infer_stream", "generate_stream", "versions/1/infer_stream"])
def test_the_open_inference_protocol_streams_whole_answers(shared, path):
    front = shared(ROWS)
    answer = front.post(f"/v2/models/churn/{path}", {**OIP, "id": "7"})
    *items, end = events(answer.body)
    assert [one["outputs"][0]["data"] for _, one in items] == [[1], [2]]
    assert {one["id"] for _, one in items} == {"7"}
    assert end == ("end", {})


def test_a_body_of_the_open_inference_protocol_is_streamed_so_at_score_too(shared):
    answer = shared(ROWS).post("/score", {**OIP, "id": "7"}, **LINES)
    said = lines(answer.body)
    assert [one["outputs"][0]["data"] for one in said] == [[1], [2]]
    assert {one["id"] for one in said} == {"7"}


def test_every_dialect_streams(shared):
    front = shared(ROWS)
    assert lines(front.post("/invocations", {"instances": [{"x": 1}, {"x": 2}]}, **LINES).body) == [
        1,
        2,
    ]
    answer = front.post("/v2/models/churn/infer", OIP)
    assert answer.json["outputs"][0]["data"] == [1, 2]
    answer = front.post("/v2/models/churn/infer", OIP, **LINES)
    assert [one["outputs"][0]["data"] for one in lines(answer.body)] == [[1], [2]]


def test_a_model_without_items_gives_one(shared):
    front = shared("def predict(model, inputs):\n    return [len(inputs)] * len(inputs)\n")
    assert events(front.post("/score", [5], **EVENTS).body) == [("", [1]), ("end", {})]
    assert lines(front.post("/score", [5], **LINES).body) == [[1]]
    refused = front.post("/score", "{", **EVENTS)
    assert (refused.status, refused.headers["Content-Type"]) == (400, "application/json")


def test_streams_are_never_joined(shared):
    script = "def predict(model, inputs):\n    yield len(inputs)\n"
    front = shared(script)
    assert [one.json["predictions"] for one in together(front, [[1]] * 8)] == [[1]] * 8


def test_a_batch_that_turns_out_to_be_a_stream_is_taken_apart(serve):
    script = """
import time

def predict(model, inputs):
    time.sleep(0.2)
    return iter_of(inputs)

def iter_of(inputs):
    yield len(inputs)
"""
    front = serve(script)
    assert [one.json["predictions"] for one in together(front, [[1]] * 8)] == [[1]] * 8


# Errors


def test_an_error_before_the_first_item_is_an_ordinary_one(shared):
    answer = shared(FAILS).post("/score", {"count": 0}, **EVENTS)
    assert answer.status == 500
    assert "ValueError" in answer.json["error"]["cause"]


def test_an_error_in_mid_stream_is_an_event_and_no_last_chunk(shared):
    front = shared(FAILS)
    said = front.raw(request({"count": 2}))
    assert b"data: 1\n\n" in said
    assert b'event: error\ndata: {"error":{"what":"The model failed' in said
    assert b"secret" not in said
    assert not said.endswith(b"0\r\n\r\n")
    assert front.post("/score", {"count": 0}).status == 500  # it goes on


def test_an_error_in_mid_stream_is_a_line(shared):
    front = shared("def predict(model, inputs):\n    yield 1\n    raise ValueError\n")
    for path, body in (("/score", [1]), ("/invocations", {"instances": [1]}), (INFER, OIP)):
        said = front.raw(request(body, "application/x-ndjson", path=path))
        assert b'{"error":' in said.splitlines()[-2]
        assert not said.endswith(b"0\r\n\r\n")


def test_what_is_gathered_is_bounded(shared):
    script = "def predict(model, inputs):\n    while True:\n        yield 'x' * 1000\n"
    front = shared(script, max_body=100_000)
    answer = front.post("/score", "{}")
    assert answer.status == 500
    assert "max_body" in answer.json["error"]["what"]
    assert front.post("/score", "{}").status == 500  # the generator was closed: next in line


def test_the_timeout_is_between_items(serve):
    front = serve(SLOW, timeout=1.0)
    assert lines(front.post("/score", [0.6, 0.6, 0.6, 0.6], **LINES).body) == [0.6] * 4
    pid = front.admin("GET", "/admin/state").json["workers"][0]["pid"]
    said = front.raw(request([0.1, 60]))
    assert b"data: 0.1" in said
    assert b"No next item within 1 s" in said
    assert front.post("/score", [60], **LINES).status in (503, 504)
    wait_for(lambda: front.get("/readyz").status == 200, 30)
    assert front.admin("GET", "/admin/state").json["workers"][0]["pid"] != pid


def test_a_worker_that_dies_ends_its_stream(serve):
    script = "import os\n\ndef predict(model, inputs):\n    yield 1\n    os._exit(3)\n"
    said = serve(script).raw(request({}))
    assert b"data: 1\n\n" in said
    assert b"process died" in said


# Flow


@pytest.mark.parametrize("script", [MARKS, MARKS_LATER], ids=["plain", "async"])
def test_a_reader_that_leaves_ends_the_generator(shared, tmp_path, script):
    front = shared(script)
    mark = tmp_path / "mark"
    sock = connect(front, {"text": "x", "pause": 0.01, "mark": str(mark)})
    assert b"200 OK" in sock.recv(200)
    sock.close()
    wait_for(mark.exists)
    state = front.admin("GET", "/admin/state").json["workers"][0]
    assert (state["restarts"], state["state"]) == (0, "idle")


@pytest.mark.parametrize("script", [MARKS, MARKS_LATER], ids=["plain", "async"])
def test_a_reader_that_pauses_stops_the_generator_and_nothing_grows(serve, tmp_path, script):
    front = serve(script, timeout=1.0)
    mark = tmp_path / "mark"
    pids = [front.process.pid, front.admin("GET", "/admin/state").json["workers"][0]["pid"]]
    before = [resident(pid) for pid in pids]
    body = {"text": "x" * 1000, "times": 20, "mark": str(mark)}
    sock = connect(front, body)
    received = len(sock.recv(1000))
    wait_for(lambda: still(pids), 20)
    time.sleep(1.5)  # longer than timeout: it is the reader who is slow
    while received < 200_000_000:
        chunk = sock.recv(1 << 20)
        assert chunk, "the stream ended"
        received += len(chunk)
    grown = [resident(pid) - was for pid, was in zip(pids, before, strict=True)]
    assert max(grown) < 30_000_000
    sock.close()
    wait_for(mark.exists)


def still(pids):
    """Whether these processes do nothing for a moment."""
    before = [processor_time(pid) for pid in pids]
    time.sleep(0.5)
    after = [processor_time(pid) for pid in pids]
    return all(now - was <= 2 for was, now in zip(before, after, strict=True))


def test_a_reader_that_never_reads_is_cut_and_the_generator_closed(serve, tmp_path):
    front = serve(MARKS, environment={"RHYTHMICML_WRITE_SECONDS": "1"})
    mark = tmp_path / "mark"
    sock = connect(front, {"text": "x" * 1000, "times": 100, "mark": str(mark)})
    wait_for(mark.exists, 20)
    sock.close()


def test_other_requests_wait_for_a_stream_and_are_then_answered(shared):
    front = shared(SLOW)
    sock = connect(front, [0, 0.3, 0.3], accept="application/x-ndjson")
    assert b"200 OK" in sock.recv(200)
    assert front.score("[0]") == [0]
    sock.close()


def test_a_stream_is_finished_while_draining(serve):
    front = serve(SLOW)
    sock = connect(front, [0, 0.5, 0.5])
    assert b"200 OK" in sock.recv(200)
    assert front.end() == 0
    assert b"event: end" in read_all(sock)
    sock.close()


def test_readers_that_leave_hold_a_worker_no_longer_than_they_stay(shared):
    front = shared(MARKS)
    started = time.monotonic()
    for _ in range(60):
        sock = connect(front, {"text": "x", "pause": 0.001, "mark": os.devnull})
        assert b"200 OK" in sock.recv(200)
        sock.close()
    assert time.monotonic() - started < 1.5


FORKED = """
import os

{word} predict(model, inputs):
    for number in range(inputs["count"]):
        if inputs.get("die") == number:
            os.kill(os.getpid(), 9)
        yield os.getpid()
"""


@pytest.mark.parametrize("word", ["def", "async def"])
def test_preloaded_workers_stream_are_recycled_and_replaced(serve, word):
    front = serve(FORKED.format(word=word), preload=True, recycle_requests=5, batch=None)
    pids = set()
    for _ in range(12):
        lines = front.post("/score", {"count": 3}, Accept="application/x-ndjson").body.split()
        assert len(lines) == 3
        pids |= set(lines)
        time.sleep(0.05)
    assert len(pids) > 1
    said = front.raw(request({"count": 3, "die": 2}))
    assert said.count(b"data: ") == 3
    assert b"event: error" in said
    wait_for(lambda: front.get("/readyz").status == 200)
    assert len(front.post("/score", {"count": 3}).json["predictions"]) == 3
