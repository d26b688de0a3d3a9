"""`metrics.sqlite`: what fronts of one instance recorded, bounded, the older the coarser.

    samples(step, at, release, version, body)  see samples.py; a later rowid is newer
    events(at, kind, body)                     see tap.py
    requests(at, id, release, status, seconds, endpoint, inputs, outputs)
    about(key, value)                          id: tells this file from one that was here before

Two fronts may write beside each other. What cannot be written is given up: a front answers,
whatever becomes of this file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from . import samples
from .sampling import Row as RequestRow
from .tap import Event

FILE = "metrics.sqlite"
FORMAT = 1
BUSY = 3.0  # seconds to wait for another front's transaction
PAUSE = 60.0  # until it is tried again, when the disk would not take it
AGES = ((10, 60, 24 * 3600), (60, 900, 14 * 24 * 3600))
"""From which step to which coarser one, when rows are that old [s]."""
GROUPS = 2  # coarser rows made in one transaction
MOST_EVENTS = 10_000
FULL = 0.9
"""The share of the size at which the oldest goes: one more transaction must always fit."""
REQUESTS = 0.25  # the share of the size that whole requests may take
LEAST = 1 << 20
_PAGE = 4096
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What a body that somebody else wrote may raise."""
_TABLES = """
CREATE TABLE IF NOT EXISTS about(key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS samples(step INTEGER, at INTEGER, release TEXT, version INTEGER,
 body BLOB, PRIMARY KEY(step, at, release));
CREATE TABLE IF NOT EXISTS events(at REAL, kind TEXT, body TEXT);
CREATE TABLE IF NOT EXISTS requests(at REAL, id TEXT PRIMARY KEY, release TEXT, status INTEGER,
 seconds REAL, endpoint TEXT, inputs TEXT, outputs TEXT);
CREATE INDEX IF NOT EXISTS requests_at ON requests(at);
"""
_PUT = "INSERT OR REPLACE INTO samples VALUES(?, ?, ?, ?, ?)"
_SAME = "SELECT body FROM samples WHERE step = ? AND at = ? AND release = ?"
_SPAN = "SELECT release, version, body FROM samples WHERE step = ? AND at >= ? AND at < ?"
_DROP_SPAN = "DELETE FROM samples WHERE step = ? AND at >= ? AND at < ?"
_OLDEST = "SELECT min(at) FROM samples WHERE step = ? AND at < ?"
_DROP_OLDEST = """
DELETE FROM samples WHERE rowid IN (SELECT rowid FROM samples WHERE step = ? ORDER BY at LIMIT 20)
"""
_DROP_EVENTS = "DELETE FROM events WHERE rowid <= (SELECT max(rowid) FROM events) - ?"
_REQUEST_SIZES = """
SELECT at, length(CAST(inputs AS BLOB)) + length(CAST(outputs AS BLOB)) + 200 FROM requests
ORDER BY at DESC
"""


class Sample(NamedTuple):
    step: int
    at: int
    release: str
    version: int
    body: dict[str, Any]


