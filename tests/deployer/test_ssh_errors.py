"""No exception of paramiko's is forgotten."""

from __future__ import annotations

import socket

import paramiko
import pytest
from paramiko import ssh_exception

from app.deployer.ssh_errors import ssh_problems
from app.errors import Problem, Refused, Unreachable

KEY = paramiko.Ed25519Key  # any class will do where a key is only named


class Named:
    def get_base64(self) -> str:
        return "AAAA"


ARGUMENTS = {
    "BadAuthenticationType": ("no", ["publickey"]),
    "PartialAuthentication": (["password"],),
    "ChannelException": (2, "Connect failed"),
    "BadHostKeyException": ("host", Named(), Named()),
    "ProxyCommandFailure": ("nc", "boom"),
    "NoValidConnectionsError": ({("10.0.0.7", 22): OSError("x")},),
}
RAISED = [
    kind
    for kind in vars(ssh_exception).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]


@pytest.mark.parametrize("kind", RAISED)
def test_every_exception_of_paramiko_becomes_a_problem(kind):
    error = kind(*ARGUMENTS.get(kind.__name__, ("boom",)))
    with pytest.raises(Problem) as caught, ssh_problems("ana@host:22", "while connecting"):
        raise error
    assert "ana@host:22" in caught.value.what
    assert caught.value.cause


@pytest.mark.parametrize(
    ("error", "kind", "what"),
    [
        (socket.gaierror(-2, "Name or service not known"), Unreachable, "is not known"),
        (TimeoutError(), Unreachable, "did not answer in time while connecting"),
        (ConnectionRefusedError(111, "refused"), Unreachable, "accepts no connection"),
        (ConnectionResetError(104, "reset"), Unreachable, "was lost while connecting"),
        (EOFError(), Unreachable, "was lost while connecting"),
        (ssh_exception.AuthenticationException("no"), Refused, "refused us"),
        (ssh_exception.IncompatiblePeer("no cipher"), Refused, "no algorithm"),
        (ssh_exception.ChannelException(1, "Prohibited"), Refused, "does not allow"),
        (ssh_exception.ChannelException(2, "Connect failed"), Unreachable, "could not"),
    ],
)
def test_what_is_said_of_it(error, kind, what):
    with pytest.raises(kind, match=what), ssh_problems("host", "while connecting"):
        raise error


def test_problems_and_mistakes_of_ours_pass_unchanged():
    for error in (Problem("ours"), TypeError("mistake")):
        with pytest.raises(type(error)) as caught, ssh_problems("host", "while connecting"):
            raise error
        assert caught.value is error
