"""What lets a window in: a secret for each run of the program, and one-time codes to get at it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable

CODE_FOR = 60.0
"""Seconds that a one-time code is good for."""
GUESSES = 30
"""Wrong secrets a minute before no more are looked at."""


class Keys:
    """The secrets of one run. None of them is ever in a URL, a log or the store.

    token: gives the one that scripts have, which outlives the run; empty when there is none.
    """

    def __init__(self, token: Callable[[], str] = str) -> None:
        self._token = token
        self.session = secrets.token_urlsafe(32)
        self.bearer = secrets.token_urlsafe(32)
        self.csrf = hmac.new(self.session.encode(), b"csrf", hashlib.sha256).hexdigest()
        self.nonce = secrets.token_hex(4)
        self._codes: dict[str, float] = {}
        self._wrong: deque[float] = deque(maxlen=GUESSES)
        self._mutex = threading.Lock()

    def make_code(self) -> str:
        """A code that is taken once, within a minute."""
        code = secrets.token_urlsafe(32)
        with self._mutex:
            self._codes[code] = time.monotonic() + CODE_FOR
        return code

    def take_code(self, code: str) -> bool:
        """Whether the code was good; it no longer is."""
        now = time.monotonic()
        with self._mutex:
            self._codes = {each: until for each, until in self._codes.items() if until > now}
            return self._codes.pop(code, None) is not None

    def is_session(self, said: str) -> bool:
        return self._same(said, self.session)

    def is_bearer(self, said: str) -> bool:
        """Whether another program of this user asks: by the secret of this run, or by the token."""
        return self._same(said, self.bearer) or self._same(said, self._token() or self.bearer)

    def is_csrf(self, said: str) -> bool:
        return self._same(said, self.csrf)

    def guessed(self) -> bool:
        """Note a wrong secret; whether there were too many of them."""
        now = time.monotonic()
        with self._mutex:
            self._wrong.append(now)
            return len(self._wrong) == GUESSES and now - self._wrong[0] < 60

    @staticmethod
    def _same(said: str, known: str) -> bool:
        return hmac.compare_digest(said.encode(), known.encode())
