"""The server behind the windows: on this machine only, for this user only, one for each store."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from app.errors import Problem
from app.services import ui_token
from app.views.feed import Feed
from app.views.guard import Guard
from app.views.keys import Keys
from app.views.live import Live
from app.views.tunnels import Tunnels

if TYPE_CHECKING:
    from app.window import Window
    from app.workspace import Workspace

THREADS = 32
"""Each window's stream of news holds one."""


def ready() -> None:
    """Import what the pages need: the longest part of a start."""
    import waitress  # type: ignore[import-untyped] # noqa: F401

    from app.views import pages  # noqa: F401


class Server:
    """The pages, served from a port of this machine until `close`."""

    def __init__(self, work: Workspace) -> None:
        from waitress import create_server

        from app.views.pages import create_app

        self.keys = Keys(partial(ui_token.read, work.home))
        self.window: Window | None = None  # when the program has one of its own
        self.feed = Feed(work)
        self.live = Live(work, self.feed)
        self.tunnels = Tunnels(self.feed)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        application = create_app(work, self)
        self.application = application
        self._guard = Guard(application.wsgi_app, self.keys, self.port)
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            self._guard,
            map=self._sockets,
            sockets=[self._listening],
            threads=THREADS,
            channel_request_lookahead=1,  # it goes on reading, so it hears of windows that close
            ident=None,
            max_request_body_size=1 << 30,
            clear_untrusted_proxy_headers=True,
        )
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=task, daemon=True)
            for task in (self._serve, self.feed.watch, self.live.watch)
        ]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def cookie(self) -> str:
        return self._guard.cookie

    def invitation(self, path: str = "/") -> str:
        """A URL that lets one window in to a path, once, within a minute."""
        to = f"&to={quote(path)}" if path != "/" else ""
        return f"{self.address}/bootstrap?code={self.keys.make_code()}{to}"

    def start(self) -> None:
        """Serve, in threads that end with the program."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the streams, answer what was asked, then let go of the port."""
        self._ending.set()
        self.feed.end()
        self.live.end()
        self.tunnels.end()
        self._server.pull_trigger()
        for thread in self._threads:
            thread.join(5)
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=5)
        self._server.asyncore.close_all(self._sockets)
        self._listening.close()
        for handler in self.application.logger.handlers:
            handler.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            self._server.asyncore.loop(timeout=1.0, map=self._sockets, use_poll=True, count=1)


@contextmanager
def alone(home: Path) -> Iterator[bool]:
    """Whether no other program serves this store; kept so while the block runs."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(home / "ui.lock", flags, 0o600)
    except OSError as error:
        raise Problem(
            f'RhythmicML cannot write to its folder "{home}".',
            cause=error.strerror or str(error),
            remedy="Make it yours and writable, or point RHYTHMICML_HOME to another folder.",
        ) from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


@contextmanager
def announced(home: Path, server: Server) -> Iterator[None]:
    """How other programs of this user find the server, while it runs.

    With a full disk they do not, and all else goes on.
    """
    with contextlib.suppress(OSError):
        _announce(home, server)
    try:
        yield
    finally:
        (home / "ui.json").unlink(missing_ok=True)


def _announce(home: Path, server: Server) -> None:
    path = home / "ui.json"
    said = json.dumps({"url": server.address, "bearer": server.keys.bearer, "pid": os.getpid()})
    partial = path.with_name(f".ui.json.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
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
