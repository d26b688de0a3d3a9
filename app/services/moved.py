"""How what an instance is asked, and what it answers, has moved: column by column.

The last day that was recorded is held against what the version was made from (`training.py`) and
against the week before that day. No host is asked.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from app.scoring import samples, sketch, summaries
from app.services import drift, limits
from app.services.series import UNREADABLE

if TYPE_CHECKING:
    from app.store import Store
    from app.store.recorded import Recorded, Sample
    from app.store.training import Reference
    from app.workspace import Workspace

DAY = 86_400
WEEK = 7 * DAY
SIDES = ("inputs", "outputs")
LEAST = 100
"""Values below which a distance is chance."""
MOST = 200
"""Columns of one side; a host may name as many as it likes."""

Summary = Mapping[str, Any]
Table = dict[tuple[str, str], Summary]
"""(side, column) → what it was like."""


def overview(work: Workspace, model: str, location: str) -> dict[str, Any]:
    """{"model", "location", "version",
    "since", "until": of the last day that was recorded, or None,
    "limit": the score from which a column counts as moved, or None,
    "reference": {"version", "made", "source", "rows"} or None,
    "columns": those that moved most first, each {"side": inputs or outputs, "name", "title": the
        reference's own name of it,
        "now", "then": summary or None of each, then: of the reference, else of the week before,
        "reference", "week": as `drift.compare`, or None where there is nothing to compare with,
        "score": the larger one of both, or None,
        "moved": whether that is over the limit, and of at least LEAST values}}
    """
    with work.open_store() as store:
        reference, version, limit = known(store, model, location)
    with work.open_recorded() as recorded:
        source = recorded.find(model, location)
        until = None if source is None else recorded.newest_columns(source)
        now, before = ({}, {}) if source is None or until is None else days(recorded, source, until)
        skew = recorded.skew(location)
    columns = held_against(now, before, reference, limit)
    made = reference and {n: getattr(reference, n) for n in ("version", "made", "source", "rows")}
    return {
        "model": model,
        "location": location,
        "version": version,
        "since": None if until is None else until - DAY - skew,
        "until": None if until is None else until - skew,
        "limit": limit,
        "reference": made,
        "columns": columns,
    }


def known(
    store: Store, model: str, location: str
) -> tuple[Reference | None, int | None, float | None]:
    """Of an instance: what its version was made from, the version, from which score on a column
    counts as moved."""
    tracked, instance = store.models.find(model), store.instances.get(model, location)
    version = instance.version if instance else None
    reference = store.training.of(tracked, version) if tracked else None
    return reference, version, limits.of(store, model)["drift"]


def days(recorded: Recorded, source: int, until: int) -> tuple[Table, Table]:
    """The day up to then, by its host's clock, and the week before that day."""
    now = recorded.columns(source, until - DAY, until + 1)
    before = recorded.columns(source, until - DAY - WEEK, until - DAY)
    return together(now), together(before)


def held_against(
    now: Table, before: Table, reference: Reference | None, limit: float | None = None
) -> list[dict[str, Any]]:
    """Each column of now, as in `overview`, those that moved most first. Pure."""
    columns = [_column(key, held, before.get(key), reference, limit) for key, held in now.items()]
    columns.sort(key=lambda each: (-(each["score"] or 0.0), each["side"], _in_order(each["name"])))
    return columns


def _in_order(name: str) -> str:
    """The second column of an array before the tenth, which a text's order does not say."""
    return name.zfill(9) if name.isdigit() else name


def together(rows: Iterable[Sample]) -> Table:
    """What all rows say of each column; unreadable ones are left out: hosts are not trusted."""
    held: defaultdict[tuple[str, str], list[Summary]] = defaultdict(list)
    for row in rows:
        with contextlib.suppress(*UNREADABLE):
            body = samples.unpack(row.body)
            for side in SIDES:
                for name, said in list(body[side].items())[:MOST]:
                    if _is_summary(said):
                        held[side, str(name)].append(said)
    found: Table = {}
    for key, said in held.items():
        with contextlib.suppress(*UNREADABLE):
            found[key] = whole(said)
    return found


def _is_summary(said: Any) -> bool:
    return isinstance(said, dict) and (
        isinstance(said.get("sketch"), dict) or isinstance(said.get("top"), list)
    )


def whole(said: list[Summary]) -> Summary:
    """The summary of the values of all; sketches in one pass, for there may be hundreds."""
    numbers = [each for each in said if "sketch" in each]
    if len(numbers) < len(said):
        return _merged(said)
    bare = _merged([{**each, "sketch": sketch.of(())} for each in numbers])
    return {**bare, "sketch": sketch.merge_many([each["sketch"] for each in numbers])}


def _merged(said: list[Summary]) -> Summary:
    first, *others = said
    for each in others:
        first = summaries.merge(first, each)
    return first


def _column(
    key: tuple[str, str],
    now: Summary,
    before: Summary | None,
    reference: Reference | None,
    limit: float | None,
) -> dict[str, Any]:
    side, name = key
    title = title_of(reference, name) if side == "inputs" else None
    made = reference.columns[title] if reference and title else None
    found = [_compared(each, now) for each in (made, before)]
    scores = [each["score"] for each in found if each]
    score = max(scores, default=None)
    over = score is not None and limit is not None and score > limit
    return {
        "side": side,
        "name": name,
        "title": title or name,
        "now": now,
        "then": made or before,
        "reference": found[0],
        "week": found[1],
        "score": score,
        "moved": over and now["count"] >= LEAST,
    }


def title_of(reference: Reference | None, name: str) -> str | None:
    """The column of a reference that is meant. One of a matrix has the number of its place."""
    if reference is None or name in reference.columns:
        return name if reference else None
    held = list(reference.columns)
    return held[int(name)] if name.isdecimal() and int(name) < len(held) else None


def _compared(then: Summary | None, now: Summary) -> dict[str, Any] | None:
    """None too where a host's summary is none."""
    if then is None:
        return None
    with contextlib.suppress(*UNREADABLE, ArithmeticError):
        return drift.compare(then, now)
    return None
