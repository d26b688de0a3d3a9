"""The SQLite file: how it is opened, written, and what it says when it cannot be.

The one home of sqlite-utils. Its `atomic()` begins a deferred transaction, which fails at once when
another connection has written meanwhile, so writing goes through `write()`, which begins an
immediate one.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import portable
from app.errors import Busy, Damaged, Problem

if TYPE_CHECKING:
    import sqlite_utils

Row = dict[str, Any]
Values = Sequence[Any]

# Older ones may corrupt a WAL that two connections reset at once (sqlite.org/wal.html).
WAL_IS_SAFE = (3, 51, 3)
PATIENCE = 10.0
WRITABLE = "Make its folder yours and writable, or point RHYTHMICML_HOME to another one."


class Database:
    """One connection, of one thread.

    refusal: where there is one, the file is only looked at, and this is what whoever wants to write
    is told.
    """

    def __init__(
        self, path: Path, patience: float = PATIENCE, *, refusal: Problem | None = None
    ) -> None:
        self.path = path
        self.refusal = refusal
        with sayings(path):
            if refusal:
                self._connection = _look_at(path, patience)
                return
            _private(path)
            self._connection = _connect(path, patience)

    def must_write(self) -> None:
        """Raises the refusal of a file that is only looked at."""
        if self.refusal:
            raise self.refusal

    @cached_property
    def _tables(self) -> sqlite_utils.Database:
        """sqlite-utils on the same connection. Its import takes longer than most of what we do."""
        import sqlite_utils

        return sqlite_utils.Database(self._connection, execute_plugins=False)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """All that is written inside happens, or none of it. Nested ones join the outermost."""
        self.must_write()
        if self._connection.in_transaction:
            yield
            return
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.OperationalError):  # SQLite may have rolled back already
                self._connection.execute("ROLLBACK")
            raise

    def query(self, sql: str, values: Values = ()) -> list[Row]:
        with sayings(self.path):
            found = self._connection.execute(sql, values)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def one(self, sql: str, values: Values = ()) -> Row | None:
        rows = self.query(sql, values)
        return rows[0] if rows else None

    def tuples(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """As `query`, without a dict for each row: for many of them."""
        with sayings(self.path):
            return self._connection.execute(sql, values).fetchall()

    def execute(self, sql: str, values: Values = ()) -> int:
        """How many rows it changed."""
        with self._writing():
            return self._connection.execute(sql, values).rowcount

    def execute_each(self, sql: str, rows: Iterable[Values]) -> None:
        with self._writing():
            self._connection.executemany(sql, rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self.must_write()
        with sayings(self.path):
            yield

    def insert(self, table: str, row: Row) -> int:
        """The new row's number."""
        with self.write(), sayings(self.path):
            return int(self._tables.table(table).insert(row).last_rowid or 0)

    def upsert(self, table: str, row: Row, key: str | tuple[str, ...]) -> None:
        with self.write(), sayings(self.path):
            self._tables.table(table).upsert(row, pk=key)


def _private(path: Path) -> None:
    """Only this user may read it. SQLite gives its journal the mode of the file itself."""
    os.close(portable.opened(path, os.O_RDWR | os.O_CREAT))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _look_at(path: Path, patience: float) -> sqlite3.Connection:
    where = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(where, uri=True, timeout=patience, isolation_level=None)


def stamped(path: Path) -> int:
    """The number of the shape that a file has by its head, without opening it; 0 without one."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return 0
    return int.from_bytes(head[60:], "big") if head.startswith(b"SQLite format 3\0") else 0


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None)
    mode = "WAL" if sqlite3.sqlite_version_info >= WAL_IS_SAFE else "TRUNCATE"
    settings = ("foreign_keys = ON", "trusted_schema = OFF", "synchronous = FULL")
    try:
        for setting in (*settings, f"journal_mode = {mode}"):
            connection.execute(f"PRAGMA {setting}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def sayings(path: Path) -> Iterator[None]:
    """What SQLite and the file system say about the store, as a Problem."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise _problem(path, str(error)) from error
    except OSError as error:
        closed = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
        raise Problem(
            f'The store "{path}" cannot be opened.',
            cause=error.strerror or str(error),
            remedy=WRITABLE if closed else "",
        ) from error


def _problem(path: Path, said: str) -> Problem:
    if "locked" in said or "busy" in said:
        return Busy(
            f'The store "{path}" is in use by another process.',
            remedy="Wait until it is done, or end it, then try again.",
        )
    if any(words in said for words in ("malformed", "not a database")):
        return Damaged(f'The store "{path}" is damaged.', remedy=_way_back(path))
    for words, what, remedy in _SAID:
        if words in said:
            return Problem(f'The store "{path}" {what}', remedy=remedy)
    return Problem(f'The store "{path}" could not do that.')


_SAID = (
    ("is full", "cannot grow: the disk is full.", "Free some space on that disk."),
    ("readonly", "is read-only.", "Make its folder writable for you."),
    ("disk I/O error", "cannot be read or written.", "Check the disk it is on."),
    ("unable to open", "cannot be opened.", "Check that its folder is yours and writable."),
)


def _way_back(path: Path) -> str:
    """What to do about a damaged file: the newest copy beside it, else a backup."""
    copies = sorted(path.parent.glob(f"{path.name}.*"), key=lambda each: each.stat().st_mtime)
    what = f'"{copies[-1]}"' if copies else "FOLDER, which names a backup"
    return f"Put back a copy: rhythmicml restore-store {what}"
