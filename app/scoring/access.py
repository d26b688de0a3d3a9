"""What is written down about requests: one JSON line each, and where they stand in a trace."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import datetime, timezone
from time import time
from typing import Any, NamedTuple

import msgspec

from .http import Request

FULL = 64 * 1024
MOST_ERRORS = 100  # lines between two flushes, when only errors are written
_traceparent = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch


class Trace(NamedTuple):
    """A request's place in a trace (W3C Trace Context). span: ours, under the caller's parent."""

    id: bytes
    parent: bytes
    span: bytes
    flags: bytes

    @property
    def header(self) -> bytes:
        """The `traceparent` for those we call, and for the answer."""
        return b"00-%b-%b-%b" % (self.id, self.span, self.flags)


def trace(traceparent: bytes) -> Trace | None:
    """The trace a caller is in, with a new span of ours; None when the header is not valid."""
    found = _traceparent(traceparent)
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    flags = b"%02x" % (int(found[4], 16) & 1)
    return Trace(found[2], found[3], os.urandom(8).hex().encode(), flags)


class AccessLog:
    """Writes of requests as `access_log` has it: all, errors or none.

    "errors" leaves out what is answered below 400, unknown addresses (404) and probes that find
    the model not ready; of a flood it writes some and says how many it left out.
    """

    def __init__(
        self,
        which: str,
        labels: dict[str, Any],
        write: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.which = which if which in ("all", "errors") else "none"
        self._labels = labels
        self._write = write or _to_stderr
        self._lines: list[bytes] = []
        self._size = 0
        self._left_out = 0
        self._second = 0
        self._clock = ""

    def note(self, request: Request, status: int, sent: int, seconds: float) -> None:
        """One request that has been answered."""
        if self.which == "none":
            return
        if self.which == "errors" and not self._is_error(request, status):
            return
        line = msgspec.json.encode(self._record(request, status, sent, seconds))
        self._lines.append(line)
        self._size += len(line)
        if self._size > FULL:
            self._put()

    def _is_error(self, request: Request, status: int) -> bool:
        if status < 400 or status == 404 or (status == 503 and request.endpoint == "probe"):
            return False
        if len(self._lines) < MOST_ERRORS:
            return True
        self._left_out += 1
        return False

    def _record(self, request: Request, status: int, sent: int, seconds: float) -> dict[str, Any]:
        said = {
            "time": self._now(),
            "request": request.id.decode(),
            **self._labels,
            "method": request.method.decode("ascii", "replace"),
            "endpoint": request.endpoint,
            "status": status,
            "seconds": round(seconds, 6),
            "received": request.received,
            "sent": sent,
            "peer": request.peer,
        }
        if request.trace is not None:
            said["trace"] = request.trace.id.decode()
            said["span"] = request.trace.span.decode()
        if request.token:
            said["token"] = request.token
        if request.job is not None:
            said.update(_of_job(request.job))
        return said

    def _now(self) -> str:
        """The time to the millisecond; most of its text is that of the line before."""
        now = time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._clock = datetime.fromtimestamp(second, timezone.utc).isoformat()[:19]
        return f"{self._clock}.{int((now - second) * 1000):03d}+00:00"

    def flush(self) -> None:
        """Write what has gathered. Called a few times a second, and at the end."""
        if self._left_out:
            self._lines.append(msgspec.json.encode({"left_out": self._left_out, **self._labels}))
            self._left_out = 0
        if self._lines:
            self._put()

    def _put(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        self._write(b"\n".join(lines) + b"\n")


def _of_job(job: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"rows": job.inputs.rows}
    if job.taken:
        said["queue_seconds"] = round(job.taken - job.queued, 6)
        said["predict_seconds"] = round(job.predicting, 6)
        said["batch_rows"] = job.batch_rows
    return said


def _to_stderr(text: bytes) -> None:
    """Write all of it. A log that cannot be written to must not end the service."""
    try:
        while text:
            text = text[os.write(2, text) :]
    except OSError:
        pass
