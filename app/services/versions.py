"""Versions: making them, looking at them, putting one back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from app import dependencies
from app.crash import crash_point
from app.errors import NotFound, Problem
from app.models import Configuration, FileEntry, Model, Version
from app.scoring.schema import Schema
from app.services import (
    checks,
    differences,
    history,
    person,
    pipelines,
    releases,
    schemas,
    snapshot,
)
from app.services.differences import FileChange
from app.services.restoring import put_back
from app.services.snapshot import Snapshot
from app.store import Store, listing, manifest
from app.store.folder import left_out as left_out_of
from app.workspace import Workspace

ATTEMPTS = 3


@dataclass(frozen=True)
class Committed:
    """The version that holds the folder as it is. Not new: it was the last one already.

    breaking: what those who call the version before would stumble over.
    """

    version: Version
    new: bool
    changes: tuple[FileChange, ...] = ()
    breaking: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed(Version):
    """A version, and the locations where it was pinned when they were asked last."""

    pinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """A version with all that is in it."""

    model: Model
    version: Version
    files: tuple[FileEntry, ...]
    lock: str
    packages: dict[str, str]


@dataclass(frozen=True)
class Restored:
    """A version put back into its folder. `committed` is what was committed before, if anything.

    absent: files of an adopted version that were never shipped, so that they are nowhere.
    """

    version: Version
    written: tuple[str, ...]
    removed: tuple[str, ...]
    committed: Version | None = None
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Content:
    """All that decides a version."""

    configuration: Configuration
    taken: Snapshot
    lock: str
    schema: dict[str, Any]
    manifest: str = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        listed = self.taken.manifest_digest
        digest = manifest.version_digest(listed, self.lock, self.configuration.python)
        object.__setattr__(self, "manifest", listed)
        object.__setattr__(self, "digest", digest)

    def blobs(self) -> set[str]:
        return {*self.taken.digests(), self.manifest, self.lock}


def parse_reference(reference: str) -> tuple[str, int | None]:
    """`churn@3` → ("churn", 3); `churn` → ("churn", None)."""
    match = re.fullmatch(r"([^@]+)(?:@v?([0-9]{1,9}))?", reference)
    if not match:
        raise Problem(
            f'"{reference}" names no version.', remedy="Write model@number, such as churn@3"
        )
    return match[1], int(match[2]) if match[2] else None


def commit(
    work: Workspace, model_name: str, message: str = "", author: str = "", relock: bool = False
) -> Committed:
    """Make a version of the model's folder as it is; none when nothing changed since the last one.

    relock: resolve the requirements again, though they have not changed.
    Raises Problem when the folder could not be deployed; then nothing is kept.
    """
    with work.open_store() as store:
        return _commit(store, store.models.get(model_name), message, author, relock)


def draft(store: Store, model: Model) -> Version:
    """The folder as it is, as the version that a commit would make; only its content is kept."""
    content = _content(store, model, relock=False)
    store.blobs.put_bytes(content.taken.manifest)
    latest = store.versions.latest(model)
    files = content.taken.files
    return Version(
        id=0,
        model_id=model.id,
        number=(latest.number if latest else 0) + 1,
        digest=content.digest,
        message="",
        author="",
        created="",
        manifest=content.manifest,
        lock=content.lock,
        configuration=content.configuration,
        size=sum(file.size for file in files),
        files=len(files),
        schema=content.schema,
    )


def versions(work: Workspace, model_name: str) -> list[Version]:
    """Newest first."""
    with work.open_store() as store:
        return store.versions.all(store.models.get(model_name))


def listed(work: Workspace, model_name: str) -> list[Listed]:
    """Newest first, with what is known here of where each is pinned: no host is asked."""
    with work.open_store() as store:
        known = store.versions.all(store.models.get(model_name))
        there = {each.location for each in store.instances.all(model=model_name)}
    pins: dict[str, list[int]] = {}
    if there:
        with suppress(Problem), work.open_recorded() as recorded:
            pins = recorded.pinned(model_name)
    return [
        Listed(
            **{each.name: getattr(version, each.name) for each in fields(version)},
            pinned=tuple(p for p in pins if p in there and version.number in pins[p]),
        )
        for version in known
    ]


def show(work: Workspace, reference: str) -> Shown:
    """A version, with its files and packages; the last one when the reference has no number."""
    with work.open_store() as store:
        model, version = find(store, reference)
        lock = store.blobs.read(version.lock)
        files = tuple(manifest.parse(store.blobs.read(version.manifest)))
        return Shown(model, version, files, lock.decode(), dependencies.packages(lock))


def one(work: Workspace, reference: str) -> Version:
    """A version; the last one when the reference has no number."""
    with work.open_store() as store:
        return find(store, reference)[1]


def packages(work: Workspace, version: Version) -> dict[str, str]:
    with work.open_store() as store:
        return dependencies.packages(store.blobs.read(version.lock))


def under(work: Workspace, version: Version, folder: str, after: str, most: int) -> listing.Page:
    """Of a folder of a version ("", or ending with a slash) what comes after an entry's path."""
    with work.open_store() as store, listing.opened(store.blobs.open(version.manifest)) as listed:
        return listed.under(folder, after, most)


