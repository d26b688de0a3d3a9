"""Where tests may end this process, as a power cut would."""

from __future__ import annotations

import os
import signal


def crash_point(name: str) -> None:
    """Die here at once when RHYTHMICML_CRASH_AT says so."""
    if os.environ.get("RHYTHMICML_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
