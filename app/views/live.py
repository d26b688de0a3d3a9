"""How the instances are, asked from their hosts as long as the program is open.

On the same ways comes what they recorded. The feed tells windows of `instances`, when one is
another way than before, of `monitoring`, whenever there are new figures, and of `alerts`, when one
began, ended or was seen.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import alerts, collecting

if TYPE_CHECKING:
    from app.views.feed import Feed
    from app.workspace import Workspace

log = logging.getLogger("rhythmicml")  # the pages' own: log/ui.log

ASK_EVERY = 10.0
"""Seconds between two answers, for as long as the program is open."""
WRITTEN = 1.5
"""Seconds after each whole ten of the clock until fronts have written what they counted in them:
asked then, what happened is here within twelve."""


def until_asked(now: float) -> float:
    """Seconds until fronts have next written."""
    return ASK_EVERY - (now - WRITTEN) % ASK_EVERY


class Live:
    """The last answer about each instance. Asked anew every 10 s, and after changes."""

    def __init__(self, work: Workspace, feed: Feed) -> None:
        self._work = work
        self._feed = feed
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._asking: set[str] = set()  # locations
        self._alerts: list[tuple[int, bool]] = []
        self._taking = threading.Lock()
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
        """Ask every so often, and whenever it is wanted, until `end`; for a thread."""
        while not self._ended:
            self._wanted.wait(until_asked(time.time()))
            self._wanted.clear()
            if not self._ended:
                self._asked = time.monotonic()
                self._begin_or_note()

    def end(self) -> None:
        self._ended = True
        self._wanted.set()

    def _begin_or_note(self) -> None:
        """What goes wrong now may go well the next time: the store is away, a disk is full."""
        try:
            self._begin()
        except Problem:
            return
        except Exception:
            log.exception("The instances could not be asked")

    def _begin(self) -> None:
        """Ask each location that is not being asked; one that is silent keeps no other waiting."""
        with self._work.open_store() as store:
            known = {(each.model, each.location) for each in store.instances.all()}
        for location in {place for _, place in known} - self._asking:
            self._asking.add(location)
            threading.Thread(target=self._ask, args=(location,), daemon=True).start()
        with self._taking:
            self._rows = {key: row for key, row in self._rows.items() if key in known}

    def _ask(self, location: str) -> None:
        try:
            self._take(location, collecting.collect(self._work, to=location))
        except Problem:  # what went away while it was asked about
            return
        except Exception:
            log.exception("The instances on %s could not be asked", location)
        finally:
            self._asking.discard(location)

    def _take(self, location: str, rows: list[dict[str, Any]]) -> None:
        found = {(row["model"], row["location"]): row for row in rows}
        with self._taking:
            others = {key: row for key, row in self._rows.items() if key[1] != location}
            changed, self._rows = {**others, **found} != self._rows, {**others, **found}
        if changed:
            self._feed.say("instances")
        self._feed.say("monitoring")
        self._tell_of_alerts()

    def _tell_of_alerts(self) -> None:
        now = [(row["id"], row["acknowledged"] is not None) for row in alerts.opened(self._work)]
        with self._taking:
            changed, self._alerts = now != self._alerts, now
        if changed:
            self._feed.say("alerts")
