"""A pipeline as it runs: its stages in order, with what each asks and how that fares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.models import Configuration
from app.services import instances, pipelines, places, versions

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

SHOWN = ("name", "instance", "combine", "weights", "after", "when", "optional", "timeout")


def show(work: Workspace, reference: str, *, to: str | None = None) -> dict[str, Any]:
    """A pipeline where it is deployed, or else as its version says.

    {"model", "version", "location", "state", "output", "stages": […]}; a stage has its keys of
    the configuration, "level" (stages of one level are asked at once), "pinned", "location",
    "version", "state" ("" where it is not deployed).
    """
    name, number = versions.parse_reference(reference)
    rows = instances.status(work, None)
    own = [row for row in rows if row["model"] == name and to in (None, row["location"])]
    if to and not own:
        raise places.not_deployed(name, to)
    deployed = own[0] if own else None
    with work.open_store() as store:
        number = number or (deployed["version"] if deployed else None)
        _, version = versions.find(store, f"{name}@{number}" if number else name)
        if not version.configuration.stages:
            raise Problem(
                f"{name} is no pipeline: it has no stages.", remedy=f"rhythmicml show {name}"
            )
        here = deployed["location"] if deployed else version.configuration.location
        stages = described(store, version.configuration, here, rows)
    return {
        "model": name,
        "version": version.number,
        "location": deployed["location"] if deployed else None,
        "state": deployed["state"] if deployed else "",
        "output": pipelines.graph_of(version.configuration).output,
        "stages": stages,
    }


def described(
    store: Store,
    configuration: Configuration,
    location: str | None,
    rows: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The stages in the order in which they are asked. rows: those of instances.status.

    location: where the pipeline is, if it is anywhere.
    """
    graph = pipelines.graph_of(configuration)
    known = {(row["model"], row["location"]): row for row in rows}
    stages = {each["name"]: each for each in configuration.stages}
    made = []
    for level, names in enumerate(graph.levels, 1):
        for name in names:
            stage = stages[name]
            place = stage.get("location") or location
            row = known.get((stage["instance"], place))
            made.append(
                {
                    **{key: stage[key] for key in SHOWN},
                    "level": level,
                    "pinned": stage["version"],
                    "location": place if stage["instance"] else None,
                    "version": row["version"] if row else None,
                    "state": row["state"] if row else "",
                }
            )
    return made
