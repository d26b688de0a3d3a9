"""Alerts: looked at after each collection, told once, kept in `monitoring.sqlite`.

rules.py says what is over its limit, hysteresis.py from when on that is an alert; here that is
written down, and handed to telling.py.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from app.errors import NotFound, Problem
from app.services import facts, hysteresis, limits, message, person, rules, telling
from app.services.notices import plain
from app.services.rules import Facts, HostFacts, Reading

if TYPE_CHECKING:
    from app.store.recorded import Recorded
    from app.workspace import Workspace

QUIET = 1800.0
"""Seconds in which the same alert is told once, however often it comes and goes."""
KEPT = 400 * 86_400.0
"""Seconds that alerts stay after they ended."""

Row = dict[str, Any]
Key = tuple[str, str, str, str]


class Event(NamedTuple):
    """What happened to an alert: message.BEGAN or ENDED; and whether somebody is told."""

    number: int
    kind: str
    told: bool


def evaluate(work: Workspace, rows: Sequence[Row], now: float | None = None) -> list[Event]:
    """Hold instances, as `status` tells of them, to their limits; says what began and ended.

    Those of an instance whose host does not answer stay as they are.
    """
    now = time.time() if now is None else now
    with work.open_store() as store, work.open_recorded() as recorded:
        seen = facts.gather(store, recorded, rows, now)
        known = {(each.model, each.location) for each in store.instances.all()}
        bounds = limits.of_each(store, [None, *(row["model"] for row in rows)])
        judged = [_judged(each, bounds, now) for each in seen]
        with recorded.write():
            events = _apply(recorded, judged, now)
            for row in _gone(recorded, known):
                events.append(_end(recorded, row, now)._replace(told=False))
            telling.post(work, recorded, [(e.number, e.kind) for e in events if e.told])
            recorded.alerts.forget_before(now - KEPT)
    telling.begin(work)
    return events


def after(work: Workspace, rows: Sequence[Row]) -> None:
    """`evaluate`, for who looked at instances for another reason, whom it must not hinder."""
    with contextlib.suppress(Problem):
        evaluate(work, rows)


class Judged(NamedTuple):
    """What the rules say of an instance, or of a host. whole: columns were looked at too."""

    model: str
    location: str
    readings: list[Reading]
    whole: bool


def _judged(
    seen: Facts | HostFacts, bounds: Mapping[str | None, limits.Limits], now: float
) -> Judged:
    if isinstance(seen, HostFacts):
        readings = list(rules.of_host(seen, bounds[None]))
        return Judged("", seen.location, readings, True)
    limit = bounds[seen.model]
    readings = list(rules.of_instance(seen, limit, now))
    whole = seen.drift is not None or not limit["drift"]
    return Judged(seen.model, seen.location, readings, whole)


def _apply(recorded: Recorded, judged: Sequence[Judged], now: float) -> list[Event]:
    """Write down what readings come to; what there is no reading of any more is over."""
    runs = recorded.alerts.runs()
    there: dict[tuple[str, str], dict[Key, Row]] = defaultdict(dict)
    for row in recorded.alerts.all(open_only=True):
        there[row["model"], row["location"]][_key(row)] = row
    found: list[Event] = []
    for each in judged:
        mine = there[each.model, each.location]
        for reading in each.readings:
            found += _follow(recorded, reading, mine.get(reading.key), runs, now)
        for key in mine.keys() - {reading.key for reading in each.readings}:
            if key[0] != "drift" or each.whole:
                found.append(_end(recorded, mine[key], now))
    return found


def _follow(
    recorded: Recorded, reading: Reading, alert: Row | None, runs: dict[Key, Any], now: float
) -> Iterator[Event]:
    before = runs.get(reading.key)
    hold = reading.calm if alert else reading.hold
    run, enough = hysteresis.follow(before, reading.share, now, hold, is_open=alert is not None)
    if run != before:
        recorded.alerts.keep_run(reading.key, run)
    if enough and alert:
        yield _end(recorded, alert, now)
    elif enough:
        yield _begin(recorded, reading, now)


def _begin(recorded: Recorded, reading: Reading, now: float) -> Event:
    told = not recorded.alerts.told_since(reading.key, now - QUIET)
    number = recorded.alerts.add({
        **dict(zip(("rule", "model", "location", "subject"), reading.key, strict=True)),
        "words": plain(reading.words, 500), "value": reading.value, "began": now, "told": told,
    })  # fmt: skip
    return Event(number, message.BEGAN, told)


def _end(recorded: Recorded, alert: Row, now: float) -> Event:
    recorded.alerts.end(alert["id"], now)
    return Event(alert["id"], message.ENDED, bool(alert["told"]))


def _gone(recorded: Recorded, known: set[tuple[str, str]]) -> list[Row]:
    """Open alerts of what is not deployed any more: nothing is wrong with that any more."""
    places = {location for _, location in known}
    return [
        row
        for row in recorded.alerts.all(open_only=True)
        if ((row["model"], row["location"]) not in known if row["model"]
            else row["location"] not in places)
    ]  # fmt: skip


def _key(row: Row) -> Key:
    return row["rule"], row["model"], row["location"], row["subject"]


# For people


def listed(work: Workspace, *, open_only: bool = True, limit: int = 100) -> list[Row]:
    """Alerts, those that nobody has seen first, then the newest first.

    [{"id", "rule", "model": "" of a host's, "location", "subject", "words", "value", "began",
    "ended", "acknowledged": seconds since 1970 or None, "who": saw it, "about", "title"}]
    """
    with work.open_store() as store:
        known = {(each.model, each.location) for each in store.instances.all()}
    with work.open_recorded() as recorded:
        for row in _gone(recorded, known):
            _end(recorded, row, time.time())
        rows = recorded.alerts.all(open_only=open_only, limit=limit)
    shown = [_shown(row) for row in rows]
    return sorted(shown, key=lambda row: (row["ended"] is not None, bool(row["acknowledged"])))


def opened(work: Workspace) -> list[Row]:
    """The open ones, for what is on every page: quick where there are none, and none where they
    cannot be read, which Monitoring itself says."""
    with contextlib.suppress(Problem):
        with work.open_recorded() as recorded:
            some = recorded.alerts.all(open_only=True, limit=1)
        return listed(work) if some else []
    return []


def _shown(row: Row) -> Row:
    title = message.RULES[row["rule"]]
    return {**row, "told": bool(row["told"]), "about": message.about(row), "title": title}


def acknowledge(work: Workspace, numbers: Iterable[int]) -> list[Row]:
    """Say that somebody has seen these, and who; a second time changes nothing. Raises NotFound."""
    wanted = sorted(set(numbers))
    with work.open_recorded() as recorded, recorded.write():
        there = {row["id"] for row in recorded.alerts.all(open_only=True)}
        for number in wanted:
            if number not in there:
                what = f"There is no open alert {number}."
                raise NotFound(what, remedy="List them: rhythmicml alerts")
        recorded.alerts.acknowledge(wanted, time.time(), person.who())
        return [_shown(row) for row in recorded.alerts.some(wanted)]
