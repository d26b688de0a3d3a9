"""Pages of other origins that may call us from a browser. None may unless they are listed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

METHODS = b"GET, HEAD, POST, DELETE, OPTIONS"
ASKS = (
    b"Authorization, Content-Type, Content-Encoding, X-Request-Id, Prefer, traceparent, "
    b"Inference-Header-Content-Length"
)
SHOWS = (
    b"X-Request-Id, X-Model-Version, X-Release, X-Ignored-Columns, Retry-After, Location, "
    b"traceparent, Inference-Header-Content-Length"
)
MAX_AGE = 600


class Cors:
    """The origins that are allowed, "*" for all, and the headers which say so."""

    def __init__(self, origins: Iterable[str]) -> None:
        self.origins = frozenset(origin.rstrip("/").encode() for origin in origins)
        self.all = b"*" in self.origins

    @property
    def fixed(self) -> bytes:
        """What every answer says: caches must tell origins apart."""
        return b"Vary: Origin\r\n" if self.origins and not self.all else b""

    def headers(self, origin: bytes) -> bytes:
        """Of an answer to a page of this origin."""
        allowed = self._allowed(origin)
        if not allowed:
            return b""
        return b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: %b\r\n" % (
            allowed,
            SHOWS,
        )

    def preflight(self, method: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Whether this is a browser asking if a page of an allowed origin may go on."""
        return (
            method == b"OPTIONS"
            and b"access-control-request-method" in headers
            and bool(self._allowed(headers.get(b"origin", b"")))
        )

    def permission(self) -> bytes:
        """What a preflight is answered, beside `headers`."""
        return (
            b"Access-Control-Allow-Methods: %b\r\nAccess-Control-Allow-Headers: %b\r\n"
            b"Access-Control-Max-Age: %d\r\n" % (METHODS, ASKS, MAX_AGE)
        )

    def _allowed(self, origin: bytes) -> bytes:
        if self.all and origin:
            return b"*"
        return origin if origin in self.origins else b""
