"""The token by which scripts ask the pages' program: one for a store, in a file of its own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from app import portable

FILE = "ui-token"
LONGEST = 200


def read(home: Path) -> str:
    """The token; empty when there is none, or when somebody else may have read or put it there."""
    try:
        fd = portable.opened(home / FILE, os.O_RDONLY | portable.NO_LINK)
    except OSError:
        return ""
    with os.fdopen(fd, "rb") as file:
        if not portable.ours_alone(os.fstat(file.fileno())):
            return ""
        return file.read(LONGEST).decode("ascii", "replace").strip()


def get(home: Path, *, new: bool = False) -> str:
    """The token, made if there is none. new: the one before is good no more."""
    if not new and (known := read(home)):
        return known
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = secrets.token_urlsafe(32)
    partial = home / f".{FILE}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | portable.NO_LINK
    with open(portable.opened(partial, flags), "w", encoding="ascii") as file:
        file.write(made + "\n")
    partial.replace(home / FILE)
    return made
