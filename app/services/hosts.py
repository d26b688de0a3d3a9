"""The hosts below the instances, as the fronts on them recorded them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from app.services import monitoring

if TYPE_CHECKING:
    from app.workspace import Workspace

FIGURES = (
    *("host_cpu", "host_memory", "host_memory_total", "host_disk", "host_disk_total"),
    "host_load",
)
ASKED = 5
"""Instances whose recordings are put together for one host."""


def overview(work: Workspace) -> list[dict[str, Any]]:
    """{"location", "instances": how many, "error": why it did not answer, "at": the end of the
    last row or None, and FIGURES without "host_": the last ones that are known, or None}."""
    said = {each["location"]: each for each in monitoring.hosts(work)}
    there = _instances(work)
    return [_row(work, name, there[name], said.get(name, {})) for name in sorted({*said, *there})]


def _row(work: Workspace, location: str, models: list[str], said: dict[str, Any]) -> dict[str, Any]:
    found = [monitoring.latest(work, model, location) for model in models]
    newest = max(found, key=lambda each: each["at"] or 0, default={"at": None})
    return {
        "location": location,
        "instances": len(models),
        "error": said.get("error", ""),
        "at": newest["at"],
        **{name.removeprefix("host_"): newest.get(name) for name in FIGURES},
    }


def series(work: Workspace, location: str, since: float, until: float) -> dict[str, Any]:
    """{"at", and each of FIGURES}: what its instances recorded, each filling the others' gaps."""
    whole: dict[str, Any] = {}
    for model in _instances(work)[location][:ASKED]:
        found = monitoring.series(work, model, location, since, until)
        for name in ("at", *FIGURES):
            pairs = zip(whole.get(name, found[name]), found[name], strict=True)
            whole[name] = [two if one is None else one for one, two in pairs]
        if None not in whole["host_load"]:
            break
    return whole or {"at": [], **{name: [] for name in FIGURES}}


def _instances(work: Workspace) -> defaultdict[str, list[str]]:
    """Location → models that were ever recorded there."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for model, location in monitoring.history(work):
        found[location].append(model)
    return found
