"""What each rule of the alerts says of what is known. Pure.

A reading's share is what was found in parts of its limit: above 1 it is over; None is not known.
Rules whose limit is None give no reading.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from app.services import limits
from app.services.limits import Limits
from app.words import size

DOWN = ("failing", "unknown job")
NOT_KNOWN = ("starting",)
"""States in which nothing is known of how it answers."""
LATELY = 20.0
"""Seconds that requests must be wrong before it is said: two looks or more."""
STEADY = 60.0
"""The same, of what swings: memory and disks. And for which all must be well before it is over."""
DAY = 86_400.0


class Reading(NamedTuple):
    """subject: what of the instance it is about, such as a column. value: as the limit is given.
    hold, calm: seconds for which it must be over its limit, or well below it."""

    rule: str
    model: str
    location: str
    subject: str
    value: float | None
    share: float | None
    words: str
    hold: float = 0.0
    calm: float = 0.0

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.rule, self.model, self.location, self.subject


@dataclass(frozen=True)
class Facts:
    """Of an instance. requests, errors, p95: of the last half minute. takes: seconds, most requests
    just now. memory: bytes. most: that it may take. ends: when its certificate does. drift: column
    → PSI; None: not looked at now."""

    model: str
    location: str
    state: str
    error: str = ""
    requests: float | None = None
    errors: float | None = None
    p95: float | None = None
    takes: float | None = None
    memory: float | None = None
    most: float | None = None
    ends: float | None = None
    drift: Mapping[str, float] | None = None


@dataclass(frozen=True)
class HostFacts:
    """Of a host. reached: whether it answered. used: "memory", "disk" → (bytes, of how many)."""

    location: str
    reached: bool
    error: str = ""
    instances: int = 0
    used: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def of_instance(facts: Facts, limit: Limits, now: float) -> Iterator[Reading]:
    """One reading of each rule that is on; of drift one for each column."""
    if limit["down"]:
        yield _down(facts, limit["down"])
    if bound := limit["errors"]:
        yield _errors(facts, bound)
    if bound := limit["p95"]:
        yield _slow(facts, bound)
    if limit["memory"] and facts.most:
        yield _memory(facts, limit["memory"], facts.most)
    if limit["certificate"] and facts.ends:
        yield _certificate(facts, limit["certificate"], (facts.ends - now) / DAY)
    if bound := limit["drift"]:
        yield from (_drift(facts, bound, *each) for each in (facts.drift or {}).items())


def of_host(facts: HostFacts, limit: Limits) -> Iterator[Reading]:
    """A host that is out of reach is one alert, however many instances it has."""
    if bound := limit["down"]:
        share = 0.0 if facts.reached else 2.0
        many = f"{facts.instances} instance{'s' if facts.instances != 1 else ''} there"
        words = f"It cannot be reached ({many}): {facts.error or 'no answer.'}"
        yield Reading("down", "", facts.location, "", None, share, words, bound, STEADY / 2)
    for name in ("memory", "disk"):
        if bound := limit[name]:
            yield _used(facts, name, bound)


def _down(facts: Facts, bound: float) -> Reading:
    known = None if facts.state in NOT_KNOWN else 0.0
    share = 2.0 if facts.state in DOWN else known
    words = f"It does not answer ({facts.state}). {facts.error}".strip()
    return Reading("down", facts.model, facts.location, "", None, share, words, bound, STEADY / 2)


def _errors(facts: Facts, bound: float) -> Reading:
    value = facts.errors or 0.0
    said = f"{value:.0%} of its answers are errors; the limit is {bound * 100:.3g}%."
    return _of_requests(facts, "errors", value if _many(facts) else 0.0, bound, said)


def _slow(facts: Facts, bound: float) -> Reading:
    """A model may be so slow that what it answers in half a minute would be too little to judge."""
    value = max(facts.p95 or 0.0 if _many(facts) else 0.0, facts.takes or 0.0)
    said = f"One request in 20 takes over {value:.2g} s; the limit is {bound:g} s."
    return _of_requests(facts, "p95", value, bound, said)


def _many(facts: Facts) -> bool:
    return (facts.requests or 0) >= limits.LEAST


def _of_requests(facts: Facts, rule: str, value: float, bound: float, said: str) -> Reading:
    share = None if facts.state in NOT_KNOWN else value / bound
    return Reading(rule, facts.model, facts.location, "", value, share, said, LATELY, STEADY)


def _memory(facts: Facts, bound: float, most: float) -> Reading:
    value = None if facts.memory is None else facts.memory / most
    share = _share(value, bound) if facts.state not in ("stopped", *NOT_KNOWN) else None
    share = 0.0 if facts.state == "stopped" else share
    words = f"It takes {size(facts.memory or 0)} of the {size(most)} it may."
    place = (facts.model, facts.location)
    return Reading("memory", *place, "", value, share, words, STEADY, STEADY)


def _certificate(facts: Facts, bound: float, left: float) -> Reading:
    day = datetime.fromtimestamp(facts.ends or 0, timezone.utc).strftime("%Y-%m-%d")
    when = f"in {left:.0f} day{'s' if round(left) != 1 else ''}" if left > 0 else "so it is over"
    words = f"Its certificate is good until {day}, {when}. A deploy puts a newer one there."
    share = bound / left if left > 0 else 100.0
    return Reading("certificate", facts.model, facts.location, "", round(left, 1), share, words)


def _drift(facts: Facts, bound: float, column: str, value: float) -> Reading:
    words = f"{column} of its requests has moved: PSI {value:.2f} against the week before."
    place = (facts.model, facts.location)
    return Reading("drift", *place, column, round(value, 4), value / bound, words)


def _used(facts: HostFacts, name: str, bound: float) -> Reading:
    part, whole = facts.used.get(name, (None, None))
    value = part / whole if part is not None and whole else None
    words = f"{name.capitalize()}: {size(part or 0)} of {size(whole or 0)} is in use."
    share = _share(value, bound)
    return Reading(name, "", facts.location, "", value, share, words, STEADY, STEADY)


def _share(value: float | None, bound: float) -> float | None:
    return None if value is None else value / bound
