"""The server behind the windows."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from app.views.door import Door
from app.views.feed import Feed
from app.views.guard import Guard
from app.views.live import Live
from app.views.tunnels import Tunnels

if TYPE_CHECKING:
    from app.window import Window
    from app.workspace import Workspace

THREADS = 32
"""Each window's stream of news holds one."""


class Server:
    """The pages, served behind a door until `close`. window: the program's own, if it has one."""

    def __init__(
        self, work: Workspace, door: Door | None = None, window: Window | None = None
    ) -> None:
        from waitress import create_server  # type: ignore[import-untyped]

        from app.views.channel import Channel
        from app.views.pages import create_app

        self.door = door or Door(work.home)
        self.keys = self.door.keys
        self.window = window
        self.feed = Feed(work)
        self.live = Live(work, self.feed)
        self.tunnels = Tunnels(self.feed)
        application = create_app(work, self)
        self.application = application
        self._guard = Guard(application.wsgi_app, self.keys, self.door.port)
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            self._guard,
            map=self._sockets,
            sockets=[self.door.listening],
            threads=THREADS,
            channel_request_lookahead=1,  # it goes on reading, so it hears of windows that close
            ident=None,
            max_request_body_size=1 << 30,
            clear_untrusted_proxy_headers=True,
        )
        self._server.channel_class = Channel
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=task, daemon=True)
            for task in (self._serve, self.feed.watch, self.live.watch)
        ]

    @property
    def port(self) -> int:
        return self.door.port

    @property
    def address(self) -> str:
        return self.door.address

    @property
    def cookie(self) -> str:
        return self._guard.cookie

    def invitation(self, path: str = "/") -> str:
        return self.door.invitation(path)

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
        self.door.listening.close()
        for handler in self.application.logger.handlers:
            handler.close()

    def _serve(self) -> None:
        while not self._ending.is_set():
            self._server.asyncore.loop(timeout=1.0, map=self._sockets, use_poll=True, count=1)
