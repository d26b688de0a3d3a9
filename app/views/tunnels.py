"""Tunnels that were opened in the pages: they stay until they are closed, or the program ends."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.services import instances

if TYPE_CHECKING:
    from app.services.instances import Tunnel
    from app.views.feed import Feed
    from app.workspace import Workspace

Place = tuple[str, str]
"""A model, and the location of its instance."""


class Tunnels:
    """Those that are open, one for each instance at most."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._open: dict[Place, tuple[Tunnel, ExitStack]] = {}
        self._mutex = threading.Lock()

    def url(self, model: str, location: str) -> str | None:
        """Where an instance is reached here; None where no tunnel leads to it (any more)."""
        with self._mutex:
            tunnel, _ = self._open.get((model, location), (None, None))
        return tunnel.url if tunnel and tunnel.lives() else None

    def open(self, work: Workspace, model: str, location: str) -> str:
        """The address of its tunnel, which is made if there is none."""
        if url := self.url(model, location):
            return url
        self.close(model, location)
        stack = ExitStack()
        tunnel = stack.enter_context(instances.tunnel(work, model, to=location))
        with self._mutex:
            one_more = (model, location) in self._open
            kept, _ = self._open.setdefault((model, location), (tunnel, stack))
        if one_more:  # another window was faster
            stack.close()
        self._feed.say("instances")
        return kept.url

    def close(self, model: str, location: str) -> None:
        with self._mutex:
            _, stack = self._open.pop((model, location), (None, None))
        if stack:
            stack.close()
            self._feed.say("instances")

    def end(self) -> None:
        """Close them all."""
        for place in list(self._open):
            self.close(*place)


def blueprint(work: Workspace, tunnels: Tunnels) -> Blueprint:
    pages = Blueprint("tunnels", __name__)

    @pages.app_context_processor
    def shared() -> dict[str, Any]:
        return {"tunnel_of": tunnels.url}

    @pages.post("/models/<name>/tunnel")
    def open_one(name: str) -> Any:
        place = request.form["on"]
        url = tunnels.open(work, name, place)
        return render_template("tunnel.html", name=name, place=place, url=url)

    @pages.post("/models/<name>/tunnel/close")
    def close_one(name: str) -> Any:
        tunnels.close(name, request.form["on"])
        return render_template("tunnel.html", name=name, place=request.form["on"], url=None)

    return pages
