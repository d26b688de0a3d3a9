"""Gives back the disk that no release uses any more."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import script
from .layout import chunk_list, instances
from .locks import alone

if TYPE_CHECKING:
    from .loop import Agent


def collect(agent: Agent, coming: dict[str, Any] | None = None) -> int:
    """Remove environments, runtimes and blobs that no release mentions; the bytes of blobs freed.

    coming: what the release that is about to be placed will mention: environment, runtime, blobs.
    Not while somebody else deploys on this base: what is being put there is not mentioned yet.
    """
    with alone(agent) as nobody_else:
        return _collect(agent.base, coming) if nobody_else else 0


def _collect(base: Path, coming: dict[str, Any] | None) -> int:
    manifests = [each for instance in instances(base) for each in instance.complete()]
    mentioning = [*manifests, *([coming] if coming else [])]
    _keep_only(base / "envs", {each["environment"] for each in mentioning})
    _keep_only(base / "runtime", {each["runtime"] for each in mentioning})
    shutil.rmtree(base / "tmp", ignore_errors=True)
    shutil.rmtree(base / "blobs" / "damaged", ignore_errors=True)
    if not mentioning:
        for folder in ("tools", "cache", "pythons", "chunks", "incoming"):
            shutil.rmtree(base / folder, ignore_errors=True)
        (base / script.NAME).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # sockets of who was stopped long ago may be in it
            (base / "ask").rmdir()
    used = {entry[1] for each in manifests for entry in each["files"]}
    used |= {each["origin"]["lock"] for each in manifests if each.get("origin")}
    used |= set(coming["blobs"]) if coming else set()
    unused = [path for path in (base / "blobs").glob("??/*") if path.name not in used]
    for path in unused:
        chunk_list(base, path.name).unlink(missing_ok=True)
    return sum(map(_drop, unused))


def _keep_only(folder: Path, names: set[Any]) -> None:
    for each in folder.glob("*"):
        if each.name.removeprefix(".").removesuffix(".lock") not in names:
            shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink()


def _drop(path: Path) -> int:
    size = path.stat().st_size
    path.unlink(missing_ok=True)
    return size