def having(work: Workspace, version: Version, text: str, most: int) -> listing.Page:
    """The files of a version that have a text in their path."""
    with work.open_store() as store, listing.opened(store.blobs.open(version.manifest)) as listed:
        return listed.having(text, most)


def diff(work: Workspace, a: str, b: str | None = None) -> differences.Differences:
    """What is different in `b` against `a`; `b` left out is the folder as it is."""
    with work.open_store() as store:
        model, version = find(store, a)
        before = differences.of_version(store, model, version)
        if b is None:
            return differences.between(before, differences.of_folder(store, model))
        return differences.between(before, differences.of_version(store, *find(store, b)))


def uncommitted(work: Workspace, names: Iterable[str]) -> dict[str, int | None]:
    """Model → how many files of its folder differ from its last version; None: cannot be read.

    What no model is called (any more) is left out.
    """
    found: dict[str, int | None] = {}
    with work.open_store() as store:
        for model in filter(None, map(store.models.find, names)):
            latest = store.versions.latest(model)
            try:
                taken = snapshot.look(store, model)
                found[model.name] = len(_changes(store, latest, taken))
            except Problem:
                found[model.name] = None
                continue
            snapshot.remember(store, model, taken)
    return found


def left_out(work: Workspace, name: str, most: int = 200) -> list[str]:
    """What the model's folder has that no version takes: by its rules, and by ours."""
    with work.open_store() as store:
        folder = Path(store.models.get(name).folder)
    return left_out_of(folder, most)


def restore(
    work: Workspace, reference: str, commit_first: bool = False, discard: bool = False
) -> Restored:
    """Put a version back into its model's folder.

    What the folder holds must be a version already, so that nothing is lost; `commit_first` makes
    it one. discard: it may be lost, as when it is too broken to be committed.
    """
    with work.open_store() as store:
        model, version = find(store, reference)
        Path(model.folder).mkdir(parents=True, exist_ok=True)
        now = snapshot.look(store, model)
        committed = None
        if not discard and not _is_kept(store, model, now):
            if not commit_first:
                raise _uncommitted(model)
            committed = _commit(store, model, f"Before restoring {reference}", "", False).version
            now = snapshot.look(store, model)
        every = manifest.parse(store.blobs.read(version.manifest))
        absent = never_shipped(store, version, every)
        away = set(absent)
        wanted = [each for each in every if each not in away]
        written, removed = put_back(store.blobs, Path(model.folder), now.files, wanted)
        history.note(store, "restore", model.name, version=version.number, detail=model.folder)
    return Restored(version, written, removed, committed, tuple(each.path for each in absent))


def never_shipped(store: Store, version: Version, every: list[FileEntry]) -> list[FileEntry]:
    """Of an adopted version, what `exclude` kept from the server, and so is nowhere."""
    if not version.adopted:
        return []
    excluded = set(every) - set(releases.shipped(every, version.configuration))
    return sorted(each for each in excluded if each.digest and not store.blobs.has(each.digest))


def remove(work: Workspace, reference: str) -> Version:
    """Forget a version. Its files go, unless another version has them; history stays.

    Refused while it is in use, and of the newest one, whose number would be given again.
    """
    with work.open_store() as store, store.write():
        model, version = find(store, reference)
        if why := in_use(store, model).get(version.number):
            raise Problem(f"{model.name} v{version.number} cannot be deleted: {why}.")
        store.versions.remove(model, version.number)
        history.note(store, "delete version", model.name, version=version.number)
    with work.open_store() as store:
        store.collect()
    return version


def in_use(store: Store, model: Model) -> dict[int, str]:
    """Versions that have to stay → why, as the end of a sentence."""
    why: dict[int, str] = {}
    if latest := store.versions.latest(model):
        why[latest.number] = "it is the newest, and the next one would get its number"
    for attempt in store.deployments.open(model.name):
        if attempt.version is not None:
            why[attempt.version] = "it is being deployed"
    for each in store.instances.all(model=model.name):
        if each.version is not None:
            why[each.version] = f"it is the production version on {each.location}"
    return why


