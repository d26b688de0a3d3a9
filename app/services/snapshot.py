"""A model's folder as it is now, in the terms of a version."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from app.models import FileEntry, Model
from app.store import Store, manifest
from app.store.blobs import Stat, Stored, hash_files
from app.store.folder import Found, scan

Read = Callable[[Sequence[Path]], list[Stored]]


@dataclass(frozen=True)
class Snapshot:
    """Files with their digests, and what is to be remembered about those that had to be read."""

    files: tuple[FileEntry, ...]
    read: tuple[tuple[str, Stored], ...]
    gone: tuple[str, ...]

    @cached_property
    def manifest(self) -> bytes:
        return manifest.render(self.files)

    @cached_property
    def manifest_digest(self) -> str:
        return hashlib.sha256(self.manifest).hexdigest()

    def digests(self) -> set[str]:
        return {file.digest for file in self.files if file.digest}


def keep(store: Store, model: Model) -> Snapshot:
    """The folder now, with every file's content durable in the store."""
    return _take(store, model, store.blobs.put_files, store.blobs.has)


def look(store: Store, model: Model) -> Snapshot:
    """The folder now, keeping nothing."""
    return _take(store, model, hash_files, lambda digest: True)


def remember(store: Store, model: Model, taken: Snapshot) -> None:
    """Let the next snapshot read only what changed since this one, where that can be written."""
    if (taken.read or taken.gone) and not store.refusal:
        with store.write():
            store.stats.forget(model, taken.gone)
            store.stats.keep(model, taken.read)


def _take(store: Store, model: Model, read: Read, usable: Callable[[str], bool]) -> Snapshot:
    folder = Path(model.folder)
    found, cached = scan(folder), store.stats.all(model)
    known = {
        one.path: cached[one.path][1]
        for one in found
        if not one.target and _unchanged(one, cached) and usable(cached[one.path][1])
    }
    unknown = [one.path for one in found if not one.target and one.path not in known]
    stored = dict(zip(unknown, read([folder / path for path in unknown]), strict=True))
    files = tuple(_entry(one, known, stored) for one in found)
    gone = tuple(cached.keys() - {one.path for one in found})
    return Snapshot(files, tuple(stored.items()), gone)


def _unchanged(one: Found, cached: dict[str, tuple[Stat, str]]) -> bool:
    return one.path in cached and cached[one.path][0] == one.stat


def _entry(one: Found, known: dict[str, str], stored: dict[str, Stored]) -> FileEntry:
    if one.target:
        return FileEntry(one.path, target=one.target)
    if one.path in known:
        return FileEntry(one.path, known[one.path], one.stat.size, one.executable)
    read = stored[one.path]
    return FileEntry(one.path, read.digest, read.size, one.executable)
