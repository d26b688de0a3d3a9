"""Trees: what is put together on a host from blobs, made and kept on this side.

    <home>/trees/<key>/files/     as it will lie on the host, below one folder
    <home>/trees/<key>/tree.json  its listing, in the form of a version's manifest

A tree is renamed into its place when it is whole. It is named by all that decides it (lock, Python,
platform), so another model with the same lock finds it; uv's own cache shares its disk by links.
Nothing else names these files, so `collect` of the store has nothing to do with them; trees that
nobody asked for in a month go.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from app import portable
from app.crash import crash_point
from app.deployer.runtime import Part, part
from app.errors import Problem
from app.models import FileEntry
from app.store import manifest
from app.store.blobs import hash_files
from app.unpack import files_of

if TYPE_CHECKING:
    from collections.abc import Iterator

UNUSED = 30 * 86_400.0
UNFINISHED = 86_400.0
FORMAT = 1


@dataclass(frozen=True)
class Tree:
    """A whole tree. listing: its tree.json, which the host puts it together from."""

    folder: Path
    listing: Part
    files: tuple[FileEntry, ...]

    def parts(self) -> dict[str, Part]:
        """Everything that has to be on the host, by digest."""
        root = self.folder / "files"
        found = {f.digest: Part(root / f.path, f.digest, f.size) for f in self.files if f.digest}
        return {**found, self.listing.digest: self.listing}


def tree(home: Path, decided_by: list[str], fill: Callable[[Path], None]) -> Tree:
    """The tree that these words decide; made by `fill` (a folder that it makes) if it is not here.

    Raises what fill raises; then there is no tree.
    """
    name = sha256(json.dumps([FORMAT, *decided_by]).encode()).hexdigest()[:32]
    place = home / "trees" / name
    if found := _whole(place):
        os.utime(place)
        return found
    with _disk_explained(home):
        _make(place, fill)
    made = _whole(place)
    if made is None:
        raise Problem(f'"{place}" was taken away while it was made.', remedy="Try again.")
    return made


def _make(place: Path, fill: Callable[[Path], None]) -> None:
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(place.parent)
    unfinished = place.with_name(f".{place.name}.{token_hex(4)}")
    unfinished.mkdir(mode=0o700)
    try:
        fill(unfinished / "files")
        (unfinished / "tree.json").write_bytes(manifest.render(_listed(unfinished / "files")))
        crash_point("tree-listed")
        shutil.rmtree(place, ignore_errors=True)  # one that is not whole any more
        with suppress(FileExistsError):  # somebody else made the same meanwhile
            _rename(unfinished, place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _rename(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(target) from error
        raise


def _listed(root: Path) -> list[FileEntry]:
    paths = sorted(files_of(root)) if root.is_dir() else []
    plain = [path for path in paths if not path.is_symlink()]
    entries = [
        FileEntry(path.relative_to(root).as_posix(), kept.digest, kept.size, _executable(path))
        for path, kept in zip(plain, hash_files(plain), strict=True)
    ]
    links = [path for path in paths if path.is_symlink()]
    return entries + [
        FileEntry(path.relative_to(root).as_posix(), target=portable.target_of(path))
        for path in links
    ]


def _executable(path: Path) -> bool:
    """Programs are; libraries are only ever loaded, so they can stay links to read-only blobs."""
    library = path.suffix == ".so" or ".so." in path.name
    return not library and bool(path.stat().st_mode & 0o111)


def _whole(place: Path) -> Tree | None:
    """The tree at that place, if every file of it is there with its size."""
    try:
        listing = part(place / "tree.json")
        files = manifest.parse(listing.path.read_bytes())
        root = f"{place}/files/"
        sizes = all(
            os.lstat(root + each.path).st_size == each.size for each in files if each.digest
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Tree(place, listing, tuple(files)) if sizes else None


def _clear(folder: Path) -> None:
    """Remove what nobody used for long, and what was never finished."""
    now = time.time()
    for each in folder.iterdir():
        with suppress(OSError):
            patience = UNFINISHED if each.name.startswith(".") else UNUSED
            if now - each.stat().st_mtime > patience:
                shutil.rmtree(each, ignore_errors=True)


@contextmanager
def _disk_explained(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Problem(
                f'The disk of "{home}" is full.', remedy="Free some space on it, then try again."
            ) from error
        raise Problem(f'"{home}" cannot be written.', cause=str(error)) from error
