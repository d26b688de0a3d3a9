"""What was collected from hosts: `monitoring.sqlite`, beside the store.

A file of its own: it grows by the hour and is written every few seconds, while the store is small,
copied whole for a backup, and watched by the windows. Lost, it is collected anew, as far as hosts
still have it. Times are seconds since 1970; those of a host are by its own clock, and `skew` is how
far that was ahead of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from app.store import alerts
from app.store.database import PATIENCE, Row
from app.store.migrations import opened

FIRST = """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    cursor TEXT NOT NULL DEFAULT '{}',
    error TEXT NOT NULL DEFAULT '',
    UNIQUE (model, location));
CREATE TABLE samples (
    source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    at INTEGER NOT NULL,
    release TEXT NOT NULL,
    version INTEGER,
    skew REAL NOT NULL,
    seconds REAL NOT NULL,
    requests INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    columns INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (source, step, at, release));
CREATE INDEX samples_by_time ON samples(source, at);
CREATE TABLE happened (
    source INTEGER NOT NULL REFERENCES sources(id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    n INTEGER NOT NULL,
    at REAL NOT NULL,
    skew REAL NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (source, file, n)) WITHOUT ROWID;
CREATE INDEX happened_by_time ON happened(source, at);
CREATE TABLE hosts (
    location TEXT PRIMARY KEY NOT NULL,
    skew REAL NOT NULL,
    asked REAL NOT NULL,
    answered REAL,
    error TEXT NOT NULL);
CREATE TABLE states (
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    before TEXT NOT NULL,
    asked REAL NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (model, location)) WITHOUT ROWID;
CREATE TABLE verified (
    location TEXT PRIMARY KEY NOT NULL,
    at REAL NOT NULL,
    modified TEXT NOT NULL);
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule TEXT NOT NULL,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    subject TEXT NOT NULL,
    words TEXT NOT NULL,
    value REAL,
    began REAL NOT NULL,
    ended REAL,
    acknowledged REAL,
    who TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX alerts_open ON alerts(rule, model, location, subject) WHERE ended IS NULL
"""

PINNED = """
CREATE TABLE pinned (
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    versions TEXT NOT NULL,
    PRIMARY KEY (model, location)) WITHOUT ROWID
"""

MIGRATIONS = (FIRST, PINNED, alerts.TABLES)


class Sample(NamedTuple):
    """A row as its host has it. seconds to columns are of the body: columns, whether it has any."""

    step: int
    at: int
    release: str
    version: int | None
    skew: float
    seconds: float
    requests: int
    failed: int
    columns: bool
    body: bytes


class Happened(NamedTuple):
    """Something a front noted. n: its number in that file of the host."""

    file: str
    n: int
    at: float
    skew: float
    kind: str
    body: str


_PUT = "INSERT OR REPLACE INTO samples VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP_FINER = (
    "DELETE FROM samples WHERE source = ? AND step < ? AND at >= ? AND at < ? AND release = ?"
)
_BETWEEN = (
    "SELECT step, at, release, version, skew, seconds, requests, failed, columns, body"
    " FROM samples WHERE source = ? AND at > ? AND at < ? AND {which}"
    " AND version IS coalesce(?, version) ORDER BY at, step"
)
LONGEST = 900
"""Seconds of the coarsest row, which may have begun so long before what it reaches into."""


class Recorded:
    """One connection to the file. It belongs to the thread that opened it."""

    def __init__(self, home: Path, patience: float = PATIENCE) -> None:
        self._database = opened(home / "monitoring.sqlite", patience, MIGRATIONS)
        self.alerts = alerts.Alerts(self._database)

    def __enter__(self) -> Recorded:
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

    def write(self) -> AbstractContextManager[None]:
        return self._database.write()

    # Which instances something was collected of

    def source(self, model: str, location: str) -> int:
        """The number of an instance, given to it if it has none."""
        with self.write():
            self._database.execute(
                "INSERT OR IGNORE INTO sources(model, location) VALUES(?, ?)", [model, location]
            )
            found = self.find(model, location)
        assert found is not None  # it was just written
        return found

    def find(self, model: str, location: str) -> int | None:
        rows = self._database.tuples(
            "SELECT id FROM sources WHERE model = ? AND location = ?", [model, location]
        )
        return int(rows[0][0]) if rows else None

    def sources(self, location: str | None = None) -> list[Row]:
        """{"id", "model", "location", "cursor", "error"} each."""
        rows = self._database.query(
            "SELECT * FROM sources WHERE location = coalesce(?, location) ORDER BY model, location",
            [location],
        )
        return [{**row, "cursor": json.loads(row["cursor"])} for row in rows]

    def advance(self, source: int, cursor: dict[str, Any], error: str = "") -> None:
        self._database.execute(
            "UPDATE sources SET cursor = ?, error = ? WHERE id = ?",
            [json.dumps(cursor), error, source],
        )

    def rename(self, model: str, new: str) -> None:
        with self.write():
            for table in ("sources", "states", "pinned", "alerts", "runs"):
                sql = f"UPDATE OR REPLACE {table} SET model = ? WHERE model = ?"  # noqa: S608
                self._database.execute(sql, [new, model])

    # Rows

    def put(self, source: int, samples: Iterable[Sample], happened: Iterable[Happened]) -> None:
        """Add rows. One that is coarser takes the place of the finer ones it was made of."""
        for row in samples:
            if row.seconds > 0:
                span = [source, row.step, row.at, row.at + row.step, row.release]
                self._database.execute(_DROP_FINER, [source, row.step, *span[2:]])
            self._database.execute(_PUT, [source, *row])
        self._database.execute_each(
            "INSERT OR REPLACE INTO happened VALUES(?, ?, ?, ?, ?, ?, ?)",
            ([source, *row] for row in happened),
        )

    def samples(
        self, source: int, since: float, until: float, version: int | None = None
    ) -> list[Sample]:
        """What was counted in that time by the host's clock, in order."""
        return self._between(source, since, until, version, "seconds > 0")

    def columns(
        self, source: int, since: float, until: float, version: int | None = None
    ) -> list[Sample]:
        """As `samples`: the rows that say what columns were like."""
        return self._between(source, since, until, version, "columns")

    def _between(
        self, source: int, since: float, until: float, version: int | None, which: str
    ) -> list[Sample]:
        rows = self._database.tuples(
            _BETWEEN.format(which=which), [source, since - LONGEST, until, version]
        )
        return [row for row in map(Sample._make, rows) if row.at + row.step > since]

    def counts(self, source: int, since: float, width: float) -> list[tuple[int, int, int, float]]:
        """(number, requests, failed, seconds covered) of spans as wide as that from then on."""
        return self._database.tuples(
            "SELECT CAST((at - ?2) / ?3 AS INTEGER), sum(requests), sum(failed), sum(covered)"
            " FROM (SELECT at, sum(requests) AS requests, sum(failed) AS failed,"
            " max(seconds) AS covered FROM samples"
            " WHERE source = ?1 AND at >= ?2 AND seconds > 0 AND step <= ?3 GROUP BY at, step)"
            " GROUP BY 1",
            [source, since, width],
        )

    def newest(self, source: int) -> int | None:
        """When the last row of an instance begins, by its host's clock."""
        sql = "SELECT max(at) FROM samples WHERE source = ? AND seconds > 0"
        found = self._database.tuples(sql, [source])[0][0]
        return None if found is None else int(found)

    def newest_columns(self, source: int) -> int | None:
        """When the last row ends that says what columns were like, by its host's clock."""
        sql = "SELECT max(at + step) FROM samples WHERE source = ? AND columns"
        found = self._database.tuples(sql, [source])[0][0]
        return None if found is None else int(found)

    def spans(self, source: int) -> list[tuple[int, int, int]]:
        """(version, first, last) of what was recorded by each version, newest version first."""
        return self._database.tuples(
            "SELECT version, min(at), max(at + step) FROM samples WHERE source = ?"
            " AND seconds > 0 AND version IS NOT NULL GROUP BY version ORDER BY version DESC",
            [source],
        )

    def happened(self, source: int, since: float, until: float) -> list[Happened]:
        rows = self._database.tuples(
            "SELECT file, n, at, skew, kind, body FROM happened"
            " WHERE source = ? AND at >= ? AND at < ? ORDER BY at, n",
            [source, since, until],
        )
        return [Happened._make(row) for row in rows]

    def last_of(self, source: int, kinds: Sequence[str]) -> list[str]:
        """The bodies of the last ten events of these kinds, newest first."""
        rows = self._database.tuples(
            "SELECT body FROM happened WHERE source = ?"
            " AND kind IN (SELECT value FROM json_each(?)) ORDER BY at DESC LIMIT 10",
            [source, json.dumps(kinds)],
        )
        return [body for (body,) in rows]

    def cut(self, size: int) -> int:
        """Drop the oldest rows while the file has more bytes than that; how many were dropped."""
        dropped = 0
        while self._used() > size:
            found = self._database.execute(
                "DELETE FROM samples WHERE rowid IN"
                " (SELECT rowid FROM samples ORDER BY at LIMIT 1000)"
            )
            dropped += found
            if not found:
                break
        return dropped

    def _used(self) -> int:
        pages, free, size = (
            int(self._database.tuples(f"PRAGMA {name}")[0][0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    # Hosts, and how instances were when they were last asked

    def heard(self, location: str, asked: float, skew: float | None, error: str = "") -> None:
        """Keep whether a host answered; skew None: it did not."""
        self._database.execute(
            "INSERT INTO hosts VALUES(?1, coalesce(?2, 0), ?3, iif(?2 IS NULL, NULL, ?3), ?4)"
            " ON CONFLICT(location) DO UPDATE SET skew = coalesce(?2, skew), asked = ?3,"
            " answered = iif(?2 IS NULL, answered, ?3), error = ?4",
            [location, skew, asked, error],
        )

    def hosts(self) -> dict[str, Row]:
        """Location → {"location", "skew", "asked", "answered", "error"}."""
        return {row["location"]: row for row in self._database.query("SELECT * FROM hosts")}

    def keep_state(self, model: str, location: str, state: str, asked: float, said: Row) -> None:
        """Keep how an instance is; `since` stays while it is the same."""
        self._database.execute(
            "INSERT INTO states VALUES(?1, ?2, ?3, ?4, '', ?4, ?5)"
            " ON CONFLICT(model, location) DO UPDATE SET"
            " since = iif(state = ?3, since, ?4), before = iif(state = ?3, before, state),"
            " state = ?3, asked = ?4, said = ?5",
            [model, location, state, asked, json.dumps(said)],
        )

    def states(self) -> dict[tuple[str, str], Row]:
        """(model, location) → {"state", "since", "before", "asked", "said"}."""
        rows = self._database.query("SELECT * FROM states")
        return {
            (row["model"], row["location"]): {**row, "said": json.loads(row["said"])}
            for row in rows
        }

    def skew(self, location: str) -> float:
        """Seconds that a host's clock was ahead of ours when it was asked last."""
        rows = self._database.tuples("SELECT skew FROM hosts WHERE location = ?", [location])
        return float(rows[0][0]) if rows else 0.0

    def keep_modified(self, location: str, at: float, names: Iterable[str]) -> None:
        """Keep which instances a look at every byte found changed on their host."""
        row = {"location": location, "at": at, "modified": json.dumps(sorted(names))}
        self._database.upsert("verified", row, "location")

    def modified(self) -> dict[str, list[str]]:
        """Location → the instances found changed there; without those never looked at."""
        rows = self._database.tuples("SELECT location, modified FROM verified")
        return {location: json.loads(names) for location, names in rows}

    def keep_pinned(self, model: str, location: str, versions: Iterable[int]) -> None:
        """Keep which versions a host said are pinned there."""
        self._database.execute(
            "INSERT INTO pinned VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET versions = ?3"
            " WHERE versions != ?3",
            [model, location, json.dumps(sorted(versions))],
        )

    def pinned(self, model: str) -> dict[str, list[int]]:
        """Location → the versions of a model that were pinned there when it was asked last."""
        rows = self._database.tuples(
            "SELECT location, versions FROM pinned WHERE model = ? ORDER BY location", [model]
        )
        return {location: json.loads(versions) for location, versions in rows}
