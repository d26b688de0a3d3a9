"""What the pages ask of the window that they are in; nothing, where a browser shows them."""

from __future__ import annotations

import os
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app import config
from app.errors import NotFound, Problem
from app.services import received
from app.services.received import ARCHIVE, Received

if TYPE_CHECKING:
    from app.views.server import Server


def blueprint(server: Server) -> Blueprint:
    pages = Blueprint("desktop", __name__)

    @pages.post("/window/folder")
    def pick_folder() -> Any:
        """The Add dialogue's field, with the folder chosen in the desktop's own dialogue."""
        folder = server.window.pick_folder() if server.window else ""
        return render_template("folder_field.html", folder=folder or request.form["folder"])

    @pages.post("/window/dropped")
    def dropped() -> Any:
        """The Add dialogue with what was just dropped: a folder, which stays where it is, or an
        archive, which is unpacked."""
        paths = server.window.dropped() if server.window else []
        if len(paths) != 1:
            raise Problem("Drop one folder, or one archive.")
        path = Path(paths[0])
        if path.is_dir():
            return render_template("add.html", folder=path)
        done = _unpacked(path)
        return render_template("add.html", folder=done.folder, received=done)

    @pages.post("/window/save")
    def save() -> Any:
        """What the page has, as a file where the person wants it."""
        if not server.window:
            raise NotFound("There is no window of ours.")
        path = server.window.ask_where(Path(request.args["name"]).name)
        if not path:
            return "", 204
        try:
            Path(path).write_bytes(request.get_data())
        except OSError as error:
            raise Problem(f'"{path}" was not written.', cause=error.strerror or "") from error
        return {"saved": path}

    @pages.post("/window/status")
    def show_status() -> Any:
        """Open the status window, or bring it to the front."""
        shown = bool(server.window and server.window.raised(status=True))
        return ("", 204) if shown else ("", 404)

    @pages.post("/window/on-top")
    def on_top() -> Any:
        if server.window:
            server.window.status.keep_on_top(request.form.get("on") == "true")
        return "", 204

    @pages.post("/window/show")
    def show_page() -> Any:
        """A page in the large window; without one of ours, in the browser."""
        if server.window:
            server.window.show(request.form["path"])
        else:
            webbrowser.open(server.invitation(request.form["path"]))
        return "", 204

    return pages


def _unpacked(path: Path) -> Received:
    """What is in an archive of this machine. What unpacking writes beside it is beside a link."""
    if not (os.access(path, os.R_OK) and path.is_file()):
        raise Problem(f'"{path}" cannot be read.', remedy="Drop a folder or an archive of yours.")
    into = config.folders()
    with received.receiving(into) as incoming:
        link = incoming.staging / ARCHIVE
        link.symlink_to(path)
        incoming.unpack(link, path.name)
        return received.keep(incoming, into)
