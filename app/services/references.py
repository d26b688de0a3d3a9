"""What people write to say which version they mean: a folder, a model, or model@version."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import Problem
from app.models import Event, Model, Version
from app.services import models, versions

if TYPE_CHECKING:
    from app.workspace import Workspace


def version_of(
    work: Workspace, what: str, message: str
) -> Generator[Event, None, tuple[Model, Version]]:
    """The model and version to deploy; a changed folder is committed first."""
    name, number = named(work, what)
    if number is None:
        yield Event("step", f"Commit {name}")
        committed = versions.commit(work, name, message)
        new = f"Version {committed.version.number} of {name} is committed"
        same = f"Nothing changed since version {committed.version.number} of {name}"
        yield Event("done", new if committed.new else same)
        number = committed.version.number
    with work.open_store() as store:
        model = store.models.get(name)
        return model, store.versions.get(model, number)


def model_of(work: Workspace, what: str) -> str:
    """The name of the model that is meant; a folder becomes one, if it is none."""
    name, number = named(work, what)
    if number is not None:
        raise Problem(
            f'"{what}" is a version; what is meant here is the model.',
            remedy=f"Leave @{number} out.",
        )
    return name


def named(work: Workspace, what: str) -> tuple[str, int | None]:
    """A model by its folder, which is tracked from then on, or by its name; its number, if any."""
    if _is_folder(work, what):
        return models.add(work, Path(what)).model.name, None
    return versions.parse_reference(what)


def _is_folder(work: Workspace, what: str) -> bool:
    """A path, rather than the name of a model: it has a slash, or no model is called so."""
    if not what:
        raise Problem("A folder or a model has to be named.", remedy="Write . for this folder.")
    if "/" in what or what in (".", ".."):
        return True
    with work.open_store() as store:
        known = store.models.find(what.partition("@")[0])
    return known is None and Path(what).is_dir()


def numbered(reference: str, action: str) -> tuple[str, int]:
    """The model and the number of model@version, for what goes for one version alone."""
    name, number = versions.parse_reference(reference)
    if number is None:
        raise Problem(
            f'"{reference}" does not say which version.',
            remedy=f"rhythmicml versions {name} lists them; then: "
            f"rhythmicml {action} {name}@NUMBER",
        )
    return name, number
