"""All models at a glance."""

from __future__ import annotations

from typing import Any

from app.models import Model
from app.store import Store
from app.workspace import Workspace


def overview(work: Workspace) -> list[dict[str, Any]]:
    """Per model: its name, folder and description, its last version, where which version runs."""
    with work.open_store() as store:
        return [_row(store, model) for model in store.models.all()]


def _row(store: Store, model: Model) -> dict[str, Any]:
    latest = store.versions.latest(model)
    deployed = store.instances.all(model=model.name)
    return {
        "name": model.name,
        "folder": model.folder,
        "description": latest.configuration.description if latest else "",
        "version": latest.number if latest else None,
        "committed": latest.created if latest else None,
        "deployed": [{"location": each.location, "version": each.version} for each in deployed],
    }
