"""When a reading over its limit becomes an alert, and when that is over again. Pure.

It begins once readings were over the limit for a while, and ends once they were well below it for
a while: one that swings about its limit is one alert. Between the two marks nothing changes.
"""

from __future__ import annotations

from app.store.alerts import Run

CLEAR = 0.8
"""Of the limit; below it an alert may end."""
GAP = 300.0
"""Seconds without a reading, after which what was before says nothing of now."""


def follow(
    run: Run | None, share: float | None, now: float, hold: float, *, is_open: bool
) -> tuple[Run | None, bool]:
    """The run with one more reading, and whether it is enough for the alert to begin, or to end.

    share: of the limit; None: not known, which changes nothing. hold: seconds that a run must last.
    """
    if share is None:
        return run, False
    counts = share < CLEAR if is_open else share > 1
    if not counts:
        return None, False
    if run is None or run.is_over == is_open or not 0 <= now - run.at <= GAP:
        run = Run(not is_open, now, now)
    run = run._replace(at=now)
    return (None, True) if now - run.since >= hold else (run, False)
