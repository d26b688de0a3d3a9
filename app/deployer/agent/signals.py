"""Being asked to end, on the host and where the pages are served."""

from __future__ import annotations

import _thread
import signal
import threading


def set_by(event: threading.Event, *numbers: int) -> None:
    """Have signals set it; only from the main thread.

    In a thread of its own: that the signal interrupts may be about to wait for the event, with its
    lock held, and would wait for itself. Not by `threading`, which has locks of its own.
    """
    for number in numbers:
        signal.signal(number, lambda *_: _thread.start_new_thread(event.set, ()))
