"""What the instances of this host recorded: rows of their `metrics.sqlite`, as they are.

The files belong to whoever runs the models, so they are opened to be read only, given little time,
and what is wrong with one is said of that one.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import Instance, instances
from .loop import Stream, op

if TYPE_CHECKING:
    import sqlite3

    from .loop import Agent, Payload

FILE = "metrics.sqlite"
STATE = Path("/var/lib/private")
BUSY = 1.0
LONGEST = 5.0  # seconds for one file
MOST = 8 << 20
MOST_EVENTS = 1000
_SAMPLES = """
SELECT rowid, step, at, release, version, body FROM samples WHERE rowid > ? AND rowid < ?
AND length(body) < 1000000 ORDER BY rowid DESC
"""
_EVENTS = """
SELECT rowid, at, kind, body FROM events WHERE rowid > ? ORDER BY rowid DESC LIMIT ?
"""
_REQUEST = """
SELECT at, id, release, status, seconds, endpoint, inputs, outputs FROM requests WHERE id = ?
"""
_LAST = 2**62


@op("metrics")
def metrics(agent: Agent, args: dict[str, Any], payload: Payload) -> Stream:
    """The newest rows that the client lacks, of one instance or of all, as `parts` has them.

    args: name (null: all), since {name: {"file", "sample", "before", "event"}} (rowids that are
    known; before: go on below that one), most (bytes of rows).
    """
    since, most = args.get("since") or {}, int(args.get("most") or MOST)
    found, bodies = {}, []
    for each in _wanted(agent, args.get("name")):
        said, rows = _page(agent, each, since.get(each.name) or {}, most)
        most -= sum(map(len, rows))
        found[each.name] = said
        bodies += rows
    head = json.dumps({"now": time.time(), "instances": found}).encode() + b"\n"
    return Stream(len(head) + sum(map(len, bodies)), [head, *bodies])


def sampled(agent: Agent, instance: Instance, request: str) -> dict[str, Any] | None:
    """A request that was kept whole. None: it was not, or no longer is."""
    path = file_of(agent, instance)
    if path is None:
        return None
    with _opened(path) as db:
        found = db.execute(_REQUEST, [request])
        row = found.fetchone()
        return {column[0]: row[at] for at, column in enumerate(found.description)} if row else None


def parts(answer: bytes) -> dict[str, Any]:
    """What `metrics` answered: {"now", "instances": {name: {"file", "samples", "events", "more"}
    or {"error"}}}, each sample [rowid, step, at, release, version, body], newest first.
    """
    head, _, bodies = answer.partition(b"\n")
    said: dict[str, Any] = json.loads(head)
    start = 0
    for each in said["instances"].values():
        for row in each.get("samples", ()):
            row[-1], start = bodies[start : start + row[-1]], start + row[-1]
    return said


def _wanted(agent: Agent, name: str | None) -> list[Instance]:
    return [Instance(agent.base, name)] if name else instances(agent.base)


def file_of(agent: Agent, instance: Instance) -> Path | None:
    """Where its fronts record, if they did: in the unit's state folder, else with the instance."""
    folders = [instance.folder / "run"]
    if agent.system_wide:
        folders.insert(0, STATE / f"rhythmicml-{instance.name}")
    for folder in folders:
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.lstat(folder / FILE).st_mode):  # no link, and nothing that waits
                return folder / FILE
    return None


def _page(
    agent: Agent, instance: Instance, since: dict[str, Any], most: int
) -> tuple[dict[str, Any], list[bytes]]:
    path = file_of(agent, instance)
    if path is None:
        return {"file": "", "samples": [], "events": [], "more": False}, []
    try:
        with _opened(path) as db:
            return _rows(db, since, most)
    except Exception as error:  # whatever somebody else's file makes of a query
        return {"error": f"{type(error).__name__}: {error}"}, []


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """To be read only; what takes long is given up."""
    import sqlite3

    db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY)
    limit = time.monotonic() + LONGEST
    db.set_progress_handler(lambda: time.monotonic() > limit, 10_000)
    try:
        db.execute("PRAGMA trusted_schema=OFF")
        db.execute("PRAGMA cell_size_check=ON")
        yield db
    finally:
        db.close()


def _rows(
    db: sqlite3.Connection, since: dict[str, Any], most: int
) -> tuple[dict[str, Any], list[bytes]]:
    """One that is another file than before is read from its beginning."""
    file = str(db.execute("SELECT value FROM about WHERE key = 'id'").fetchone()[0])
    known = since if since.get("file") == file else {}
    samples: list[list[Any]] = []
    bodies: list[bytes] = []
    more = False
    for *row, body in db.execute(
        _SAMPLES, [known.get("sample") or 0, known.get("before") or _LAST]
    ):
        most -= len(body)
        if most < 0:
            more = True
            break
        samples.append([*row, len(body)])
        bodies.append(bytes(body))
    events = db.execute(_EVENTS, [known.get("event") or 0, MOST_EVENTS]).fetchall()
    return {"file": file, "samples": samples, "events": events, "more": more}, bodies
