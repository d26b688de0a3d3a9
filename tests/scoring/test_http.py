"""HTTP as it comes off the wire: well-formed, malformed, slow, large, many at once."""

import asyncio
import gc
import json
import socket
import time
import weakref
from http.client import HTTPConnection

import pytest

from app.scoring.http import Connection, Limits, Site

from .conftest import read_all, wait_for

ECHO = """
import time

def predict(model, inputs):
    if isinstance(inputs, dict):
        time.sleep(inputs.get("sleep", 0))
    return inputs
"""
SLOW = {
    "RHYTHMICML_HEADER_SECONDS": "0.5",
    "RHYTHMICML_BODY_SECONDS": "0.8",
    "RHYTHMICML_WRITE_SECONDS": "0.8",
    "RHYTHMICML_IDLE_SECONDS": "0.6",
}


@pytest.fixture
def front(shared):
    return shared(ECHO)


def request(body=b"[1]", *headers, line=b"POST /score HTTP/1.1", host=True, length=True):
    lines = [line, *([b"Host: x"] if host else []), *headers]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


CLOSE = b"Connection: close"


def status(received):
    return int(received.split(b" ", 2)[1])


# Well-formed


def test_every_answer_says_who_gave_it(front):
    for path in ("/livez", "/nowhere", "/metrics", "/v2"):
        headers = front.get(path).headers
        assert headers["X-Model-Version"] == "1"
        assert headers["X-Release"].startswith("v1-")
        assert headers["X-Request-Id"]
        assert headers["Date"].endswith("GMT")


def test_a_sane_request_id_is_echoed(front):
    assert front.get("/livez", **{"X-Request-Id": "abc-1.2"}).headers["X-Request-Id"] == "abc-1.2"


@pytest.mark.parametrize("given", ["a b", "x" * 129, 'a"b', ""])
def test_an_odd_request_id_is_replaced(front, given):
    made = front.get("/livez", **{"X-Request-Id": given}).headers["X-Request-Id"]
    assert made != given
    assert made


def test_a_connection_is_kept(front):
    client = front.client()
    for number in range(3):
        client.request("POST", "/score", json.dumps([number]))
        assert json.loads(client.getresponse().read()) == {"predictions": [number]}
    client.close()


def test_pipelined_requests_are_answered_in_order(front):
    bodies = [b'{"sleep": 0.2}', b"[2]", b"{", b"[3]"]
    sent = b"".join(map(request, bodies)) + request(b"[4]", CLOSE)
    received = front.raw(sent)
    assert received.count(b"HTTP/1.1") == 5
    positions = [received.find(part) for part in (b"0.2", b"[2]", b"HTTP/1.1 400", b"[3]", b"[4]")]
    assert positions == sorted(positions)
    assert -1 not in positions


def test_many_pipelined_requests_are_all_answered(front):
    sent = b"".join(request(b"[%d]" % number) for number in range(200)) + request(b"[-1]", CLOSE)
    received = front.raw(sent)
    assert received.count(b"HTTP/1.1 200 OK") == 201


def test_a_request_may_arrive_in_pieces(front):
    with socket.create_connection(("127.0.0.1", front.port)) as sock:
        for byte in request(b"[12]", CLOSE):
            sock.sendall(bytes([byte]))
        assert b"[12]" in read_all(sock)


def test_chunked_bodies_are_read(front):
    body = b"1\r\n[\r\n3;x=y\r\n1,2\r\n1\r\n]\r\n0\r\nTrailer: 1\r\n\r\n"
    received = front.raw(request(body, b"Transfer-Encoding: chunked", CLOSE, length=False))
    assert b'{"predictions":[1,2]}' in received


def test_head_has_the_headers_of_get_and_no_body(front):
    received = front.raw(request(b"", CLOSE, line=b"HEAD /livez HTTP/1.1"))
    head, _, body = received.partition(b"\r\n\r\n")
    assert (status(head), body) == (200, b"")
    assert b"Content-Length: 26" in head


