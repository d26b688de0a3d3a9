"""Asking a running front through its private socket."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import late


def dial(path: Path, timeout: float | None = None) -> socket.socket:
    """A connection to a unix socket, however long its path is."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(timeout)
    folder = -1
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        sock.connect(f"/proc/self/fd/{folder}/{path.name}" if _long(path) else str(path))
    except BaseException:
        sock.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return sock


def _long(path: Path) -> bool:
    return len(os.fsencode(path)) > 107


def ask(
    private: Path,
    method: str,
    route: str,
    body: bytes | None = None,
    timeout: float = 5.0,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One request; (status, body). Raises OSError when nobody answers there."""
    if headers is None:
        headers = {"Content-Type": "application/json"} if body is not None else {}
    return _exchange(dial(private, timeout), method, route, body, headers)


def _exchange(
    sock: socket.socket, method: str, route: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, bytes]:
    """One request over this connection, which ends with it."""
    from http.client import HTTPConnection, HTTPException  # a tenth of an agent's start

    connection = HTTPConnection("private", timeout=sock.gettimeout())
    connection.sock = sock
    try:
        connection.request(method, route, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


class Reply(NamedTuple):
    """An answer to `/score`. status: 0 when nobody answered; cause: what was said instead."""

    status: int
    value: Any
    cause: str
    seconds: float


def score(private: Path, body: bytes, within: float) -> Reply:
    """One request for predictions."""
    began = time.monotonic()
    try:
        status, said = ask(private, "POST", "/score", body, timeout=within)
    except OSError as error:
        return Reply(0, None, str(error), time.monotonic() - began)
    return reply(status, said, time.monotonic() - began)


def reply(status: int, said: bytes, seconds: float) -> Reply:
    """An answer as a value; one that is no JSON is known by its digest."""
    if status != 200:
        return Reply(status, None, _reason(said), seconds)
    try:
        return Reply(200, json.loads(said), "", seconds)
    except ValueError:
        return Reply(200, {"sha256": late.sha256(said).hexdigest()}, "", seconds)


def _reason(said: bytes) -> str:
    """What a refusal says, in one line."""
    try:
        error = json.loads(said)["error"]
        words = " ".join(str(error[key]) for key in ("what", "cause") if error.get(key))
    except (ValueError, KeyError, TypeError):
        words = said.decode("utf-8", "replace")
    return words[:500]


def state(private: Path) -> dict[str, Any] | None:
    """What the front says of itself; None when nobody answers."""
    try:
        status, body = ask(private, "GET", "/admin/state")
        answer = json.loads(body) if status == 200 else None
    except (OSError, ValueError):
        return None
    return answer if isinstance(answer, dict) else None


def serve(private: Path) -> bool:
    """Let it accept the public's connections."""
    try:
        return ask(private, "POST", "/admin/serve", b"")[0] == 200
    except OSError:
        return False


def rest(private: Path) -> bool:
    """Let it finish what it holds and accept no more, still running. Older ones cannot."""
    try:
        return ask(private, "POST", "/admin/rest", b"")[0] == 200
    except OSError:
        return False
