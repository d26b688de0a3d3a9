"""What paramiko and sockets raise, as Problems. The one place where that is decided."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from paramiko import ssh_exception as raised

from app.errors import Problem, Refused, Unreachable

CONFIGURATION = (raised.ConfigParseError, raised.CouldNotCanonicalize, raised.ProxyCommandFailure)
FORBIDDEN, NO_CONNECTION = 1, 2


class Weak(raised.IncompatiblePeer):
    """Nothing of what the server offered would do."""

    def __init__(
        self, error: raised.IncompatiblePeer, offered: dict[str, Any], taken: Iterable[str]
    ) -> None:
        super().__init__(str(error))
        self.offered = offered
        self.taken = taken


@contextmanager
def ssh_problems(place: str, phase: str) -> Iterator[None]:
    """Everything that goes wrong while `phase` ("while logging in") becomes a Problem."""
    try:
        yield
    except Problem:
        raise
    except (raised.SSHException, OSError, EOFError) as error:
        raise problem_of(error, place, phase) from error


def problem_of(error: Exception, place: str, phase: str) -> Problem:
    """What the person gets to know of an exception from below."""
    if isinstance(error, raised.AuthenticationException):
        return Refused(
            f"{place} refused us {phase}.", remedy="Check the user name and the key or password."
        )
    if isinstance(error, raised.IncompatiblePeer):
        return Refused(
            f"{place} offers no algorithm that is safe enough {phase}.",
            cause=str(error),
            detail=offers(error) if isinstance(error, Weak) else "",
            remedy="Update the SSH server there, or its Ciphers, MACs, KexAlgorithms and "
            "HostKeyAlgorithms in sshd_config.",
        )
    if isinstance(error, raised.BadHostKeyException):
        return Problem(f"{place} shows another host key than before.")
    if isinstance(error, CONFIGURATION):
        return Problem(
            f"~/.ssh/config does not lead to {place}.", remedy="Correct it; ssh -G HOST tests."
        )
    if isinstance(error, raised.ChannelException):
        return channel_problem(error, place, phase)
    return unreachable(error, place, phase)


def offers(error: Weak) -> str:
    """What the server would have done, a line a kind, and how we agree on keys."""
    kinds = {
        "Key exchange": "kex_algo_list",
        "Host keys": "server_key_algo_list",
        "Ciphers": "server_encrypt_algo_list",
        "MACs": "server_mac_algo_list",
    }
    known = [f"{words}: {', '.join(error.offered[key])}" for words, key in kinds.items()]
    ours = f"We take as key exchange: {', '.join(error.taken)}"
    return "\n".join(["It offered:", *known, ours])


def hung_up(place: str) -> Unreachable:
    return Unreachable(
        f"{place} closes the connection before it says anything.",
        cause="It is too busy (MaxStartups), or it does not let this address in.",
        remedy="Try again in a minute; if that does not help, ask the server's administrator.",
    )


def channel_problem(error: raised.ChannelException, place: str, phase: str) -> Problem:
    if error.code == FORBIDDEN:
        return Refused(
            f"{place} does not allow that {phase}.",
            cause=error.text,
            remedy="Ask the server's administrator for AllowTcpForwarding.",
        )
    return Unreachable(f"{place} could not do it {phase}.", cause=error.text)


def unreachable(error: Exception, place: str, phase: str) -> Unreachable:
    if isinstance(error, socket.gaierror):
        return Unreachable(
            f"The name of {place} is not known.",
            cause=error.strerror or "",
            remedy="Check the spelling and the network.",
        )
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{place} did not answer in time {phase}.",
            cause="time ran out",
            remedy="Check the address, the network and the firewalls between.",
        )
    if isinstance(error, ConnectionRefusedError | raised.NoValidConnectionsError):
        return Unreachable(
            f"{place} accepts no connection.",
            cause=error.strerror or "",
            remedy="Check the port, and that the SSH server runs.",
        )
    return Unreachable(
        f"The connection to {place} was lost {phase}.",
        remedy="Check the network, then run the same command again.",
    )
