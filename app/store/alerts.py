"""Alerts in `monitoring.sqlite`: which there were, which may come, what is still to be told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.store.database import Database, Row

TABLES = """
ALTER TABLE alerts ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
CREATE TABLE runs (
    rule TEXT NOT NULL,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    subject TEXT NOT NULL,
    is_over INTEGER NOT NULL,
    since REAL NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (rule, model, location, subject)) WITHOUT ROWID;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    way TEXT NOT NULL,
    alert INTEGER NOT NULL REFERENCES alerts(id) ON DELETE CASCADE,
    event TEXT NOT NULL,
    due REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0);
CREATE TABLE ways (
    way TEXT PRIMARY KEY NOT NULL,
    at REAL NOT NULL,
    error TEXT NOT NULL);
CREATE TABLE moved (
    source INTEGER PRIMARY KEY REFERENCES sources(id) ON DELETE CASCADE,
    at REAL NOT NULL,
    columns TEXT NOT NULL)
"""

Key = tuple[str, str, str, str]
"""Rule, model, location, subject; of a host's the model is empty."""
_KEY = "rule = ? AND model = ? AND location = ? AND subject = ?"


class Run(NamedTuple):
    """Readings on one side of a limit, one after the other."""

    is_over: bool
    since: float
    at: float


class Alerts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, *, open_only: bool = False, limit: int = 10_000) -> list[Row]:
        """Newest first."""
        return self._database.query(
            "SELECT * FROM alerts WHERE ended IS NULL OR NOT ? ORDER BY id DESC LIMIT ?",
            [open_only, limit],
        )

    def some(self, numbers: Sequence[int]) -> list[Row]:
        return self._database.query(
            "SELECT * FROM alerts WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            [json.dumps(list(numbers))],
        )

    def add(self, row: Row) -> int:
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO alerts({names}) VALUES({marks}) RETURNING id"
        return int(self._database.tuples(sql, list(row.values()))[0][0])

    def end(self, number: int, at: float) -> None:
        self._database.execute("UPDATE alerts SET ended = ? WHERE id = ?", [at, number])

    def acknowledge(self, numbers: Sequence[int], at: float, who: str) -> int:
        """How many were open, and nobody had seen them before."""
        return self._database.execute(
            "UPDATE alerts SET acknowledged = ?, who = ? WHERE ended IS NULL"
            " AND acknowledged IS NULL AND id IN (SELECT value FROM json_each(?))",
            [at, who, json.dumps(list(numbers))],
        )

    def told_since(self, key: Key, since: float) -> bool:
        """Whether one of this key was told of that began since then."""
        sql = f"SELECT 1 FROM alerts WHERE {_KEY} AND told AND began >= ? LIMIT 1"  # noqa: S608
        return bool(self._database.tuples(sql, [*key, since]))

    def forget_before(self, at: float) -> None:
        """Drop those that ended before then, and readings that nothing came of since."""
        self._database.execute("DELETE FROM alerts WHERE ended < ?", [at])
        self._database.execute("DELETE FROM runs WHERE at < ?", [at])

    # Readings on their way to become an alert, or the end of one

    def runs(self) -> dict[Key, Run]:
        rows = self._database.tuples("SELECT * FROM runs")
        return {tuple(row[:4]): Run(bool(row[4]), *row[5:]) for row in rows}

    def keep_run(self, key: Key, run: Run | None) -> None:
        if run is None:
            self._database.execute(f"DELETE FROM runs WHERE {_KEY}", key)  # noqa: S608
        else:
            values = [*key, *run]
            self._database.execute("INSERT OR REPLACE INTO runs VALUES(?,?,?,?,?,?,?)", values)

    # What is still to be told, by each way

    def post(self, ways: Iterable[str], alert: int, event: str, at: float) -> None:
        self._database.execute_each(
            "INSERT INTO outbox(way, alert, event, due) VALUES(?, ?, ?, ?)",
            ([way, alert, event, at] for way in ways),
        )

    def is_due(self, now: float) -> bool:
        return bool(self._database.tuples("SELECT 1 FROM outbox WHERE due <= ? LIMIT 1", [now]))

    def take(self, way: str, now: float, until: float) -> list[Row]:
        """What is due by that way, in order; nobody else is given it until then."""
        sql = "UPDATE outbox SET due = ? WHERE way = ? AND due <= ? RETURNING *"
        return sorted(self._database.query(sql, [until, way, now]), key=lambda row: int(row["id"]))

    def put_off(self, numbers: Sequence[int], until: float) -> None:
        self._database.execute(
            "UPDATE outbox SET due = ?, tries = tries + 1"
            " WHERE id IN (SELECT value FROM json_each(?))",
            [until, json.dumps(list(numbers))],
        )

    def drop(self, numbers: Sequence[int]) -> None:
        self._database.execute(
            "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))",
            [json.dumps(list(numbers))],
        )

    def keep_way(self, way: str, at: float, error: str) -> None:
        """How the last try by a way went."""
        self._database.execute("INSERT OR REPLACE INTO ways VALUES(?, ?, ?)", [way, at, error])

    def ways(self) -> dict[str, Row]:
        """Way → {"way", "at", "error"} of its last try."""
        return {row["way"]: row for row in self._database.query("SELECT * FROM ways")}

    # How far columns have moved, when last looked at

    def moved(self, source: int) -> tuple[float, dict[str, float]] | None:
        rows = self._database.tuples("SELECT at, columns FROM moved WHERE source = ?", [source])
        return (rows[0][0], json.loads(rows[0][1])) if rows else None

    def keep_moved(self, source: int, at: float, columns: dict[str, float]) -> None:
        values = [source, at, json.dumps(columns)]
        self._database.execute("INSERT OR REPLACE INTO moved VALUES(?, ?, ?)", values)
