"""A look at a file of the store from outside: never changed, and told about whatever is in it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from app.errors import Problem
from app.store import migrations, recorded
from app.store.database import Database, stamped

KNOWN = {
    "store.sqlite": len(migrations.MIGRATIONS),
    "monitoring.sqlite": len(recorded.MIGRATIONS),
}
"""File → the newest shape of it that this program knows."""
LOOKING = Problem("This is only a look.")


def look(path: Path) -> dict[str, Any]:
    """{"bytes", "shape": its number, "known": ours, "state": ok | newer | older | damaged | none,
    "words": what is wrong, "rows": {table: how many}}."""
    known = KNOWN.get(path.name, KNOWN["store.sqlite"])
    try:
        size = path.stat().st_size
    except OSError:
        return {"state": "none", "words": "There is none.", "rows": {}}
    said = {"bytes": size, "shape": stamped(path), "known": known}
    try:
        with closing(Database(path, 2.0, refusal=LOOKING)) as database:
            return {**said, **_checked(database, said["shape"], known)}
    except Problem as problem:
        words = problem.cause or problem.what
        return {**said, "state": "damaged", "words": words, "rows": {}}


def _checked(database: Database, shape: int, known: int) -> dict[str, Any]:
    found = [str(row[0]) for row in database.tuples("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        return {"state": "damaged", "words": "; ".join(found), "rows": {}}
    named = database.tuples("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    names = [str(name) for (name,) in named if not str(name).startswith("sqlite_")]
    rows = {n: database.tuples(f'SELECT count(*) FROM "{n}"')[0][0] for n in names}  # noqa: S608
    state = "newer" if shape > known else "older" if shape < known else "ok"
    return {"state": state, "words": "", "rows": rows}


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    """A table whole, whatever its columns are; nothing where it cannot be read."""
    try:
        with closing(Database(path, 2.0, refusal=LOOKING)) as database:
            return database.query(f'SELECT * FROM "{table}"')  # noqa: S608, a table of ours
    except Problem:
        return []