def test_a_wrong_method_is_told_the_right_one(front):
    answer = front.get("/score")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert front.call("DELETE", "/livez").headers["Allow"] == "GET, HEAD"


def test_an_unknown_address_is_404_in_json(front):
    answer = front.get("/nowhere")
    assert answer.status == 404
    assert answer.json["error"]["what"]
    assert "GET /docs" in answer.json["error"]["remedy"]


@pytest.mark.parametrize("path", ["/livez?x=1", "/livez/", "http://x/livez", "/%6civez"])
def test_addresses_may_be_written_in_other_ways(front, path):
    assert status(front.raw(request(b"", CLOSE, line=b"GET %b HTTP/1.1" % path.encode()))) == 200


def test_a_body_in_an_unknown_encoding_is_refused(front):
    assert front.post("/score", b"[1]", **{"Content-Encoding": "br"}).status == 415


def test_100_continue(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as sock:
        sock.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n")
        sock.sendall(b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"[1]")
        assert status(read_all(sock)) == 200


def test_a_body_too_large_is_refused_before_it_is_sent(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as sock:
        sock.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n")
        sock.sendall(b"Expect: 100-continue\r\n\r\n")
        received = read_all(sock)
        assert status(received) == 413
        assert b"max_body" in received


def test_a_chunked_body_too_large_is_refused_on_the_way(front):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as sock:
        sock.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(40):
                sock.sendall(chunk)
        except OSError:
            pass
        received = read_all(sock)
    assert received == b"" or status(received) == 413


def test_http_1_0_is_answered_and_closed(front):
    received = front.raw(request(line=b"POST /score HTTP/1.0", host=False))
    assert (status(received), b"Connection: close" in received) == (200, True)


def test_http_1_0_may_be_kept(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as sock:
        sock.sendall(request(b"[1]", b"Connection: keep-alive", line=b"POST /score HTTP/1.0"))
        assert b"Connection: keep-alive" in sock.recv(4096)


def test_an_upgrade_is_not_taken_up(front):
    sent = request(b"", b"Connection: Upgrade", b"Upgrade: h2c", line=b"GET /livez HTTP/1.1")
    assert status(front.raw(sent)) == 200


def test_a_client_may_close_its_half_and_wait(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as sock:
        sock.sendall(request(b'{"sleep": 0.3}'))
        sock.shutdown(socket.SHUT_WR)
        assert b'{"sleep":0.3}' in read_all(sock)


def test_a_client_that_goes_away_harms_nobody(front):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", front.port)) as sock:
            sock.sendall(request(b'{"sleep": 0.01}'))
    assert front.score([1]) == [1]


# Malformed: 4xx, at once, closed where the rest cannot be trusted

CORPUS = {
    "CL.TE": request(b"0\r\n\r\nG", b"Transfer-Encoding: chunked"),
    "two lengths": request(b"[1]", b"Content-Length: 4"),
    "the same length twice": request(b"[1]", b"Content-Length: 3"),
    "two encodings": request(
        b"0\r\n\r\n", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", length=False
    ),
    "encoding unknown": request(b"0\r\n\r\n", b"Transfer-Encoding: gzip", length=False),
    "encodings chained": request(b"", b"Transfer-Encoding: gzip, chunked", length=False),
    "encoding obscured": request(b"0\r\n\r\n", b"Transfer-Encoding: xchunked", length=False),
    "negative length": request(b"", b"Content-Length: -1", length=False),
    "length with plus": request(b"[1]", b"Content-Length: +3", length=False),
    "length no number": request(b"", b"Content-Length: abc", length=False),
    "length enormous": request(b"", b"Content-Length: 99999999999999999999", length=False),
    "bad chunk size": request(
        b"zz\r\n[1]\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False
    ),
    "chunk longer than said": request(
        b"1\r\n[1]\r\n0\r\n\r\n", b"Transfer-Encoding: chunked", length=False
    ),
    "no host": request(host=False),
    "two hosts": request(b"[1]", b"Host: y"),
    "header without colon": request(b"[1]", b"nonsense"),
    "space before colon": request(b"[1]", b"Content-Length : 3", length=False),
    "folded header": request(b"[1]", b"X: a", b" b"),
    "bare line feeds": b"POST /score HTTP/1.1\nHost: x\nContent-Length: 3\n\n[1]",
    "NUL in header": request(b"[1]", b"X: a\0b"),
    "unknown method": request(line=b"BREW /score HTTP/1.1"),
    "unknown version": request(line=b"POST /score HTTP/9.9"),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "expectation unknown": request(b"[1]", b"Expect: miracles"),
    "header of 20 KB": request(b"[1]", b"X: " + b"a" * 20000),
    "header of 300 KB": request(b"[1]", b"X: " + b"a" * 300_000),
    "101 headers": request(b"[1]", *[b"X%d: a" % number for number in range(100)]),
    "header name with a space": request(b"[1]", b"X Y: a"),
    "header name empty": request(b"[1]", b": a"),
    "chunk size enormous": request(
        b"fffffffffffffffff\r\n[1]", b"Transfer-Encoding: chunked", length=False
    ),
    "chunk size negative": request(b"-1\r\n[1]", b"Transfer-Encoding: chunked", length=False),
    "trailers of 300 KB": request(
        b"0\r\n" + b"X: y\r\n" * 50_000, b"Transfer-Encoding: chunked", length=False
    ),
    "space in the path": request(line=b"POST /sc ore HTTP/1.1"),
    "NUL in the path": request(line=b"POST /sc\0ore HTTP/1.1"),
    "carriage return alone": b"POST /score HTTP/1.1\rHost: x\r\r",
    "two authorizations": request(b"[1]", b"Authorization: a", b"Authorization: b"),
    "2,000 headers": request(b"[1]", *[b"X%d: abc" % number for number in range(2000)]),
    "url of 20 KB": request(line=b"POST /" + b"a" * 20000 + b" HTTP/1.1"),
}
BODIES = {
    "empty": b"",
    "truncated": b'{"inputs": [[1, 2]',
    "NaN": b'{"inputs": [[NaN, nan]]}',
    "Infinity": b"[Infinity]",
    "invalid UTF-8": b'["\xff\xfe"]',
    "lone surrogate": b'["\\ud800"]',
    "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
    "depth 100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "number too large": b"[1e999]",
    "two values": b"[1] [2]",
    "byte order mark": b"\xef\xbb\xbf[1]",
    "UTF-16": "[1]".encode("utf-16"),
    "control character": b'["\x01"]',
    "form": b"a=1&b=2",
    "only NUL": b"\0" * 1000,
    "overlong UTF-8": b'["\xc0\xaf"]',
    "unclosed text": b'["' + b"a" * 100_000,
}


@pytest.mark.parametrize("case", CORPUS)
def test_malformed_requests_are_refused_and_closed(front, case):
    started = time.monotonic()
    received = front.raw(CORPUS[case])
    assert 400 <= status(received) < 500, received
    assert time.monotonic() - started < 2.5
    head, _, body = received.partition(b"\r\n\r\n")
    assert received.count(b"HTTP/1.1") == 1, "what follows must not be taken for a request"
    assert b"Connection: close" in head
    assert json.loads(body)["error"]["what"]
    assert front.score([1]) == [1]


@pytest.mark.parametrize("case", ["header of 20 KB", "101 headers", "2,000 headers"])
def test_headers_too_large_have_their_own_status(front, case):
    assert status(front.raw(CORPUS[case])) == 431


def test_100_headers_are_not_too_many(front):
    headers = [b"X%d: a" % number for number in range(97)]
    assert status(front.raw(request(b"[1]", *headers, CLOSE))) == 200


def test_a_header_without_end_is_refused_long_before_its_end(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as sock:
        sock.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nX: ")
        sent = 0
        try:
            for _ in range(1600):
                sent += sock.send(b"a" * 65536)
        except OSError:
            pass
        received = read_all(sock)
    assert sent < 100 << 20 or received
    assert received == b"" or status(received) == 431
    assert front.score([1]) == [1]


def test_a_chunk_larger_than_max_body_is_refused_on_the_way(front):
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as sock:
        head = b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        try:
            sock.sendall(head + b"7fffffff\r\n" + b" " * (2 << 20))
        except OSError:
            pass
        received = read_all(sock)
    assert received == b"" or status(received) == 413


@pytest.mark.parametrize(
    "path",
    ["/%", "/%z", "/%zz", "/%00", "/%ff%fe", "/..", "/../../etc/passwd", "/%2e%2e/score", "/*"],
)
def test_odd_addresses_are_not_found(front, path):
    received = front.raw(request(b"[1]", CLOSE, line=b"POST %b HTTP/1.1" % path.encode()))
    assert status(received) == 404
    assert path.encode() not in received.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("line", [b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1"])
def test_what_is_no_address_of_ours_is_refused(front, line):
    assert 400 <= status(front.raw(request(b"", CLOSE, line=line))) < 500


def test_trailers_change_nothing(front):
    body = b"3\r\n[1]\r\n0\r\nX-Request-Id: late\r\nHost: y\r\n\r\n"
    received = front.raw(request(body, b"Transfer-Encoding: chunked", CLOSE, length=False))
    assert status(received) == 200
    assert b"late" not in received


def test_ragged_rows_and_endless_numbers_are_no_failure_of_ours(front):
    for body in (b"[[1, 2], [3]]", b"[" + b"9" * 100_000 + b"]", b'["\\u0000"]'):
        assert front.post("/score", body).status in (200, 400)


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize("path", ["/score", "/invocations", "/v2/models/churn/infer"])
def test_malformed_json_is_the_callers_fault(front, path, case):
    answer = front.post(path, BODIES[case])
    assert answer.status == 400
    assert "error" in answer.json or "error_code" in answer.json
    assert b"Traceback" not in answer.body


def test_numbers_that_json_has_not_are_called_so(front):
    for body in (b'{"inputs": [[NaN, 1]]}', b'{"inputs": [[-Infinity, 1]]}'):
        said = front.post("/score", body)
        assert said.status == 400
        assert b"NaN and Infinity are not JSON." in said.body
        assert b"Send null" in said.body
    assert b"malformed" in front.post("/score", b'{"inputs": [["NaN", 1]').body


@pytest.mark.parametrize("path", ["/score", "/invocations", "/v2/models/churn/infer"])
def test_errors_of_syntax_are_called_malformed(front, path):
    for body in (b'{"inputs": [[1, 2]', b"[1] [2]", b"[1,]", b"a=1", b'{"a": 01}', b'["\\q"]'):
        assert b"JSON is malformed: " in front.post(path, body).body
    assert b"JSON is malformed: it ends too early." in front.post(path, b"[1").body


@pytest.mark.parametrize("depth", [100, 900, 980, 990, 1000, 1100])
def test_depth_near_the_limit_is_never_our_fault(front, depth):
    assert front.post("/score", b"[" * depth + b"]" * depth).status in (200, 400)


# Slow


@pytest.fixture
def hasty(serve):
    return serve(ECHO, environment=SLOW)


def test_slow_headers_are_closed_though_bytes_keep_coming(hasty):
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=5) as sock:
        started = time.monotonic()
        sock.sendall(b"POST /score HTTP/1.1\r\n")
        sock.settimeout(0.05)
        received = b""
        while time.monotonic() - started < 3 and not received:
            sock.sendall(b"X: 1\r\n")
            try:
                received = sock.recv(4096)
            except TimeoutError:
                pass
    assert status(received) == 408
    assert time.monotonic() - started < 1.5


def test_slow_bodies_are_closed(hasty):
    started = time.monotonic()
    received = hasty.raw(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n[")
    assert status(received) == 408
    assert time.monotonic() - started < 2.5


def test_silent_connections_are_closed_without_a_word(hasty):
    assert hasty.raw(b"") == b""


def test_idle_kept_connections_are_closed(hasty):
    received = hasty.raw(request())
    assert received.count(b"HTTP/1.1 200") == 1


def test_a_reader_that_does_not_read_is_cut(hasty):
    big = json.dumps(["x" * 900_000]).encode()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", hasty.port))
        sock.settimeout(0.5)
        with pytest.raises(OSError, match=r"timed out|reset|Broken"):
            sock.sendall(request(big) * 100)
        time.sleep(1.5)
        sock.settimeout(10)
        assert read_all(sock).count(b"HTTP/1.1") < 5
    assert hasty.score([1]) == [1]


def test_200_slow_clients_stop_nobody(hasty):
    slow = [socket.create_connection(("127.0.0.1", hasty.port)) for _ in range(200)]
    for number, sock in enumerate(slow):
        sock.sendall(b"POST /score HTTP/1.1\r\nX: "[: number % 25 + 1])
    started = time.monotonic()
    for number in range(50):
        assert hasty.score([number]) == [number]
    assert time.monotonic() - started < 2
    for sock in slow:
        sock.close()


# The end


def test_draining_loses_no_request(serve):
    front = serve(ECHO)
    busy = [socket.create_connection(("127.0.0.1", front.port), timeout=10) for _ in range(20)]
    for sock in busy:
        sock.sendall(request(b'{"sleep": 0.05}'))
    kept = HTTPConnection("127.0.0.1", front.port, timeout=10)
    kept.request("GET", "/livez")
    assert kept.getresponse().read()
    front.process.terminate()
    wait_for(lambda: "draining" in front.log)
    kept.request("GET", "/livez")
    answer = kept.getresponse()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    kept.close()
    for sock in busy:
        received = read_all(sock)
        assert status(received) == 200
        assert b"Connection: close" in received
        sock.close()
    assert front.process.wait(10) == 0


def test_idle_connections_do_not_keep_a_draining_front(serve):
    front = serve(ECHO)
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as sock:
        sock.sendall(request())
        assert status(sock.recv(4096)) == 200
        started = time.monotonic()
        assert front.end() == 0
        assert time.monotonic() - started < 2
        assert sock.recv(10) == b""


def test_a_draining_front_accepts_nothing_new(serve):
    front = serve(ECHO)
    with socket.create_connection(("127.0.0.1", front.port), timeout=10) as busy:
        busy.sendall(request(b'{"sleep": 0.8}'))
        wait_for(lambda: front.admin("GET", "/admin/state").json["workers"][0]["state"] == "busy")
        front.process.terminate()
        wait_for(lambda: "draining" in front.log)
        with socket.create_connection(("127.0.0.1", front.port), timeout=0.3) as late:
            late.sendall(request())  # it waits in the kernel's queue, for whoever accepts next
            with pytest.raises(TimeoutError):
                late.recv(100)
        assert status(read_all(busy)) == 200


def test_a_connection_that_has_ended_is_forgotten_at_once():
    """Without waiting for the garbage collector, which may come thousands of connections later."""
    gc.collect()
    gc.disable()
    try:
        left = asyncio.run(_connections_left(20))
    finally:
        gc.enable()
    assert left == 0


async def _connections_left(count):
    """How many of that many connections are still in memory after they ended."""
    site = Site(
        lambda request: request.answer(200, b"{}"), lambda *_: None, Limits(), b"X-Release: v1\r\n"
    )
    known = weakref.WeakSet()

    def connection():
        made = Connection(site)
        known.add(made)
        return made

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await reader.readline()
        writer.close()
        await writer.wait_closed()
    while site.connections:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    server.close()
    return len(known)
