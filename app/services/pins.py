"""Releases that stay on their host however many come after them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import versions
from app.services.attempts import attempting, recorded
from app.services.places import location_of, not_deployed, releases_of

if TYPE_CHECKING:
    from app.workspace import Workspace


def pin(
    work: Workspace, reference: str, *, to: str | None = None, stay: bool = True
) -> dict[str, Any]:
    """Have a version's releases stay on a location, or (stay=False) go when their time has come.

    Returns {"model", "version", "location", "pinned": [version, …]}.
    """
    name, number = versions.parse_reference(reference)
    action = "pin" if stay else "unpin"
    if number is None:
        raise Problem(
            f'"{reference}" does not say which version.',
            remedy=f"rhythmicml {action} {name}@NUMBER",
        )
    location = location_of(work, name, to)
    with attempting(work, action, name, location) as attempt:
        found = attempt.road.call("status", name=name, history=0)
        if not found:
            raise not_deployed(name, location.name)
        version_of = {each["id"]: each["version"] for each in found[0]["releases"]}
        chosen = releases_of(found[0], number, location.name)
        with recorded(attempt, number, found[0]["current"] or "", found[0]["current"] or ""):
            entry = attempt.entry(number)
            pinned = attempt.road.call("pin", name=name, releases=chosen, stay=stay, entry=entry)
    return {
        "model": name,
        "version": number,
        "location": location.name,
        "pinned": sorted({version_of[each] for each in pinned if each in version_of}),
    }
