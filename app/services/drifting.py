"""How far what instances are asked has moved, for alerts: as `moved.py` has it.

It reads a week of rows, so each round looks at one instance only, and at each every few hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from app.services import moved

if TYPE_CHECKING:
    from app.store import Store
    from app.store.recorded import Recorded

EVERY = 4 * 3600.0
"""Seconds between two looks at one instance."""
LEAST = 500
"""Values of the day, and of what it is held against, below which nothing is told of a column."""
LONGEST = 200
"""Characters of a column's name; of a longer one nothing is told."""
MOST = 20
"""Columns that are told about, the furthest ones: a host may name as many as it likes."""


def refresh(
    store: Store, recorded: Recorded, places: Iterable[tuple[str, str]], now: float
) -> None:
    """Look at the one of these instances that was looked at longest ago, if that is long ago."""
    sources = {each: recorded.find(*each) for each in places}
    looked = {
        (place, source): (recorded.alerts.moved(source) or (0.0, {}))[0]
        for place, source in sources.items()
        if source is not None
    }
    oldest = min(looked, key=looked.__getitem__, default=None)
    if oldest is None or abs(now - looked[oldest]) < EVERY:
        return
    place, source = oldest
    reference, _, _ = moved.known(store, *place)
    until = int(now + recorded.skew(place[1]))
    columns = moved.held_against(*moved.days(recorded, source, until), reference)
    recorded.alerts.keep_moved(source, now, scores(columns))


def of(recorded: Recorded, source: int, now: float) -> dict[str, float] | None:
    """Column → how far, as last looked at; None when that is too long ago, or never was."""
    at, found = recorded.alerts.moved(source) or (0.0, {})
    return found if abs(now - at) < 2 * EVERY else None


def scores(columns: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Column → how far it has moved, of `moved.held_against`, where enough is known of it. Pure."""
    found = {each["title"]: each["score"] for each in columns if _is_told(each)}
    return dict(list(found.items())[:MOST])


def _is_told(column: dict[str, Any]) -> bool:
    if column["side"] != "inputs" or column["score"] is None or len(column["title"]) > LONGEST:
        return False
    return bool(min(column["now"]["count"], column["then"]["count"]) >= LEAST)
