"""Where tests may end the agent, as a kill would. The client passes on what it was told."""

from __future__ import annotations

import os
import signal

PREFIX = "agent:"
asked = ""


def crash_point(name: str) -> None:
    """Die here at once when RHYTHMICML_CRASH_AT says `agent:` and this name."""
    if PREFIX + name in asked.split(","):
        os.kill(os.getpid(), signal.SIGKILL)
