"""A Link carries bytes to and from one agent; local.py and ssh.py have one each."""

from __future__ import annotations

from typing import Any, Protocol

from app.errors import Problem

Address = str | tuple[str, int]
PATIENCE = 45.0


class Lost(Exception):
    """The link has ended; its `ending` says why."""


class Link(Protocol):
    """Bytes to and from one agent.

    patience: how long `read` waits for a byte before it raises TimeoutError. Agents beat, so
    silence means that the other side is gone.
    """

    place: str
    patience: float

    def start(self, base: str, silence: float, request: bytes) -> None:
        """Have the agent begin, its first answer next to be read. Raises a Problem."""

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises Lost, TimeoutError."""

    def write(self, data: bytes) -> None:
        """All of it. Raises Lost."""

    def end_input(self) -> None:
        """Tell the agent that nothing more will come."""

    def close(self) -> None:
        """Give up everything, waking whoever waits in read or write."""

    def ending(self) -> Problem:
        """Why the bytes stopped coming."""

    def dial(self, address: Address) -> Any:
        """A socket (or its like) to an address as the host sees it. Raises a Problem."""
