"""What is written down about requests, and where they stand in a trace."""

import json
import re

import pytest

from app.scoring.access import AccessLog, trace
from app.scoring.http import Request

from .conftest import wait_for

MODEL = """
def predict(model, inputs):
    return [1 / row for row in inputs]
"""
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(front):
    return [json.loads(line) for line in front.log.splitlines() if line.startswith("{")]


def test_all_writes_one_line_for_each_request(serve):
    front = serve(MODEL, access_log="all")
    answer = front.post("/score", [1, 2, 4], **{"X-Request-Id": "one"})
    front.get("/nowhere/secret?key=secret", **{"X-Request-Id": "two"})
    wait_for(lambda: len(lines(front)) >= 2)
    one, two = lines(front)[-2:]
    assert one["sent"] == len(answer.body)
    assert 0 < one.pop("predict_seconds") < one.pop("seconds") < 30
    assert 0 <= one.pop("queue_seconds") < 30
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\d\+00:00", one.pop("time"))
    assert one.pop("release").startswith("v1-")
    assert one == {
        **{"request": "one", "model": "churn", "version": 1, "method": "POST"},
        **{"endpoint": "score", "status": 200, "received": 9, "sent": one["sent"]},
        **{"peer": "127.0.0.1", "rows": 3, "batch_rows": 3},
    }
    assert (two["request"], two["endpoint"], two["status"]) == ("two", "other", 404)
    assert "secret" not in front.log


def test_errors_leaves_out_what_went_well_and_unknown_addresses(serve):
    front = serve(MODEL)
    front.score([1])
    front.get("/nowhere")
    front.post("/score", "{")
    front.post("/score", [0])
    wait_for(lambda: len(lines(front)) >= 2)
    assert [line["status"] for line in lines(front)] == [400, 500]


def test_none_writes_nothing(serve):
    front = serve(MODEL, access_log="none")
    front.post("/score", [0])
    assert front.end() == 0
    assert lines(front) == []


def test_what_could_not_be_read_has_its_line(serve):
    front = serve(MODEL)
    front.raw(b"POST /score HTTP/1.1\r\n\r\n")
    wait_for(lambda: lines(front))
    assert (lines(front)[0]["status"], lines(front)[0]["peer"]) == (400, "127.0.0.1")


def test_the_last_lines_are_written_at_the_end(serve):
    front = serve(MODEL, access_log="all")
    front.score([1])
    assert front.end() == 0
    assert lines(front)[-1]["status"] == 200


def test_of_a_flood_of_errors_only_some_are_written():
    written = []
    log = AccessLog("errors", {"release": "r"}, written.append)
    request = Request(b"GET", b"/x", {}, b"")
    for _ in range(1000):
        log.note(request, 400, 0, 0.0)
    log.flush()
    said = [json.loads(line) for line in b"".join(written).splitlines()]
    assert len(said) == 101
    assert said[-1]["left_out"] == 900


def test_much_is_written_before_the_flush():
    written = []
    log = AccessLog("all", {"release": "r"}, written.append)
    request = Request(b"GET", b"/x", {}, b"")
    for _ in range(1000):
        log.note(request, 200, 0, 0.0)
    assert written
    assert log._size < 1 << 17


# Traces


def test_a_trace_is_gone_on_with_under_a_span_of_ours(serve):
    front = serve(MODEL, access_log="all")
    said = front.post("/score", [1], traceparent=PARENT).headers["traceparent"]
    version, trace_id, span, flags = said.split("-")
    assert (version, trace_id, flags) == ("00", PARENT.split("-")[1], "01")
    assert re.fullmatch("[0-9a-f]{16}", span)
    assert span != PARENT.split("-")[2]
    wait_for(lambda: lines(front))
    assert (lines(front)[0]["trace"], lines(front)[0]["span"]) == (trace_id, span)
    assert front.post("/score", "{", traceparent=PARENT).headers["traceparent"]
    assert "traceparent" not in front.post("/score", [1]).headers


@pytest.mark.parametrize(
    "given",
    [
        "",
        PARENT.upper(),
        PARENT + "-x",
        PARENT + "x",
        PARENT[:-1],
        " ".join([PARENT, PARENT]),
        "ff" + PARENT[2:],
        "00-" + "0" * 32 + PARENT[35:],
        PARENT[:36] + "0" * 16 + "-01",
        PARENT.replace("4", "g"),
    ],
)
def test_a_traceparent_that_is_not_valid_is_left_alone(given):
    assert trace(given.encode()) is None


def test_a_later_version_of_it_is_understood():
    found = trace(b"cc" + PARENT[2:].encode() + b"-what the future holds")
    assert found is not None
    assert found.header.startswith(b"00-4bf92f3577b34da6a3ce929d0e0e4736-")


def test_two_traceparents_are_none(serve):
    front = serve(MODEL)
    head = f"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\ntraceparent: {PARENT}\r\n"
    received = front.raw(f"{head}traceparent: {PARENT}\r\n\r\n".encode())
    assert received.startswith(b"HTTP/1.1 200")
    assert b"traceparent" not in received
