"""A slow way to a port: latency and bandwidth, for machines whose kernel has no netem.

    with SlowLink(("127.0.0.1", 22), latency=0.02, rate=12_500_000) as link:
        link.port

It ends TCP on both sides, so what TCP itself does on such a link does not show, but for the round
trip of its handshake, which is added.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
import time

PIECE = 16 * 1024
BUFFERED = 64
"""Pieces on their way in one direction, 1 MiB: about what routers and sockets hold."""


class SlowLink:
    """Listens on 127.0.0.1:port. latency: seconds there and back. rate: bytes a second each way."""

    def __init__(self, target: tuple[str, int], latency: float = 0.0, rate: float = 1e12) -> None:
        self.target, self.latency, self.rate = target, latency, rate
        self.carried = 0
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> SlowLink:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._sockets.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target)
                for each in (near, far):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._sockets.append(each)
                ready = time.monotonic() + self.latency
                self._carry(near, far, ready)
                self._carry(far, near, ready)

    def _carry(self, source: socket.socket, sink: socket.socket, free: float) -> None:
        """Pass on what comes, each piece when the wire has had time for it."""
        pieces: queue.Queue[tuple[float, bytes]] = queue.Queue(BUFFERED)

        def read() -> None:
            wire = free
            with contextlib.suppress(OSError):
                while data := source.recv(PIECE):
                    wire = max(wire, time.monotonic()) + len(data) / self.rate
                    pieces.put((wire + self.latency / 2, data))
                    self.carried += len(data)
            pieces.put((0.0, b""))

        def write() -> None:
            with contextlib.suppress(OSError):
                while (piece := pieces.get())[1]:
                    time.sleep(max(0.0, piece[0] - time.monotonic()))
                    sink.sendall(piece[1])
                sink.shutdown(socket.SHUT_WR)

        for work in (read, write):
            threading.Thread(target=work, daemon=True).start()
