"""How far the columns of what an instance is asked have moved: the last day against the week
before it. Looked at now and then: it reads a week of rows."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

from app.scoring import samples, sketch, summaries
from app.services import drift
from app.services.series import UNREADABLE

if TYPE_CHECKING:
    from app.store.recorded import Recorded, Sample

DAY, WEEK = 86_400.0, 7 * 86_400.0
EVERY = 4 * 3600.0
"""Seconds between two looks at one instance."""
LEAST = 500
"""Values on either side below which nothing is said of a column."""
LONGEST = 200
"""Characters of a column's name; of a longer one nothing is said."""
MOST = 20
"""Columns that are told about, the furthest ones: a host may name as many as it likes."""

Summary = dict[str, Any]
EMPTY = sketch.of(())


def refresh(recorded: Recorded, places: Iterable[tuple[str, str]], now: float) -> None:
    """Look at the one of these instances that was looked at longest ago, if that is long ago."""
    sources = [(recorded.find(*each), each[1]) for each in places]
    known = [(source, location) for source, location in sources if source is not None]
    looked = {each: (recorded.alerts.moved(each[0]) or (0.0, {}))[0] for each in known}
    oldest = min(looked, key=looked.__getitem__, default=None)
    if oldest is None or abs(now - looked[oldest]) < EVERY:
        return
    source, location = oldest
    there = now + recorded.skew(location)
    before = recorded.columns(source, there - DAY - WEEK, there - DAY)
    recorded.alerts.keep_moved(
        source, now, scores(before, recorded.columns(source, there - DAY, there))
    )


def of(recorded: Recorded, source: int, now: float) -> dict[str, float] | None:
    """Column → PSI, as last looked at; None when that is too long ago, or never was."""
    at, found = recorded.alerts.moved(source) or (0.0, {})
    return found if abs(now - at) < 2 * EVERY else None


def scores(before: Iterable[Sample], now: Iterable[Sample]) -> dict[str, float]:
    """Column → how far it has moved, the furthest ones first. Pure."""
    was, is_now = whole(before), whole(now)
    found: dict[str, float] = {}
    for name in (each for each in was.keys() & is_now.keys() if len(each) <= LONGEST):
        with contextlib.suppress(*UNREADABLE, ArithmeticError):
            if min(was[name]["count"], is_now[name]["count"]) >= LEAST:
                found[name] = float(drift.compare(was[name], is_now[name])["score"])
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0]))[:MOST])


def whole(rows: Iterable[Sample]) -> dict[str, Summary]:
    """Column → summary, of all inputs that rows tell of; what cannot be read is left out."""
    parts: dict[str, list[Summary]] = defaultdict(list)
    for row in rows:
        with contextlib.suppress(*UNREADABLE):
            for name, summary in samples.unpack(row.body)["inputs"].items():
                parts[name].append(summary)
    found = {}
    for name, some in parts.items():
        with contextlib.suppress(*UNREADABLE, ArithmeticError):
            found[name] = _joined(some)
    return found


def _joined(parts: list[Summary]) -> Summary:
    """As merging them one by one, with all their sketches at once, which is quicker."""
    if not all("sketch" in each for each in parts):
        return reduce(summaries.merge, parts)
    rest = reduce(summaries.merge, ({**each, "sketch": EMPTY} for each in parts))
    return {**rest, "sketch": sketch.merge_many([each["sketch"] for each in parts])}
