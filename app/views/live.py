"""How the instances are, asked from their hosts while somebody looks."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import instances

if TYPE_CHECKING:
    from app.views.feed import Feed
    from app.workspace import Workspace

ASK_EVERY = 15.0


class Live:
    """The last answer about each instance. Asked anew while somebody looks, and after changes."""

    def __init__(self, work: Workspace, feed: Feed) -> None:
        self._work = work
        self._feed = feed
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._wanted = threading.Event()
        self._asked = -ASK_EVERY
        self._ended = False
        feed.on["instances"] = self._wanted.set

    def row(self, known: dict[str, Any]) -> dict[str, Any]:
        """What is known of an instance of the store: {"model", "location", "state", …}.

        `seen` is there when it is from the store and not from the host.
        """
        return self._rows.get((known["model"], known["location"]), known)

    def refresh(self) -> None:
        """Have the hosts asked, if that was not just done."""
        if time.monotonic() - self._asked > ASK_EVERY:
            self._wanted.set()

    def watch(self) -> None:
        """Ask whenever it is wanted, until `end`; for a thread of its own."""
        while not self._ended:
            self._wanted.wait()
            self._wanted.clear()
            if not self._ended:
                self._asked = time.monotonic()
                self._ask()

    def end(self) -> None:
        self._ended = True
        self._wanted.set()

    def _ask(self) -> None:
        try:
            rows = {(r["model"], r["location"]): r for r in instances.status(self._work)}
        except Problem:  # a model that went away while it was asked about
            return
        changed, self._rows = rows != self._rows, rows
        if changed:
            self._feed.say("instances")
