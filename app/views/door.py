"""Where windows and other programs of this user find the pages: on this machine only, for this
user only, one program for each store.

The door is there before what is behind it: who comes early waits until the pages are ready.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app import portable
from app.errors import Busy, Problem
from app.services import ui_token
from app.views.keys import Keys

PATIENCE = 15.0
"""Seconds in which a program that serves the store begins, or ends."""
LOOK_EVERY = 0.1


class Door:
    """A port of this machine, and what lets a window in."""

    def __init__(self, home: Path) -> None:
        self.keys = Keys(partial(ui_token.read, home))
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.listening.getsockname()[1]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def invitation(self, path: str = "/") -> str:
        """A URL that lets one window in to a path, once, within a minute."""
        to = f"&to={quote(path)}" if path != "/" else ""
        return f"{self.address}/bootstrap?code={self.keys.make_code()}{to}"


@contextmanager
def alone(home: Path, joined: Callable[[], bool] = lambda: True) -> Iterator[bool]:
    """Whether no other program serves this store; kept so while the block runs.

    joined: tries to have the other one do what was wanted. One that does not answer is just
    beginning, or ending: it is waited for. Raises Busy when it does neither.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = portable.opened(home / "ui.lock", os.O_RDWR | os.O_CREAT | portable.NO_LINK)
    except OSError as error:
        raise Problem(
            f'RhythmicML cannot write to its folder "{home}".',
            cause=error.strerror or str(error),
            remedy="Make it yours and writable, or point RHYTHMICML_HOME to another folder.",
        ) from error
    try:
        yield _first(fd, home, joined)
    finally:
        os.close(fd)


def _first(fd: int, home: Path, joined: Callable[[], bool]) -> bool:
    until = time.monotonic() + PATIENCE
    while not portable.locked(fd):
        if joined():
            return False
        if time.monotonic() > until:
            raise _silent(home)
        time.sleep(LOOK_EVERY)
    return True


def _silent(home: Path) -> Busy:
    """For who has a program serve the store that does not answer."""
    said = running(home)
    return Busy(
        "RhythmicML is open already, and does not answer.",
        remedy=f"End process {said['pid']}." if said else "Try again in a moment.",
    )


@contextmanager
def announced(home: Path, door: Door) -> Iterator[None]:
    """How other programs of this user find the door, while the block runs.

    With a full disk they do not, and all else goes on.
    """
    with contextlib.suppress(OSError):
        _announce(home, door)
    try:
        yield
    finally:
        (home / "ui.json").unlink(missing_ok=True)


def _announce(home: Path, door: Door) -> None:
    path = home / "ui.json"
    said = json.dumps({"url": door.address, "bearer": door.keys.bearer, "pid": os.getpid()})
    partial = path.with_name(f".ui.json.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | portable.NO_LINK
    with open(portable.opened(partial, flags), "w", encoding="utf-8") as file:
        file.write(said)
    partial.replace(path)


def running(home: Path) -> dict[str, Any] | None:
    """What the program said that serves this store; None when it said nothing (yet)."""
    try:
        said: dict[str, Any] = json.loads((home / "ui.json").read_bytes())
    except (OSError, ValueError):
        return None
    return said


def invited(
    said: dict[str, Any], *, raise_window: bool, status: bool = False
) -> dict[str, Any] | None:
    """An invitation from the program that serves: `url`, and whether its window is `raised`.

    status: to the status window. None when it does not answer.
    """
    import urllib.request  # late: who opens the door itself does without, and sooner

    request = urllib.request.Request(
        f"{said['url']}/api/v1/invitations",
        data=json.dumps({"raise_window": raise_window, "status": status}).encode(),
        method="POST",
        headers={
            "Authorization": f"Bearer {said['bearer']}",
            "Content-Type": "application/json",
        },
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (OSError, ValueError):
        return None


def open_at(home: Path) -> str | None:
    """The address of the program that serves this store; None when none answers."""
    said = running(home)
    return str(said["url"]) if said and invited(said, raise_window=False) else None
