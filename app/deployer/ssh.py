"""The link to an agent on a server: paramiko's home, with ssh_login.py and ssh_errors.py.

Found by measuring: without TCP_NODELAY a command takes 45 ms more; AES-GCM and big windows double
the speed; without TCP_USER_TIMEOUT a dead link hangs for ever, whatever paramiko's keepalive does.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.ssh_exception import ChannelException, IncompatiblePeer, SSHException

from app.deployer.agent import frames
from app.deployer.keychain import Ask
from app.deployer.link import PATIENCE, Address, Lost
from app.deployer.ssh_config import Target, parse_url, route
from app.deployer.ssh_errors import FORBIDDEN, Weak, hung_up, ssh_problems
from app.deployer.ssh_login import DEAD_AFTER, Login
from app.deployer.ssh_socket import ChannelSocket, close_channel
from app.deployer.starting import NO_PYTHON, command, no_python, start_agent
from app.deployer.sudo import get_through
from app.deployer.trust import HostKey, Trust
from app.errors import Problem, Unreachable

if TYPE_CHECKING:
    from app.models import Location

CONNECT, BANNER, HANDSHAKE, AUTH, CHANNEL = 15.0, 15.0, 20.0, 30.0, 30.0
KEEPALIVE = 10
WINDOW = 64 * 1024 * 1024
PACKET = 256 * 1024
PIECE = 1024 * 1024
ENDLESS = 1 << 62
LAST_WORDS = 4096
ATTEMPTS = 5
PAUSES = (0.2, 0.4, 0.8, 1.6, 3.2)

CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)

HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Transport(paramiko.Transport):
    """With the host key types we choose, and never a host certificate, which we cannot verify."""

    wanted_keys: tuple[str, ...] = HOST_KEYS
    offered: dict[str, Any]

    def _really_parse_kex_init(self, *message: Any, **options: Any) -> dict[str, Any]:
        self.offered = super()._really_parse_kex_init(*message, **options)  # type: ignore[misc]
        return self.offered

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        return self.wanted_keys


def connect(location: Location, trust: Trust, ask: Ask | None) -> SshLink:
    """Go through all jumps to the location's server, log in, start the shell command there."""
    targets = route(parse_url(location.url), location.identity)
    opened: list[Transport] = []
    try:
        for target in targets:
            opened.append(go_to(target, opened[-1] if opened else None, location.name, trust, ask))
        return SshLink(opened, targets[-1].place, location, ask)
    except BaseException:
        close_all(opened)
        raise


def go_to(
    target: Target, through: Transport | None, name: str, trust: Trust, ask: Ask | None
) -> Transport:
    """A logged-in connection to one server, its host key checked before anything is said."""
    transport = greet(target, through, trust.keys(target.known_as))
    try:
        with ssh_problems(target.place, "while agreeing on keys"):
            shown = transport.get_remote_server_key()
        trust.check(target.known_as, HostKey(shown.get_name(), shown.asbytes()), name)
        with ssh_problems(target.place, "while logging in"):
            Login(transport, target, ask).run()
    except BaseException:
        close_all([transport])
        raise
    transport.set_keepalive(KEEPALIVE)
    return transport


def greet(target: Target, through: Transport | None, stored: list[HostKey]) -> Transport:
    """Connected and agreed on keys. A server that hangs up without a word is tried again: busy."""
    for pause in (*PAUSES, None):
        with ssh_problems(target.place, "while connecting"):
            sock = open_socket(target) if through is None else open_hop(through, target)
        try:
            with ssh_problems(target.place, "while agreeing on keys"):
                return shake_hands(sock, stored)
        except HungUp as error:
            if pause is None:
                raise hung_up(target.place) from error.__cause__
            time.sleep(pause * random.uniform(0.5, 1.5))
    raise AssertionError("unreachable")


class HungUp(Exception):
    """The server closed the connection before it said anything."""


class Socket(socket.socket):
    """Acknowledges at once: sshd, without TCP_NODELAY until a session stands, would wait 40 ms."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        if hasattr(socket, "TCP_QUICKACK"):
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return data


def open_socket(target: Target) -> socket.socket:
    """Connected, quick with small packets, and quick to notice that the other side is dead."""
    plain = socket.create_connection((target.host, target.port), CONNECT)
    sock = Socket(fileno=plain.detach())
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * DEAD_AFTER))
    return sock


def open_hop(through: Transport, target: Target) -> paramiko.Channel:
    return open_tcp(through, (target.host, target.port))


def open_tcp(transport: Transport, address: tuple[str, int]) -> paramiko.Channel:
    return transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=CHANNEL)


def shake_hands(sock: Any, stored: list[HostKey]) -> Transport:
    """Agree on keys, with strong algorithms only, asking first for the host keys we know."""
    transport = Transport(sock, default_window_size=WINDOW, default_max_packet_size=PACKET)
    options = transport.get_security_options()
    options.ciphers, options.digests = CIPHERS, MACS
    transport.wanted_keys = known_first(stored)
    transport.banner_timeout = BANNER
    transport.handshake_timeout = HANDSHAKE
    transport.auth_timeout = AUTH
    transport.channel_timeout = CHANNEL
    try:
        transport.start_client(timeout=BANNER + HANDSHAKE)
    except (SSHException, EOFError) as error:
        close_all([transport])
        if isinstance(error, IncompatiblePeer):
            raise Weak(error, transport.offered, options.kex) from error
        closed = isinstance(error.__context__, EOFError | ConnectionError)
        if closed and not transport.remote_version:
            raise HungUp from error
        raise
    except BaseException:
        close_all([transport])
        raise
    return transport


def known_first(stored: list[HostKey]) -> tuple[str, ...]:
    """All stored key types before the others: else a host with two keys may look changed."""
    kinds = {key.kind for key in stored}
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
    return tuple(sorted(HOST_KEYS, key=lambda kind: kind not in kinds))


def close_all(transports: list[Transport]) -> None:
    """The last first. Shutting the socket down wakes paramiko's thread at once."""
    for transport in reversed(transports):
        with contextlib.suppress(OSError, EOFError):
            if isinstance(transport.sock, socket.socket):
                transport.sock.shutdown(socket.SHUT_RDWR)
        transport.close()
        transport.sock.close()
        if transport.is_alive():
            transport.join(2)


