"""Putting a version's files back into a folder, each one whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from app import portable
from app.errors import Problem
from app.models import FileEntry
from app.store import manifest
from app.store.blobs import Blobs
from app.store.folder import TEMPORARY


def put_back(
    blobs: Blobs, folder: Path, now: Iterable[FileEntry], wanted: Sequence[FileEntry]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Make `folder`, which holds `now`, hold `wanted`. Returns the paths written and removed.

    What is neither in `now` nor wanted (ignored files) stays; where it is in the way, or something
    wanted would be written elsewhere, Problem, and nothing is changed.
    """
    there = {file.path: file for file in now}
    coming = {file.path: file for file in manifest.checked(wanted)}
    written = sorted(path for path, file in coming.items() if there.get(path) != file)
    removed = sorted(there.keys() - coming.keys())
    _refuse_unfit(coming)
    for path in written:
        _refuse_if_in_the_way(folder, path, there)
    if missing := blobs.missing(coming[path].digest for path in written if coming[path].digest):
        blobs.open(min(missing))
    try:
        for path in removed:
            _remove(folder, path)
        for path in written:
            _write(blobs, folder, coming[path])
    except OSError as error:
        raise Problem(
            f'"{folder}" could not be restored completely.',
            remedy="Make it writable, with enough space, then restore again.",
            cause=error.strerror or str(error),
        ) from error
    return tuple(written), tuple(removed)


def _refuse_unfit(paths: Iterable[str]) -> None:
    if unfit := portable.unfit_here(paths):
        raise Problem(
            f'"{unfit}" cannot be the name of a file of its own on this system.',
            remedy="Restore this version on Linux; or rename the file there, and commit.",
        )


def _refuse_if_in_the_way(folder: Path, path: str, there: dict[str, FileEntry]) -> None:
    """Files that no version holds must not be overwritten, nor written through a link's folder."""
    for place in (path, *_parents(path)):
        if place in there:
            continue
        full = folder / place
        is_folder = full.is_dir() and not full.is_symlink()
        if os.path.lexists(full) and not (
            is_folder and (place != path or _empties(full, there, folder))
        ):
            raise Problem(
                f'"{full}" is in the way of "{path}", and in no version.',
                remedy="Move it away, then restore again.",
            )


def _empties(place: Path, there: dict[str, FileEntry], folder: Path) -> bool:
    """Whether a folder holds only files that are versioned, so that it goes when they go."""
    inside = (found for found in place.rglob("*") if found.is_symlink() or not found.is_dir())
    return all(found.relative_to(folder).as_posix() in there for found in inside)


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(path).parents if parent.name]


def _remove(folder: Path, path: str) -> None:
    """Remove a file, and the folders that are empty without it."""
    (folder / path).unlink(missing_ok=True)
    for parent in _parents(path):
        try:
            (folder / parent).rmdir()
        except OSError:
            return


def _write(blobs: Blobs, folder: Path, file: FileEntry) -> None:
    final = folder / file.path
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.with_name(f"{TEMPORARY}{os.urandom(16).hex()}")
    try:
        if file.target:
            temporary.symlink_to(file.target)
        else:
            _copy(blobs, file, temporary)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(blobs: Blobs, file: FileEntry, path: Path) -> None:
    with blobs.open(file.digest) as source, path.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
        if file.executable:
            mode = os.fstat(target.fileno()).st_mode
            portable.set_mode(target.fileno(), mode | (mode & 0o444) >> 2)
        target.flush()
        os.fsync(target.fileno())
