"""Which of the instances that are watched somebody wants to see, and in which order. Pure."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

WORST = (
    *("failing", "unknown job", "gone", "degraded", "modified on host", "unreachable"),
    *("starting", "serving", "stopped"),
)
"""States, those first that somebody has to look at."""
BY_NAME = ("model", "location")
"""Orders that begin with the least; all others are figures, whose largest is looked for."""
FIGURES = ("requests", "p50", "p95", "p99", "errors", "memory")
ORDERS = ("state", *BY_NAME, *FIGURES)


def choose(
    rows: list[Row], words: str = "", *, state: str = "", location: str = "", order: str = "state"
) -> list[Row]:
    """Those whose model, location, version or state hold all the words, in an order of ORDERS."""
    asked = words.lower().split()
    found = [
        row
        for row in rows
        if all(word in _text(row) for word in asked)
        and state in ("", *states(row))
        and location in ("", row["location"])
    ]
    found.sort(key=lambda row: (row["model"], row["location"]))
    if order in FIGURES:
        found.sort(key=lambda row: (row[order] is None, -(row[order] or 0)))
    elif order == "location":
        found.sort(key=lambda row: str(row["location"]))
    elif order == "state":
        found.sort(key=lambda row: min(map(_rank, states(row))))
    return found


def states(row: Row) -> tuple[str, ...]:
    """The state of an instance, and what else it is: modified on its host, outdated."""
    more = ("modified on host", row.get("modified")), ("outdated", row.get("outdated"))
    return (row["state"], *(word for word, is_so in more if is_so))


def _rank(state: str) -> int:
    return WORST.index(state) if state in WORST else len(WORST)


def _text(row: Row) -> str:
    return f"{row['model']} {row['location']} v{row['version']} {row['state']}".lower()
