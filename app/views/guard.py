"""Who may ask at all: in front of Flask, so that no handler, route or cookie is reached before.

Everything on this machine can connect to a port of 127.0.0.1, and any web page can make a browser
do so. Hence: the exact Host, the secret of this run, and for changes a header that no other page
can send, from our own origin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from app.desktop.agent import WINDOW
from app.errors import Problem
from app.views import peers
from app.views.keys import Keys

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/static/", "/bootstrap")
"""What is answered without the secret: files of the program, and the way to get the secret."""

API = "/api/v1/"
"""What programs ask, by a token in place of the cookie (app/views/api)."""

UNKNOWN = "Open RhythmicML's pages with: rhythmicml ui; the token of scripts: rhythmicml ui-token"

CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'"
)
HEADERS = (
    ("Content-Security-Policy", CSP),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
ALONE = ("Cross-Origin-Opener-Policy", "same-origin")
"""Not for our own window, in which nothing else is ever open: WebKit would start a second process
to show the page in, which takes a sixth of a second."""
CSRF_HEADER = "X-RhythmicML-Csrf"


class Guard:
    """A WSGI application that asks another one only for those who may."""

    def __init__(self, application: Application, keys: Keys, port: int) -> None:
        self._application = application
        self._keys = keys
        self._port = port
        self._hosts = (f"127.0.0.1:{port}", f"localhost:{port}")
        self.cookie = f"rhythmicml-{port}-{keys.nonce}"

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            return start_response(status, [*headers, *self._headers(environ, headers)], *more)

        if refused := self._refusal(environ):
            status, words = refused
            kind, body = _said(environ, words)
            length = ("Content-Length", str(len(body)))
            asks = [("WWW-Authenticate", "Bearer")] if status.startswith("401") else []
            start(status, [("Content-Type", kind), length, *asks])
            return [body]
        return self._application(environ, start)

    def _headers(self, environ: Environ, given: list[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        yield from HEADERS
        if environ.get("HTTP_USER_AGENT") != WINDOW:
            yield ALONE
        if not any(name.lower() == "cache-control" for name, _ in given):
            static = environ["PATH_INFO"].startswith("/static/")
            yield "Cache-Control", "no-cache" if static else "no-store"

    def _refusal(self, environ: Environ) -> tuple[str, str] | None:
        """The status and the words for a request that goes no further."""
        if environ.get("HTTP_HOST") not in self._hosts or not _is_path(environ):
            return "403 Forbidden", "This address is not RhythmicML's."
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path == "/bootstrap" and not self._may_come_in(environ):
            return "403 Forbidden", "This address is for another user of this machine."
        if path.startswith(OPEN) and method in SAFE:
            return None
        if _is_foreign(environ):
            return "403 Forbidden", "Another page asked for this."
        if path.startswith(API) and "HTTP_AUTHORIZATION" in environ:
            return self._refusal_of_program(environ)
        session = _cookie(environ, self.cookie)
        if not self._keys.is_session(session):
            return self._unknown(session)
        if method not in SAFE and not self._is_own(environ):
            return "403 Forbidden", "A change has to come from one of RhythmicML's own pages."
        return None

    def _may_come_in(self, environ: Environ) -> bool:
        address, port = environ["REMOTE_ADDR"], environ.get("REMOTE_PORT")
        return not port or peers.may_come_in(address, port, self._port)

    def _refusal_of_program(self, environ: Environ) -> tuple[str, str] | None:
        """For who shows a token instead of the cookie: a program, or a page of ours."""
        if environ.get("HTTP_ORIGIN", own := f"http://{environ['HTTP_HOST']}") != own:
            return "403 Forbidden", "Another page asked for this."
        scheme, _, bearer = environ["HTTP_AUTHORIZATION"].partition(" ")
        known = scheme.lower() == "bearer" and self._keys.is_bearer(bearer.strip())
        return None if known else self._unknown(bearer)

    def _unknown(self, said: str) -> tuple[str, str]:
        if said and self._keys.guessed():
            return "429 Too Many Requests", "Too many wrong secrets. Wait a minute."
        return "401 Unauthorized", UNKNOWN

    def _is_own(self, environ: Environ) -> bool:
        """Whether a change comes from a page of ours: its header, and its origin."""
        token = environ.get("HTTP_" + CSRF_HEADER.upper().replace("-", "_"), "")
        origin = environ.get("HTTP_ORIGIN")
        own = origin == f"http://{environ['HTTP_HOST']}" or (
            origin is None and environ.get("HTTP_SEC_FETCH_SITE") == "same-origin"
        )
        return own and self._keys.is_csrf(token)


def _said(environ: Environ, words: str) -> tuple[str, bytes]:
    """Content type and body: a program is told as a Problem, like all else it is told."""
    if not environ["PATH_INFO"].startswith(API):
        return "text/plain", words.encode()
    return "application/json", json.dumps({"error": Problem(words).as_dict()}).encode()


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
