"""Folders that come from outside, as an archive or file by file: taken in whole, or not at all.

Nothing that is sent decides where anything is written: every name is checked, everything goes into
a new folder of ours that is renamed when all is there. Links and devices are refused.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO

from app import archives, portable
from app.archives import Entry, Space
from app.errors import Problem
from app.services import models
from app.store.folder import NEVER
from app.words import size as size_words

STAGING = ".rhythmicml-receiving-"
ARCHIVE = "archive"
STALE = 24 * 3600.0
SKIPPED = NEVER | {"__MACOSX"}
"""Folders and files that are no part of a model; they are left out."""


@dataclass(frozen=True)
class Limits:
    """What a folder may be. bytes: unpacked. ratio: of unpacked to packed, above `small` bytes."""

    bytes: int = 16 << 30
    entries: int = 20_000
    depth: int = 32
    ratio: int = 200
    small: int = 256 << 20


@dataclass(frozen=True)
class Received:
    """A folder that is there now. size [bytes]."""

    folder: Path
    files: int
    size: int


class Incoming:
    """A folder in the making, out of sight."""

    def __init__(self, staging: Path, limits: Limits) -> None:
        self.limits = limits
        self.staging = staging
        self.space = Space(min(limits.bytes, archives.free_below(staging)))
        self.files = self.size = self.entries = 0
        self.name = ""
        self._tops: set[str] = set()
        (staging / "files").mkdir()

    @contextmanager
    def file(self, name: str, executable: bool = False) -> Iterator[IO[bytes] | None]:
        """A new file to write to; None when it is to be left out."""
        self._count()
        parts = checked(name, self.limits.depth)
        if SKIPPED.intersection(parts):
            yield None
            return
        path = self.staging.joinpath("files", *parts)
        self._tops.add(parts[0] if len(parts) > 1 else "")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | portable.NO_LINK
            fd = portable.opened(path, flags, 0o700 if executable else 0o600)
        except (FileExistsError, NotADirectoryError) as error:
            raise Problem(
                f'"{name[:200]}" comes twice, or is a file and a folder.',
                remedy="Send each file once.",
            ) from error
        with os.fdopen(fd, "wb") as file:
            yield file
            self.size += file.tell()
        self.files += 1

    def unpack(self, archive: Path, name: str) -> None:
        """Everything in an archive of that name."""
        if (stem := archives.stem(name)) is None:
            raise Problem(
                f'"{name[:200]}" is no archive that can be read here.',
                remedy=f"Send the folder itself, or one of: {', '.join(archives.ENDINGS)}.",
            )
        self.name = self.name or stem
        packed = archive.stat().st_size
        allowed = max(self.limits.small, packed * self.limits.ratio)
        self.space = Space(min(self.space.most, allowed))
        with archives.opened(archive, self.space) as entries:
            for entry in entries:
                self._add(entry)

    def _add(self, entry: Entry) -> None:
        if entry.open is None:
            self._count()
            return
        if entry.size > self.space.left:
            self.space.take(entry.size)
        with self.file(entry.name, entry.executable) as file:
            if file is not None and (source := entry.open()):
                archives.copy(source, file, self.space)

    def root(self) -> Path:
        """The folder that was meant: a single one inside stands for all."""
        if not self.files:
            raise Problem("There is no file in it.", remedy="Send the folder of a model.")
        files = self.staging / "files"
        if len(self._tops) == 1 and (top := next(iter(self._tops))):
            self.name = top
            return files / top
        return files

    def _count(self) -> None:
        self.entries += 1
        if self.entries > self.limits.entries:
            raise Problem(
                f"There are more than {self.limits.entries:,} files in it.",
                remedy="Leave out what is no part of the model, or add its folder by its path.",
            )


def checked(name: str, depth: int) -> tuple[str, ...]:
    """The parts of a relative name, if it names something inside."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    why = ""
    if name.startswith("/") or "\\" in name or (len(name) > 1 and name[1] == ":"):
        why = "it is not relative"
    elif ".." in parts:
        why = "it leads outside"
    elif not parts or "\0" in name:
        why = "it names nothing"
    elif len(parts) > depth:
        why = f"it is more than {depth} folders deep"
    elif portable.unfit_here(["/".join(parts)]):
        why = "this system has no such names"
    else:
        try:
            if len(name.encode()) > 1000 or any(len(part.encode()) > 255 for part in parts):
                why = "it is too long"
        except UnicodeEncodeError:
            why = "it is not UTF-8"
    if why:
        shown = name[:200].encode(errors="backslashreplace").decode()
        raise Problem(f'"{shown}" cannot be the name of a file here: {why}.')
    return parts


@contextmanager
def receiving(into: Path, limits: Limits | None = None) -> Iterator[Incoming]:
    """A folder that is filled in the block; nothing is left of it unless `keep` was reached."""
    staging = into / f"{STAGING}{secrets.token_hex(8)}"
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(into)
        staging.mkdir(mode=0o700)
        yield Incoming(staging, limits or Limits())
    except OSError as error:
        raise Problem(
            f'"{into}" could not be written.',
            cause=error.strerror or str(error),
            remedy=f"There are {size_words(archives.free_below(into))} left there."
            if into.is_dir()
            else "Make that folder yours.",
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def keep(incoming: Incoming, into: Path) -> Received:
    """Put it where it stays, under its name or the next free one."""
    root = incoming.root()
    name = models.slug(incoming.name or "model")
    for number in count(1):
        target = into / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            portable.move_folder(root, target)
            return Received(target, incoming.files, incoming.size)
    raise AssertionError("numbers do not end")


def _sweep(into: Path) -> None:
    """What a program that was killed has left."""
    for old in into.glob(f"{STAGING}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE:
                shutil.rmtree(old, ignore_errors=True)
