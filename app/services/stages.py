"""A pipeline as it runs: its stages in order, with what each asks and how that fares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import instances, pipelines, places, versions

if TYPE_CHECKING:
    from app.workspace import Workspace


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
        stages = pipelines.described(version.configuration, here, rows)
    return {
        "model": name,
        "version": version.number,
        "location": deployed["location"] if deployed else None,
        "state": deployed["state"] if deployed else "",
        "output": pipelines.graph_of(version.configuration).output,
        "stages": stages,
    }
