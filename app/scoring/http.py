"""HTTP/1.1 over httptools: connections with absolute deadlines, limits, order and a gentle end.

A request is parsed whole, handed to one callback, and answered by `Request.answer`, at once or
later; no task is made for it. Requests of one connection are answered one at a time, in order.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
from collections import deque
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus
from ipaddress import IPv6Address
from time import monotonic
from typing import Any, NamedTuple

import httptools

from .errors import Refusal

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

IDLE, HEADERS, BODY, LINGERING = range(4)
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch
_TELLING = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"x-request-id"))
_ONCE = frozenset((b"content-length", b"transfer-encoding", b"host", b"authorization"))
_REASON = {status.value: status.phrase.encode() for status in HTTPStatus}
_PIPELINED = 16
_SMALL = 1 << 16
_LARGE = 1 << 20
_LEAVING = 1024  # connections past all limits that may still be waiting to read why


class Limits(NamedTuple):
    """How much and how long a connection may ask of us. Seconds are absolute, not per byte."""

    max_body: int = 100 * 1024 * 1024
    all_bodies: int = 256 * 1024 * 1024
    header_bytes: int = 16 * 1024
    headers: int = 100
    connections: int = 1 << 30
    reserve: int = 64  # connections past those, for probes only
    per_peer: int = 0  # connections of one peer's network; 0 for any number
    body_rate: int = 256 * 1024  # bytes a second that earn a large body more time
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 1.0
    crowded_seconds: float = 2.0
    drain_idle_seconds: float = 0.5
    drain_first_seconds: float = 2.0

    @classmethod
    def read(cls, max_body: int, environment: Mapping[str, str] = os.environ) -> Limits:
        """The usual ones; RHYTHMICML_HEADER_SECONDS and the like override the seconds."""
        given = {
            name: float(environment[f"RHYTHMICML_{name.upper()}"])
            for name in cls._fields
            if name.endswith("_seconds") and f"RHYTHMICML_{name.upper()}" in environment
        }
        limits = cls(max_body=max_body, all_bodies=max(cls().all_bodies, 2 * max_body))
        return limits._replace(**given)  # type: ignore[arg-type]


class Site:
    """What the connections share: who handles requests, the limits, the fixed headers.

    handle(request) is called for each request; refuse(request, refusal) answers one with an
    error in the shape of the protocol that lives at its path. admit(connection), when its headers
    are there, says why a request may not be made; it is asked when `guarded`, and of connections
    past the limit. mark(request) is called before requests that need more headers in their answer.
    """

    def __init__(
        self,
        handle: Callable[[Request], None],
        refuse: Callable[[Request, Refusal], None],
        limits: Limits,
        headers: bytes,
    ) -> None:
        self.handle = handle
        self.refuse = refuse
        self.limits = limits
        self.headers = headers
        self.admit: Callable[[Connection], Refusal | None] = _anyone
        self.mark: Callable[[Request], None] = _nothing
        self.guarded = False
        self.connections: set[Connection] = set()
        self.open = 0  # connections within the limits
        self.peers: dict[str, int] = {}  # those by network, when there is a limit for one
        self.crowd: dict[Connection, None] = {}  # connections past the limits, oldest first
        self.receiving = 0  # bytes of large bodies on their way
        self.draining = False
        self._heads: dict[tuple[int, bytes], bytes] = {}
        self._date = b""
        self._prefix = os.urandom(6).hex().encode() + b"-"
        self._count = 0

    def new_id(self) -> bytes:
        self._count += 1
        return b"%b%x" % (self._prefix, self._count)

    def head(self, status: int, content_type: bytes) -> bytes:
        """The status line and the headers that every such answer has."""
        known = self._heads.get((status, content_type))
        if known is None:
            known = self._heads[status, content_type] = (
                b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\n%bDate: %b\r\n"
                % (status, _REASON.get(status, b""), content_type, self.headers, self._date)
            )
        return known

    def enter(self, connection: Connection) -> None:
        """Count a connection in. One past the limits joins the crowd: it may only ask a probe,
        and leaves early when more come."""
        limits = self.limits
        self.connections.add(connection)
        beside = self.peers.get(connection.network, 0) if limits.per_peer else -1
        if self.open >= limits.connections or beside >= limits.per_peer:
            connection.crowded = True
            self.crowd[connection] = None
            self._thin_out(connection)
            return
        self.open += 1
        if limits.per_peer:
            self.peers[connection.network] = beside + 1

    def _thin_out(self, newest: Connection) -> None:
        if len(self.connections) > self.limits.connections + self.limits.reserve + _LEAVING:
            newest.transport.abort()
        elif len(self.crowd) > self.limits.reserve:
            next(iter(self.crowd)).turn_away()

    def leave(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if connection.crowded:
            self.crowd.pop(connection, None)
            return
        self.open -= 1
        if self.limits.per_peer:
            left = self.peers[connection.network] - 1
            if left:
                self.peers[connection.network] = left
            else:
                del self.peers[connection.network]

    def sweep(self) -> None:
        """Close what is past its deadline. Called a few times a second."""
        date = formatdate(usegmt=True).encode()
        if date != self._date:
            self._date = date
            self._heads.clear()
        now = monotonic()
        for connection in tuple(self.connections):
            connection.check(now)


class Request:
    """One request, whole. `answer` it once; later calls and a client gone away do no harm."""

    __slots__ = (
        "arrived",
        "body",
        "close",
        "connection",
        "context",
        "endpoint",
        "extra",
        "headers",
        "id",
        "job",
        "legacy",
        "method",
        "path",
        "peer",
        "query",
        "received",
        "resumed",
        "token",
        "trace",
        "watched",
    )

    def __init__(self, method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        self.method = method
        self.path, _, self.query = url.partition(b"?")
        self.headers = headers
        self.body = body
        self.close = False
        self.legacy = False  # HTTP/1.0, which must be told that a connection is kept
        self.id = b""
        self.endpoint = "other"
        self.arrived = monotonic()
        self.connection: Any = None
        self.context: Any = None
        self.extra = b""  # headers for its answer, whatever that is
        self.job: Any = None  # its prediction, until it is answered
        self.peer = ""
        self.received = len(body)
        self.token = ""  # the name of the token it was made with
        self.trace: Any = None  # where it stands in a trace, when its client told
        self.watched = False  # whether a client that closes its half is taken to be gone
        self.resumed: Callable[[], None] | None = None  # told when a stream has room, or no reader

    @property
    def gone(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.connection is None

    def answer(
        self, status: int, body: bytes, content_type: bytes = JSON, extra: bytes = b""
    ) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.send(self, status, body, content_type, extra)

    # An answer in pieces: `open` once, `write` as often as there is something, `close` once

    @property
    def blocked(self) -> bool:
        """Whether the client reads more slowly than we write."""
        return self.connection is not None and bool(self.connection.blocked_since)

    def open(self, status: int, content_type: bytes, extra: bytes = b"") -> None:
        if self.connection is not None:
            self.connection.open(self, status, content_type, extra)

    def write(self, data: bytes) -> None:
        if self.connection is not None and data:
            self.connection.write(self, data)

    def close_stream(self, whole: bool = True) -> None:
        """End it; when it is not whole, the connection ends without the last chunk."""
        connection, self.connection = self.connection, None
        self.resumed = None  # which holds the request in turn
        if connection is not None:
            connection.close_stream(self, whole)


class Head(NamedTuple):
    """All of a request but its body, as it came and as it was read.

    A client that asks again mostly sends the same head again: it need not be parsed anew. The
    headers are shared by such requests, so nobody may change them.
    """

    text: bytes
    size: int  # of the whole request
    method: bytes
    url: bytes
    headers: dict[bytes, bytes]


class Connection(asyncio.Protocol):
    """One client's connection: bytes in, requests out, answers back in the same order."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.transport: Any = None
        self.parser: Any = httptools.HttpRequestParser(self)
        self.phase = IDLE
        self.since = monotonic()
        self.served = 0
        self.current: Request | None = None
        self.pending: deque[tuple[Request, Refusal | None]] = deque()
        self.refusal: Refusal | None = None
        self.finished = False  # nothing more will be read as a request
        self.ended = False  # the client has closed its half
        self.blocked_since = 0.0
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.header_size = 0
        self.arriving = b""  # what is being parsed, when a request may begin with it
        self.body: list[Any] = []  # bytes, or one bytearray
        self.body_size = 0
        self.weighed = 0  # how much of the body counts in `site.receiving`
        self.crowded = False  # past the limits: only probes are answered
        self.peer = self.network = ""
        self.expects = False  # whether the client waits to be told to send its body
        self.token = ""  # the name of the token this request was made with
        self.known: Any = None  # what the guard remembers of the last one
        self.head: Head | None = None  # of the last request, where the next may have the same

    # What asyncio tells us

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.peer = peer(transport.get_extra_info("peername"))
        self.network = network(self.peer)
        self.site.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.site.leave(self)
        self.finished = True
        self.pending.clear()
        self._drop_body()
        request, self.current = self.current, None
        if request is not None:
            request.connection = None
            resumed, request.resumed = request.resumed, None  # which holds the request in turn
            if resumed is not None:
                resumed()
        # These hold us in turn; TLS keeps large buffers until that is found to be garbage.
        self.transport = self.parser = None

    def eof_received(self) -> bool:
        """A client that has said all it will may still wait for answers: keep our half open."""
        self.finished = self.ended = True
        if self.current is not None and self.current.watched:
            self.transport.abort()
        elif self.pending:
            self.pending[-1][0].close = True
        elif self.current is not None:
            self.current.close = True
        return self.current is not None and self._half_closes()

    def _half_closes(self) -> bool:
        """Whether one direction can end before the other; under TLS it cannot."""
        return bool(self.transport.can_write_eof())

    def pause_writing(self) -> None:
        self.blocked_since = monotonic()
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.blocked_since = 0.0
        if self.current is not None and self.current.resumed is not None:
            self.current.resumed()
        self._next()

    def data_received(self, data: bytes) -> None:
        if self.finished:
            return
        was = self.phase
        if was == IDLE:
            head = self.head
            if (
                head is not None
                and len(data) == head.size
                and data.startswith(head.text)
                and not self.site.guarded
            ):
                self._repeat(head, data)
                return
            self.arriving = data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.finished = True  # we speak nothing else: the request is answered, then we close
        except httptools.HttpParserError as error:
            self._refuse(self.refusal or _malformed(error))
        else:
            if was == HEADERS == self.phase:
                self.header_size += len(data)
                if self.header_size > self.site.limits.header_bytes:
                    self._refuse(_headers_too_large())

    # What the parser tells us

    def on_message_begin(self) -> None:
        self.phase = HEADERS
        self.since = monotonic()
        self.url = b""
        self.headers = {}
        self.header_size = 0
        self.body = []
        self.body_size = 0
        self.token = ""
        self.expects = False

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._count_header(len(name) + len(value) + 4)
        headers = self.headers
        if self.phase != HEADERS:
            return  # a trailer, which changes nothing
        if name in headers:
            if name in _ONCE:
                self._stop(Refusal(400, f"The header {name.decode()} is there twice."))
            value = headers[name] + b", " + value
        elif len(headers) >= self.site.limits.headers:
            self._stop(_too_many_headers())
        headers[name] = value

    def on_headers_complete(self) -> None:
        if self.phase != HEADERS:  # trailers of a chunked body
            return
        self.phase = BODY
        self.since = monotonic()
        headers = self.headers
        if self.site.guarded or self.crowded:
            self._admit()
        if b"host" not in headers and self.parser.get_http_version() == "1.1":
            self._stop(Refusal(400, "The header host is missing."))
        if b"transfer-encoding" in headers:
            self._check_transfer_encoding(headers)
        elif int(headers.get(b"content-length", 0)) > self.site.limits.max_body:
            self._stop(self._too_large())
        if b"expect" in headers:
            self._expect(headers[b"expect"])

    def on_body(self, data: bytes) -> None:
        self.body_size += len(data)
        if self.body_size > self.site.limits.max_body:
            self._stop(self._too_large())
        self.body.append(data)
        if self.body_size > _SMALL:
            self._weigh()
        if self.body_size > _LARGE:
            self._gather()

    def on_message_complete(self) -> None:
        body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self._drop_body()
        self.phase = IDLE
        request = self._request(body)
        request.close = (
            not self.parser.should_keep_alive() or self.parser.should_upgrade() or self.crowded
        )
        self.head = None
        if request.close:
            self.finished = True
        elif not self.site.guarded:
            self.head = self._repeatable(request)
        self._take(request, None)

    # The same head again

    def _repeatable(self, request: Request) -> Head | None:
        """The head of a request that came in one piece by itself, if it means the same again."""
        data, self.arriving = self.arriving, b""
        text = data[: len(data) - len(request.body)]
        # Were there more than one request in it, there would be an end of a head before.
        if text.find(b"\r\n\r\n") != len(text) - 4 or request.legacy:
            return None
        if not _TELLING.isdisjoint(request.headers):
            return None
        return Head(text, len(data), request.method, target(self.url), request.headers)

    def _repeat(self, head: Head, data: bytes) -> None:
        request = Request(head.method, head.url, head.headers, data[len(head.text) :])
        request.peer = self.peer
        request.id = self.site.new_id()
        self._take(request, None)

    # Parsing, in parts

    def _request(self, body: bytes) -> Request:
        headers = self.headers
        request = Request(self.parser.get_method(), target(self.url), headers, body)
        request.peer = self.peer
        request.token = self.token
        given = headers.get(b"x-request-id")
        request.id = given if given and _SANE_ID(given) else self.site.new_id()
        request.legacy = self.parser.get_http_version() == "1.0"
        return request

    def _admit(self) -> None:
        refusal = self.site.admit(self)
        if refusal is not None:
            self._stop(refusal)

    def _weigh(self) -> None:
        """Count a large body among those that are held, unless they are too much already."""
        site = self.site
        site.receiving += self.body_size - self.weighed
        self.weighed = self.body_size
        if site.receiving > site.limits.all_bodies:
            self._stop(_bodies_too_large())

    def _gather(self) -> None:
        """Join the pieces of a large body as they come: all at the end would take too long."""
        whole, *pieces = self.body
        if type(whole) is not bytearray:
            whole = bytearray(whole)
        for piece in pieces:
            whole += piece
        self.body = [whole]

    def _drop_body(self) -> None:
        self.body = []
        if self.weighed:
            self.site.receiving -= self.weighed
            self.weighed = 0

    def _count_header(self, size: int) -> None:
        self.header_size += size
        if self.header_size > self.site.limits.header_bytes:
            self._stop(_headers_too_large())

    def _check_transfer_encoding(self, headers: dict[bytes, bytes]) -> None:
        if b"content-length" in headers:
            self._stop(Refusal(400, "Content-Length and Transfer-Encoding exclude each other."))
        if headers[b"transfer-encoding"].strip().lower() != b"chunked":
            self._stop(Refusal(400, "Of transfer encodings only chunked is understood."))

    def _expect(self, value: bytes) -> None:
        if value.lower() != b"100-continue":
            self._stop(Refusal(417, "Only 100-continue can be expected."))
        self.expects = True
        if self.current is None and not self.pending:
            self._encourage()

    def _encourage(self) -> None:
        """Tell a client that waits for it to send the body, once all before it is answered."""
        if self.expects and self.phase == BODY and not self.body_size:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.expects = False

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            f"The body is larger than max_body, {self.site.limits.max_body} bytes.",
            remedy="Send fewer rows at a time, or raise `max_body`.",
        )

    def _stop(self, refusal: Refusal) -> None:
        """Leave the parser: it wraps what we raise in an HttpParserError."""
        self.refusal = refusal
        raise refusal

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what could not be read, in its turn, and read no more."""
        if self.finished and self.refusal is None:
            return  # data after a request that said it was the last
        self.finished = True
        method = self.parser.get_method() if self.phase == BODY else b""
        self.phase = IDLE
        request = Request(method, target(self.url), self.headers, b"")
        request.received = self.body_size
        request.peer = self.peer
        request.id = self.site.new_id()
        request.close = True
        self._drop_body()
        self._take(request, refusal)

    # Answering in order

    def _take(self, request: Request, refusal: Refusal | None) -> None:
        if self.current is not None or self.blocked_since:
            self.pending.append((request, refusal))
            if len(self.pending) >= _PIPELINED or len(request.body) > _SMALL:
                self.transport.pause_reading()
        else:
            self._begin(request, refusal)

    def _begin(self, request: Request, refusal: Refusal | None) -> None:
        self.current = request
        request.connection = self
        if b"origin" in request.headers or b"traceparent" in request.headers:
            self.site.mark(request)
        if refusal is None:
            self.site.handle(request)
        else:
            self.site.refuse(request, refusal)

    def _next(self) -> None:
        """Begin the requests that wait, as long as each is answered at once."""
        if self.transport is None:
            return
        while self.pending and self.current is None and not self.blocked_since:
            self._begin(*self.pending.popleft())
        if self.current is None and not self.blocked_since and not self.transport.is_closing():
            self.transport.resume_reading()

    def send(
        self, request: Request, status: int, body: bytes, content_type: bytes, extra: bytes
    ) -> None:
        """Write one answer. Only `Request.answer` calls this."""
        close = request.close or self._draining()
        connection = _CLOSE if close else (_KEEP if request.legacy else b"")
        head = b"%b%b%bX-Request-Id: %b\r\n%b%b\r\n" % (
            self.site.head(status, content_type),
            extra,
            request.extra,
            request.id,
            b"Content-Length: %d\r\n" % len(body) if status != 204 else b"",
            connection,
        )
        if request.method == b"HEAD":
            self.transport.write(head)
        elif len(body) < _SMALL:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        self._answered(close)

    def open(self, request: Request, status: int, content_type: bytes, extra: bytes) -> None:
        """Write the head of an answer in pieces: chunks, or for HTTP/1.0 bytes until the end."""
        request.close = request.close or request.legacy or self._draining()
        self.transport.write(
            b"%b%b%bX-Request-Id: %b\r\n%b%b%b\r\n"
            % (
                self.site.head(status, content_type),
                extra,
                request.extra,
                request.id,
                _UNBUFFERED,
                b"" if request.legacy else b"Transfer-Encoding: chunked\r\n",
                _CLOSE if request.close else b"",
            )
        )

    def write(self, request: Request, data: bytes) -> None:
        self.transport.write(data if request.legacy else b"%x\r\n%b\r\n" % (len(data), data))

    def close_stream(self, request: Request, whole: bool) -> None:
        if whole and not request.legacy:
            self.transport.write(b"0\r\n\r\n")
        self._answered(request.close or not whole)

    def _answered(self, close: bool) -> None:
        """Go on to the next request, or to the end of the connection."""
        self.current = None
        self.served += 1
        if self.phase == IDLE:
            self.since = monotonic()
        if close:
            self._linger()
        elif self.pending:
            asyncio.get_running_loop().call_soon(self._next)
        elif self.expects:
            self._encourage()

    def _draining(self) -> bool:
        """Whether this is the connection's last answer because the front is ending."""
        return self.site.draining and self.phase == IDLE and not self.pending

    # The end of a connection

    def _linger(self) -> None:
        """Say that we are done, and read on for a moment: closing on unread bytes would reset
        the connection and could take the answer with it."""
        self.finished = True
        self.pending.clear()
        self.phase = LINGERING
        self.since = monotonic()
        self.site.crowd.pop(self, None)
        if self.ended or not self._half_closes():
            self.transport.close()  # which under TLS reads on by itself
        elif not self.transport.is_closing():
            self.transport.resume_reading()
            self.transport.write_eof()

    def turn_away(self) -> None:
        """Make room for newer ones that are past the limits too."""
        self.site.crowd.pop(self, None)
        self.refusal = too_many_connections()
        self._refuse(self.refusal)

    def check(self, now: float) -> None:
        """Close or refuse when a deadline has passed."""
        limits = self.site.limits
        if self.blocked_since and now - self.blocked_since > limits.write_seconds:
            self.transport.abort()
        elif self.phase == LINGERING:
            self._check_lingering(now - self.since)
        elif self.current is None and not self.pending:
            self._check_reading(now - self.since)

    def _check_lingering(self, waited: float) -> None:
        limits = self.site.limits
        if waited > limits.linger_seconds and (waited > limits.write_seconds or not self._unsent()):
            self.transport.abort()

    def _check_reading(self, waited: float) -> None:
        limits = self.site.limits
        if self.crowded and waited > limits.crowded_seconds and self.phase != BODY:
            self.turn_away()
        elif self.phase == IDLE:
            if waited > self._patience() and not self._unread():
                self.phase, self.since, self.finished = LINGERING, monotonic(), True
                self.transport.close()
        elif self.phase == HEADERS and waited > limits.header_seconds:
            self._refuse(Refusal(408, "The headers did not arrive in time.", reason="slow"))
        elif self.phase == BODY and waited > self._body_seconds():
            self._refuse(Refusal(408, "The body did not arrive in time.", reason="slow"))

    def _body_seconds(self) -> float:
        """How long this body may take: longer while a large one keeps up a fair pace."""
        limits, size = self.site.limits, self.body_size
        return limits.body_seconds + (size / limits.body_rate if size > _LARGE else 0.0)

    def _unsent(self) -> bool:
        """Whether the client has not received all that we wrote; no, where nobody can say."""
        if self.transport.get_write_buffer_size():
            return True
        import fcntl  # late: the client imports this module too, on Windows, where it is not
        from termios import TIOCOUTQ

        count = bytearray(4)
        try:
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), TIOCOUTQ, count)
        except (OSError, ValueError):
            return False
        return any(count)

    def _unread(self) -> bool:
        """Whether something has arrived that we have not been given yet: closing would lose it."""
        watch = select.poll()
        watch.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(watch.poll(0))

    def _patience(self) -> float:
        """How long this connection may say nothing."""
        limits = self.site.limits
        if self.site.draining:
            return limits.drain_idle_seconds if self.served else limits.drain_first_seconds
        return limits.idle_seconds if self.served else limits.header_seconds


