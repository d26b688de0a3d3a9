"""What can be taken back, offered in a toast: assets/static/undo.js shows it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


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
