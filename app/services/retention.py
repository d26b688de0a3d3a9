"""How many releases that were once production stay on a host: a model's own `keep`, else a setting.

What a version says is what its rhythmicml.toml says: the store kept 5 of it also where that file
was silent, so the number beside the version does not tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app import config
from app.deployer.plan import GOOD_KEPT
from app.errors import Problem
from app.services.configuring import parsed
from app.store import manifest

if TYPE_CHECKING:
    from app.models import Version
    from app.store import Store
    from app.workspace import Workspace

SETTING = "keep"
MOST = 10_000


def default(store: Store) -> int:
    """How many stay of a model that does not say it."""
    return int(store.settings.get(SETTING, GOOD_KEPT))


def set_default(work: Workspace, count: int) -> None:
    """Have so many stay from the next deploy or switch of each model on; nothing goes before."""
    if not 1 <= count <= MOST:
        raise Problem(
            f"{count} is no number of releases to keep.",
            remedy=f"Give a number from 1 to {MOST:,}; the one in production stays in any case.",
        )
    with work.open_store() as store:
        store.settings.set(SETTING, count)


def of(store: Store, version: Version) -> int:
    """How many stay once this version is production."""
    own = _own(store, version)
    return default(store) if own is None else own


def of_release(store: Store, there: dict[str, Any]) -> int:
    """The same, by a release.json. Of a version that is not here, that is all there is to go by:
    where it says 5 nobody knows who said so, and more stay if the setting says more.
    """
    model = store.models.find(there["model"])
    for version in store.versions.all(model) if model else ():
        if version.digest == there["digest"]:
            return of(store, version)
    said = there.get("origin", {}).get("configuration", {}).get("keep", GOOD_KEPT)
    return max(said, default(store)) if said == GOOD_KEPT else int(said)


def _own(store: Store, version: Version) -> int | None:
    files = manifest.parse(store.blobs.read(version.manifest))
    for each in files:
        if each.path == config.FILE:
            document = parsed(store.blobs.read(each.digest).decode())
            own: int | None = document.get("deploy", {}).get("keep")
            return own
    return None