class SshLink:
    """The channel of one agent."""

    def __init__(
        self, transports: list[Transport], place: str, location: Location, ask: Ask | None
    ) -> None:
        self.place = place
        self.patience = PATIENCE
        self._transports = transports
        self._location = location
        self._ask = ask
        self._channel = self._start_command()

    def _start_command(self) -> paramiko.Channel:
        token = secrets.token_hex(16)
        with ssh_problems(self.place, "while starting the agent"):
            channel = self._open_session()
            channel.exec_command(command(self._location.privilege, token))
            if self._location.privilege == "sudo":
                get_through(channel, self.place, token, self._ask)
        return channel

    def _open_session(self) -> paramiko.Channel:
        """Servers limit how many there are at once, and are slow to notice that one has closed."""
        for attempt in range(ATTEMPTS):
            try:
                return self._transports[-1].open_session(timeout=CHANNEL)
            except ChannelException:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    def start(self, base: str, silence: float, request: bytes) -> None:
        start_agent(self, base, silence, request)

    def read(self, size: int) -> bytes:
        self._channel.settimeout(self.patience)
        try:
            return self._channel.recv(size)
        except TimeoutError:
            raise
        except (SSHException, OSError, EOFError) as error:
            raise Lost from error

    def write(self, data: bytes) -> None:
        """A full window is no reason to give up: the agent may be busy. Silence is (see read)."""
        view = memoryview(data)
        while view:
            try:
                sent = self._channel.send(view)  # type: ignore[arg-type]
            except TimeoutError:
                continue
            except (SSHException, OSError, EOFError) as error:
                raise Lost from error
            if not sent:
                raise Lost
            view = view[sent:]

    def end_input(self) -> None:
        with contextlib.suppress(SSHException, OSError, EOFError):
            self._channel.shutdown_write()

    def close(self) -> None:
        close_all(self._transports)

    def ending(self) -> Problem:
        said = self._last_words()
        if not self._transports[-1].is_active() or not self._channel.status_event.wait(2):
            return lost(self.place, said)
        code = self._channel.exit_status
        if code == NO_PYTHON:
            return no_python(self.place, said)
        if code < 0:
            return lost(self.place, said)
        return Unreachable(
            f"The agent on {self.place} ended unexpectedly.",
            cause=f"exit status {code}",
            detail=said,
            remedy="If login scripts there call exit, let them do so in terminals only.",
        )

    def _last_words(self) -> str:
        said = b""
        with contextlib.suppress(TimeoutError):
            self._channel.settimeout(0.2)
            while part := self._channel.recv_stderr(PIECE):
                said = (said + part)[-LAST_WORDS:]
        return said.decode("utf-8", "replace").strip()

    def dial(self, address: Address) -> ChannelSocket:
        """Through the server if it may; else, and to Unix sockets, by an agent of its own."""
        if not isinstance(address, str):
            with ssh_problems(f"{address[0]}:{address[1]} on {self.place}", "while connecting"):
                try:
                    return ChannelSocket(open_tcp(self._transports[-1], address))
                except ChannelException as error:
                    if error.code != FORBIDDEN:
                        raise
        link = SshLink(self._transports, self.place, self._location, self._ask)
        return link.hand_over(address)

    def hand_over(self, address: Address) -> ChannelSocket:
        """Make this link the socket to an address."""
        request = {"id": 0, "do": "relay", "args": {"address": address}}
        try:
            self.start(self._location.base, PATIENCE, frames.encode(request, ENDLESS))
            connected(self.read)
        except (Lost, frames.Ended):
            why = self.ending()
            close_channel(self._channel)
            raise why from None
        except BaseException:
            close_channel(self._channel)
            raise
        self._channel.settimeout(None)
        return ChannelSocket(self._channel)


def connected(read: Callable[[int], bytes]) -> None:
    """Read up to the agent's word that the connection stands."""
    while True:
        header, _ = frames.read_header(read)
        if "error" in header:
            error = header["error"]
            raise Unreachable(error["what"], cause=error["cause"])
        if "event" in header:
            return


def lost(place: str, said: str) -> Unreachable:
    return Unreachable(
        f"The connection to {place} was lost.",
        detail=said,
        remedy="Check the network, then run the same command again: it goes on where it was.",
    )
