"""What was found out once: digests of files that look unchanged, and locks of requirements."""

from __future__ import annotations

from collections.abc import Iterable

from app.models import Model
from app.store.blobs import Stat, Stored
from app.store.database import Database
from app.store.tables import now


class Stats:
    """The stat cache: which digest a file had when it last looked as it does."""

    # A file written again within the clock's step looks the same, so what was hashed that soon
    # after it changed is not remembered (git calls such entries racy). The kernel steps by up to
    # 10 ms; a file system that keeps whole seconds (FAT: every other one) shows it in its times.
    STEP_NS = 100_000_000
    COARSE_STEP_NS = 2_000_000_000

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, model: Model) -> dict[str, tuple[Stat, str]]:
        rows = self._database.tuples(
            "SELECT path, size, mtime_ns, ctime_ns, inode, digest FROM stats WHERE model_id = ?",
            [model.id],
        )
        return {row[0]: (Stat(*row[1:5]), row[5]) for row in rows}

    def keep(self, model: Model, stored: Iterable[tuple[str, Stored]]) -> None:
        """Remember what was hashed, by path, unless the model was removed meanwhile."""
        rows = (
            (model.id, path, *_columns(one.stat), one.digest, model.id)
            for path, one in stored
            if self._settled(one)
        )
        with self._database.write():
            self._database.execute_each(
                "INSERT OR REPLACE INTO stats SELECT ?, ?, ?, ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM models WHERE id = ?)",
                rows,
            )

    def forget(self, model: Model, paths: Iterable[str]) -> None:
        with self._database.write():
            self._database.execute_each(
                "DELETE FROM stats WHERE model_id = ? AND path = ?",
                ((model.id, path) for path in paths),
            )

    def _settled(self, one: Stored) -> bool:
        changed = max(one.stat.mtime_ns, one.stat.ctime_ns)
        coarse = one.stat.ctime_ns % 1_000_000_000 == 0
        return one.read_at_ns - changed > (self.COARSE_STEP_NS if coarse else self.STEP_NS)


def _columns(seen: Stat) -> tuple[int, int, int, int]:
    return seen.size, seen.mtime_ns, seen.ctime_ns, seen.inode


class Locks:
    """The lock cache: what requirements were resolved to, by everything that decides it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str) -> str | None:
        """The digest of the lock's blob."""
        row = self._database.one("SELECT digest FROM locks WHERE key = ?", [key])
        return row["digest"] if row else None

    def set(self, key: str, digest: str) -> None:
        self._database.upsert("locks", {"key": key, "digest": digest, "used": now()}, "key")

    def digests(self) -> list[str]:
        return [digest for (digest,) in self._database.tuples("SELECT digest FROM locks")]
