"""Passwords and passphrases that were typed into the pages: kept in memory, for this run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.workspace import Workspace


class Answers:
    """Question → what was answered to it."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def ask(self, question: str) -> str | None:
        return self._known.get(question)

    def with_typed(self, work: Workspace, secret: str) -> Workspace:
        """The workspace, in which this is the answer to what was not asked before."""

        def ask(question: str) -> str | None:
            if secret:
                self._known[question] = secret
            return self.ask(question)

        return replace(work, ask=ask)
