"""A tunnel: a port on this machine whose connections go on at the host."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from app.errors import Problem

SIZE = 64 * 1024


class Forward:
    """Listens on 127.0.0.1:`port` until closed."""

    def __init__(self, port: int, dial: Callable[[], Any]) -> None:
        self._dial = dial
        self._ends: set[Any] = set()
        self._closed = False
        try:
            self._listener = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            raise Problem(
                f"Port {port} of this machine cannot be used for the tunnel.",
                remedy="Choose another port.",
            ) from error
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True, name="forward")
        self._thread.start()

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening and end the connections that are open."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(2)
        self._listener.close()
        for end in list(self._ends):
            hang_up(end)

    def _accept(self) -> None:
        while not self._closed:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                far = self._dial()
            except Problem:
                return  # the one who connected sees the connection close, as at the host itself
            self._ends |= {near, far}
            other_way = threading.Thread(target=pump, args=(far, near), daemon=True)
            other_way.start()
            pump(near, far)
            other_way.join()
            far.close()
            self._ends -= {near, far}


def pump(source: Any, target: Any) -> None:
    """Pass on all that `source` says, then that it has ended."""
    try:
        while said := source.recv(SIZE):
            target.sendall(said)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        hang_up(source)
        hang_up(target)


def hang_up(end: Any) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
