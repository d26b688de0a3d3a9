"""Telling an address of alerts: one POST of JSON, which chats that take `text` understand too."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from urllib.parse import urlsplit

from app.errors import Problem
from app.services import trust
from app.services.message import Message

WITHIN = 5.0
"""Seconds until it must have answered."""
LONGEST = 2048


class _NoWay(urllib.request.HTTPRedirectHandler):
    """A redirect would lose the body; it is told as the answer that it is."""

    def redirect_request(self, *_: object) -> None:
        return None


def checked(url: str) -> str:
    """The address, if it can be one. Raises Problem."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST:
        raise Problem(
            "This is no address that a webhook can have.",
            remedy="Give one such as https://hooks.example.com/services/…",
        )
    return url


def shown(url: str) -> str:
    """Without what may be a secret: its path, its query, a password."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}/…"


def send(url: str, message: Message) -> None:
    """Raises Problem when it was not taken."""
    request = urllib.request.Request(
        url,
        data=json.dumps(message.body, ensure_ascii=False).encode("utf-8", "replace"),
        headers={"Content-Type": "application/json", "User-Agent": "RhythmicML"},
    )
    secure = urllib.request.HTTPSHandler(context=trust.context())
    try:
        with urllib.request.build_opener(_NoWay, secure).open(request, timeout=WITHIN) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        raise _refused(url, f"It answered {error.code}. {_body(error)}".strip()) from error
    except HTTPException as error:
        raise _refused(url, f"Its answer is no HTTP: {str(error).strip()[:200]}") from error
    except (OSError, ValueError) as error:
        raise _refused(url, str(getattr(error, "reason", error)) or type(error).__name__) from error


def _body(error: urllib.error.HTTPError) -> str:
    """What it says of the refusal; empty when it breaks off."""
    with error, suppress(OSError, HTTPException):
        return error.read(300).decode("utf-8", "replace").strip()
    return ""


def _refused(url: str, cause: str) -> Problem:
    return Problem(
        f"The webhook at {shown(url)} did not take it.",
        cause=cause,
        remedy="Look at its address: rhythmicml alerts webhook",
    )
