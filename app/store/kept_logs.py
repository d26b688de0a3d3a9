"""The last lines that instances said, kept here for when their hosts cannot be asked any more.

A file for each instance, replaced whole: nothing is lost with it that its host does not have.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from app import portable

FOLDER = "logs"


class KeptLogs:
    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def _path(self, model: str, location: str) -> Path:
        """Neither name can hold a dot or a slash."""
        return self._folder / location / f"{model}.json.gz"

    def keep(self, model: str, location: str, at: float, lines: Sequence[str]) -> None:
        path = self._path(model, location)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps({"at": at, "lines": list(lines)}).encode()
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        fd = portable.opened(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(fd, "wb") as file:
            file.write(gzip.compress(text, 6))
        partial.replace(path)

    def age(self, model: str, location: str, now: float) -> float | None:
        """Seconds since they were kept; None: never."""
        with suppress(OSError):
            return now - self._path(model, location).stat().st_mtime
        return None

    def get(self, model: str, location: str) -> tuple[float, list[str]] | None:
        """When they were kept, and the lines, oldest first."""
        with suppress(OSError, EOFError, ValueError, KeyError, zlib.error):
            said = json.loads(gzip.decompress(self._path(model, location).read_bytes()))
            return float(said["at"]), [str(line) for line in said["lines"]]
        return None

    def places(self, model: str) -> list[str]:
        """The locations of which some are kept."""
        return sorted(path.parent.name for path in self._folder.glob(f"*/{model}.json.gz"))

    def rename(self, model: str, new: str) -> None:
        for location in self.places(model):
            self._path(model, location).replace(self._path(new, location))
