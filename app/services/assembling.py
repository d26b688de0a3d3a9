"""Deploying a pipeline together with the stages that are not there yet: all of it, or nothing."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from app.deployer.plan import PUBLIC
from app.errors import Problem
from app.models import Event, Location, Model, Version
from app.services import deployments, logs, places, references, staging, tokens, versions
from app.services.attempts import Events

if TYPE_CHECKING:
    from app.workspace import Workspace


STAGE = re.compile('Stage "([^"]+)"')
LAST_WORDS = 40
"""Lines of a stage's log that are kept with a failure."""


@dataclass(frozen=True)
class Missing:
    """An instance that has to be deployed first. before: what was there; None: nothing was."""

    model: str
    version: int
    location: str
    before: Mapping[str, Any] | None

    @property
    def reference(self) -> str:
        return f"{self.model}@{self.version}"

    @property
    def words(self) -> str:
        return f"{self.model} v{self.version} on {self.location}"


def deploy(
    work: Workspace,
    reference: str,
    *,
    to: str | None = None,
    with_stages: bool = False,
    dry_run: bool = False,
    **options: Any,
) -> Events:
    """Deploy a version to one location. with_stages: first those of its stages that are missing.

    When one of them, or the pipeline itself, fails, what was deployed for it is taken back; the
    last words of the stage that failed stay with the Problem.
    options: those of deployments.deploy.
    """
    model, version = yield from references.version_of(work, reference, "")
    if not (with_stages and version.configuration.stages):
        yield from deployments.deploy(work, reference, to=to, dry_run=dry_run, **options)
        return
    location = places.location_for(work, model.name, version.configuration.location, to)
    missing = list(_missing(work, model, version, location))
    if dry_run:
        own = deployments.deploy(work, reference, to=to, dry_run=True, stages_come=True, **options)
        yield from _planned(own, missing)
        return
    done: list[Missing] = []
    try:
        for each in missing:
            _let_in(work, each, model.name, location)
            yield from _brought(work, each)
            done.append(each)
        yield from deployments.deploy(work, reference, to=to, **options)
    except GeneratorExit:
        deque(_taken_back(work, done), maxlen=0)
        raise
    except BaseException as error:
        if isinstance(error, Problem):
            yield from _said_last(work, error, version, location)
        yield from _taken_back(work, done)
        raise


def _planned(own: Events, missing: list[Missing]) -> Events:
    """The plan of the pipeline, after those that come first."""
    first = [f"Deploy {each.words}" for each in missing]
    for event in own:
        if event.kind == "result" and first:
            plan = [*first, *event.data["plan"]]
            text = "\n".join((*first, event.text))
            event = replace(event, text=text, data={**event.data, "plan": plan})
        yield event


def _brought(work: Workspace, each: Missing) -> Events:
    """Deploy it, telling its steps with its name."""
    for event in deployments.deploy(work, each.reference, to=each.location):
        if event.kind != "result":
            yield replace(event, text=f"{each.model}: {event.text}" if event.text else "")


def _let_in(work: Workspace, each: Missing, pipeline: str, location: Location) -> None:
    """A public instance starts only where somebody has a token: the pipeline gets one.

    Its text is made anew once the pipeline's own host can keep it.
    """
    with work.open_store() as store:
        version = store.versions.get(store.models.get(each.model), each.version)
    name = staging.token_name(pipeline, location.name)
    if version.configuration.expose != PUBLIC or each.location == location.name:
        return
    known = tokens.list_tokens(work, each.model, to=each.location)
    if all(token["name"] != name for token in known):
        tokens.add(work, each.model, name, to=each.location)


def _said_last(work: Workspace, problem: Problem, version: Version, location: Location) -> Events:
    """What the stages that a failure names said last, told and kept with it: when they are taken
    back, nobody finds it any more."""
    named = STAGE.findall(f"{problem.what} {problem.cause}")
    stages = [each for each in version.configuration.stages if each["name"] in named]
    for name, place in staging.instances_of(stages, location.name):
        words = f"Read what {name} on {place} said last"
        yield Event("step", words)
        with suppress(Problem):  # what went wrong first is what is told
            said = [line for line in logs.tail(work, name, lines=LAST_WORDS, to=place) if line]
            problem.detail += "\n".join(("", "", f"{name} on {place} said:", *said))
            yield from (Event("log", line) for line in said)
        yield Event("done", words)


def _taken_back(work: Workspace, done: list[Missing]) -> Events:
    """Have everything as it was before, the last one first."""
    for each in reversed(done):
        words = f"Take back {each.words}"
        yield Event("step", words)
        with suppress(Problem):  # what went wrong first is what is told
            deque(_undone(work, each), maxlen=0)
        yield Event("done", words)


def _undone(work: Workspace, each: Missing) -> Events:
    """One that ran before goes on: it was only given its socket for pipelines."""
    if each.before is None:
        yield from deployments.undeploy(work, each.model, to=each.location, force=True)
    elif each.before["stopped"]:
        yield from deployments.stop(work, each.model, to=each.location, force=True)


# What is missing


def _missing(
    work: Workspace, model: Model, version: Version, location: Location
) -> Iterator[Missing]:
    """The stages that cannot be asked as they are, the innermost first, each once."""
    seen: set[tuple[str, str]] = {(model.name, location.name)}
    yield from _below(work, version, location.name, seen)


def _below(
    work: Workspace, version: Version, location: str, seen: set[tuple[str, str]]
) -> Iterator[Missing]:
    stages = version.configuration.stages
    for name, place in staging.instances_of(stages, location):
        if (name, place) in seen:
            continue
        seen.add((name, place))
        pinned = [e["version"] for e in stages if e["instance"] == name and e["version"]]
        before, fit = _there(work, name, place)
        if fit:
            continue
        number = _number(work, name, before, pinned)
        with work.open_store() as store:
            inner = store.versions.get(store.models.get(name), number)
        yield from _below(work, inner, place, seen)
        yield Missing(name, number, place, before)


def _there(work: Workspace, name: str, place: str) -> tuple[Mapping[str, Any] | None, bool]:
    """What is deployed of an instance, and whether it can be asked as it is."""
    with work.open_store() as store:
        location = store.locations.get(place)
    with work.reach(location) as road:
        found = road.call("status", name=name, history=0)
    said = found[0] if found and found[0]["current"] else None
    if said is None:
        return None, False
    ready = [e for e in said["fronts"] if e["release"] == said["current"] and e["ready"]]
    return said, any(each.get("accepting") and each.get("asked") for each in ready)


def _number(work: Workspace, name: str, before: Mapping[str, Any] | None, pinned: list[int]) -> int:
    """Production's version where there is one, else the pinned one, else the latest; of a model
    that has none, its folder is committed."""
    if before:
        numbers = {each["id"]: int(each["version"]) for each in before["releases"]}
        return numbers[before["current"]]
    with work.open_store() as store:
        latest = store.versions.latest(store.models.get(name))
    if pinned:
        return int(pinned[0])
    return latest.number if latest else versions.commit(work, name).version.number
