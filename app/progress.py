"""How far a step is, and how fast it goes: in the terminal and in the pages alike."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from app.models import Event
from app.words import size


class Pace:
    """How fast a step goes: by the last few seconds, for what was there already came at once."""

    SPAN, SOON = 5.0, 0.5

    def __init__(self) -> None:
        self._heard: deque[tuple[float, float]] = deque()

    def of(self, event: Event, now: float) -> float:
        """Units a second up to this event; 0 as long as that is not known."""
        done = event.done or 0.0
        if self._heard and done < self._heard[-1][1]:
            self._heard.clear()
        self._heard.append((now, done))
        while now - self._heard[0][0] > self.SPAN and len(self._heard) > 2:
            self._heard.popleft()
        since, before = self._heard[0]
        return (done - before) / (now - since) if now - since >= self.SOON else 0.0


def progress_words(event: Event, seconds: float, rate: float) -> str:
    """5.1 of 38 MB, 120 MB/s, 1 s left; or seconds gone by; or what the event itself says."""
    if event.text:
        return event.text
    if event.unit != "B" or event.done is None:
        return f"{event.done or seconds:.0f} s"
    words = f"{size(event.done)} of {size(event.total or 0)}"
    if rate <= 0:
        return words
    left = ((event.total or 0) - event.done) / rate
    return f"{words}, {size(rate)}/s, {_time_words(left)} left"


def _time_words(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Teller:
    """Makes of what a job says what is kept of it: progress in words, as often as one sees it."""

    EVERY = 0.25
    """Seconds between two of one step."""

    def __init__(self) -> None:
        self._pace, self._began, self._next = Pace(), 0.0, 0.0

    def of(self, event: Event, now: float) -> Event | None:
        """The event as it is kept; None where it comes too soon after the one before."""
        if event.kind == "step":
            self._pace, self._began, self._next = Pace(), now, now
        if event.kind != "progress":
            return event
        rate = self._pace.of(event, now)
        if now < self._next:
            return None
        self._next = now + self.EVERY
        return replace(event, text=progress_words(event, now - self._began, rate))
