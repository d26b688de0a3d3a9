"""One order to several locations: deploy, switch, rollback, start, stop, restart, check.

Each location's part is the same service that one location gets; here is only who comes when, and
what became of each. A deployment goes to the first location that can be reached, alone; only what
has proved itself there goes to the rest, at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from app.errors import Left, Problem, Unreachable
from app.models import Event
from app.services import assembling, deployments, locations, places, references
from app.services.attempts import Events
from app.services.together import ASKED_AT_ONCE, Crew, End, Task, together, values

if TYPE_CHECKING:
    from app.workspace import Workspace

AT_ONCE = 4
"""Locations that are changed at the same time."""

UNTOUCHED, STOPPED, TAKEN_BACK = "untouched", "stopped", "taken back"
WELL = ("done", "unchanged", "planned")

Verb = Callable[..., Events]


@dataclass
class Fleet:
    """The locations of one order, in its order, and how each ended."""

    work: Workspace
    model: str
    action: str
    names: Sequence[str]
    ends: dict[str, End] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    stopped: bool = False
    cut: dict[str, str] = field(default_factory=dict)
    back: dict[str, End] = field(default_factory=dict)

    def order(self, names: Sequence[str], part: Callable[[Workspace, str], Events]) -> Events:
        """Do the part of each of these locations; interrupted, find out what was left there."""
        crew = Crew.of(self.work)
        tasks: dict[str, Task] = {name: partial(part, crew, name) for name in names}
        try:
            yield from together(crew, tasks, AT_ONCE, self.ends)
        except KeyboardInterrupt:
            begun = [name for name in names if name in crew.begun and not self.well(name)]
            self.cut = currents(self.work, self.model, begun)
            raise
        finally:
            self.lost |= {name for name in names if _is_lost(crew, name, self.ends.get(name))}

    def well(self, name: str) -> bool:
        return name in self.ends and self.ends[name].error is None

    def failed(self) -> bool:
        return not all(map(self.well, self.names))

    def row(self, name: str) -> dict[str, Any]:
        """location, result, release, seconds, error and its remedy."""
        end = self.ends.get(name)
        error = self._error(name)
        data = end.data if end else {}
        return {
            "location": name,
            "result": self._result(name),
            "release": self.cut.get(name, data.get("release")),
            "seconds": round(end.seconds, 1) if end else None,
            "error": error.what if error else "",
            "problem": error.as_dict() if error else None,
            **{key: data[key] for key in ("plan", "fit", "breaking") if "plan" in data},
        }

    def _error(self, name: str) -> Problem | None:
        for end in (self.back.get(name), self.ends.get(name)):
            if end and isinstance(end.error, Problem) and not isinstance(end.error, Left):
                return end.error
        return None

    def _result(self, name: str) -> str:
        end = self.ends.get(name)
        if name in self.cut:
            return STOPPED
        if end is None:
            return UNTOUCHED
        if end.error:
            return "unreachable" if name in self.lost else "failed"
        if name in self.back:
            return TAKEN_BACK if self.back[name].error is None else "not taken back"
        if "plan" in end.data:
            return "planned"
        return "done" if end.data.get("changed", True) else "unchanged"

    def result(self, words: str = "") -> Event:
        rows = [self.row(name) for name in self.names]
        well = sum(row["result"] in WELL for row in rows)
        said = f"{words or self.model}: {well} of {len(rows)} locations are as wanted."
        data = {
            "model": self.model,
            "action": self.action,
            "failed": well < len(rows),
            "stopped": self.stopped,
            "locations": rows,
        }
        return Event("result", said, data=data)


def _is_lost(crew: Crew, name: str, end: End | None) -> bool:
    """Whether the host was not to be reached, rather than that something failed there."""
    if end is None or end.error is None:
        return False
    return name not in crew.reached or isinstance(end.error, Unreachable)


def deploy(
    work: Workspace,
    what: str,
    *,
    to: str | None = None,
    port: int | None = None,
    message: str = "",
    dry_run: bool = False,
    stop_first: bool = False,
    rollback_all: bool = False,
    with_stages: bool = False,
    force: bool = False,
) -> Events:
    """Put a version into production wherever `to`, else its configuration, says.

    To one location it is assembling.deploy. To several: the first that can be reached has to take
    it before the others are touched. rollback_all: if any fails, those that have it go back.
    """
    model, version = yield from references.version_of(work, what, message)
    name, reference = model.name, f"{model.name}@{version.number}"
    wanted = to or version.configuration.location
    names = places.named(work, wanted) if wanted else []

    part = partial(
        _part, reference=reference, port=port, dry_run=dry_run, stop_first=stop_first,
        with_stages=with_stages, force=force,
    )  # fmt: skip
    if len(names) < 2:
        yield from part(work, to)
        return
    fleet = Fleet(work, name, "deploy", names)
    stopped_before = _stopped(work, name)
    try:
        if dry_run:
            yield from fleet.order(names, part)
        else:
            yield from _gated(fleet, part, rollback_all)
        if rollback_all and fleet.failed() and not dry_run:
            yield from _take_back(fleet, stopped_before)
    except KeyboardInterrupt:
        fleet.stopped = True
    yield fleet.result(f"{name} v{version.number}")


def _part(work: Workspace, place: str | None, *, reference: str, **options: Any) -> Events:
    return assembling.deploy(work, reference, to=place, **options)


def _gated(fleet: Fleet, part: Callable[[Workspace, str], Events], strict: bool) -> Events:
    """The first that can be reached alone, then the rest. strict: none may be out of reach."""
    for number, name in enumerate(fleet.names):
        yield from fleet.order([name], part)
        if fleet.well(name):
            yield from fleet.order(fleet.names[number + 1 :], part)
            return
        if strict or name not in fleet.lost:
            return


def _take_back(fleet: Fleet, stopped_before: set[str]) -> Events:
    """Have those that were changed serve again what they did before, or nothing."""
    changed = [n for n in fleet.names if fleet.well(n) and fleet.ends[n].data["changed"]]
    crew = Crew.of(fleet.work)

    def back(name: str) -> Events:
        previous = fleet.ends[name].data["previous"]
        if previous is None:
            yield from deployments.undeploy(crew, fleet.model, to=name)
            return
        yield from deployments.recall(crew, fleet.model, previous, to=name)
        if name in stopped_before:
            yield from deployments.stop(crew, fleet.model, to=name)

    tasks: dict[str, Task] = {name: partial(back, name) for name in changed}
    yield from together(crew, tasks, AT_ONCE, fleet.back)


def _stopped(work: Workspace, model: str) -> set[str]:
    with work.open_store() as store:
        return {each.location for each in store.instances.all(model=model) if each.state == STOPPED}


def each(
    work: Workspace, verb: Verb, reference: str, *, to: str | None = None, **options: Any
) -> Events:
    """Do one of the verbs of deployments (switch, rollback, start, stop, restart) wherever `to`."""
    names = places.named(work, to) if to else []
    if len(names) < 2:
        yield from verb(work, reference, to=to, **options)
        return
    fleet = Fleet(work, reference.partition("@")[0], verb.__name__, names)
    try:
        yield from fleet.order(names, partial(_verb, verb, reference, options))
    except KeyboardInterrupt:
        fleet.stopped = True
    yield fleet.result(f"{verb.__name__} {reference}")


def _verb(
    verb: Verb, reference: str, options: dict[str, Any], work: Workspace, place: str
) -> Events:
    return verb(work, reference, to=place, **options)


def currents(work: Workspace, model: str, names: Sequence[str]) -> dict[str, str]:
    """Location → the release that is production there now; empty when there is none, or no way."""

    def ask(crew: Workspace, name: str) -> str:
        with crew.open_store() as store:
            location = store.locations.get(name)
        with crew.reach(location) as road:
            found = road.call("status", name=model, history=0, timeout=10)
            return str(found[0]["current"] or "") if found else ""

    crew = Crew.of(work)
    said = values(crew, {name: partial(ask, crew, name) for name in names}, ASKED_AT_ONCE)
    return {name: release if isinstance(release, str) else "" for name, release in said.items()}


def check(work: Workspace, names: Sequence[str]) -> Events:
    """Look at these locations, all at the same time; the first to answer is the first heard."""
    crew = Crew.of(work)
    ends: dict[str, End] = {}
    tasks: dict[str, Task] = {name: partial(_checked, crew, name) for name in names}
    yield from together(crew, tasks, ASKED_AT_ONCE, ends)
    rows = [_check_row(name, ends[name]) for name in names]
    well = sum(row["problem"] is None for row in rows)
    data = {"failed": well < len(rows), "locations": rows}
    yield Event("result", f"{well} of {len(rows)} locations answer.", data=data)


def _checked(work: Workspace, name: str) -> Iterator[Event]:
    try:
        facts = locations.check(work, name)
    except Problem as problem:
        yield Event("note", problem.what)
        raise
    yield Event("done", "answers")
    yield Event("result", data=facts)


def _check_row(name: str, end: End) -> dict[str, Any]:
    problem = end.error.as_dict() if isinstance(end.error, Problem) else None
    return {"location": name, "seconds": end.seconds, "facts": end.data or None, "problem": problem}
