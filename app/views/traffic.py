"""How many requests instances answered while the pages were open: a line of some minutes each."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

KEPT = 60
"""Samples of each instance."""
WIDTH, HEIGHT = 60.0, 16.0
LEAST = 1.0
"""Requests a second that fill the height at least, so that one request is no mountain."""


@dataclass(frozen=True)
class Traffic:
    """What is drawn. words: of the last rate. path: of an SVG, WIDTH × HEIGHT; empty with fewer
    than two rates."""

    words: str
    path: str
    minutes: int


class Meter:
    """The counter of one instance, read now and then."""

    def __init__(self) -> None:
        self._read: deque[tuple[float, int]] = deque(maxlen=KEPT)

    def read(self, moment: float, requests: int) -> None:
        """requests: since the instance's start, so fewer than before after another start."""
        if not self._read or moment > self._read[-1][0]:
            self._read.append((moment, requests))

    def rates(self) -> list[float]:
        """Requests a second between two readings each, oldest first."""
        pairs = zip(self._read, list(self._read)[1:])  # noqa: B905, one fewer is meant
        return [max(n - m if n >= m else n, 0) / (b - a) for (a, m), (b, n) in pairs]

    def traffic(self) -> Traffic | None:
        """None until it was read twice."""
        rates = self.rates()
        if not rates:
            return None
        minutes = round((self._read[-1][0] - self._read[0][0]) / 60)
        return Traffic(words_of(rates[-1]), path_of(rates), max(1, minutes))


def words_of(rate: float) -> str:
    """84 req/s, 1.2 k req/s."""
    if rate >= 1000:
        return f"{rate / 1000:.1f} k req/s"
    return f"{rate:.0f} req/s" if rate >= 10 or rate == 0 else f"{rate:.1f} req/s"


def path_of(rates: list[float]) -> str:
    """A line through them from left to right; empty where there is none to draw."""
    if len(rates) < 2:
        return ""
    most = max(*rates, LEAST)
    step = WIDTH / (len(rates) - 1)
    points = [
        f"{n * step:.1f} {HEIGHT - 1 - rate / most * (HEIGHT - 2):.1f}"
        for n, rate in enumerate(rates)
    ]
    return "M" + " L".join(points)
