"""Values in people's words; those of the agent, and some that only this side says."""

from __future__ import annotations

from datetime import datetime, timezone

from app.deployer.agent.words import duration, size, told
from app.models import instant

__all__ = ["ago", "counted", "duration", "figure", "milliseconds", "short", "size", "told"]


def counted(number: int, noun: str) -> str:
    """As "1 file" or "2 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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


def milliseconds(seconds: float) -> str:
    """How long an answer took: 0.4 ms, 38 ms, 1.2 s."""
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def figure(value: float | None, unit: str) -> str:
    """1.2 k req/s, 38 ms, 412 MB, 0.02 %; a dash for what is not known."""
    if value is None:
        return "–"
    if unit == "bytes":
        return size(value)
    if unit == "req/s" and value >= 1000:
        return f"{value / 1000:.1f} k req/s"
    if unit == "ms" and value >= 10_000:
        return f"{value / 1000:.1f} s"
    return f"{short(value)} {unit}"


def short(value: float) -> str:
    """Three digits, fewer where they say nothing: 0, 0.02, 4.1, 38, 1204."""
    if value == 0 or abs(value) >= 10:
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0") if abs(value) >= 1 else f"{value:.2g}"
