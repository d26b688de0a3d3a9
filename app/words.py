"""Values in people's words; those of the agent, and some that only this side says."""

from __future__ import annotations

from datetime import datetime, timezone

from app.deployer.agent.words import duration, size
from app.models import instant

__all__ = ["ago", "duration", "size"]


def ago(stamp: str) -> str:
    """An ISO time as "3 min ago"."""
    try:
        then = instant(stamp)
    except ValueError:
        return stamp
    seconds = (datetime.now(timezone.utc) - then).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"
