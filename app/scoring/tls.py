"""TLS for what the public reaches: the certificate, and a door that nobody can block."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from .credentials import places
from .http import network, peer

CERTIFICATE, KEY = "certificate.pem", "certificate_key.pem"
MOST_HANDSHAKES = 512
MOST_OF_ONE = 128  # of those, from one peer
AT_ONCE = 64


def load(instance: Path, environment: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """What new connections are met with, from the instance's files. Raises ValueError."""
    handed = places(instance, environment)[:-1]
    for folder in (*handed, instance / "tls"):
        if (folder / CERTIFICATE).exists():
            return context(folder)
    raise ValueError(f'There is no {CERTIFICATE} for TLS, which `expose = "public"` needs.')


def context(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS 1.2 and later with the certificate in this folder."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.options |= getattr(ssl, "OP_NO_RENEGOTIATION", 0)
    made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    try:
        made.load_cert_chain(folder / CERTIFICATE, folder / KEY, password=_no_password)
    except OSError as error:
        why = getattr(error, "reason", None) or error.strerror or "it cannot be read"
        raise ValueError(f"The TLS certificate and its key cannot be used: {why}.") from None
    return made


def given(text: bytes) -> ssl.SSLContext:
    """The same from JSON that holds both: {"certificate", "certificate_key"}, each as PEM.

    systemd hands over files only when it starts us; so newer ones can be told. Raises ValueError.
    """
    try:
        said = msgspec.json.decode(text, type=Given)
    except msgspec.MsgspecError:
        raise ValueError("This is not a certificate and its key.") from None
    with tempfile.TemporaryDirectory() as folder:
        for name, pem in ((CERTIFICATE, said.certificate), (KEY, said.certificate_key)):
            path = Path(folder, name)
            path.touch(0o600)
            path.write_text(pem, encoding="utf-8")
        return context(Path(folder))


class Given(msgspec.Struct):
    certificate: str
    certificate_key: str


def _no_password() -> bytes:
    """Instead of asking on the terminal for the password of an encrypted key."""
    return b""


class Door:
    """Accepts on one socket and shakes hands; a connection is only made known to us after that.

    Whoever is slow is dropped at the deadline, or earlier to make room for others.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        protocol: Callable[[], asyncio.Protocol],
        seconds: float,
        closing: float,
    ) -> None:
        self.sock = sock
        self.context = context
        self.protocol = protocol
        self.seconds = seconds
        self.closing = closing
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[asyncio.Task[None], str] = {}  # and whose; oldest first
        self._resume: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._accept)

    @property
    def shaking(self) -> bool:
        """Whether somebody is still in the door."""
        return bool(self._handshakes)

    def close(self) -> None:
        """Accept no more; handshakes that were begun go on."""
        self._loop.remove_reader(self.sock)
        if self._resume is not None:
            self._resume.cancel()
        self.sock.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, name = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no more files: later, perhaps
                self._loop.remove_reader(self.sock)
                self._resume = self._loop.call_later(0.5, self._again)
                return
            sock.setblocking(False)
            self._welcome(sock, network(peer(name)))

    def _again(self) -> None:
        self._resume = None
        self._loop.add_reader(self.sock, self._accept)

    def _welcome(self, sock: socket.socket, whose: str) -> None:
        handshakes = self._handshakes
        if len(handshakes) >= MOST_OF_ONE:
            self._make_room(whose)
        task = self._loop.create_task(self._shake(sock))
        handshakes[task] = whose
        task.add_done_callback(self._done)

    def _make_room(self, whose: str) -> None:
        """End the oldest handshake: of this peer when it has many, else of all."""
        same = [task for task, peer in self._handshakes.items() if peer == whose]
        if len(same) >= MOST_OF_ONE:
            self._drop(same[0])
        elif len(self._handshakes) >= MOST_HANDSHAKES:
            self._drop(next(iter(self._handshakes)))

    def _drop(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        task.cancel()

    async def _shake(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self.protocol,
                sock,
                ssl=self.context,
                ssl_handshake_timeout=self.seconds,
                ssl_shutdown_timeout=self.closing,
            )
        except (OSError, asyncio.TimeoutError):
            pass  # no TLS, or too slow: uvloop has closed it

    def _done(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if not task.cancelled():
            task.exception()
