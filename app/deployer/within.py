"""The link to an agent within our own program, for looking at this machine.

In a process of its own it would take ten times as long to start as to answer. But it cannot be
killed, and what it breaks it breaks here: so it is asked questions only.
"""

from __future__ import annotations

import os
import threading

from app.deployer.agent import loop
from app.deployer.local import Pipes, refuse_windows
from app.errors import Problem, Unreachable

UNTIL_LEFT = 2.0
"""Seconds that what it is at gets when nobody waits for it any more."""


class WithinLink(Pipes):
    """The agent is at the other ends of two pipes, in threads."""

    def __init__(self, base: str, silence: float) -> None:
        refuse_windows()
        (asked, asks), (answer, answers) = os.pipe(), os.pipe()
        super().__init__(os.fdopen(asks, "wb", 0), os.fdopen(answer, "rb", 0))
        agent = loop.made(base, "local", (asked, answers), silence)
        self._serving = threading.Thread(target=_serve, args=(agent,), daemon=True)
        self._serving.start()

    def start(self, base: str, silence: float, request: bytes) -> None:
        self.write(request)

    def close(self) -> None:
        """What it is at may take for ever (a disk that is gone); it is left to that then."""
        self.end_input()
        self._serving.join(UNTIL_LEFT)
        if not self._serving.is_alive():
            self._output.close()

    def ending(self) -> Problem:
        return Unreachable("The agent within this program ended unexpectedly.")


def _serve(agent: loop.Agent) -> None:
    agent.serve()
    agent.hang_up()
