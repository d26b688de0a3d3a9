"""Backups of the store: a folder with all rows and all blobs, and the way back from one.

    FOLDER/backup.json      written last: which blobs are the rows and the known hosts
           blobs/ab/<sha256>

A second backup into the same folder copies what is new, and takes away what nothing needs any more.
No secret is in a backup, and nothing of the location `local`.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import portable
from app.errors import Busy, Problem
from app.models import Event, instant
from app.services import models, reviving
from app.store import Store
from app.store.blobs import Blobs, is_digest
from app.store.tables import now
from app.words import ago, counted, size

if TYPE_CHECKING:
    from app.workspace import Workspace

Said = dict[str, Any]
"""What backup.json says."""

FILE = "backup.json"
FORMAT = 1
ROWS, HOSTS = "store.sqlite", "known_hosts"
UNDO = "before-restore"
"""Folder of the data folder: a backup of what was there before the last restore."""
AT_ONCE = 64 << 20
"""Bytes that are copied between two events."""
ATTEMPTS = 5


def backup(work: Workspace, folder: str | Path) -> Iterator[Event]:
    """Copy the store into a folder, each file checked; the result's data says what is there."""
    target = _target(work, Path(folder))
    with _alone(target), work.open_store() as store, _room(work) as room:
        yield Event("step", "Copy the rows of the store")
        store.copy_rows(room / ROWS)
        names = _names(room, store.blobs)
        blobs = _blobs(target)
        yield Event("done", "Copy the rows of the store")
        yield from _verified(blobs, blobs.all(), "Read again what is in the backup", mend=True)
        lacking = _lacking(store.blobs, blobs, names)
        names -= lacking
        yield from _brought(store.blobs, blobs, names, "Copy the files of all versions")
        said = _keep(blobs, room, work.home, names, lacking)
        _write(target, said)
    _prune(blobs, {*names, *said["files"].values()})
    yield Event("result", _words(target, said), data={"folder": str(target), **said})


def restore(work: Workspace, folder: str | Path | None = None) -> Iterator[Event]:
    """Put a backup in place of the store: all of it, or nothing. Without a folder: take that back.

    What is here stays as a backup in the data folder, so that it can be taken back.
    """
    source = _source(work, folder)
    if source.is_file():
        raise Problem(
            f'"{source}" is a file, and no folder of a backup.',
            cause="A copy of the store takes its place only while nobody has it open.",
            remedy=f'Close RhythmicML, then: rhythmicml restore-store "{source}"',
        )
    said = _read(source)
    yield from reviving.ready(work)
    with _alone(source), work.open_store() as store, _room(work) as room:
        _refuse_at_work(store)
        kept = Blobs(source / "blobs")
        yield from _verified(kept, said["files"].values(), "Read the rows of the backup")
        names = _names_of(kept, said, room) - set(said.get("missing", ()))
        yield from _verified(kept, names, "Read again what is in the backup")
        yield from _brought(kept, store.blobs, names, "Bring the files of its versions")
        yield Event("step", "Put the backup in place of the store")
        _bring_hosts(kept, said, work.home)
        undo, needed = _swap(work, store, room / ROWS)
        _bring(kept, store.blobs, store.blobs.missing(names))  # collected in the last moment
        _prune(undo, needed)
        yield Event("done", "Put the backup in place of the store")
    words = (
        f"The store is as it was {_when(said['made'])}: {_count(said)}.\n"
        "To have back what was here before: rhythmicml restore-store --undo"
    )
    yield Event("result", words, data={"folder": str(source), **said})


def last_undo(work: Workspace) -> Said | None:
    """What could be taken back to, after a restore."""
    try:
        return _read(work.home / UNDO)
    except Problem:
        return None


def _swap(work: Workspace, store: Store, rows: Path) -> tuple[Blobs, set[str]]:
    """Keep what is here as a backup of its own, then replace it, with nobody writing in between.

    Returns that backup's blobs, and which of them it needs.
    """
    (work.home / UNDO).mkdir(mode=0o700, exist_ok=True)
    kept = _blobs(work.home / UNDO)
    before = rows.parent / "before"
    before.mkdir()
    for attempt in range(1, ATTEMPTS + 1):
        stamp = store.copy_rows(before / ROWS)
        names = _names(before, store.blobs)
        lacking = _lacking(store.blobs, kept, names)
        names -= lacking
        for digest in kept.missing(names):
            kept.link(digest, store.blobs.source(digest))
        said = _keep(kept, before, work.home, names, lacking)
        _write(work.home / UNDO, said)
        try:
            store.replace_rows(rows, stamp)
        except Busy:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.1 * attempt)
        else:
            break
    return kept, {*names, *said["files"].values()}


