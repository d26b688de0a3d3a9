"""A pipeline tried on this machine with all its stages, deployed nowhere: `pipeline test`."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.deployer import plan as planning
from app.deployer.apply import apply
from app.deployer.plan import Step, Wanted
from app.errors import GateFailed, Problem
from app.models import Event, Model, Version
from app.services import pipelines, releases, trials, versions
from app.services.attempts import look
from app.services.instances import problem_of
from app.services.releases import Reached
from app.store import manifest

if TYPE_CHECKING:
    from app.deployer.apply import Source
    from app.deployer.road import Road
    from app.store import Store
    from app.workspace import Workspace

Events = Iterator[Event]
Member = tuple[Model, Version]
SHOWN, LONGEST = 5, 400
"""Rows of an output that are shown, and characters of each."""


def rehearse(work: Workspace, what: str, data: bytes | None = None) -> Events:
    """Ask a pipeline, a folder's or a version, its sample or `data`; nothing stays of it.

    Its stages are the versions that it would ask: pinned, in production, or the last ones. The
    result: {"model", "answer", "stages": [{"name", "instance", "version", "ms", "rows", "output"}],
    "started" [s]}. GateFailed when it does not answer, naming the stage.
    """
    model, version = trials.tried(work, what)
    if not version.configuration.stages:
        raise Problem(
            f"{model.name} is no pipeline: it has no stages.",
            remedy=f"Try a model with: rhythmicml test {model.name}",
        )
    with work.open_store() as store:
        members = list(members_of(store, model, version))
        body = data if data is not None else _sample(store, model, version)
    said = yield from asked_here(work, members, body)
    if said["status"] != 200:
        problem = problem_of(model.name, said["status"], said["answer"])
        raise GateFailed(problem.what, cause=problem.cause, remedy=problem.remedy)
    asked = {each["name"]: each["instance"] for each in version.configuration.stages}
    stages = [
        {**each, "instance": asked.get(each["name"], "")}
        for each in said["answer"].get("stages", [])
    ]
    result = {
        "model": model.name,
        "version": version.number if version.id else None,
        "answer": {"predictions": said["answer"].get("predictions")},
        "stages": stages,
        "started": said["started"],
    }
    yield Event("result", f"{model.name} answered.", data=result)


def brief(stage: Mapping[str, Any], most: int = SHOWN, longest: int = LONGEST) -> dict[str, Any]:
    """The first rows of what a stage gave, a line of JSON each, cut short, and how many more."""
    output = stage["output"]
    rows = output if isinstance(output, list) else [output]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows[:most]]
    lines = [line if len(line) <= longest else f"{line[: longest - 1]}…" for line in lines]
    return {"output": lines, "more": max(0, len(rows) - most)}


def _sample(store: Store, model: Model, version: Version) -> bytes:
    name = version.configuration.sample
    if not name:
        raise Problem(
            f"{model.name} has no sample to be tried with.",
            remedy="Put a request into sample.json of its folder, or give one: --data FILE",
        )
    listed = manifest.parse(store.blobs.read(version.manifest))
    return store.blobs.read(next(e.digest for e in listed if e.path == name))


def members_of(store: Store, model: Model, version: Version) -> Iterator[Member]:
    """All that has to run, the stages before who asks them; each instance once."""
    seen: dict[str, int] = {}

    def below(model: Model, version: Version) -> Iterator[Member]:
        for stage in version.configuration.stages:
            if not stage["instance"]:
                continue
            inner = store.models.get(stage["instance"])
            asked = _asked(store, stage, inner, version)
            if inner.name not in seen:
                seen[inner.name] = asked.number
                yield from below(inner, asked)
            elif seen[inner.name] != asked.number:
                raise Problem(
                    f"{inner.name} is asked as v{seen[inner.name]} and as v{asked.number}.",
                    cause="Of one instance only one version can be production.",
                    remedy="Pin both stages to the same version, or neither.",
                )
        yield model, version

    yield from below(model, version)


def _asked(store: Store, stage: dict[str, Any], inner: Model, of: Version) -> Version:
    """The version it would ask; of a model that was never committed, its folder as it is."""
    found = pipelines.version_asked(store, stage, of.configuration.location)
    return found or versions.draft(store, inner)


def asked_here(
    work: Workspace, members: list[Member], body: bytes
) -> Generator[Event, None, dict[str, Any]]:
    """Build what they need in the base folder of `local`, then have them all run there.

    What the last one answers to body: {"status", "answer", "started" [s]}.
    """
    with work.open_store() as store:
        local = store.locations.get("local")
    with work.reach(local) as road:
        road.call("prepare_trial")
        parts = []
        for model, version in members:
            wanted, source = _wanted(work, road, model, version)
            found = replace(look(road, wanted), release=False)
            steps = [each for each in planning.put_there(wanted, found) if each.do != "place"]
            yield from apply(steps, road, model.name, source)
            parts.append(wanted)
        step = _rehearse(parts, body)
        answers = yield from apply([step], road, members[-1][0].name, _nothing)
    said: dict[str, Any] = answers["rehearse"]
    return said


def _wanted(work: Workspace, road: Road, model: Model, version: Version) -> tuple[Wanted, Source]:
    """The release as it would be, with all of its stages on this machine and their values of
    secrets left out."""
    stages = version.configuration.stages
    reached = [Reached(e["name"], socket=e["instance"]) for e in stages if e["instance"]]
    with work.open_store() as store:
        return releases.wanted(store, model, version, road.hello, None, reached)


def _rehearse(parts: list[Wanted], body: bytes) -> Step:
    own = parts[-1]
    count = len(parts) - 1
    beside = f" with {count} stage{'' if count == 1 else 's'}" if count else ""
    words = f"Start {own.name}{beside}, and ask it"
    args = {
        "manifests": [each.manifest for each in parts],
        "within": own.manifest["scoring"]["timeout"] + 5,
        "start_timeout": max(each.start_timeout for each in parts),
    }
    return Step(words, "rehearse", args, payload=body)


def _nothing(digest: str) -> tuple[Path, int]:
    raise KeyError(digest)
