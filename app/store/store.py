"""Opening the store, and clearing it of what nothing needs any more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

from app.crash import crash_point
from app.errors import Problem
from app.store import caches, gates, manifest, tables
from app.store.blobs import DAY, Blobs
from app.store.database import PATIENCE, sayings
from app.store.groups import Groups
from app.store.migrations import opened
from app.store.notes import Notes
from app.store.pulse import Pulse
from app.store.replacing import copy_into, replace_rows
from app.store.training import Training

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "ceph", "lustre"})


@dataclass(frozen=True)
class Collected:
    """What `collect` did: blobs put into the trash, and bytes freed by emptying it."""

    trashed: int
    trashed_bytes: int
    freed_bytes: int


class Store:
    """One connection to the store. It belongs to the thread that opened it."""

    def __init__(self, home: Path, patience: float = PATIENCE) -> None:
        self.home = home
        path = home / "store.sqlite"
        with sayings(path):
            _private_folder(home)
            self.blobs = Blobs(home / "blobs")
        self._database = opened(path, patience)
        self.models = tables.Models(self._database)
        self.versions = tables.Versions(self._database)
        self.locations = tables.Locations(self._database)
        self.groups = Groups(self._database)
        self.deployments = tables.Deployments(self._database)
        self.gates = gates.Gates(self._database)
        self.notes = Notes(self._database)
        self.training = Training(self._database)
        self.instances = tables.Instances(self._database)
        self.jobs = tables.Jobs(self._database)
        self.settings = tables.Settings(self._database)
        self.stats = caches.Stats(self._database)
        self.locks = caches.Locks(self._database)
        self.pulse = Pulse(self._database)

    @classmethod
    def open(cls, home: Path, patience: float = PATIENCE) -> Store:
        """The store in `home`, made or migrated as needed. Waits `patience` seconds for others."""
        return cls(home, patience)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

    @property
    def refusal(self) -> Problem | None:
        """Why nothing can be written; None where it can."""
        return self._database.refusal

    def write(self) -> AbstractContextManager[None]:
        """Several writes that belong together: all or none, and no other writer in between."""
        return self._database.write()

    def check(self) -> list[str]:
        """What SQLite finds wrong with its file; empty when nothing is."""
        said = [row[0] for row in self._database.tuples("PRAGMA quick_check")]
        return [] if said == ["ok"] else said

    def collect(self, grace: float = DAY) -> Collected:
        """Trash the blobs that nothing names; delete those that lay there for `grace` seconds.

        Under the write lock: a commit looks under the same lock whether its blobs are there, just
        before it writes the row that names them, so none is lost between the two.
        """
        self._database.must_write()
        freed = self.blobs.empty_trash(grace)
        with self.write():
            named = self.named()
            unnamed = [digest for digest in self.blobs.all() if digest not in named]
            sizes = [self.blobs.discard(digest, grace) for digest in unnamed]
            crash_point("collected")
        trashed = [size for size in sizes if size is not None]
        return Collected(len(trashed), sum(trashed), freed)

    def named(self, read: Callable[[str], bytes] | None = None) -> set[str]:
        """The digests of all blobs that the rows name. read: gives a manifest; else from here."""
        named = set(self.locks.digests())
        for listed, lock in self.versions.blobs():
            named |= {listed, lock}
            named |= {file.digest for file in manifest.parse((read or self.blobs.read)(listed))}
        return named - {""}

    def copy_rows(self, path: Path) -> int:
        """Write a checked copy of all rows into a file; what `replace_rows` wants to know of it."""
        stamp = self.pulse.stamp()
        copy_into(self._database, path)
        return stamp

    def replace_rows(self, other: Path, stamp: int) -> None:
        """Put the rows of another store's file in place of these: all, or none and a Problem."""
        replace_rows(self._database, other, stamp)


def _private_folder(home: Path) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = home.stat()
    if found.st_mode & 0o077:
        home.chmod(0o700)
    if kind := _network_kind(home, found.st_dev):
        raise Problem(
            f'"{home}" is on a network file system ({kind}), where SQLite may lose what it wrote.',
            remedy="Point RHYTHMICML_HOME to a folder on a disk of this machine.",
        )


@cache
def _network_kind(path: Path, device: int) -> str:
    """The kind of file system when it is one over a network, by the longest mount point above.

    Found once for a path on a device: it takes longer than all else that opening does.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    fields, path = [line.split() for line in mounts], path.resolve()
    above = [(Path(place), kind) for _, place, kind, *_ in fields if _is_above(place, path)]
    kind = max(above, key=lambda mount: len(mount[0].parts))[1] if above else ""
    return kind if kind in NETWORK else ""


def _is_above(place: str, path: Path) -> bool:
    mount = Path(place.replace("\\040", " "))
    return path.is_relative_to(mount)
