"""Many slow clients of every kind at once, and more connections than there may be."""

import contextlib
import json
import socket
import threading
import time

import psutil
import pytest

from .conftest import read_all, wait_for

ECHO = """
def predict(model, inputs):
    if isinstance(inputs, dict):
        return "x" * inputs["size"]
    return inputs
"""
DEADLINES = {
    "RHYTHMICML_HEADER_SECONDS": "3",
    "RHYTHMICML_BODY_SECONDS": "4",
    "RHYTHMICML_WRITE_SECONDS": "4",
    "RHYTHMICML_IDLE_SECONDS": "4",
}
LATEST = 15.0
HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\n"
BODY = HEAD + b"Content-Length: 1000\r\n\r\n["
LARGE = b'{"size": 9000000}'
READ = HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(LARGE), LARGE)


def connect(front, *, receive=None):
    sock = socket.socket()
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", front.port))
    return sock


def is_closed(sock):
    """Whether the front has ended this connection; what it said is read away."""
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def opened(front, first, count):
    socks = [connect(front) for _ in range(count)]
    for sock in socks:
        sock.sendall(first)
    return socks


class Dripping:
    """Sends a byte of a header or a body on each of many connections, again and again."""

    def __init__(self, socks):
        self.left = dict.fromkeys(socks, 0.0)
        self.started = time.monotonic()
        self.closed_after = []
        self.stopped = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.left and not self.stopped:
            for sock in list(self.left):
                if self.ended(sock):
                    del self.left[sock]
                    self.closed_after.append(time.monotonic() - self.started)
            time.sleep(0.1)

    def ended(self, sock):
        if is_closed(sock):
            return True
        with contextlib.suppress(OSError):
            sock.send(b"1")
        return False

    def stop(self):
        self.stopped = True
        self.thread.join()


def test_slow_clients_of_every_kind_stop_nobody_and_are_closed(serve):
    front = serve(ECHO, environment=DEADLINES, max_body=10 << 20)
    memory = psutil.Process(front.process.pid).memory_info
    headers, bodies = opened(front, HEAD + b"X: ", 200), opened(front, BODY, 200)
    idle = [connect(front) for _ in range(200)]
    readers = [connect(front, receive=4096) for _ in range(50)]
    for sock in readers:
        sock.sendall(READ)
    dripping = Dripping([*headers, *bodies])
    started = time.monotonic()
    try:
        times, highest = honest(front, memory, 300)
        assert sorted(times)[int(len(times) * 0.99) - 1] <= 1.0
        wait_for(lambda: not dripping.left, LATEST)
        assert max(dripping.closed_after) < LATEST
        # Idle ones are closed without a word. A reader's end shows when its buffer is empty.
        wait_for(lambda: all(map(is_closed, idle)), LATEST)
        wait_for(lambda: open_connections(front) <= 1, LATEST + 10)
        assert time.monotonic() - started < 60
        assert highest < 900 << 20
    finally:
        dripping.stop()
        for sock in (*headers, *bodies, *idle, *readers):
            sock.close()
    assert front.score([1]) == [1]


def honest(front, memory, count):
    """Seconds that each of many requests took, all answered rightly, and the most memory seen."""
    times, highest = [], 0
    for number in range(count):
        started = time.monotonic()
        assert front.score([number]) == [number]
        times.append(time.monotonic() - started)
        highest = max(highest, memory().rss)
    return times, highest


def open_connections(front):
    text = front.admin("GET", "/metrics").body.decode()
    return int(text.split("\nrhythmicml_connections{")[1].split("} ")[1].split("\n")[0])


# A large body on a slow link


def test_a_large_body_that_keeps_its_pace_gets_more_time(serve):
    hasty = {"RHYTHMICML_BODY_SECONDS": "1"}
    front = serve(ECHO, environment=hasty, max_body=10 << 20)
    filler = b" " * (1 << 18)
    with connect(front) as sock:
        sock.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % (12 * (1 << 18)))
        sock.sendall(filler * 5)
        for _ in range(6):
            time.sleep(0.4)
            sock.sendall(filler)
        sock.sendall(b"[1]".rjust(1 << 18))
        assert read_all(sock).startswith(b"HTTP/1.1 200")


def test_a_large_body_that_stops_is_closed(serve):
    front = serve(ECHO, environment={"RHYTHMICML_BODY_SECONDS": "0.5"}, max_body=10 << 20)
    with connect(front) as sock:
        started = time.monotonic()
        sock.sendall(HEAD + b"Content-Length: 9000000\r\n\r\n" + b" " * (1 << 20))
        assert read_all(sock).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 20


def test_bodies_on_their_way_are_bounded_together(serve):
    front = serve(ECHO, max_body=100 << 20)
    part = b" " * (90 << 20)
    head = HEAD + b"Content-Length: %d\r\n\r\n" % (99 << 20)
    first = [connect(front) for _ in range(2)]
    for sock in first:
        sock.sendall(head + part)
    with connect(front) as late:
        with contextlib.suppress(OSError):
            late.sendall(head + part)
        received = read_all(late)
    assert received == b"" or received.startswith(b"HTTP/1.1 503")
    assert front.score([1]) == [1]
    for sock in first:
        sock.close()
    wait_for(lambda: "receiving_bytes{" in metrics(front) and receiving(front) == 0)


def metrics(front):
    return front.get("/metrics").body.decode()


def receiving(front):
    return int(metrics(front).split("\nrhythmicml_receiving_bytes{")[1].split("} ")[1].split()[0])


# More than there may be


def test_past_the_limit_only_probes_are_answered(serve):
    front = serve(ECHO, max_connections=20)
    kept = [connect(front) for _ in range(20)]
    wait_for(lambda: open_connections(front) == 20)
    answer = front.post("/score", [1])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Connection"] == "close"
    for path in ("/livez", "/readyz", "/ping", "/health", "/v2/health/ready"):
        assert front.get(path).status == 200
    kept[0].sendall(HEAD + b"Content-Length: 3\r\n\r\n[7]")
    assert b"[7]" in kept[0].recv(4096)
    kept.pop().close()
    wait_for(lambda: front.post("/score", [1]).status == 200)
    for sock in kept:
        sock.close()


def test_probes_are_answered_soon_while_connections_pile_up(serve):
    front = serve(ECHO, max_connections=50)
    flood = [connect(front) for _ in range(400)]
    times = []
    for _ in range(21):
        started = time.monotonic()
        assert front.get("/livez").status == 200
        times.append(time.monotonic() - started)
    assert sorted(times)[10] < 0.2
    refused = sum(map(is_closed, flood))
    assert refused >= 400 - 50 - 64
    for sock in flood:
        sock.close()
    wait_for(lambda: front.post("/score", [1]).status == 200)


def test_silent_connections_past_the_limit_are_sent_away_soon(serve):
    front = serve(ECHO, max_connections=1)
    with connect(front), connect(front) as late:
        started = time.monotonic()
        assert read_all(late).startswith(b"HTTP/1.1 503")
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("most", [40])
def test_many_short_connections_leave_nothing_behind(serve, most):
    front = serve(ECHO, max_connections=most)
    for number in range(3 * most):
        assert front.score([number]) == [number]
    assert open_connections(front) <= 1
    text = json.dumps(front.admin("GET", "/admin/state").json)
    assert "error" in text
