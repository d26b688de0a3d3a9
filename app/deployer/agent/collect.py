"""Gives back the disk that no release uses any more."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import instances
from .locks import alone

if TYPE_CHECKING:
    from .loop import Agent


def collect(agent: Agent) -> int:
    """Remove environments, runtimes and blobs that no release mentions; the bytes of blobs freed.

    Not while somebody else deploys on this base: what is being put there is not mentioned yet.
    """
    with alone(agent) as nobody_else:
        return _collect(agent.base) if nobody_else else 0


def _collect(base: Path) -> int:
    manifests = [each for instance in instances(base) for each in instance.complete()]
    _keep_only(base / "envs", {each["environment"] for each in manifests})
    _keep_only(base / "runtime", {each["runtime"] for each in manifests})
    shutil.rmtree(base / "tmp", ignore_errors=True)
    if not manifests:
        for folder in ("tools", "cache", "pythons"):
            shutil.rmtree(base / folder, ignore_errors=True)
    used = {entry[1] for each in manifests for entry in each["files"]}
    return sum(_drop(path) for path in (base / "blobs").glob("??/*") if path.name not in used)


def _keep_only(folder: Path, names: set[Any]) -> None:
    for each in folder.glob("*"):
        if each.name.removeprefix(".").removesuffix(".lock") not in names:
            shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink()


def _drop(path: Path) -> int:
    size = path.stat().st_size
    path.unlink(missing_ok=True)
    return size
