"""Hand the wires over to one socket: how the client reaches what only the agent may."""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Any

from .failure import Failure
from .fronts import dial
from .loop import Agent, ClientGone, Payload, op

SIZE = 64 * 1024


@op("relay")
def relay(agent: Agent, args: dict[str, Any], payload: Payload) -> Any:
    """Connect to `address` ([host, port] or a path) and hand it the wires.

    The payload, which has no end, and all output after one event are its bytes.
    """
    with connect(args["address"]) as peer:
        agent.beats = False
        agent.event(connected=True)
        pump(agent, peer, payload)
    raise ClientGone


def connect(address: Any) -> socket.socket:
    """A socket to [host, port] or to a path."""
    try:
        if isinstance(address, str):
            return dial(Path(address))
        peer = socket.create_connection((address[0], address[1]), 10)
    except OSError as error:
        raise Failure(f'"{address}" on the host does not answer.', kind="Unreachable") from error
    peer.settimeout(None)
    return peer


def pump(agent: Agent, peer: socket.socket, payload: Payload) -> None:
    """Move bytes both ways until the peer has said all."""
    poll = select.poll()
    poll.register(agent.input, select.POLLIN)
    poll.register(peer, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == peer.fileno():
                said = heard(peer)
                if not said:
                    return
                agent.write(said)
            elif not forward(peer, payload):
                poll.unregister(agent.input)


def heard(peer: socket.socket) -> bytes:
    """What the peer says; nothing once it has ended, however that came about."""
    try:
        return peer.recv(SIZE)
    except ConnectionError:
        return b""


def forward(peer: socket.socket, payload: Payload) -> bool:
    """Pass on what the client said; False once it has said all."""
    try:
        peer.sendall(payload.read(SIZE))
    except ClientGone:
        peer.shutdown(socket.SHUT_WR)
        return False
    return True