class File:
    """For one thread. size: bytes it may take; kept: seconds that whole requests stay.

    tell(what, why) hears of trouble and of its end; what: damaged, paused, resumed.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        kept: float = 7 * 86_400.0,
        tell: Callable[[str, str], None] = lambda what, why: None,
    ) -> None:
        self.path = path
        self.size = max(LEAST, size)
        self.kept = kept
        self.tell = tell
        self.paused = ""  # why nothing can be written now
        self._again = 0.0
        self._db: sqlite3.Connection | None = None
        self._writes = 0

    def write(
        self,
        rows: Iterable[Sample] = (),
        events: Iterable[Event] = (),
        requests: Iterable[RequestRow] = (),
        now: float | None = None,
    ) -> bool:
        """Add these in one transaction, and make room; whether that was possible. Never raises."""
        if self.paused and time.monotonic() < self._again:
            return False
        things = list(rows), list(events), list(requests)
        now = time.time() if now is None else now
        try:
            self._write_or_begin_anew(*things, now)
        except (OSError, sqlite3.Error) as error:
            self.close()
            self._pause(str(error))
            return False
        if self.paused:
            self.paused = ""
            self.tell("resumed", "")
        return True

    def _pause(self, why: str) -> None:
        self._again = time.monotonic() + (0.0 if "locked" in why else PAUSE)
        if self.paused != why:
            self.paused = why
            self.tell("paused", why)

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    # A file that is damaged makes room for a new one

    def _write_or_begin_anew(self, *things: Any) -> None:
        try:
            self._write(*things)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._write_again(*things)

    def _write_again(self, *things: Any) -> None:
        """Another front may have put a new one there already; else that is done here."""
        self.close()
        try:
            self._write(*things)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self.close()
            self._move_aside()
            self.tell("damaged", str(error))
            self._write(*things)

    def _move_aside(self) -> None:
        os.replace(self.path, self.path.with_name(f"{FILE}.damaged"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.path}-journal")

    # One transaction

    def _write(
        self,
        rows: list[Sample],
        events: list[Event],
        requests: list[RequestRow],
        now: float,
    ) -> None:
        db = self._open()
        self._writes += 1
        with _transaction(db):
            for row in rows:
                put(db, row)
            db.executemany("INSERT INTO events VALUES(?, ?, ?)", map(_event_row, events))
            marks = ", ".join("?" * 8)
            db.executemany(f"INSERT OR REPLACE INTO requests VALUES({marks})", requests)
            for _ in range(GROUPS):
                thin(db, now)
            self._forget(db, now)
            self._cut(db)
        if pages(db) * _PAGE > self.size:  # it was allowed more before
            db.executescript("PRAGMA incremental_vacuum")  # `execute` would free one page

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(self.path, timeout=BUSY, isolation_level=None)
            self._prepare(self._db)
        return self._db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute(f"PRAGMA page_size={_PAGE}")
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA cache_size=-512")
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute(f"PRAGMA max_page_count={self.size // _PAGE}")
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if found > FORMAT:
            raise OSError(f"{FILE} is of a later version of RhythmicML")
        said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(said.strip())
        if found < FORMAT:
            with _transaction(db):
                for statement in _TABLES.split(";"):
                    db.execute(statement)
                name = secrets.token_hex(8)
                db.execute("INSERT OR IGNORE INTO about VALUES('id', ?)", [name])
                db.execute(f"PRAGMA user_version={FORMAT}")

    # Room

    def _forget(self, db: sqlite3.Connection, now: float) -> None:
        db.execute(_DROP_EVENTS, [MOST_EVENTS])
        db.execute("DELETE FROM requests WHERE at < ?", [now - self.kept])
        if self._writes % 30 == 1:
            self._forget_requests(db)

    def _forget_requests(self, db: sqlite3.Connection) -> None:
        most, size = REQUESTS * self.size, 0
        for at, length in db.execute(_REQUEST_SIZES):
            size += length
            if size > most:
                db.execute("DELETE FROM requests WHERE at <= ?", [at])
                return

    def _cut(self, db: sqlite3.Connection) -> None:
        """The oldest rows go when it is nearly full; those of coarser steps are older."""
        for _ in range(50):
            if used(db) <= FULL * self.size:
                return
            step = db.execute("SELECT max(step) FROM samples").fetchone()[0]
            if not db.execute(_DROP_OLDEST, [step]).rowcount:
                return


def _event_row(event: Event) -> tuple[float, str, str]:
    return event.at, event.kind, msgspec.json.encode(event.body).decode()


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def put(db: sqlite3.Connection, row: Sample) -> None:
    """Add a row to what there is of the same time and release."""
    step, at, release, version, body = row
    found = db.execute(_SAME, [step, at, release]).fetchone()
    if found:
        with contextlib.suppress(*UNREADABLE):  # that is replaced
            body = samples.merge(samples.unpack(found[0]), body)
    values = [step, at, release, version, samples.pack(body)]
    db.execute(_PUT, values)


def thin(db: sqlite3.Connection, now: float) -> None:
    """Make one coarser row, for each release, of the oldest that are old enough; at each step."""
    for step, coarser, age in AGES:
        limit = int(now - age) // coarser * coarser
        first = db.execute(_OLDEST, [step, limit]).fetchone()[0]
        if first is None:
            continue
        start = first // coarser * coarser
        span = [step, start, start + coarser]
        for release, version, body in db.execute(_SPAN, span).fetchall():
            with contextlib.suppress(*UNREADABLE):
                put(db, Sample(coarser, start, release, version, samples.unpack(body)))
        db.execute(_DROP_SPAN, span)


def pages(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA page_count").fetchone()[0])


def used(db: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    free = int(db.execute("PRAGMA freelist_count").fetchone()[0])
    return (pages(db) - free) * _PAGE


def is_damage(error: Exception) -> bool:
    """Whether it speaks of the file's content, and not of the disk, a lock or permissions."""
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith(("no such", "table ", "malformed", "unsupported file format"))
    return isinstance(error, sqlite3.DatabaseError)