# What a backup is made of


def _names(room: Path, blobs: Blobs) -> set[str]:
    """The blobs that the copied rows name."""
    with closing(Store.open(room)) as copied:
        return copied.named(lambda digest: _whole(blobs, digest))


def _whole(blobs: Blobs, digest: str) -> bytes:
    source = blobs.source(digest)
    content = source.read_bytes() if source.exists() else blobs.read(digest)
    if sha256(content).hexdigest() != digest:
        raise _damaged_here(blobs, digest)
    return content


def _names_of(kept: Blobs, said: Said, room: Path) -> set[str]:
    """The same of a backup, whose rows are put into `room` and brought to the newest shape."""
    (room / ROWS).write_bytes(kept.read(said["files"][ROWS]))
    with closing(Store.open(room)) as copied:
        for digest in {manifest for manifest, _ in copied.versions.blobs()}:
            if not kept.verify(digest):
                raise _damaged(1)
        names = copied.named(kept.read)
    if strange := [each for each in names if not is_digest(each)]:
        raise _damaged(len(strange))
    return names


def _lacking(source: Blobs, target: Blobs, names: set[str]) -> set[str]:
    """What neither has: lost, or never shipped to the server that a version was adopted from."""
    return {each for each in target.missing(names) if not _there(source, each)}


def _keep(blobs: Blobs, room: Path, home: Path, names: set[str], lacking: set[str]) -> Said:
    """Put the rows and the known hosts among the blobs; what backup.json says of it all."""
    files = {ROWS: blobs.put_bytes((room / ROWS).read_bytes())}
    if (home / HOSTS).is_file():
        files[HOSTS] = blobs.put_bytes((home / HOSTS).read_bytes())
    with closing(Store.open(room)) as copied:
        count = [len(copied.versions.all(model)) for model in copied.models.all()]
    return {
        "format": FORMAT,
        "made": now(),
        "files": files,
        "models": len(count),
        "versions": sum(count),
        "blobs": len(names),
        "bytes": sum(blobs.path(each).stat().st_size for each in names),
        "missing": sorted(lacking),
    }


def _verified(
    blobs: Blobs, digests: Iterable[str], words: str, *, mend: bool = False
) -> Generator[Event, None, None]:
    """Read blobs again. mend: the damaged ones are set aside, to be put there anew."""
    yield Event("step", words)
    wanted = sorted(set(digests))
    total = sum(blobs.path(each).stat().st_size for each in wanted if blobs.has(each))
    done = told = bad = 0
    for digest in wanted:
        if not blobs.verify(digest):
            bad += 1
            if mend:
                blobs.set_aside(digest)
                continue
        done += blobs.path(digest).stat().st_size if blobs.has(digest) else 0
        if done - told >= AT_ONCE:
            told = done
            yield Event("progress", done=done, total=total, unit="B")
    if bad and not mend:
        raise _damaged(bad)
    yield Event("done", words)


def _damaged(count: int) -> Problem:
    return Problem(
        f"{count} file{'s' if count != 1 else ''} of the backup cannot be read as written.",
        remedy="Use another backup; nothing was changed here.",
    )


def _brought(source: Blobs, target: Blobs, names: set[str], words: str) -> Iterator[Event]:
    """Copy the blobs that are missing; what does not have its digest when read is a Problem."""
    yield Event("step", words)
    missing = sorted(target.missing(names))
    sizes = {each: source.source(each).stat().st_size for each in missing if _there(source, each)}
    done, batch, held = 0, [], 0
    for digest in missing:
        batch.append(digest)
        held += sizes.get(digest, 0)
        if held >= AT_ONCE or digest == missing[-1]:
            _bring(source, target, batch)
            done, batch, held = done + held, [], 0
            yield Event("progress", done=done, total=sum(sizes.values()), unit="B")
    yield Event("done", words, data={"bytes": done, "files": len(missing)})


def _there(blobs: Blobs, digest: str) -> bool:
    return blobs.source(digest).exists()


def _bring(source: Blobs, target: Blobs, digests: Iterable[str]) -> None:
    wanted = list(digests)
    stored = target.put_files([source.source(each) for each in wanted])
    if wrong := [name for name, put in zip(wanted, stored, strict=True) if put.digest != name]:
        raise _damaged_here(source, wrong[0])


