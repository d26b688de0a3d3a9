"""Releases that stay on their host however many come after them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import references
from app.services.attempts import attempting
from app.services.places import location_of, releases_of, status_of

if TYPE_CHECKING:
    from app.workspace import Workspace


def pin(
    work: Workspace, reference: str, *, to: str | None = None, stay: bool = True
) -> dict[str, Any]:
    """Have a version's releases stay on a location, or (stay=False) go when their time has come.

    Returns {"model", "version", "location", "pinned": [version, …]}.
    """
    action = "pin" if stay else "unpin"
    name, number = references.numbered(reference, action)
    location = location_of(work, name, to)
    with attempting(work, action, name, location) as attempt:
        status = status_of(attempt.road, name, location.name, history=0)
        version_of = {each["id"]: each["version"] for each in status["releases"]}
        chosen = releases_of(status, number, location.name)
        entry = attempt.entry(number)
        pinned = attempt.road.call("pin", name=name, releases=chosen, stay=stay, entry=entry)
    numbers = sorted({version_of[each] for each in pinned if each in version_of})
    with contextlib.suppress(Problem), work.open_recorded() as recorded:
        recorded.keep_pinned(name, location.name, numbers)
    return {"model": name, "version": number, "location": location.name, "pinned": numbers}
