"""How the instances are, asked from their hosts while somebody looks."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import instances
from app.views.traffic import Meter, Traffic

if TYPE_CHECKING:
    from app.views.feed import Feed
    from app.workspace import Workspace

ASK_EVERY = 15.0
WATCH_EVERY = 30.0
"""Seconds between two answers while a window is open, so that its figures are of now."""


class Live:
    """The last answer about each instance. Asked anew while somebody looks, and after changes."""

    def __init__(self, work: Workspace, feed: Feed) -> None:
        self._work = work
        self._feed = feed
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._meters: dict[tuple[str, str], Meter] = defaultdict(Meter)
        self._wanted = threading.Event()
        self._asked = -ASK_EVERY
        self._ended = False
        feed.on["instances"] = self._wanted.set

    def row(self, known: dict[str, Any]) -> dict[str, Any]:
        """What is known of an instance of the store: {"model", "location", "state", …}.

        `seen` is there when it is from the store and not from the host.
        """
        return self._rows.get((known["model"], known["location"]), known)

    def traffic(self, known: dict[str, Any]) -> Traffic | None:
        """How many requests an instance answered lately; None while that is not known."""
        meter = self._meters.get((known["model"], known["location"]))
        return meter.traffic() if meter else None

    def refresh(self) -> None:
        """Have the hosts asked, if that was not just done."""
        if time.monotonic() - self._asked > ASK_EVERY:
            self._wanted.set()

    def watch(self) -> None:
        """Ask whenever it is wanted, and while a window is open, until `end`; for a thread."""
        while not self._ended:
            wanted = self._wanted.wait(WATCH_EVERY)
            self._wanted.clear()
            if not self._ended and (wanted or self._feed.listeners):
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
        for key, row in rows.items():
            if row["requests"] is not None:
                self._meters[key].read(self._asked, row["requests"])
        changed, self._rows = rows != self._rows, rows
        if changed:
            self._feed.say("instances")
