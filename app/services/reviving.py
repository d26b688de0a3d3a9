"""The way back from a store that cannot be read: a copy of it, a backup, or an empty one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import Damaged, Problem
from app.models import Event
from app.store import copies
from app.store.copies import Copy
from app.store.looking import look, settle
from app.words import ago

if TYPE_CHECKING:
    from app.workspace import Workspace


def damage(work: Workspace) -> Damaged | None:
    """What is wrong with the store's file; None when it is whole, or there is none."""
    settle(work.home / copies.FILE)
    found = look(work.home / copies.FILE)
    if found["state"] != "damaged":
        return None
    return Damaged(
        f'The store "{work.home / copies.FILE}" is damaged.',
        cause=found["words"],
        remedy="Put back a copy of it.",
    )


def copies_of(work: Workspace) -> list[Copy]:
    """What could be put in its place, the newest first."""
    return copies.copies(work.home)


def put_back(work: Workspace, copy: Path) -> Iterator[Event]:
    """Put one of the copies in place of the store; what was there is kept aside."""
    yield Event("step", "Put the copy in place of the store")
    aside = copies.put_back(work.home, copy)
    with work.open_store() as store:  # which brings it to the newest shape
        models = store.models.all()
        number = sum(len(store.versions.all(each)) for each in models)
    yield Event("done", "Put the copy in place of the store")
    words = (
        f"The store is a copy again: {len(models)} models, {number} versions. What was there is in "
        f'"{aside}". Models deployed since come back with: rhythmicml adopt LOCATION'
    )
    data = {"models": len(models), "versions": number, "aside": str(aside)}
    yield Event("result", words, data=data)


def ready(work: Workspace) -> Iterator[Event]:
    """Have a store that a backup can be put in place of: a damaged one is moved aside first."""
    if damage(work):
        aside = copies.set_aside(work.home)
        yield Event("note", f'The damaged store is in "{aside}" now.')


def begin_anew(work: Workspace) -> Path:
    """An empty store; where the damaged one is now."""
    if not damage(work):
        raise Problem("The store is whole; there is no need to begin anew.")
    aside = copies.set_aside(work.home)
    with work.open_store():
        return aside


def words(copy: Copy) -> str:
    """A copy in a line: when it was made, what is in it."""
    models = f"{copy.models} model{'' if copy.models == 1 else 's'}"
    versions = f"{copy.versions} version{'' if copy.versions == 1 else 's'}"
    return f"the copy made {ago(copy.made)}: {models}, {versions}"
