"""Requests whose head is the one before: read without parsing, answered as if it were parsed."""

import gzip
import json
import socket
from hashlib import sha256

import pytest

from .test_http import ECHO, request


class Line:
    """A connection over which each message goes in one piece."""

    def __init__(self, front):
        self.sock = socket.create_connection(("127.0.0.1", front.port), timeout=20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def answer(self):
        """Status, headers and body of the next answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.partition(b": ")
            headers[name.lower()] = value
        return status, headers, self.file.read(int(headers[b"content-length"]))

    def ask(self, data):
        self.send(data)
        return self.answer()

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture
def front(shared):
    return shared(ECHO)


@pytest.fixture
def line(front):
    made = Line(front)
    yield made
    made.close()


def predictions(answer):
    assert answer[0] == 200, answer
    return json.loads(answer[2])["predictions"]


def test_each_is_answered_with_its_own_body_and_id(line):
    answers = [line.ask(request(b"[%d]" % number)) for number in range(9)]
    assert [predictions(answer) for answer in answers] == [[number] for number in range(9)]
    assert len({answer[1][b"x-request-id"] for answer in answers}) == 9


def test_bodies_of_another_length_come_in_between(line):
    for body in (b"[1]", b"[1]", b"[22]", b"[1]", b"[22]", b"[333]"):
        assert predictions(line.ask(request(body))) == json.loads(body)


def test_two_in_one_piece_are_two_whatever_went_before(line):
    pair = request(b"[1]") + request(b"[2]")
    for _ in range(4):
        line.send(pair)
        assert [predictions(line.answer()) for _ in range(2)] == [[1], [2]]
    assert predictions(line.ask(request(b"[3]"))) == [3]
    line.send(pair)
    assert [predictions(line.answer()) for _ in range(2)] == [[1], [2]]


def test_one_in_two_pieces_is_one(line):
    whole = request(b"[1, 2, 3]")
    assert predictions(line.ask(whole)) == [1, 2, 3]
    for cut in (5, len(whole) - 9, len(whole) - 4):
        line.send(whole[:cut])
        line.sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            line.sock.recv(1)
        line.sock.settimeout(20)
        line.send(whole[cut:])
        assert predictions(line.answer()) == [1, 2, 3]


def test_a_request_hidden_in_a_body_stays_a_body(line):
    hidden = json.dumps(["x", request(b"[9]").decode()]).encode()
    for _ in range(3):
        assert predictions(line.ask(request(hidden)))[0] == "x"
    bare = request(b"[9]")  # a body that is a request: no JSON, so refused, and only once
    for _ in range(3):
        assert line.ask(request(bare))[0] == 400
    assert predictions(line.ask(request(b"[1]"))) == [1]


def test_headers_that_speak_of_one_request_are_read_each_time(line):
    for number in (b"one", b"two", b"two"):
        answer = line.ask(request(b"[1]", b"X-Request-Id: " + number))
        assert answer[1][b"x-request-id"] == number
    body = gzip.compress(b"[5]")
    for _ in range(3):
        assert predictions(line.ask(request(body, b"Content-Encoding: gzip"))) == [5]
    trace = b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    spans = {line.ask(request(b"[1]", trace))[1][b"traceparent"] for _ in range(3)}
    assert len(spans) == 3


def test_chunks_are_parsed_each_time(line):
    head = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for number in (1, 2, 2, 3):
        assert predictions(line.ask(head + b"3\r\n[%d]\r\n0\r\n\r\n" % number)) == [number]


def test_the_last_one_closes_the_connection(line):
    assert predictions(line.ask(request(b"[1]"))) == [1]
    assert predictions(line.ask(request(b"[1]", b"Connection: close"))) == [1]
    assert line.file.read() == b""


def test_tokens_that_come_later_are_asked_for(serve):

    front = serve(ECHO)
    line = Line(front)
    for _ in range(3):
        assert line.ask(request(b"[1]"))[0] == 200
    token = {"name": "ci", "scope": "score", "sha256": sha256(b"t").hexdigest(), "created": "now"}
    said = json.dumps({"format": 1, "tokens": [token]})
    assert front.admin("POST", "/admin/tokens", said).status == 200
    assert line.ask(request(b"[1]"))[0] == 401
    line.close()
