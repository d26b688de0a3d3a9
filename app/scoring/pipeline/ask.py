"""A small HTTP/1.1 client on asyncio: over a Unix socket, TCP or TLS, with connections kept open.

One request at a time on each connection. Nothing is tried again here, no redirect followed.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools

from ..inputs import Buffer

REUSE = 0.4
"""Seconds that a connection may lie idle before its next request: a front that drains closes those
which said nothing for 0.5 s, and a request must not cross with that."""
CONNECT = 2.0
MOST_BODY = 256 * 1024 * 1024
_JOINED = 1 << 16
_LONGEST_PATH = 100  # the kernel takes 107 bytes


class Broken(Exception):
    """There is no answer; the text says why, in words a caller may read."""


class Late(Exception):
    """No answer in time."""


class Response(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: Buffer


class Target(NamedTuple):
    """Whom to ask: a path, or host and port; perhaps under TLS. authority: for the Host header."""

    path: Path | None = None
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None
    authority: str = "localhost"
    prefix: str = ""  # of every path there


def unix(path: Path, certificate: str = "") -> Target:
    """certificate: as for `web`, of who answers there under TLS."""
    return Target(path=path, tls=_context(certificate) if certificate else None)


def web(url: str, certificate: str = "") -> Target:
    """certificate: the PEM that must be shown, whatever name it has. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f'"{url}" is no address of HTTP.')
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = _context(certificate) if secure else None
    prefix = parts.path.rstrip("/")
    return Target(None, parts.hostname, port, context, parts.netloc.rpartition("@")[2], prefix)


def _context(certificate: str) -> ssl.SSLContext:
    if not certificate:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is this very certificate, wherever it is shown
    context.load_verify_locations(cadata=certificate)
    return context


class Client:
    """Asks one target. headers: lines that every request has."""

    def __init__(self, target: Target, headers: bytes = b"") -> None:
        self.target = target
        self._fixed = f"Host: {target.authority}\r\n".encode() + headers
        self._idle: list[_Connection] = []  # the one used last at the end

    async def ask(
        self,
        method: str,
        path: str,
        parts: Sequence[Buffer] = (),
        headers: bytes = b"",
        *,
        until: float,
    ) -> Response:
        """The answer. until: by `monotonic`. Raises Broken and Late.

        When it is cancelled, its connection is closed, which the other side takes as a hint.
        """
        first = f"{method} {self.target.prefix}{path} HTTP/1.1\r\n".encode()
        length = b"Content-Length: %d\r\n" % sum(map(len, parts)) if parts else b""
        head = b"%b%b%b%b\r\n" % (first, self._fixed, headers, length)
        connection = self._kept() or await self._connect(until)
        try:
            response = await connection.ask(head, parts, until)
        except BaseException:
            connection.abort()
            raise
        if connection.reusable:
            connection.since = monotonic()
            self._idle.append(connection)
        else:
            connection.abort()
        return response

    def close(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _kept(self) -> _Connection | None:
        now = monotonic()
        while self._idle:
            connection = self._idle.pop()
            if connection.open and now - connection.since < REUSE:
                return connection
            connection.abort()
        return None

    async def _connect(self, until: float) -> _Connection:
        limit = min(CONNECT, until - monotonic())
        try:
            return await asyncio.wait_for(self._open(), limit)
        except asyncio.TimeoutError:
            if monotonic() >= until:
                raise Late from None
            raise Broken(f"No connection within {CONNECT:g} s.") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise Broken("Nothing listens there.") from None
        except ssl.SSLError as error:
            raise Broken(f"No TLS with it: {error.reason or 'it failed'}.") from None
        except OSError as error:
            raise Broken(f"No connection: {error.strerror or 'it failed'}.") from None

    async def _open(self) -> _Connection:
        loop, target = asyncio.get_running_loop(), self.target
        if target.path is not None:
            with reachable(target.path) as path:
                name = "localhost" if target.tls else None  # nobody checks it
                _, made = await loop.create_unix_connection(
                    _Connection, path, ssl=target.tls, server_hostname=name
                )
        else:
            _, made = await loop.create_connection(
                _Connection, target.host, target.port, ssl=target.tls
            )
        return made


@contextmanager
def reachable(path: Path) -> Any:
    """The path, or for one that the kernel would not take another of the same socket."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class _Connection(asyncio.Protocol):
    """One connection: at most one request is on its way."""

    def __init__(self) -> None:
        self.open = False
        self.since = 0.0  # when it was idle
        self.reusable = False
        self._transport: Any = None
        self._waiter: asyncio.Future[Response] | None = None
        self._parser: Any = None
        self._loop = asyncio.get_running_loop()

    async def ask(self, head: bytes, parts: Sequence[Buffer], until: float) -> Response:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self.reusable = False
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_at(
            self._loop.time() + max(0.0, until - monotonic()), self._end, Late()
        )
        try:
            self._write(head, parts)
            response: Response = await waiter
            return response
        finally:
            timer.cancel()
            self._waiter = None

    def _write(self, head: bytes, parts: Sequence[Buffer]) -> None:
        if not self.open:
            self._end(Broken("It closed the connection."))
        elif sum(map(len, parts)) < _JOINED:
            self._transport.write(b"".join((head, *parts)))
        else:
            self._transport.writelines([head, *parts])

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, result: Response | Exception) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if isinstance(result, Response):
            waiter.set_result(result)
        else:
            waiter.set_exception(result)

    # What asyncio tells us

    def connection_made(self, transport: Any) -> None:
        self._transport, self.open = transport, True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._end(Broken("It closed the connection before it had answered."))
        self._transport = self._parser = None

    def eof_received(self) -> bool:
        self.open = False
        return False

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort()  # it speaks without having been asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._end(Broken("Its answer is not HTTP."))

    # What the parser tells us

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MOST_BODY:
            self._end(Broken(f"Its answer is larger than {MOST_BODY >> 20} MiB."))
            self.abort()
        self._body.append(data)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 100:
            return
        self.reusable = self.open and self._parser.should_keep_alive()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._end(Response(status, self._headers, body))
