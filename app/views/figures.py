"""Numbers of the monitoring pages as one reads them, and a row of them as a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from app.words import size

WIDTH, HEIGHT = 96.0, 20.0
LEAST = 1.0
"""Requests a second that fill the height at least, so that one request is no mountain."""


def row_shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `monitoring.overview` in the units of the pages."""
    milliseconds = {name: _times(row[name], 1000) for name in ("p50", "p95", "p99")}
    return {
        **row,
        **milliseconds,
        "errors": _times(row["errors"], 100),
        "path": path_of(row["spark"]),
    }


def host_shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `hosts.overview`: {"location", "meters": [(word, per cent or None, words)], …}."""
    meters = [("CPU", _times(row["cpu"], 100), "")]
    for name in ("memory", "disk"):
        part, whole = row[name], row[f"{name}_total"]
        known = part is not None and whole
        words = f"{size(part)} of {size(whole)}" if known else ""
        meters.append((name.capitalize(), part / whole * 100 if known else None, words))
    seen = row["at"] and datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**row, "meters": meters, "seen": seen}


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def path_of(rates: list[float | None]) -> str:
    """An SVG path through them from left to right, WIDTH × HEIGHT; broken where nothing is known,
    and empty where there is no line to draw."""
    most = max((rate for rate in rates if rate is not None), default=0.0)
    step = WIDTH / max(1, len(rates) - 1)
    drawn, pen = "", "M"
    for n, rate in enumerate(rates):
        if rate is None:
            pen = "M"
            continue
        drawn += f"{pen}{n * step:.1f} {HEIGHT - 1 - rate / max(most, LEAST) * (HEIGHT - 2):.1f}"
        pen = "L"
    return drawn if "L" in drawn else ""
