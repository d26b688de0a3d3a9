"""The items of one request on their way out: as events, as lines, or gathered into one answer."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from . import outputs as results
from .compression import ZERO
from .errors import Refusal, bad_input, stream_too_large
from .http import JSON, Request
from .outputs import Outputs

if TYPE_CHECKING:
    from .protocols import Answer

EVENTS = b"text/event-stream"
LINES = b"application/x-ndjson"
ENDED = object()
"""The result of a stream whose last item has come."""

encode = msgspec.json.encode


def wanted(request: Request) -> bytes | None:
    """The content type of the stream that a request's Accept asks for, if it does."""
    accepted = request.headers.get(b"accept")
    if accepted is None or accepted == b"*/*":
        return None
    for part in accepted.split(b","):
        kind, _, weight = part.lower().replace(b" ", b"").partition(b";")
        if kind in (EVENTS, LINES) and not ZERO(weight):
            return kind
    return None


class Stream:
    """One request's items.

    kind: EVENTS, LINES, or None to gather them. write: writes one item as the protocol's answer,
    where a stream of that protocol consists of whole answers. error: the body of an error there.
    most: bytes that may be gathered.
    """

    __slots__ = (
        "_error",
        "_gathered",
        "_most",
        "_size",
        "_write",
        "count",
        "extra",
        "kind",
        "opened",
        "request",
        "sent",
    )

    def __init__(
        self,
        request: Request,
        kind: bytes | None,
        error: Callable[[Refusal], bytes],
        most: int,
        write: Callable[[Outputs], Any] | None = None,
    ) -> None:
        self.request = request
        self.kind = kind
        self.extra = b""  # headers of the answer
        self.count = 0
        self.sent = 0
        self.opened = False
        self._error = error
        self._write = write
        self._most = most
        self._gathered: list[bytes] = []
        self._size = 0

    @property
    def blocked(self) -> bool:
        """Whether the reader has yet to take what was written."""
        return self.kind is not None and self.request.blocked

    def take(self, header: dict[str, Any], payload: bytes) -> None:
        """One item as it came from the worker. Raises a Refusal when it cannot be given."""
        self.count += 1
        if self.kind is None:
            self._gather(_text(header, payload))
        elif self._write is not None:
            self._send(_body(self._write(results.read(header, payload))))
        else:
            self._send(_text(header, payload))

    def answered(self, result: Any) -> bool:
        """Whether this ends the request's answer as a stream; else it is to be answered as one."""
        if self.kind is None or (isinstance(result, Refusal) and not self.opened):
            return False
        if isinstance(result, Refusal):
            self._fail(result)
            return True
        if result is not ENDED:
            self._send(self._only(result))
        self._finish()
        return True

    def whole(self, result: Any) -> Any:
        """The gathered items as one result, when it was a stream that ended."""
        if result is not ENDED:
            return result
        return results.read({"kind": "json"}, b"[" + b",".join(self._gathered) + b"]")

    def _only(self, outputs: Outputs) -> bytes:
        """The answer of a model that does not stream, as an item."""
        self.count += 1
        if self._write is not None:
            return _body(self._write(outputs))
        return _base64(outputs.values) if outputs.kind == "bytes" else outputs.json()

    def _gather(self, text: bytes) -> None:
        self._size += len(text) + 1
        if self._size > self._most:
            self._gathered = []
            raise stream_too_large(self._most)
        self._gathered.append(text)

    def _open(self) -> None:
        if not self.opened:
            self.opened = True
            self.request.open(200, self.kind or EVENTS, self.extra)

    def _send(self, text: bytes) -> None:
        self._open()
        self.sent += len(text)
        self.request.write((b"data: %b\n\n" if self.kind == EVENTS else b"%b\n") % text)

    def _finish(self) -> None:
        self._open()
        if self.kind == EVENTS:
            self.request.write(b"event: end\ndata: {}\n\n")
        self.request.close_stream()

    def _fail(self, refusal: Refusal) -> None:
        text = self._error(refusal)
        if self.kind == EVENTS:
            self.request.write(b"event: error\ndata: %b\n\n" % text)
        else:
            named = text.startswith(b'{"error":')
            self.request.write(b"%b\n" % (text if named else b'{"error":%b}' % text))
        self.request.close_stream(whole=False)


def _text(header: dict[str, Any], payload: bytes) -> bytes:
    """An item as JSON on one line."""
    if header["kind"] == "json":
        return payload
    return _base64(payload) if header["kind"] == "bytes" else results.read(header, payload).json()


def _base64(value: bytes) -> bytes:
    return b'"%b"' % b64encode(value)


def _body(answer: Answer) -> bytes:
    """The JSON that a protocol wrote."""
    if answer.kind != JSON:
        raise bad_input("The items of a stream cannot be binary.", "Ask for outputs in JSON.")
    return answer.body
