"""Copies of the store's file beside it, and one of them put in its place when it is damaged.

store.sqlite.before-N   as it was before it became shape N (migrations.py)
store.sqlite.daily      as it was at the first start of the last day it was used
store.sqlite.kept-<when>  such a copy, when the store was replaced, or had lost all models
aside-<when>/           what was in its place, with what SQLite had beside it; nothing is lost
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from app import portable
from app.crash import crash_point
from app.errors import Problem
from app.store.database import Database, sayings
from app.store.looking import look
from app.store.replacing import copy_into

FILE = "store.sqlite"
DAILY = "store.sqlite.daily"
DAY = 86_400
BESIDE = ("", "-journal", "-wal", "-shm")


@dataclass(frozen=True)
class Copy:
    """A sound one. made: ISO time, UTC."""

    path: Path
    made: str
    models: int
    versions: int


def copies(home: Path) -> list[Copy]:
    """All that could be put back, the newest first."""
    paths = sorted(home.glob(f"{FILE}.*"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [found for path in paths if (found := _sound(path))]


def _sound(path: Path) -> Copy | None:
    said = look(path)
    if said["state"] not in ("ok", "older") or not said["shape"]:
        return None
    stamp = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    rows = said["rows"]
    made = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
    return Copy(path, made, rows.get("models", 0), rows.get("versions", 0))


def keep_daily(home: Path) -> Path | None:
    """A checked copy of a sound store once a day; None when there was no need, or no room."""
    daily, partial = home / DAILY, home / f".{DAILY}.partial"
    with suppress(OSError):
        if 0 <= time.time() - daily.stat().st_mtime < DAY:
            return None
    with suppress(Problem, OSError), closing(Database(home / FILE)) as database:
        copy_into(database, partial)
        if not look(partial)["rows"].get("models"):
            _keep_for_good(home)
        partial.replace(daily)
        return daily
    return None


def _keep_for_good(home: Path) -> None:
    """The daily copy, if it has models: no other one takes its place."""
    daily = home / DAILY
    if look(daily)["rows"].get("models"):
        daily.replace(home / f"{FILE}.kept-{_now()}")


def _now() -> str:
    return f"{datetime.now():%Y%m%d-%H%M%S}"


def put_back(home: Path, copy: Path) -> Path:
    """Put a copy in the store's place; where what was there is now."""
    if _sound(copy) is None:
        raise Problem(f'"{copy}" is no sound copy of a store.', remedy="Choose another one.")
    fresh = home / f".{FILE}.back"
    try:
        with sayings(home / FILE):
            os.close(portable.opened(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
            shutil.copyfile(copy, fresh)
            portable.sync_file(fresh)
            aside = _aside(home)
            with suppress(FileNotFoundError):  # its name stays taken: there is always a store
                shutil.copyfile(home / FILE, aside / FILE)
            _move(home, aside, BESIDE[1:])
            _keep_for_good(home)
            crash_point("store-aside")
            fresh.replace(home / FILE)
    finally:
        fresh.unlink(missing_ok=True)
    return aside


def set_aside(home: Path) -> Path:
    """Move the store's file away with what is beside it; where to. What it named stays."""
    aside = _aside(home)
    _move(home, aside, BESIDE)
    _keep_for_good(home)
    return aside


def _aside(home: Path) -> Path:
    aside = home / f"aside-{_now()}"
    aside.mkdir(mode=0o700, exist_ok=True)
    return aside


def _move(home: Path, aside: Path, endings: tuple[str, ...]) -> None:
    for ending in endings:
        with suppress(FileNotFoundError):
            (home / f"{FILE}{ending}").replace(aside / f"{FILE}{ending}")
