"""What a zip or tar file holds, told without trust: bounded in memory, nothing but files.

The names are checked where they are written (services/received.py); here a file's kind, its packing
and the bookkeeping of the archive are.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from app.errors import Problem

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2")
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ONE_READ = 4 << 20
"""Bytes that an archive's own bookkeeping may take at once: a directory of 20,000 names."""

BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, ValueError, RuntimeError, KeyError, IndexError),
)
"""What the library raises at an archive that is damaged or none; or an OSError without number."""


class Space:
    """How much may still be unpacked; every byte is taken from it before it is written."""

    def __init__(self, most: int) -> None:
        self.left = self.most = most

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Problem(
                "What is in it is larger than a model may be.",
                cause=f"It is over {self.most:,} bytes when unpacked.",
                remedy="Add a folder of this machine by its path, if it is meant to be so large.",
            )


@dataclass(frozen=True)
class Entry:
    """A file in an archive, or a folder, which has nothing to open.

    open: gives the bytes, as long as the next entry is not asked for.
    """

    name: str
    size: int = 0
    executable: bool = False
    open: Callable[[], IO[bytes] | None] | None = None


class _Bounded(io.BufferedReader):
    """A file of which nobody reads more at once than bookkeeping may take."""

    def read(self, size: int | None = -1, /) -> bytes:
        whole = size is None or size < 0
        wanted = os.fstat(self.fileno()).st_size - self.tell() if whole else size
        if wanted is not None and wanted > ONE_READ:
            raise Problem("The archive has more names than a model may have.")
        return super().read(size)


def stem(name: str) -> str | None:
    """An archive's name without its ending; None when it is none that can be read."""
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return None


@contextmanager
def opened(path: Path, space: Space) -> Iterator[Iterator[Entry]]:
    """The files in an archive, in its order. Raises Problem at all that is not a file or folder.

    Beside a packed tar its plain form is written for a while; that is taken from the space, too.
    """
    try:
        if zipfile.is_zipfile(path):
            with _bounded(path) as file, zipfile.ZipFile(file) as archive:
                yield _of_zip(archive)
        else:
            with (
                _bounded(_plain(path, space)) as file,
                tarfile.open(fileobj=file, mode="r:") as tar,
            ):
                yield _of_tar(tar)
    except BROKEN as error:
        raise _broken(error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _broken(error) from error


def _bounded(path: Path) -> _Bounded:
    return _Bounded(io.FileIO(path))


def _broken(error: Exception) -> Problem:
    return Problem(
        "The archive cannot be read: it is damaged, or none.",
        cause=str(error)[:200] or type(error).__name__,
        remedy="Pack the folder again, as .zip or .tar.gz.",
    )


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Entry]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _no_file(info.filename, "a link, a device or the like")
        if info.flag_bits & 1:
            raise Problem("The archive is encrypted.", remedy="Pack the folder without a password.")
        if info.is_dir():
            yield Entry(info.orig_filename)
            continue
        if info.compress_type not in PACKED:
            raise Problem(
                "The archive is packed by a method that is not known here.",
                remedy="Pack the folder again, as .zip or .tar.gz.",
            )
        yield Entry(
            info.orig_filename, info.file_size, bool(mode & 0o100), partial(archive.open, info)
        )


def _of_tar(tar: tarfile.TarFile) -> Iterator[Entry]:
    for member in tar:
        if member.isdir():
            yield Entry(member.name)
            continue
        if not member.isreg() or member.issparse():
            raise _no_file(member.name, "a link, a device or the like")
        yield Entry(
            member.name, member.size, bool(member.mode & 0o100),
            partial(tar.extractfile, member),
        )  # fmt: skip
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile ends in silence at damage
        raise tarfile.ReadError("It is damaged in the middle.")


def _no_file(name: str, kind: str) -> Problem:
    return Problem(
        f'"{name[:200]}" in the archive is {kind}.',
        remedy="Pack the folder again with the files themselves.",
    )


def _plain(path: Path, space: Space) -> Path:
    """The tar file itself: where it is packed, unpacked beside it."""
    with path.open("rb") as file:
        head = file.read(3)
    packed: IO[bytes]
    if head.startswith(b"\x1f\x8b"):
        packed = gzip.GzipFile(path)  # type: ignore[assignment]
    elif head == b"BZh":
        packed = bz2.BZ2File(path)
    else:
        return path
    plain = path.with_name(f"{path.name}.tar")
    with packed, plain.open("xb") as file:
        copy(packed, file, space)
    space.left = space.most
    path.unlink()
    return plain


def copy(source: IO[bytes], to: IO[bytes], space: Space) -> None:
    """Every byte of the source, as long as there is space."""
    while chunk := source.read(1 << 18):
        space.take(len(chunk))
        to.write(chunk)


def free_below(folder: Path) -> int:
    """Bytes that may be written there, with some left for everybody else."""
    return max(0, shutil.disk_usage(folder).free - (256 << 20))
