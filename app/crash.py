"""Where tests may end this process, as a power cut would.

Several names have commas between them. One with `agent:` before it ends the agent on the host
instead: app/deployer/agent/crash.py.
"""

from __future__ import annotations

import os

from app import portable


def crash_point(name: str) -> None:
    """Die here at once when RHYTHMICML_CRASH_AT says so."""
    if name in os.environ.get("RHYTHMICML_CRASH_AT", "").split(","):
        os.kill(os.getpid(), portable.KILL)
