"""Frames to and from a process of ours, over a socket that is never waited for.

A frame: the lengths of its header and its payload, the header as its form writes it, the payload
raw.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, NamedTuple

from .inputs import Buffer

_READ = 1 << 18
_JOINED = 1 << 17  # payloads below this are sent in one piece with their header
_LARGE = 1 << 20


class Form(NamedTuple):
    """How headers are written: two lengths, then what `encode` makes of them."""

    lengths: Struct
    encode: Callable[[Any], bytes]
    decode: Callable[[Any], Any]


class Channel:
    """Our end of the socket to one process.

    on_frame(header, payload): the payload is bytes or, in a frame of more than a megabyte, a
    read-only view of what was received. on_end(): the other end is gone, and this one closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        form: Form,
        on_frame: Callable[[Any, Any], None],
        on_end: Callable[[], None],
        read: int = _READ,
    ) -> None:
        self.sock = sock
        self.closed = False
        self._lengths, self._encode, self._decode = form
        self._on_frame, self._on_end = on_frame, on_end
        self._read = read
        self._received = bytearray()
        self._unsent: deque[memoryview] = deque()
        self._blocked = False  # whether the loop calls when the socket takes more
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._readable)

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken yet."""
        return sum(map(len, self._unsent))

    def send(self, header: Any, parts: Sequence[Buffer] = ()) -> None:
        """Send a frame, now or as the other end takes it. The parts must stay as they are."""
        text = self._encode(header)
        size = sum(map(len, parts))
        head = self._lengths.pack(len(text), size) + text
        if size < _JOINED:
            self._unsent.append(memoryview(b"".join((head, *parts))))
        else:
            self._unsent.extend(memoryview(part) for part in (head, *parts) if part)
        self._flush()

    def close(self) -> None:
        """Hear no more and say no more; a second time does nothing."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self.sock)
        self._loop.remove_writer(self.sock)
        self.sock.close()

    def _flush(self) -> None:
        """Write as much as the socket takes now; the loop calls again when it takes more."""
        unsent = self._unsent
        try:
            while unsent:
                sent = self.sock.send(unsent[0])
                if sent == len(unsent[0]):
                    unsent.popleft()
                else:
                    unsent[0] = unsent[0][sent:]
        except BlockingIOError:
            if not self._blocked:
                self._blocked = True
                self._loop.add_writer(self.sock, self._flush)
            return
        except OSError:
            unsent.clear()  # the reader hears of the end too
        if self._blocked:
            self._blocked = False
            self._loop.remove_writer(self.sock)

    def _readable(self) -> None:
        try:
            received = self.sock.recv(self._read)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self.close()
            self._on_end()
            return
        self._received += received
        self._frames()

    def _frames(self) -> None:
        lengths, buffer = self._lengths, self._received
        first = lengths.size
        while len(buffer) >= first and not self.closed:
            header_size, size = lengths.unpack_from(buffer)
            start = first + header_size
            end = start + size
            if len(buffer) < end:
                return
            if end <= _LARGE:
                header = self._decode(buffer[first:start])
                payload: Any = bytes(buffer[start:end])
                del buffer[:end]
            else:  # it stays where it is; what follows is at most one `recv`, and copied
                view = memoryview(buffer).toreadonly()
                buffer = self._received = buffer[end:]
                header, payload = self._decode(view[first:start]), view[start:end]
                del view
            self._on_frame(header, payload)