def _damaged_here(blobs: Blobs, digest: str) -> Problem:
    return Problem(
        f'The file with the digest "{digest[:12]}" is damaged in "{blobs.folder}".',
        remedy="See what it belongs to: rhythmicml verify",
    )


def _bring_hosts(kept: Blobs, said: Said, home: Path) -> None:
    """The servers that were trusted, on a machine that knows none yet."""
    if HOSTS in said["files"] and not (home / HOSTS).exists():
        (home / HOSTS).write_bytes(kept.read(said["files"][HOSTS]))
        (home / HOSTS).chmod(0o600)


def _prune(blobs: Blobs, needed: set[str]) -> None:
    for digest in set(blobs.all()) - needed:
        blobs.drop(digest)
    blobs.empty_trash(0)


# Where a backup is


def _target(work: Workspace, folder: Path) -> Path:
    target, home = models.whole(folder), work.home.resolve()
    if target.is_relative_to(home):
        raise Problem(
            f'"{target}" is within the store that would be copied.',
            remedy="Name a folder elsewhere, better on another disk.",
        )
    _refuse_foreign(target)
    return target


def _refuse_foreign(target: Path) -> None:
    """A folder with something else in it stays as it is."""
    ours = {FILE, f"{FILE}.partial", "blobs", ".lock"}
    try:
        there = {each.name for each in target.iterdir()}
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(target, error) from error
    if others := sorted(there - ours):
        raise Problem(
            f'"{target}" is not empty, and no backup: it has "{others[0]}".',
            remedy="Name an empty folder, or one that does not exist yet.",
        )


def _source(work: Workspace, folder: str | Path | None) -> Path:
    if folder is not None:
        return models.whole(Path(folder))
    if last_undo(work) is None:
        raise Problem("Nothing was restored here, so nothing can be taken back.")
    return work.home / UNDO


def _blobs(folder: Path) -> Blobs:
    try:
        return Blobs(folder / "blobs")
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> Problem:
    return Problem(f'"{folder}" cannot be written.', cause=error.strerror or str(error))


def _read(folder: Path) -> Said:
    try:
        said: Said = json.loads((folder / FILE).read_bytes())
        readable = said["format"] == FORMAT and isinstance(said["files"][ROWS], str)
        if readable:  # what is told of it when the store has been replaced
            _when(said["made"])
            _count(said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Problem(
            f'"{folder}" is no backup that can be read.',
            cause=str(error),
            remedy=f"Name the folder that has {FILE} in it.",
        ) from error
    if not readable:
        raise Problem(f'"{folder}" was made by a newer RhythmicML.', remedy="Upgrade RhythmicML.")
    return said


def _write(folder: Path, said: Said) -> None:
    """The file that makes a backup of it, whole or not at all."""
    temporary = folder / f"{FILE}.partial"
    try:
        fd = portable.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(said, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / FILE)
    except OSError as error:
        raise _unwritable(folder, error) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two at the same folder would take away each other's files. One that cannot be written, such
    as a read-only disk, is nobody else's either."""
    if folder.is_dir() and not os.access(folder, os.W_OK):
        yield
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = portable.opened(folder / ".lock", os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        if not portable.locked(fd):
            raise Busy(f'Another backup uses "{folder}".', remedy="Wait until it is done.")
        yield
    finally:
        os.close(fd)


@contextmanager
def _room(work: Workspace) -> Iterator[Path]:
    """A private folder for copies of rows, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=".copy-", dir=work.home) as room:
        yield Path(room)


def _refuse_at_work(store: Store) -> None:
    others = [each for each in store.jobs.unfinished() if each.kind != "restore-store"]
    if others:
        raise Busy(
            f"A job is at work: {others[0].kind} {others[0].subject}.",
            remedy="Wait until it is done, or cancel it.",
        )


def _words(target: Path, said: Said) -> str:
    words = f'The store is kept in "{target}": {_count(said)}.'
    if lacking := len(said["missing"]):
        gone = counted(lacking, "file") + (" is" if lacking == 1 else " are")
        words += f"\n{gone} missing here, so not in it: rhythmicml verify names them."
    return words


def _when(stamp: str) -> str:
    """By the clock here, which stays true in the list of jobs, and how long ago."""
    return f"on {instant(stamp).astimezone():%Y-%m-%d at %H:%M} ({ago(stamp)})"


def _count(said: Said) -> str:
    kinds = ("model", "version")
    counts = [f"{said[f'{k}s']:,} {k}{'s' if said[f'{k}s'] != 1 else ''}" for k in kinds]
    return ", ".join((*counts, size(said["bytes"])))
