"""The rows of a store as a file of their own, and such a file put in place of the rows of another.

Nothing is moved under the feet of whoever has the store open: what is put in place is written in
one transaction, so others see the rows of before or those of after.
"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from app import portable
from app.crash import crash_point
from app.errors import Busy, Problem
from app.store.database import Database

TABLES = "SELECT name, sql FROM"
OF_OURS = (
    "WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT IN ('jobs', 'events')"
    " ORDER BY name"
)
"""All but what ran on this machine, which did run, whatever is put in place."""


def copy_into(database: Database, path: Path) -> None:
    """Write a checked copy of all rows, as of one moment, into a file of this name."""
    path.unlink(missing_ok=True)
    os.close(portable.opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    database.execute("VACUUM INTO ?", [str(path)])
    portable.sync_file(path)
    with closing(Database(path)) as copied:
        if copied.tuples("PRAGMA integrity_check") != [("ok",)]:
            raise Problem(f'A copy of the store "{database.path}" came out damaged.')


def replace_rows(database: Database, other: Path, stamp: int) -> None:
    """Put the rows of `other` in place of these, all or none; `jobs` and `events` stay.

    stamp: what Pulse.stamp said when these were copied last. Raises Busy when somebody has written
    since then, whose work would be lost.
    """
    database.execute("ATTACH ? AS other", [str(other)])
    try:
        tables = database.query(f"{TABLES} main.sqlite_master {OF_OURS}")
        if tables != database.query(f"{TABLES} other.sqlite_master {OF_OURS}"):
            raise Problem(f'"{other}" is not a store of this RhythmicML.')
        with database.write():
            if database.tuples("PRAGMA data_version")[0][0] != stamp:
                raise Busy("Something was written to the store meanwhile.", remedy="Try again.")
            database.execute("PRAGMA defer_foreign_keys = ON")
            _replace(database, [row["name"] for row in tables])
            crash_point("rows-replaced")
    finally:
        database.execute("DETACH other")


def _replace(database: Database, names: list[str]) -> None:
    """names: of tables, from our own store."""
    for name in names:
        database.execute(f'DELETE FROM main."{name}"')  # noqa: S608, a table of ours
    for name in names:
        database.execute(f'INSERT INTO main."{name}" SELECT * FROM other."{name}"')  # noqa: S608
    database.execute("DELETE FROM main.sqlite_sequence WHERE name NOT IN ('jobs', 'events')")
    database.execute(
        "INSERT INTO main.sqlite_sequence SELECT name, seq FROM other.sqlite_sequence"
        " WHERE name NOT IN ('jobs', 'events')"
    )