def find(store: Store, reference: str) -> tuple[Model, Version]:
    """The version a reference names; the last one when it has no number."""
    name, number = parse_reference(reference)
    model = store.models.get(name)
    if number is not None:
        return model, store.versions.get(model, number)
    if latest := store.versions.latest(model):
        return model, latest
    raise NotFound(
        f'The model "{name}" has no version yet.', remedy=f"Make one: rhythmicml commit {name}"
    )


def _commit(store: Store, model: Model, message: str, author: str, relock: bool) -> Committed:
    for _ in range(ATTEMPTS):
        content = _content(store, model, relock)
        if committed := _record(store, model, content, message, author or person.user()):
            return committed
    raise Problem(
        f'Files of "{model.name}" go away from the store while they are committed.',
        remedy="Let whatever clears the store finish, then commit again.",
    )


def _content(store: Store, model: Model, relock: bool) -> _Content:
    folder = Path(model.folder)
    configuration = checks.checked_configuration(folder)
    taken = snapshot.keep(store, model)
    checks.check_versioned(configuration, (file.path for file in taken.files))
    schema = _schema(store, model, folder, configuration)
    lock = _locked(store, folder, configuration, relock)
    return _Content(configuration, taken, lock, schema.as_json())


def _schema(store: Store, model: Model, folder: Path, configuration: Configuration) -> Schema:
    """What it takes; for a pipeline, what its stages make of that has to fit."""
    if not configuration.stages:
        return schemas.read(folder, configuration)
    pipelines.check(store, model.name, configuration)
    taken = pipelines.kind_of(store, configuration)
    schema = schemas.read(folder, replace(configuration, input=taken))
    pipelines.refuse_misfits(store, configuration, schema)
    return schema


def _locked(store: Store, folder: Path, configuration: Configuration, relock: bool) -> str:
    """The digest of the lock's blob; the requirements are resolved only when that is not known."""
    if not configuration.runs_script:
        return store.blobs.put_bytes(b"")
    key = dependencies.key(folder, configuration)
    known = None if relock else store.locks.get(key)
    if known and store.blobs.has(known):
        return known
    digest = store.blobs.put_bytes(dependencies.lock(folder, configuration))
    store.locks.set(key, digest)
    return digest


def _record(
    store: Store, model: Model, content: _Content, message: str, author: str
) -> Committed | None:
    """The version written down; None when a blob it names was cleared away meanwhile."""
    latest = store.versions.latest(model)
    if latest is None or latest.digest != content.digest:
        store.blobs.put_bytes(content.taken.manifest)
    crash_point("before-row")
    with store.write():
        snapshot.remember(store, model, content.taken)
        latest = store.versions.latest(model)
        if latest and latest.digest == content.digest:
            return Committed(latest, new=False)
        if store.blobs.missing(content.blobs()):
            return None
        version = _add(store, model, content, message, author)
        history.note(store, "commit", model.name, version=version.number, detail=message)
        crash_point("row-written")
    crash_point("after-row")
    changes = _changes(store, latest, content.taken)
    breaking = schemas.breaking(latest.schema if latest else None, content.schema)
    return Committed(version, new=True, changes=changes, breaking=breaking)


def _add(store: Store, model: Model, content: _Content, message: str, author: str) -> Version:
    files = content.taken.files
    return store.versions.add(
        model,
        digest=content.digest,
        manifest=content.manifest,
        lock=content.lock,
        configuration=content.configuration,
        size=sum(file.size for file in files),
        files=len(files),
        message=message,
        author=author,
        schema=content.schema,
    )


def _changes(store: Store, before: Version | None, taken: Snapshot) -> tuple[FileChange, ...]:
    files = manifest.parse(store.blobs.read(before.manifest)) if before else []
    return differences.file_changes(files, taken.files)


def _is_kept(store: Store, model: Model, taken: Snapshot) -> bool:
    """Whether each file that is there now is in some version of the model: then nothing is lost."""
    left = set(taken.files)
    for version in store.versions.all(model):
        if not left:
            break
        left -= set(manifest.parse(store.blobs.read(version.manifest)))
    return not left


def _uncommitted(model: Model) -> Problem:
    return Problem(
        f'The folder of "{model.name}" has changes that are in no version.',
        remedy=f"See them: rhythmicml diff {model.name}; keep them: --commit-first; "
        "lose them: --discard",
    )
