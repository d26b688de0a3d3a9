"""The log of an instance, live: its last lines, then what comes, as far as it is wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, render_template, request, stream_with_context
from markupsafe import escape

from app.errors import Busy, Problem
from app.services import logs

if TYPE_CHECKING:
    from app.views.feed import Feed
    from app.workspace import Workspace

LINES = 200
AT_ONCE = 8
"""Logs that are followed, of all windows: each holds a thread of the server and a way to a host."""
TOGETHER = 0.1
"""Seconds of lines in one piece, so that a flood is not a thousand pieces."""
MOST = 500
"""Lines of a piece; of more, the last."""
LEVELS = {"": "All", "warning": "Warnings and errors", "error": "Errors"}
END = "event: over\ndata:\n\n"


def blueprint(work: Workspace, feed: Feed) -> Blueprint:
    pages = Blueprint("logs", __name__)
    places = threading.BoundedSemaphore(AT_ONCE)

    @pages.get("/models/<name>/logs")
    def log(name: str) -> Any:
        wanted = _wanted()
        found = logs.last(work, name, lines=LINES, **wanted)
        shown = {**wanted, "place": wanted["to"]}
        return render_template("logs.html", name=name, found=found, levels=LEVELS, **shown)

    @pages.get("/models/<name>/logs/stream")
    def stream(name: str) -> Response:
        if not places.acquire(blocking=False):
            raise Busy(f"{AT_ONCE} logs are followed already.", remedy="Close one of them.")
        hung_up = request.environ["waitress.client_disconnected"]
        lines = logs.tail(work, name, lines=LINES, follow=True, **_wanted())
        answer = Response(
            stream_with_context(_pieces(lines, lambda: feed.ended or hung_up())),
            mimetype="text/event-stream",
        )
        answer.call_on_close(places.release)
        return answer

    return pages


def _wanted() -> dict[str, Any]:
    level = request.args.get("level", "")
    return {
        "to": request.args.get("on") or None,
        "grep": request.args.get("grep", "")[:200],
        "level": level if level in LEVELS else "",
    }


def _pieces(lines: Iterator[str | None], gone: Callable[[], bool]) -> Iterator[str]:
    """Server-sent events: `whole`, which begins anew, then `lines`."""
    kind, held, began = "whole", list[str](), time.monotonic()
    try:
        for line in lines:
            if gone():
                return
            if line is not None:
                held = [*held[-MOST:], line]
            if line is None or time.monotonic() - began > TOGETHER:
                yield _event(kind, held) if held or kind == "whole" else ": alive\n\n"
                kind, held, began = "lines", [], time.monotonic()
        yield END
    except Problem as problem:
        yield _event("lines", [*held, f"{problem.what} {problem.cause}".strip()]) + END
    finally:
        lines.close()  # type: ignore[attr-defined]


def _event(kind: str, lines: list[str]) -> str:
    """A line each, as text; one of the stream may hold no line break."""
    data = "\n".join(f"data: <span>{escape(line)}</span>" for line in lines)
    return f"event: {kind}\n{data or 'data:'}\n\n"
