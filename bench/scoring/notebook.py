"""What was measured so far, on disk at once: an interrupted run goes on from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import ground

FILE = ground.CACHE / "notebook.json"


class Notebook:
    """Lists of measured values by key, and why something could not be measured by key."""

    def __init__(self, options: dict[str, Any], resume: bool = False, path: Path = FILE) -> None:
        self.path = path
        self.options = options
        self.values: dict[str, list[Any]] = {}
        self.failures: dict[str, str] = {}
        if resume and path.exists():
            said = json.loads(path.read_text())
            if said["options"] == options:
                self.values, self.failures = said["values"], said["failures"]

    def add(self, key: str, value: Any) -> None:
        self.values.setdefault(key, []).append(value)
        self._save()

    def fail(self, key: str, why: str) -> None:
        self.failures[key] = why
        self._save()

    def get(self, key: str) -> list[Any]:
        return self.values.get(key, [])

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        said = {"options": self.options, "values": self.values, "failures": self.failures}
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(said, indent=1))
        beside.replace(self.path)
