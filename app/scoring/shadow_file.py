"""`shadow.json` of an instance: which release gets copies of what production is asked.

It is there while that is so, and read by whoever starts: production, the release itself (which
runs at the lowest priority) and the keeper.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

NAME = "shadow.json"
LOWEST = 19


def read(instance: Path) -> dict[str, Any] | None:
    """What it says; None where it is not there or no such thing."""
    try:
        found = json.loads((instance / NAME).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("release") else None


def yield_to_production(instance: Path, release: str) -> None:
    """Let production go first, if it is this release that gets copies. Its workers inherit it.

    Under systemd its unit says so already.
    """
    if (read(instance) or {}).get("release") == release:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, LOWEST)
        with suppress(OSError, AttributeError):  # Linux: not even a share of what others want
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
