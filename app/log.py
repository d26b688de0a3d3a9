"""What the program itself has to say: files of bounded size in `log/` of the data folder.

ui.log is written by the one program that serves the pages, errors.log by any command.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import traceback
from datetime import datetime
from pathlib import Path

from app import portable

PAGES, ERRORS = "ui.log", "errors.log"
LARGEST = 1 << 20
"""Bytes of one file; the one before it is kept as well."""
FORMAT = "%(asctime)s %(levelname)s %(message)s"


def folder(home: Path) -> Path:
    return home / "log"


def handler(home: Path) -> logging.Handler:
    """What the pages' program logs to. A log that cannot be written never stops it."""
    with contextlib.suppress(OSError):
        folder(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = _Quiet(
        folder(home) / PAGES, maxBytes=LARGEST, backupCount=1, encoding="utf-8", delay=True
    )
    kept.setFormatter(logging.Formatter(FORMAT))
    return kept


class _Quiet(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """The disk is full, or the folder read-only: nobody is helped by a second traceback."""


def keep(home: Path, error: BaseException, doing: str) -> Path | None:
    """Add a traceback to errors.log; the file, or None where it cannot be written."""
    path = folder(home) / ERRORS
    said = "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LARGEST:
            path.replace(path.with_name(f"{ERRORS}.1"))
        fd = portable.opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with open(fd, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {doing}\n{said}\n")
    except OSError:
        return None
    return path


def tail(home: Path, name: str, lines: int) -> list[str]:
    """The last lines of one of the files; none when there is none."""
    try:
        with (folder(home) / name).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - lines * 400))
            said = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return said.splitlines()[-lines:]
