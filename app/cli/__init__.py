"""The command line: reads arguments, calls one service, prints.

Every command takes --json (one JSON value on stdout and nothing else there) and exits with 0 when
done, 1 at a Problem, 2 at wrong usage. Nothing is asked when stdin is no terminal.
"""

from __future__ import annotations

import os
import sys
import threading

from app import portable
from app.cli.parts import root


def main() -> None:
    """Where the program begins; without arguments it opens the pages."""
    portable.speak_utf8()
    try:
        root(sys.argv[1:] or ["ui"], prog_name="rhythmicml")
    except SystemExit as end:
        if "webview" in sys.modules:
            _leave(end.code if isinstance(end.code, int) else 0)
        raise


def _leave(code: int) -> None:
    """End although the windows' library may have left a thread that waits for a page to answer: for
    ever, if the window was destroyed in the middle of that. What our jobs do is waited for."""
    from app import jobs

    for each in threading.enumerate():
        if each.daemon or each is threading.current_thread():
            continue
        each.join(None if each in jobs.unfinished() else 1)
        if each.is_alive():
            sys.stdout.flush()
            os._exit(code)
