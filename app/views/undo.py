"""What can be taken back, offered in a toast: assets/static/undo.js shows it."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from app.errors import Problem

MOST = 16
"""Texts that are kept, each for as long as a toast is there."""


@dataclass(frozen=True)
class Undo:
    """What was done, in words, and the request that takes it back."""

    words: str
    post: str
    values: dict[str, str] = field(default_factory=dict)


def undoable(answer: Any, undo: Undo) -> Any:
    """The answer, with the offer."""
    answer.headers["HX-Trigger"] = json.dumps({"undoable": asdict(undo)})
    return answer


class Texts:
    """What files said before they were saved: the latest few, in memory."""

    def __init__(self) -> None:
        self._before: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = Lock()

    def keep(self, name: str, digest: str, text: str) -> None:
        """What was replaced by what has this digest."""
        with self._lock:
            self._before[name, digest] = text
            while len(self._before) > MOST:
                self._before.popitem(last=False)

    def before(self, name: str, digest: str) -> str:
        with self._lock:
            text = self._before.get((name, digest))
        if text is None:
            raise Problem(
                f"What the configuration of {name} was before is not known any more.",
                remedy="Restore a version, or edit it once more.",
            )
        return text
