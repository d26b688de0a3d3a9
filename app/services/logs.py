"""What instances say: from their hosts, as it comes; what is kept here of those out of reach."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.deployer.agent.lines import Sieve, plain
from app.errors import Problem
from app.services import places
from app.store.kept_logs import KeptLogs

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.workspace import Workspace

KEPT = 1000
"""Lines of each instance that are kept here."""
EVERY = 300.0
"""Seconds until they are brought anew."""
BEAT = 1.0
WITHIN = 30.0

Said = queue.SimpleQueue["str | BaseException | None"]


@dataclass(frozen=True)
class Found:
    """The last lines, oldest first. kept_at: when they were kept, if the host gave none, and why
    it did not."""

    lines: list[str]
    kept_at: float | None = None
    why: str = ""


def tail(
    work: Workspace,
    name: str,
    *,
    lines: int = 100,
    follow: bool = False,
    to: str | None = None,
    grep: str = "",
    level: str = "",
) -> Iterator[str | None]:
    """The last lines that an instance said, as plain text, cut; with follow what comes, until
    closed, and None whenever nothing did for a second.

    grep, level: those alone that hold a text, that are of a level at least.
    """
    location = places.location_of(work, name, to, or_default=True)
    said: Said = queue.SimpleQueue()
    args = {"name": name, "lines": lines, "follow": follow, "grep": grep, "level": level}
    with work.reach(location) as road:
        threading.Thread(target=_listen, args=(road, args, said), daemon=True).start()
        while True:
            try:
                line = said.get(timeout=BEAT)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            if isinstance(line, BaseException):
                raise line
            yield plain(line)


def _listen(road: Road, args: dict[str, Any], said: Said) -> None:
    try:
        road.call("logs", on_event=lambda event: said.put(event["out"]), **args)
        said.put(None)
    except BaseException as error:
        said.put(error)


def last(
    work: Workspace,
    name: str,
    *,
    lines: int = 100,
    to: str | None = None,
    grep: str = "",
    level: str = "",
) -> Found:
    """The last lines; those kept here where its host cannot be asked, or has none of it."""
    try:
        said = tail(work, name, lines=lines, to=to, grep=grep, level=level)
        found = [line for line in said if line is not None]
    except Problem as problem:
        return _kept(work, name, to, lines, Sieve(grep, level), problem)
    if found or _is_there(work, name, to):
        return Found(found)
    gone = Problem(f"{name} is no more where it was.")
    with suppress(Problem):
        return _kept(work, name, to, lines, Sieve(grep, level), gone)
    return Found(found)


def _is_there(work: Workspace, name: str, to: str | None) -> bool:
    with work.open_store() as store:
        return any(to in (None, each.location) for each in store.instances.all(model=name))


def _kept(
    work: Workspace, name: str, to: str | None, lines: int, sieve: Sieve, problem: Problem
) -> Found:
    """Raises the problem where nothing is kept, or of several places."""
    store = KeptLogs(work.home)
    there = [place for place in store.places(name) if to in (None, place)]
    kept = store.get(name, there[0]) if len(there) == 1 else None
    if kept is None:
        raise problem
    at, every = kept
    chosen = deque((line for line in every if sieve.passes(line)), maxlen=lines)
    return Found([plain(line) for line in chosen], at, problem.what)


# Keeping them


def keep(work: Workspace, road: Road, location: str, names: Iterable[str]) -> None:
    """Keep the last lines of instances, over a way that is open."""
    for name in names:
        said = _last_of(road, name)
        if said:
            KeptLogs(work.home).keep(name, location, time.time(), said)


def _last_of(road: Road, name: str) -> list[str]:
    said: deque[str] = deque(maxlen=KEPT)

    def hear(event: dict[str, Any]) -> None:
        said.append(plain(event["out"]))

    road.call("logs", name=name, lines=KEPT, follow=False, on_event=hear, timeout=WITHIN)
    return list(said)


def due(work: Workspace, location: str, names: Iterable[str]) -> list[str]:
    """Those whose lines were not brought lately."""
    store, now = KeptLogs(work.home), time.time()
    ages = ((name, store.age(name, location, now)) for name in names)
    return [name for name, age in ages if age is None or age > EVERY]
