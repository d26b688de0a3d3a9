"""A look at a file of the store from outside: never changed, and told about whatever is in it."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from app.errors import Busy, Problem
from app.store import migrations, recorded
from app.store.database import Database, stamped

KNOWN = {
    "store.sqlite": len(migrations.MIGRATIONS),
    "monitoring.sqlite": len(recorded.MIGRATIONS),
}
"""File → the newest shape of it that this program knows."""
LOOKING = Problem("This is only a look.")


def look(path: Path) -> dict[str, Any]:
    """{"bytes", "shape": its number, "known": ours, "state": ok | newer | older | damaged | unread
    (nobody can tell now) | none, "words": what is wrong, "rows": {table: how many}}."""
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
        # Somebody has it, or has left a commit half written, which only a writer takes back.
        unread = isinstance(problem, Busy) or "readonly" in str(problem.__cause__)
        words = problem.cause or problem.what
        return {**said, "state": "unread" if unread else "damaged", "words": words, "rows": {}}


def settle(path: Path) -> None:
    """Have SQLite take back what a program that was killed has left half written.

    It cannot where it only looks, and such a file is not damaged. A newer one is left as it is.
    """
    newer = stamped(path) > KNOWN.get(path.name, 0)
    if newer or not Path(f"{path}-journal").exists():
        return
    with suppress(Problem), closing(Database(path, 2.0)) as database:
        database.tuples("SELECT count(*) FROM sqlite_master")


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
