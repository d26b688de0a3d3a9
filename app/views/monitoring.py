"""Monitoring: all instances at a glance, one over time, the hosts below them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import NotFound
from app.services import monitoring, watched
from app.views.figures import row_shown

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace

SHOWN = 100
"""Rows before "Show more"."""
WORDS = {
    "15m": "15 min",
    "1h": "1 h",
    "6h": "6 h",
    "24h": "24 h",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
}
"""Range → what it is called."""
COLUMNS = (
    ("model", "Model", "name"),
    ("location", "Location", "where"),
    ("state", "State", ""),
    ("requests", "Requests", "right wide"),
    ("p50", "p50", "right narrow p50"),
    ("p95", "p95", "right narrow p95"),
    ("p99", "p99", "right narrow p99"),
    ("errors", "Errors", "right narrow"),
    ("memory", "Memory", "right narrow memory"),
    ("", "Over time", "drawn"),
)
"""Order, words and looks of each column of the list."""


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("monitoring", __name__)

    @pages.get("/monitoring")
    def index() -> Any:
        live.refresh()
        return render_template("monitoring.html", page="monitoring", **_listed(work))

    @pages.get("/monitoring/rows")
    def rows() -> Any:
        live.refresh()
        return render_template("monitoring_rows.html", **_listed(work))

    return pages


def _listed(work: Workspace) -> dict[str, Any]:
    asked = {key: request.args.get(key, "")[:200] for key in ("q", "state", "location")}
    order = request.args.get("order", "state")
    shown = request.args.get("shown", SHOWN, type=int)
    span = request.args.get("range", "")
    everything = monitoring.overview(work, monitoring.RANGES.get(span))
    chosen = watched.choose(
        everything, asked["q"], state=asked["state"], location=asked["location"], order=order
    )
    return {
        "rows": [row_shown(row) for row in chosen[:shown]],
        "more": max(0, len(chosen) - shown),
        "shown": shown,
        "asked": asked,
        "order": order,
        "ascending": ("state", *watched.BY_NAME),
        "columns": COLUMNS,
        "ranges": WORDS,
        "span": span if span in WORDS else "",
        "total": len(everything),
        "states": _states(everything, asked["state"]),
    }


def _states(rows: list[dict[str, Any]], asked: str) -> list[tuple[str, str, int]]:
    """What one can choose: (state, its word, how many), those that there are and the asked one."""
    counts = Counter(state for row in rows for state in watched.states(row))
    named = [state for state in (*watched.WORST, "outdated") if counts[state] or state == asked]
    return [("", "All", len(rows)), *((each, each.capitalize(), counts[each]) for each in named)]


def range_asked() -> str:
    asked = request.args.get("range", "")
    return asked if asked in monitoring.RANGES else "1h"


def row_of(work: Workspace, name: str, location: str) -> dict[str, Any]:
    """The one of the list; of what is no more, only what was recorded is left. Raises NotFound."""
    for row in monitoring.overview(work):
        if (row["model"], row["location"]) == (name, location):
            return row_shown(row)
    if (name, location) in monitoring.history(work):
        return {"model": name, "location": location, "state": "gone", "version": None}
    raise NotFound(f"Nothing was recorded of {name} on {location}.")
