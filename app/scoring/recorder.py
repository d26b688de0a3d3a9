"""Keeps, every ten seconds, what a front did in them. A thread does it; requests notice nothing.

The event loop puts what it has into the tap's queue: rows that were taken, events, requests to keep
whole, and every ten seconds the counts. The thread (`scribe.py`) makes summaries of that, and
writes them into the file that all fronts of an instance share (`recording.py`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from . import jobs, samples
from .samples import FINEST
from .tap import OURS, Tap

if TYPE_CHECKING:
    from .metrics import Metrics
    from .release import Release

SIZE = 64 << 20
KEPT = 7 * 86_400.0
PATIENCE = 2.0  # seconds that a front's end waits for the last row


class Now(NamedTuple):
    """What of a front is counted elsewhere. pids: of its processes. waiting: requests."""

    pids: tuple[int, ...]
    waiting: int
    restarts: int
    recycles: int


class Cut(NamedTuple):
    """What was counted since the last one: a row, but for what only the thread knows."""

    at: int
    body: dict[str, Any]
    pids: tuple[int, ...]


class Recorder:
    """The event loop's side. look: what there is to count besides the metrics."""

    def __init__(self, release: Release, metrics: Metrics, look: Callable[[], Now]) -> None:
        self.release = release
        self.metrics = metrics
        self.look = look
        monitor, log = (dict(release.scoring.get(key) or {}) for key in ("monitor", "log"))
        self.size = int(monitor.get("size", SIZE))
        self.redact = frozenset(map(str, log.get("redact") or ()))
        self.kept = float(log.get("keep") or KEPT)
        self.tap = Tap(float(log.get("sample") or 0.0)) if self.size else None
        self._thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._since = monotonic()
        self._before: Counter[Any] = Counter()
        metrics.tap = self.tap

    @property
    def folder(self) -> Path:
        """Where the file is: beside what jobs keep."""
        return jobs.folder_of(self.release.instance_folder).parent

    @property
    def takes(self) -> float:
        """Seconds that most requests take just now, as far as that is known, else 0.0."""
        return self.tap.takes if self.tap is not None else 0.0

    def event(self, kind: str, **body: Any) -> None:
        """Something happened to this front."""
        if self.tap is not None:
            self.tap.event(kind, **body)

    def live(self, public: bool) -> None:
        """Whether requests come from the public from now on, so that their rows count."""
        self.event("accepting" if public else "resting")
        if self.tap is not None:
            self.tap.live = public

    def start(self) -> None:
        """Begin, now that the front is ready and nobody waits for it."""
        if self.tap is not None:
            self._start_thread()
            self._wait()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        from .scribe import Scribe  # SQLite comes with it

        assert self.tap
        Scribe(self).run(self.tap.queue.get)

    def _wait(self) -> None:
        """Until the next whole ten seconds of the clock."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(FINEST - time.time() % FINEST, self._tick)

    def _tick(self) -> None:
        self.cut()
        self._wait()

    def cut(self) -> None:
        """Hand over what was counted until now."""
        if self.tap is None:
            return
        now, seconds = monotonic(), monotonic() - self._since
        self._since = now
        middle = time.time() - seconds / 2  # whose row it is, also when the clock was set
        found = self.look()
        self.tap.flush()
        self.tap.put(Cut(int(middle) // FINEST * FINEST, self._body(found, seconds), found.pids))

    def _body(self, found: Now, seconds: float) -> dict[str, Any]:
        tap, counted = self.tap, self._counted(found)
        assert tap
        change = counted - self._before
        self._before = counted
        waiting, tap.waiting = max(tap.waiting, found.waiting), 0
        return {
            **samples.empty(),
            "seconds": round(seconds, 3),
            "requests": {key[1]: n for key, n in change.items() if key[0] == "code"},
            "queue": {"most": waiting, "refused": change["refused"]},
            "batches": {"count": change["batches"], "rows": change["rows"]},
            "restarts": change["restarts"],
            "recycles": change["recycles"],
        }

    def _counted(self, found: Now) -> Counter[Any]:
        """All counts since the start."""
        metrics = self.metrics
        counted: Counter[Any] = Counter()
        for (endpoint, code), n in metrics.requests.items():
            if endpoint not in OURS:
                counted["code", str(code)] += n
        counted["refused"] = metrics.refused["overloaded"]
        counted["batches"] = sum(metrics.batches.counts)
        counted["rows"] = int(metrics.batches.total)
        counted["restarts"], counted["recycles"] = found.restarts, found.recycles
        return counted

    async def close(self) -> None:
        """Have the last row written, unless that takes long."""
        if self._timer is not None:
            self._timer.cancel()
        if self.tap is None:
            return
        self.event("ended")
        self.cut()
        self.tap.queue.put(None)
        if self._thread is None:  # it never became ready
            self._start_thread()
        limit = monotonic() + PATIENCE
        while self._thread is not None and self._thread.is_alive() and monotonic() < limit:
            await asyncio.sleep(0.01)
