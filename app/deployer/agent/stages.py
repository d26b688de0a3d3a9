"""Who asks whom on this base: the stages of a pipeline, the pipelines of an instance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import Instance, instances, read_json
from .loop import op
from .supervise import serving

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Supervisor


@op("dependents")
def asking(agent: Agent, args: dict[str, Any], payload: Payload) -> list[dict[str, Any]]:
    """The pipelines here that ask an instance. args: name."""
    return dependents(agent.base, args["name"])


def asked(manager: Supervisor, base: Path, name: str) -> dict[str, Any] | None:
    """How production of an instance fares as a stage; None where it is not deployed here.

    asked: whether it holds the socket for that. schema: as `GET /admin/state` has it.
    """
    instance = Instance(base, name)
    current = instance.current()
    if not current or not instance.facts_file.is_file():
        return None
    manifest = read_json(instance.release(current) / "release.json") or {}
    fronts = [each for each in serving(manager, instance) if each["release"] == current]
    front = max(fronts, key=lambda each: bool(each.get("accepting")), default={})
    return {
        "version": manifest.get("version"),
        "release": current,
        "ready": bool(front.get("ready") and front.get("accepting")),
        "asked": bool(front.get("asked")),
        "schema": front.get("schema"),
    }


def dependents(base: Path, name: str) -> list[dict[str, Any]]:
    """The pipelines here that ask an instance, once for each stage that it is.

    pinned: the version they want of it, None for production. stages: all those of the pipeline.
    """
    found = []
    for each in instances(base):
        current = each.current() if each.facts_file.is_file() else None
        manifest = read_json(each.release(current) / "release.json") if current else None
        stages = stages_of(manifest or {})
        for stage in stages:
            if (stage.get("reach") or {}).get("socket") == name:
                about = {"pipeline": each.name, "version": (manifest or {}).get("version")}
                about |= {"stage": stage["name"], "pinned": stage.get("version"), "stages": stages}
                found.append(about)
    return found


def stages_of(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The stages of a release, by its release.json; none of a model."""
    return list(manifest.get("scoring", {}).get("stages") or ())
