"""A paramiko channel that behaves as a socket does, for http.client and the like.

A channel's own `close` takes the bytes away from files made of it; a socket stays until the last of
them is closed, and http.client counts on that.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import paramiko
from paramiko.ssh_exception import SSHException


@contextmanager
def as_a_socket_says_it() -> Iterator[None]:
    """paramiko has words of its own for a connection that was lost under its channel."""
    try:
        yield
    except (SSHException, EOFError) as error:
        raise ConnectionResetError("the connection was lost") from error


def close_channel(channel: paramiko.Channel) -> None:
    """Close it, also when the connection under it was lost."""
    with suppress(SSHException, OSError, EOFError):
        channel.close()


class ChannelSocket:
    """What of a socket's methods its users need."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._users = 1
        self._closed = False
        self._counting = threading.Lock()

    def __enter__(self) -> ChannelSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def recv(self, size: int) -> bytes:
        with as_a_socket_says_it():
            return self._channel.recv(size)

    def sendall(self, data: bytes) -> None:
        """paramiko's own turns in circles for ever once the other side has gone."""
        rest = memoryview(data)
        while rest:
            with as_a_socket_says_it():
                sent = self._channel.send(rest)  # type: ignore[arg-type]
            if not sent:
                raise BrokenPipeError("the other side has gone")
            rest = rest[sent:]

    def settimeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        with as_a_socket_says_it():
            self._channel.shutdown(how)

    def makefile(self, mode: str = "rb", buffering: int = -1) -> IO[bytes]:
        """A file to read from, for which the connection stays open."""
        if mode != "rb":
            raise ValueError(f"files are for reading here, not {mode!r}")
        with self._counting:
            self._users += 1
        reader = Reader(self)
        size = io.DEFAULT_BUFFER_SIZE if buffering < 1 else buffering
        return io.BufferedReader(reader, size)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.let_go()

    def let_go(self) -> None:
        """One user less; the last one closes the channel."""
        with self._counting:
            self._users -= 1
            last = not self._users
        if last:
            close_channel(self._channel)


class Reader(io.RawIOBase):
    """Reads from a ChannelSocket."""

    def __init__(self, source: ChannelSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._source.let_go()
