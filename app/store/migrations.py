"""The tables, and how an older store becomes a newer one. Appended to, never edited."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from app.errors import Problem
from app.store.database import PATIENCE, Database, stamped
from app.store.replacing import copy_into

FIRST = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL UNIQUE,
    created TEXT NOT NULL);
CREATE TABLE versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model_id INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    digest TEXT NOT NULL,
    message TEXT NOT NULL,
    author TEXT NOT NULL,
    created TEXT NOT NULL,
    manifest TEXT NOT NULL,
    lock TEXT NOT NULL,
    configuration TEXT NOT NULL,
    size INTEGER NOT NULL,
    files INTEGER NOT NULL,
    UNIQUE (model_id, number));
CREATE TABLE locations (
    name TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    url TEXT NOT NULL,
    identity TEXT NOT NULL,
    privilege TEXT NOT NULL,
    base TEXT NOT NULL,
    "default" INTEGER NOT NULL,
    created TEXT NOT NULL);
CREATE UNIQUE INDEX one_default ON locations("default") WHERE "default";
INSERT INTO locations VALUES
    ('local', 'local', '', '', 'auto', '', 1, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'));
CREATE TABLE deployments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    action TEXT NOT NULL,
    version INTEGER,
    release TEXT NOT NULL,
    previous TEXT NOT NULL,
    who TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT NOT NULL,
    result TEXT NOT NULL,
    detail TEXT NOT NULL);
CREATE INDEX deployments_of ON deployments(model, location, id);
CREATE TABLE instances (
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    port INTEGER,
    release TEXT NOT NULL,
    version INTEGER,
    state TEXT NOT NULL,
    seen TEXT NOT NULL,
    PRIMARY KEY (model, location));
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    state TEXT NOT NULL,
    started TEXT NOT NULL,
    ended TEXT NOT NULL,
    cancelling INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_since REAL NOT NULL);
CREATE TABLE events (
    job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (job_id, n)) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
CREATE TABLE stats (
    model_id INTEGER NOT NULL REFERENCES models(id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (model_id, path)) WITHOUT ROWID;
CREATE TABLE locks (key TEXT PRIMARY KEY NOT NULL, digest TEXT NOT NULL, used TEXT NOT NULL);
"""

PUBLIC = """
ALTER TABLE instances ADD COLUMN exposure TEXT NOT NULL DEFAULT 'loopback';
ALTER TABLE instances ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
"""

SCHEMA = "ALTER TABLE versions ADD COLUMN schema TEXT"

INTERNET = "ALTER TABLE locations ADD COLUMN internet TEXT NOT NULL DEFAULT 'auto'"

JOURNAL = """
ALTER TABLE deployments ADD COLUMN attempt TEXT NOT NULL DEFAULT '';
ALTER TABLE deployments ADD COLUMN steps TEXT NOT NULL DEFAULT '[]';
"""

GATE = """
ALTER TABLE versions ADD COLUMN memory INTEGER;
CREATE TABLE gates (
    deployment INTEGER PRIMARY KEY NOT NULL,
    passed INTEGER NOT NULL,
    report TEXT NOT NULL);
"""

GROUPS = """
CREATE TABLE location_groups (
    name TEXT NOT NULL,
    place INTEGER NOT NULL,
    location TEXT NOT NULL REFERENCES locations(name) ON DELETE CASCADE,
    PRIMARY KEY (name, location)) WITHOUT ROWID;
"""

REQUEST = "ALTER TABLE jobs ADD COLUMN request TEXT NOT NULL DEFAULT '{}'"

TRAINING = """
CREATE TABLE training (
    version_id INTEGER PRIMARY KEY NOT NULL REFERENCES versions(id) ON DELETE CASCADE,
    made TEXT NOT NULL,
    source TEXT NOT NULL,
    rows INTEGER NOT NULL,
    columns TEXT NOT NULL);
"""

NOTES = """
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    action TEXT NOT NULL,
    version INTEGER,
    detail TEXT NOT NULL);
CREATE INDEX notes_of ON notes(model, id);
INSERT INTO notes(at, who, model, location, action, version, detail)
    SELECT versions.created, author, name, '', 'commit', number, message
    FROM versions JOIN models ON models.id = model_id ORDER BY versions.id;
"""

ADOPTED = """
ALTER TABLE versions ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
WITH RECURSIVE taken(id, name, versions) AS (
    SELECT id, model, ', ' || detail || ',' FROM notes WHERE action = 'adopt'
    UNION ALL
    SELECT notes.id, notes.model, versions FROM taken JOIN notes
    ON notes.id > taken.id AND action = 'rename' AND detail = 'from ' || name || ' to ' || model)
    UPDATE versions SET adopted = 1 WHERE EXISTS (
    SELECT 1 FROM taken JOIN models USING (name)
    WHERE models.id = model_id AND instr(taken.versions, ' v' || number || ','));
"""
"""Which versions were taken over from a server was told by the notes alone, which name models as
they were called then."""

MIGRATIONS: tuple[str, ...] = (
    *(FIRST, PUBLIC, SCHEMA, INTERNET, JOURNAL, GATE, GROUPS, REQUEST),
    *(TRAINING, NOTES, ADOPTED),
)


def opened(path: Path, patience: float = PATIENCE, scripts: Sequence[str] = MIGRATIONS) -> Database:
    """The file in the newest shape. One that a newer program wrote can only be read."""
    if (number := stamped(path)) > len(scripts):
        return Database(path, patience, refusal=too_new(path, number, len(scripts)))
    database = Database(path, patience)
    try:
        migrate(database, scripts)
    except BaseException:
        database.close()
        raise
    return database


def newer(path: Path) -> Problem | None:
    """What is to be said of a store that a newer program wrote; None of any other."""
    number = stamped(path)
    return too_new(path, number, len(MIGRATIONS)) if number > len(MIGRATIONS) else None


def too_new(path: Path, number: int, known: int) -> Problem:
    return Problem(
        f'The store "{path}" was written by a newer RhythmicML: it can be read, not changed.',
        remedy="Install the newest RhythmicML.",
        detail=f"The store is at {number}; this program knows {known}.",
    )


def migrate(database: Database, scripts: Sequence[str] = MIGRATIONS) -> None:
    """Bring the store to the newest shape in one transaction, so nobody sees one in between."""
    number = version(database)
    if number > len(scripts):  # written by another program in this very moment
        raise too_new(database.path, number, len(scripts))
    if 0 < number < len(scripts):
        keep_copy(database, number)
    if number < len(scripts):
        with database.write():  # where another process was quicker, nothing is left to do
            for wanted in range(version(database) + 1, len(scripts) + 1):
                _step(database, wanted, scripts[wanted - 1])


def version(database: Database) -> int:
    return int(database.tuples("PRAGMA user_version")[0][0])


def _step(database: Database, wanted: int, script: str) -> None:
    for statement in script.strip().split(";\n"):
        database.execute(statement)
    database.execute(f"PRAGMA user_version = {wanted}")


def keep_copy(database: Database, number: int) -> None:
    """A checked copy of the store as it was before a migration."""
    copy = database.path.with_name(f"{database.path.name}.before-{number + 1}")
    partial = copy.with_name(f".{copy.name}.{os.getpid()}")
    try:
        copy_into(database, partial)
        if stamped(partial) == number:  # else another process was quicker, and has kept one
            partial.replace(copy)
    finally:
        partial.unlink(missing_ok=True)
