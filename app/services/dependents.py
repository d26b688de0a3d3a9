"""The pipelines that ask an instance: what a change of it would do to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.errors import PipelineBroken
from app.models import Location
from app.scoring.schema import Schema
from app.scoring.schema import parse as parse_schema
from app.services import fitting, pipelines

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

FORCE = "--force does it all the same."


@dataclass(frozen=True)
class Dependent:
    """A pipeline and one of its stages that is the instance in question.

    stages: all of the pipeline, with the location that each is asked on, where it is not its own.
    """

    pipeline: str
    location: str
    version: int | None
    stage: str
    pinned: int | None
    stages: Sequence[Mapping[str, Any]]

    @property
    def words(self) -> str:
        version = f" v{self.version}" if self.version else ""
        return f'{self.pipeline}{version} on {self.location} (stage "{self.stage}")'

    @property
    def optional(self) -> bool:
        return any(each["name"] == self.stage and each.get("optional") for each in self.stages)


@dataclass(frozen=True)
class Dependents:
    """All that is known of who asks one instance. force: they may be broken."""

    work: Workspace
    model: str
    location: Location
    each: Sequence[Dependent]
    force: bool = False

    def refuse_version(self, number: int, schema: Mapping[str, Any] | None) -> None:
        """Raise Problem when they could not go on with this version as production.

        schema: what it takes and gives, as far as that is known.
        """
        if self.force:
            return
        for each in self.each:
            self._refuse_pinned(each, number)
            if each.pinned is None and schema:
                self._refuse_breaking(each, number, schema)

    def refuse_end(self, action: str) -> None:
        """Raise Problem when they cannot go on without it. action: "stopped", "taken away"."""
        needing = [each for each in self.each if not each.optional]
        if needing and not self.force:
            raise PipelineBroken(
                f"{self.model} cannot be {action} on {self.location.name}: a pipeline asks it.",
                cause="; ".join(each.words for each in needing) + ".",
                remedy=f"rhythmicml undeploy {needing[0].pipeline} --to {needing[0].location} "
                f"first. {FORCE}",
                pipeline=needing[0].pipeline,
            )

    def _refuse_pinned(self, each: Dependent, number: int) -> None:
        if each.pinned in (None, number):
            return
        raise PipelineBroken(
            f"v{number} of {self.model} cannot be production on {self.location.name}: a pipeline "
            f"is pinned to v{each.pinned}.",
            cause=f"It is {each.words}.",
            remedy=f"Let its stage follow production, or deploy a version of {each.pipeline} that "
            f"is pinned to v{number}. {FORCE}",
            pipeline=each.pipeline,
        )

    def _refuse_breaking(self, each: Dependent, number: int, schema: Mapping[str, Any]) -> None:
        with self.work.open_store() as store:
            before, asked = _known(store, each)
        after = dict(before)
        for stage in each.stages:
            if stage["instance"] == self.model and _place(stage, each) == self.location.name:
                after[stage["name"]] = parse_schema(schema)
        broken = breaks(each.stages, before, after, asked)
        if broken:
            raise PipelineBroken(
                f"v{number} of {self.model} would break the pipeline {each.pipeline} on "
                f"{each.location}.",
                cause=" ".join(f'Stage "{one.stage}": {one.words}' for one in broken[:3]),
                remedy=f"Deploy a version of {each.pipeline} that takes it, or one of "
                f"{self.model} with the columns of before. {FORCE}",
                pipeline=each.pipeline,
            )


def breaks(
    stages: Sequence[Mapping[str, Any]],
    before: Mapping[str, Schema],
    after: Mapping[str, Schema],
    asked: Schema | None,
) -> list[fitting.Misfit]:
    """What did fit and does no longer, when stages have other schemas. Pure."""
    graph = pipelines.graph_from({"stages": stages})
    known = set(fitting.judge(graph, before, asked).misfits)
    return [each for each in fitting.judge(graph, after, asked).misfits if each not in known]


def _known(store: Store, each: Dependent) -> tuple[dict[str, Schema], Schema | None]:
    """What is known here of the pipeline's stages and of its request."""
    schemas = pipelines.schemas_known(store, each.stages, each.location)
    model = store.models.find(each.pipeline)
    versions = {one.number: one for one in store.versions.all(model)} if model else {}
    version = versions.get(each.version or 0)
    asked = parse_schema(version.schema) if version and version.schema else None
    return schemas, asked


def _place(stage: Mapping[str, Any], each: Dependent) -> str:
    return str(stage.get("location") or each.location)


def of(
    work: Workspace,
    model: str,
    location: Location,
    there: Iterable[Mapping[str, Any]],
    force: bool = False,
) -> Dependents:
    """Who asks an instance: those that its own host knows (`there`), and those elsewhere that are
    known here."""
    here = [
        Dependent(
            str(each["pipeline"]),
            location.name,
            each["version"],
            str(each["stage"]),
            each["pinned"],
            each["stages"],
        )
        for each in there
    ]
    with work.open_store() as store:
        elsewhere = list(_elsewhere(store, model, location.name))
    return Dependents(work, model, location, [*here, *elsewhere], force)


def _elsewhere(store: Store, model: str, location: str) -> Iterator[Dependent]:
    """Pipelines on other locations whose production version has a stage here."""
    for instance in store.instances.all():
        owner = store.models.find(instance.model)
        if instance.location == location or owner is None or instance.version is None:
            continue
        found = [v for v in store.versions.all(owner) if v.number == instance.version]
        for stage in found[0].configuration.stages if found else ():
            if stage["instance"] == model and stage.get("location") == location:
                yield Dependent(
                    instance.model,
                    instance.location,
                    instance.version,
                    stage["name"],
                    stage["version"],
                    found[0].configuration.stages,
                )
