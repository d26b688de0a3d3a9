"""Groups of locations: one name for several, wherever several may be named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.errors import Problem
from app.services.locations import NAME

if TYPE_CHECKING:
    from app.workspace import Workspace


def add(work: Workspace, name: str, locations: Sequence[str]) -> list[str]:
    """A group of these locations, in this order; one that is there is made anew."""
    if not NAME.fullmatch(name):
        raise Problem(
            f'"{name}" is not a name for a group.',
            remedy="Use small letters, digits and hyphens, at most 47, a hyphen not first.",
        )
    if not locations:
        raise Problem(f'The group "{name}" would have no location.', remedy="Name one at least.")
    with work.open_store() as store, store.write():
        if any(each.name == name for each in store.locations.all()):
            raise Problem(f'"{name}" is a location.', remedy="Choose another name for the group.")
        members = [store.locations.get(each).name for each in dict.fromkeys(locations)]
        store.groups.put(name, members)
        return members


def all_groups(work: Workspace) -> dict[str, list[str]]:
    with work.open_store() as store:
        return store.groups.all()


def remove(work: Workspace, name: str) -> None:
    """Forget a group; its locations stay."""
    with work.open_store() as store:
        store.groups.remove(name)