_UNBUFFERED = b"Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
_CLOSE = b"Connection: close\r\n"
_KEEP = b"Connection: keep-alive\r\n"


def target(url: bytes) -> bytes:
    """The path and query of a request target; proxies may send the whole address."""
    if url.startswith(b"/") or b"://" not in url:
        return url
    rest = url.partition(b"://")[2]
    slash = rest.find(b"/")
    return rest[slash:] if slash >= 0 else b"/"


def peer(name: Any) -> str:
    """The address in what the system calls a connection's other end; "" when it has none."""
    address: str = name[0] if isinstance(name, tuple) else ""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


def network(address: str) -> str:
    """What counts as one peer: an IPv4 address, or the half of an IPv6 address that one has."""
    if ":" not in address:
        return address
    try:
        return IPv6Address(address.partition("%")[0]).exploded[:19]
    except ValueError:
        return address


def _anyone(connection: Connection) -> Refusal | None:
    return None


def _nothing(request: Request) -> None:
    pass


def _malformed(error: Exception) -> Refusal:
    return Refusal(400, "This is not a well-formed HTTP request.", reason="http")


def _headers_too_large() -> Refusal:
    return Refusal(431, "The headers are larger than 16 KiB.", reason="size")


def _too_many_headers() -> Refusal:
    return Refusal(431, "There are more than 100 headers.", reason="size")


def _bodies_too_large() -> Refusal:
    return Refusal(
        503, "Too much is being sent at once.", remedy="Try again shortly.", reason="overloaded"
    )


def too_many_connections() -> Refusal:
    return Refusal(
        503, "There are too many connections.", remedy="Try again shortly.", reason="connections"
    )
