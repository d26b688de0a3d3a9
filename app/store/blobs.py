"""Files kept by their content: `blobs/ab/<sha256>`, each once, read-only, durable when named.

A blob comes to be in restic's order: a temporary file on the same file system, written, fsynced,
made read-only, renamed, and the folder fsynced. `put_files` does this for many at once: the folders
are fsynced last, each once.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from itertools import cycle
from pathlib import Path
from typing import BinaryIO

from app import portable
from app.crash import crash_point
from app.errors import NotFound, Problem

CHUNK = 1 << 22
BLOCK = 4096
WORKERS = 4
MANY, TOGETHER = 1000, 64
"""Files from which on each worker is handed so many at a time: what is kept about one that waits
takes more than its entry in the version does."""
ATTEMPTS = 3
DAY = 86_400.0
is_digest = re.compile("[0-9a-f]{64}").fullmatch


@dataclass(frozen=True, slots=True)
class Stat:
    """What tells, without reading it, whether a file is still the same."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stat:
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that was put: its content's digest, and what it looked like while it was read."""

    digest: str
    stat: Stat
    read_at_ns: int

    @property
    def size(self) -> int:
        return self.stat.size


class Blobs:
    """The blob store in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.incoming = folder / "incoming"
        self.trash = folder / "trash"
        for made in (folder, self.incoming, self.trash):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest

    def source(self, digest: str) -> Path:
        """Where the content is that has this digest: also what was just put into the trash."""
        path, trashed = self.path(digest), self.trash / digest
        return trashed if not path.exists() and trashed.exists() else path

    def has(self, digest: str) -> bool:
        return os.path.exists(f"{self.folder}/{digest[:2]}/{digest}")

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Which of these are not here."""
        return {digest for digest in set(digests) if not self.has(digest)}

    def open(self, digest: str) -> BinaryIO:
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError as error:
            raise NotFound(
                f'The file with the digest "{digest[:12]}" is missing from the store.',
                remedy="Commit a folder that still has it, or put back a backup.",
            ) from error

    def read(self, digest: str) -> bytes:
        with self.open(digest) as file:
            return file.read()

    def verify(self, digest: str) -> bool:
        """Whether the blob is here and holds what its name says."""
        try:
            with self.path(digest).open("rb") as file:
                return _digest(file) == digest
        except OSError:
            return False

    def put_bytes(self, content: bytes) -> str:
        """Keep these bytes. Returns their digest."""
        digest = hashlib.sha256(content).hexdigest()
        if not self.has(digest):
            with _writing(self.folder), self.temporary() as (temporary, target):
                _write_whole(target.fileno(), memoryview(content))
                self._settle(target, temporary, digest)
        with _writing(self.folder):
            self._sync_folders([digest])  # whoever put it first may not have come to that yet
        return digest

    def put_file(self, path: Path) -> tuple[str, int]:
        """Keep a file's content. Returns its digest and size."""
        stored = self.put_files([path])[0]
        return stored.digest, stored.size

    def put_files(self, paths: Sequence[Path]) -> list[Stored]:
        """Keep many files' contents, several at a time. All are durable on return."""
        if not paths:
            return []
        with ThreadPoolExecutor(WORKERS) as copiers, ThreadPoolExecutor(WORKERS) as hashers:
            copying = [copiers.submit(self._put, part, hashers) for part in _parts(paths)]
            stored = _all_or_first_fault(copying)
        crash_point("blobs-renamed")
        with _writing(self.folder):
            self._sync_folders(one.digest for one in stored)
        return stored

    def _put(self, paths: Sequence[Path], hashers: ThreadPoolExecutor) -> list[Stored]:
        return [_steadily(path, lambda source: self._copy(source, hashers)) for path in paths]

    def _copy(self, source: int, hashers: ThreadPoolExecutor) -> Stored | None:
        """Keep what `source` reads, or nothing and None when it changed meanwhile."""
        before, read_at = Stat.of(os.fstat(source)), time.time_ns()
        with _writing(self.folder), self.temporary() as (temporary, target):
            digest, size = _copy_and_hash(source, target.fileno(), before.size, hashers)
            if size != before.size or Stat.of(os.fstat(source)) != before:
                return None
            if not self.has(digest):
                self._settle(target, temporary, digest)
        return Stored(digest, before, read_at)

    @contextmanager
    def temporary(self) -> Iterator[tuple[Path, FileIO]]:
        """A file to write into, gone afterwards unless it was renamed."""
        path = self.incoming / os.urandom(16).hex()
        fd = portable.opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with FileIO(fd, "wb") as target:
                portable.locked(target, wait=True)  # so that clearing knows it is in use
                yield path, target
        finally:
            path.unlink(missing_ok=True)

    def _settle(self, target: FileIO, temporary: Path, digest: str) -> None:
        """Make a written file durable and give it its name."""
        crash_point("blob-written")
        os.fsync(target.fileno())
        portable.set_mode(target.fileno(), 0o444)
        final = self.path(digest)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        portable.let_go(target)
        try:
            temporary.replace(final)
        except portable.IN_USE:
            if not self.has(digest):
                raise

    def _sync_folders(self, digests: Iterable[str]) -> None:
        for name in {digest[:2] for digest in digests}:
            portable.sync_folder(self.folder / name)
        portable.sync_folder(self.folder)

    def all(self) -> Iterator[str]:
        """The digests of all blobs; what a file manager or an editor left there is none."""
        for folder in self.folder.glob("[0-9a-f][0-9a-f]"):
            for name in os.listdir(folder):
                if name.startswith(folder.name) and is_digest(name):
                    yield name

    def link(self, digest: str, source: Path) -> None:
        """Have a blob that is the same file as another store's, on the same file system."""
        path = self.path(digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.link(source, path)

    def drop(self, digest: str) -> None:
        """Delete a blob at once."""
        self.path(digest).unlink(missing_ok=True)

    def discard(self, digest: str, grace: float = DAY) -> int | None:
        """Trash a blob that came here over `grace` seconds ago. Returns its size if so."""
        path = self.path(digest)
        status = path.stat()
        if time.time() - status.st_mtime < grace:
            return None
        os.utime(path)
        path.replace(self.trash / digest)
        return status.st_size

    def set_aside(self, digest: str) -> None:
        """Trash a blob that is damaged: whoever has its content can then keep it anew."""
        path = self.path(digest)
        os.utime(path)
        path.replace(self.trash / digest)

    def empty_trash(self, grace: float = DAY) -> int:
        """Delete what lay in the trash, or unfinished, for `grace` seconds. Returns its bytes."""
        now = time.time()
        freed = sum(_delete_unused(path, now - grace) for path in self.trash.iterdir())
        # A file here is locked right after it was made: a second is plenty.
        unfinished = now - max(grace, 1.0)
        return freed + sum(_delete_unused(path, unfinished) for path in self.incoming.iterdir())


def _delete_unused(path: Path, before: float) -> int:
    """Delete a file older than `before` that nobody holds a lock on. Returns the bytes freed."""
    with suppress(FileNotFoundError, *portable.IN_USE), path.open("rb") as file:
        if portable.locked(file):
            status = os.fstat(file.fileno())
            if status.st_mtime <= before:
                portable.let_go(file)
                path.unlink()
                return status.st_size
    return 0


def _parts(paths: Sequence[Path]) -> list[Sequence[Path]]:
    """One by one, so that large ones go side by side; of many, so many together."""
    size = TOGETHER if len(paths) >= MANY else 1
    return [paths[start : start + size] for start in range(0, len(paths), size)]


def hash_files(paths: Sequence[Path]) -> list[Stored]:
    """What `put_files` would give, without keeping anything."""
    if not paths:
        return []
    with ThreadPoolExecutor(WORKERS) as pool:
        return _all_or_first_fault([pool.submit(_hash_each, part) for part in _parts(paths)])


def _hash_each(paths: Sequence[Path]) -> list[Stored]:
    return [_steadily(path, _hash) for path in paths]


def _steadily(path: Path, read: Callable[[int], Stored | None]) -> Stored:
    """What `read` makes of the open file, tried again when the file changed meanwhile."""
    for _ in range(ATTEMPTS):
        with _reading(path) as source:
            if stored := read(source):
                return stored
    raise Problem(
        f'"{path}" changes while it is read.',
        remedy="Let what writes it finish, then try again.",
    )


def _hash(source: int) -> Stored | None:
    before, read_at = Stat.of(os.fstat(source)), time.time_ns()
    with open(source, "rb", buffering=0, closefd=False) as file:
        digest = _digest(file)
    return Stored(digest, before, read_at) if Stat.of(os.fstat(source)) == before else None


def _digest(file: BinaryIO | FileIO) -> str:
    hashed = hashlib.sha256()
    while chunk := file.read(CHUNK):
        hashed.update(chunk)
    return hashed.hexdigest()


def _copy_and_hash(
    source: int, target: int, expected: int, hashers: ThreadPoolExecutor
) -> tuple[str, int]:
    """Copy in one read. Stops early when there is more than `expected`. Returns digest and size."""
    if expected < CHUNK:
        content = os.read(source, CHUNK)
        _write_whole(target, memoryview(content))
        return hashlib.sha256(content).hexdigest(), len(content)
    return _copy_big(source, target, expected, hashers)


def _copy_big(
    source: int, target: int, expected: int, hashers: ThreadPoolExecutor
) -> tuple[str, int]:
    """As above; each chunk is hashed while it is written and the next one is read."""
    hashed, size = hashlib.sha256(), 0
    hashing: Future[None] | None = None
    portable.bypass_cache(target, True)
    for chunk in _chunks(source):
        if hashing:
            hashing.result()
        hashing = hashers.submit(hashed.update, chunk)
        _write_whole(target, chunk)
        size += len(chunk)
        if size > expected:
            break
    if hashing:
        hashing.result()
    return hashed.hexdigest(), size


def _chunks(source: int) -> Iterator[memoryview]:
    """The file in two buffers by turns, each good until the next but one is asked for."""
    with open(source, "rb", buffering=0, closefd=False) as file:
        for buffer in cycle([mmap.mmap(-1, CHUNK), mmap.mmap(-1, CHUNK)]):
            size = file.readinto(buffer)
            if not size:
                return
            yield memoryview(buffer)[:size]


def _write_whole(target: int, content: memoryview) -> None:
    """Write it all. What is no whole number of blocks (the end) cannot bypass the page cache."""
    if len(content) % BLOCK:
        portable.bypass_cache(target, False)
    while content:
        try:
            content = content[os.write(target, content) :]
        except OSError as error:
            if error.errno != errno.EINVAL or not portable.bypass_cache(target, False):
                raise


def _all_or_first_fault(running: Sequence[Future[list[Stored]]]) -> list[Stored]:
    """The results in order. At the first fault the rest is not begun any more."""
    try:
        return [stored for part in running for stored in part.result()]
    except BaseException:
        for one in running:
            one.cancel()
        raise


@contextmanager
def _reading(path: Path) -> Iterator[int]:
    """The open file, which must be a plain one; a link put there meanwhile is not followed."""
    try:
        source = portable.opened(path, os.O_RDONLY | portable.NO_LINK | portable.NO_WAIT)
    except OSError as error:
        raise Problem(f'"{path}" cannot be read.', cause=error.strerror or str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise Problem(f'"{path}" is no plain file any more.')
        yield source
    finally:
        os.close(source)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the file system says while a blob is written, as a Problem."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Problem(
                f'The disk of "{folder}" is full.', remedy="Free some space on it, then try again."
            ) from error
        if error.errno == errno.EROFS:
            raise Problem(f'"{folder}" is read-only.', remedy="Make it writable.") from error
        raise Problem(
            f'A file could not be kept in "{folder}".', cause=error.strerror or str(error)
        ) from error
