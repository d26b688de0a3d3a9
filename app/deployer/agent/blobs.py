"""The blob store of the host: content named by its SHA-256, complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import late, words
from .failure import Failure
from .loop import CHUNK, Agent, ClientGone, Payload, Stream, op
from .packed import arriving

EARLY = 16 * CHUNK
STALE = 3600.0


@op("missing")
def missing(agent: Agent, args: dict[str, Any], payload: Payload) -> list[str]:
    """Those of `digests` that are not here, in their order."""
    return [digest for digest in args["digests"] if not place(agent, digest).exists()]


@op("room")
def room(agent: Agent, args: dict[str, Any], payload: Payload) -> int:
    """The free bytes of the disk; a Failure when `need` does not fit."""
    sweep(agent.base / "blobs")
    free = free_bytes(agent.base)
    if args["need"] > free:
        raise disk_full(agent.base, args["need"])
    return free


@op("put")
def put(agent: Agent, args: dict[str, Any], payload: Payload) -> int:
    """Keep the payload as the `blobs` it is made of ([[digest, size], …]); how many were new.

    None of them appears before all are verified and on the disk; when the client is gone in the
    middle, those that arrived whole do. packed: the payload was compressed.
    """
    sent = arriving(args, payload)
    with contextlib.ExitStack() as leftovers:
        written: list[Partial] = []
        try:
            for digest, size in args["blobs"]:
                path = place(agent, digest)
                if path.exists():
                    for _ in sent.chunks(size):
                        pass
                    continue
                partial = Partial(path, size)
                leftovers.callback(partial.discard)
                partial.fill(sent.chunks(size), digest)
                written.append(partial)
        except ClientGone:
            keep(written)
            raise
        keep(written)
    return len(written)


@op("get")
def get(agent: Agent, args: dict[str, Any], payload: Payload) -> Stream:
    """The content named `digest`."""
    path = place(agent, args["digest"])
    try:
        return Stream(path.stat().st_size, chunks_of(path))
    except FileNotFoundError as error:
        raise Failure(f'No blob "{args["digest"]}" is here.', kind="NotFound") from error


def place(agent: Agent, digest: str) -> Path:
    """Where the blob lies, or would."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise Failure(f'"{digest}" is not a SHA-256.')
    return agent.base / "blobs" / digest[:2] / digest


def sweep(blobs: Path) -> None:
    """Remove what agents that were killed left half-written."""
    for path in blobs.glob("*/.*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > STALE:
                path.unlink()


def chunks_of(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(lambda: file.read(CHUNK), b"")


class Partial:
    """A blob on its way in: a temporary file beside its place, gone unless kept."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.temporary = path.with_name(f".{path.name[:16]}.{os.urandom(8).hex()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with full_disk_explained(path.parent, size):
            self.fd = os.open(self.temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def fill(self, chunks: Iterator[bytes], digest: str) -> None:
        """Write and hash; the disk starts early, so that the last wait is short."""
        sha256, done, started = late.sha256(), 0, 0
        with full_disk_explained(self.path.parent, self.size):
            for chunk in chunks:
                sha256.update(chunk)
                write_all(self.fd, chunk)
                done += len(chunk)
                if done - started >= EARLY:
                    start_writeback(self.fd, started, done - started)
                    started = done
        if sha256.hexdigest() != digest:
            raise Failure(
                f'What arrived as "{digest}" is something else; it was thrown away.',
                cause=f"its SHA-256 is {sha256.hexdigest()}",
                remedy="Check the store: rhythmicml verify",
            )

    def settle(self) -> None:
        """Onto the disk for good."""
        with full_disk_explained(self.path.parent, self.size):
            os.fchmod(self.fd, 0o444)
            os.fsync(self.fd)

    def appear(self) -> None:
        os.rename(self.temporary, self.path)

    def discard(self) -> None:
        os.close(self.fd)
        with contextlib.suppress(FileNotFoundError):
            self.temporary.unlink()


def keep(partials: list[Partial]) -> None:
    """Settle all, then let them appear."""
    if not partials:
        return
    late.side_by_side(Partial.settle, partials)
    for partial in partials:
        partial.appear()
    late.side_by_side(sync_folder, {partial.path.parent for partial in partials})


def start_writeback(fd: int, offset: int, size: int) -> None:
    """Ask the kernel to write these pages now. A hint: where it is unknown, fsync does it all."""
    with contextlib.suppress(OSError, AttributeError):
        sync_file_range(fd, offset, size)


def sync_file_range(fd: int, offset: int, size: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    wide = ctypes.c_int64
    libc.sync_file_range(fd, wide(offset), wide(size), 2)  # SYNC_FILE_RANGE_WRITE


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


def existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    return next(each for each in (path, *path.parents) if each.exists())


def free_bytes(path: Path) -> int:
    disk = os.statvfs(existing(path))
    return disk.f_bavail * disk.f_frsize


@contextlib.contextmanager
def full_disk_explained(path: Path, need: int) -> Iterator[None]:
    """A full disk (or quota) becomes a Failure that says what is wanted and what there is."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path, need) from error
        raise


ROOM = "Make room there, or choose another folder: rhythmicml location add … --base FOLDER"


def disk_full(path: Path, need: int | None = None) -> Failure:
    """need: bytes, if known. A disk that has no inodes left has room for bytes, and for no file."""
    disk = os.statvfs(existing(path))
    if disk.f_files and not disk.f_favail:
        return Failure(
            f'The disk of "{path}" on the host is full: '
            f"need 1 more file, free 0 of {disk.f_files:,} (inodes).",
            remedy=ROOM,
        )
    wanted = "more than there is" if need is None else words.size(need)
    return Failure(
        f'The disk of "{path}" on the host is full: '
        f"need {wanted}, free {words.size(free_bytes(path))}.",
        remedy=ROOM,
    )


def disk_trouble(base: Path, error: OSError) -> Failure | None:
    """What any operation meets when nothing can be written; None for what is no matter of disks."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(base)
    if error.errno == errno.EROFS:
        return Failure(
            f'The disk of "{base}" on the host is read-only.',
            remedy="Often the kernel found it damaged (`dmesg` there tells): have it checked, then "
            "mounted to be written to.",
        )
    return None
