"""Who may ask: tokens with scopes, and peers that guess too often.

A token's text is known to its bearer only; we hold its SHA-256. See docs/serving/security.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from math import inf
from pathlib import Path
from time import monotonic, time
from typing import Any, NamedTuple

import msgspec

from .credentials import places
from .errors import Refusal
from .http import Connection, Site, target, too_many_connections

SCORE, ADMIN = "score", "admin"
BEARER = b"bearer "
MOST_TOKENS = 1000
MOST_FAILURES = int(os.environ.get("RHYTHMICML_MOST_FAILURES", "10"))
MINUTE = 60.0
MOST_PEERS = 4096


class Token(NamedTuple):
    """One token as its file has it, without its text. until: when it ends [s since 1970]."""

    name: str
    scope: str
    digest: bytes
    until: float = inf

    @property
    def lasts(self) -> bool:
        return time() < self.until


class Tokens:
    """The tokens that are valid now."""

    def __init__(self, tokens: tuple[Token, ...] = ()) -> None:
        self.replace(tokens)

    def replace(self, tokens: tuple[Token, ...]) -> None:
        """Have these, and no others, be valid from now on."""
        self._tokens = tokens
        self.edition = object()  # another one after each change

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, text: bytes) -> Token | None:
        """The token with this text. How long that takes tells nothing about those there are."""
        digest, found = sha256(text).digest(), None
        for token in self._tokens:
            if compare_digest(digest, token.digest):
                found = token
        return found if found is not None and found.lasts else None


def parse(text: bytes) -> tuple[Token, ...]:
    """The tokens of a `tokens.json`. Raises ValueError in words that quote none of it."""
    try:
        said = msgspec.json.decode(text)
        if type(said) is not dict or said["format"] != 1 or len(said["tokens"]) > MOST_TOKENS:
            raise ValueError
        return tuple(map(_token, said["tokens"]))
    except (ValueError, KeyError, TypeError, RecursionError, msgspec.DecodeError):
        raise ValueError("The tokens are not as they should be.") from None


def _token(said: Any) -> Token:
    name, scope, digest = said["name"], said["scope"], bytes.fromhex(said["sha256"])
    if type(name) is not str or scope not in (SCORE, ADMIN) or len(digest) != 32:
        raise ValueError
    until = said.get("until")
    ends = datetime.fromisoformat(until).timestamp() if until else inf
    return Token(name, scope, digest, ends)


def load(instance: Path, environment: Mapping[str, str] = os.environ) -> tuple[Token, ...]:
    """The tokens written for this instance; none without a file. Raises OSError, ValueError."""
    for folder in places(instance, environment):
        path = folder / "tokens.json"
        if path.exists():
            return parse(path.read_bytes())
    return ()


class Failures:
    """Wrong tokens of late, by the network they came from. Holds a bounded number of those."""

    def __init__(self, most: int = MOST_FAILURES, seconds: float = MINUTE) -> None:
        self.most = most
        self.seconds = seconds
        self._peers: dict[str, tuple[int, float]] = {}  # how many, since when; oldest first

    def add(self, network: str, now: float) -> float:
        """Count one; how many seconds to wait when there were too many, else 0."""
        count, since = self._peers.get(network, (0, now))
        if now - since >= self.seconds:
            self._peers.pop(network)
            count, since = 0, now
        self._peers[network] = (count + 1, since)
        if len(self._peers) > MOST_PEERS:
            self._peers.pop(next(iter(self._peers)))
        return since + self.seconds - now if count >= self.most else 0.0


class Guard:
    """Decides, once its headers are there, whether a request may be made.

    endpoint(path): its name in the routes. preflight(method, headers): whether it is a browser's
    question before a request, which never carries a token. required: whether nothing but probes
    and the page is answered while there are no tokens.
    """

    def __init__(
        self,
        site: Site,
        tokens: tuple[Token, ...],
        endpoint: Callable[[bytes], str],
        preflight: Callable[[bytes, Mapping[bytes, bytes]], bool],
        required: bool,
        patience: float = MINUTE,
    ) -> None:
        self.site = site
        self.tokens = Tokens()
        self.endpoint = endpoint
        self.preflight = preflight
        self.required = required
        self.failures = Failures(seconds=patience)
        site.admit = self.admit
        self.replace(tokens)

    def replace(self, tokens: tuple[Token, ...]) -> None:
        self.tokens.replace(tokens)
        self.site.guarded = self.required or bool(tokens)

    def admit(self, connection: Connection) -> Refusal | None:
        endpoint = self.endpoint(target(connection.url).partition(b"?")[0])
        if endpoint == "probe":
            return None
        if connection.crowded:
            return too_many_connections()
        if not self.site.guarded or endpoint == "page":
            return None
        headers = connection.headers
        value = headers.get(b"authorization")
        token = self._bearer(connection, value) if value is not None else None
        if token is not None:
            connection.token = token.name
            if endpoint == "metrics" and token.scope != ADMIN:
                return _too_small()
            return None
        if self.preflight(connection.parser.get_method(), headers):
            return None
        return self._refuse(connection, value)

    def _bearer(self, connection: Connection, value: bytes) -> Token | None:
        """Whose header this is. A connection that says the same again need not be hashed again."""
        known = connection.known
        edition = self.tokens.edition
        if known is not None and known[1] is edition and compare_digest(known[0], value):
            again: Token = known[2]
            return again if again.lasts else None
        if value[:7].lower() != BEARER:
            return None
        token = self.tokens.find(value[7:].strip())
        connection.known = (value, edition, token) if token is not None else None
        return token

    def _refuse(self, connection: Connection, value: bytes | None) -> Refusal:
        connection.token = ""
        if value is None:
            return _unauthorized("This address needs a token.")
        wait = self.failures.add(connection.network, monotonic())
        return _too_often(wait) if wait else _unauthorized("The token is not valid.")


def _unauthorized(what: str) -> Refusal:
    return Refusal(
        401,
        what,
        remedy="Send a valid one as `Authorization: Bearer …`.",
        reason="token",
        extra=b"WWW-Authenticate: Bearer\r\n",
    )


def _too_small() -> Refusal:
    return Refusal(
        403, "This needs a token of scope admin.", remedy="Use another token.", reason="scope"
    )


def _too_often(wait: float) -> Refusal:
    return Refusal(
        429,
        "Too many wrong tokens came from this address.",
        remedy="Wait, then send a valid one.",
        reason="token",
        extra=b"Retry-After: %d\r\n" % (int(wait) + 1),
    )
