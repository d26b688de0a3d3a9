"""News of the store for the windows: one stream each, one look at the store for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from app.errors import Problem

if TYPE_CHECKING:
    from app.workspace import Workspace

LOOK_EVERY = 0.25
BEAT = 10.0
"""Seconds between signs of life."""
GONE_EVERY = 0.5
"""Seconds between looks at whether the window is gone: each stream has a thread of the server, and
whoever goes from page to page leaves one behind at every step."""


class Feed:
    """Which topics of the store have changed, told to whoever listens.

    The store is what tells, not the services: so a window hears of jobs of its own program and of
    what a command line or another program does alike.
    """

    def __init__(self, work: Workspace) -> None:
        self._work = work
        self._news = threading.Condition()
        self._seen: dict[str, str] = {}
        self._counts: dict[str, int] = {}  # topic → the number of its last news
        self.last = 0
        """Of all news so far; a page says of which it knows."""
        self.ended = False
        self.listeners = 0
        self.on: dict[str, Callable[[], None]] = {}
        """Topic → what else is done when the store has news of it."""

    def watch(self) -> None:
        """Look at the store until `end`, also when it is away for a while; for a thread."""
        while not self.ended:
            try:
                self._look()
            except Problem:
                time.sleep(LOOK_EVERY)

    def _look(self) -> None:
        with self._work.open_store() as store:
            stamp = -1
            while not self.ended:
                if stamp != (stamp := store.pulse.stamp()):
                    self._notice(store.pulse.topics())
                time.sleep(LOOK_EVERY)

    def say(self, topic: str) -> None:
        """News of something that is not in the store."""
        with self._news:
            self.last += 1
            self._counts[topic] = self.last
            self._news.notify_all()

    def end(self) -> None:
        with self._news:
            self.ended = True
            self._news.notify_all()

    def listen(self, gone: Callable[[], bool], after: int | None = None) -> Iterator[str]:
        """Server-sent events: one per topic that changed, a sign of life when nothing did.

        gone: whether the window hung up. after: `last` when its page was made; what was told since
        then is told again.
        """
        with self._news:
            after = self.last if after is None else after
            known = {topic: n for topic, n in self._counts.items() if n <= after}
            self.listeners += 1
        try:
            yield "retry: 1000\nevent: hello\ndata:\n\n"
            while not self.ended:
                topics, known = self._next(known, gone)
                if gone():
                    return
                yield "".join(f"event: {t}\ndata:\n\n" for t in topics) or ": alive\n\n"
        finally:
            self.listeners -= 1

    def _next(
        self, known: dict[str, int], gone: Callable[[], bool]
    ) -> tuple[list[str], dict[str, int]]:
        """The topics with news since `known`, none if there was none for a while; what is known."""
        beat = time.monotonic() + BEAT
        with self._news:
            while not (self.ended or self._counts != known or gone()):
                if time.monotonic() > beat:
                    break
                self._news.wait(GONE_EVERY)
            return [t for t, n in self._counts.items() if n != known.get(t)], dict(self._counts)

    def _notice(self, topics: dict[str, str]) -> None:
        changed = [each for each, said in topics.items() if self._seen.get(each) != said]
        first = not self._seen
        self._seen = topics
        for topic in [] if first else changed:
            self.on.get(topic, lambda: None)()
            self.say(topic)
