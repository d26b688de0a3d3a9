"""Who may ask at all: in front of Flask, so that no handler, route or cookie is reached before.

Everything on this machine can connect to a port of 127.0.0.1, and any web page can make a browser
do so. Hence: the exact Host, the secret of this run, and for changes a header that no other page
can send, from our own origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from app.views.keys import Keys

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/static/", "/bootstrap")
"""What is answered without the secret: files of the program, and the way to get the secret."""

CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
HEADERS = (
    ("Content-Security-Policy", CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
CSRF_HEADER = "X-RhythmicML-Csrf"


class Guard:
    """A WSGI application that asks another one only for those who may."""

    def __init__(self, application: Application, keys: Keys, port: int) -> None:
        self._application = application
        self._keys = keys
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"rhythmicml-{port}-{keys.nonce}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *self._headers(environ, headers)], *more)

        if refused := self._refusal(environ):
            status, words = refused
            body = words.encode()
            start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
            return [body]
        return self._application(environ, start)

    def _headers(self, environ: Environ, given: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        yield from HEADERS
        if not any(name.lower() == "cache-control" for name, _ in given):
            static = environ["PATH_INFO"].startswith("/static/")
            yield "Cache-Control", "no-cache" if static else "no-store"

    def _refusal(self, environ: Environ) -> tuple[str, str] | None:
        """The status and the words for a request that goes no further."""
        if environ.get("HTTP_HOST") not in self._hosts or not _is_path(environ):
            return "403 Forbidden", "This address is not RhythmicML's."
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith(OPEN) and method in SAFE:
            return None
        if _is_foreign(environ):
            return "403 Forbidden", "Another page asked for this."
        bearer = environ.get("HTTP_AUTHORIZATION", "").partition("Bearer ")[2]
        if path.startswith("/api/") and bearer:
            return None if self._keys.is_bearer(bearer) else self._unknown(bearer)
        session = _cookie(environ, self.cookie)
        if not self._keys.is_session(session):
            return self._unknown(session)
        if method not in SAFE and not self._is_own(environ):
            return "403 Forbidden", "A change has to come from one of RhythmicML's own pages."
        return None

    def _unknown(self, said: str) -> tuple[str, str]:
        if said and self._keys.guessed():
            return "429 Too Many Requests", "Too many wrong secrets. Wait a minute."
        return "401 Unauthorized", "Open RhythmicML's pages with: rhythmicml ui"

    def _is_own(self, environ: Environ) -> bool:
        """Whether a change comes from a page of ours: its header, and its origin."""
        token = environ.get("HTTP_" + CSRF_HEADER.upper().replace("-", "_"), "")
        origin = environ.get("HTTP_ORIGIN")
        own = origin == f"http://{environ['HTTP_HOST']}" or (
            origin is None and environ.get("HTTP_SEC_FETCH_SITE") == "same-origin"
        )
        return own and self._keys.is_csrf(token)


def _is_path(environ: Environ) -> bool:
    """Whether the request line named a path, not a whole URL of some host."""
    return str(environ.get("REQUEST_URI", environ["PATH_INFO"])).startswith("/")


def _is_foreign(environ: Environ) -> bool:
    """Whether a browser says that another page asks, other than by following a link."""
    site = environ.get("HTTP_SEC_FETCH_SITE", "none")
    link = environ["REQUEST_METHOD"] == "GET" and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"
    return site not in ("same-origin", "none") and not link


def _cookie(environ: Environ, name: str) -> str:
    try:
        found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""
