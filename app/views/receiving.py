"""Folders and archives that are dropped onto the Catalogue: taken in while they come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any
from urllib.parse import unquote

from flask import Blueprint, render_template, request
from werkzeug.exceptions import BadRequest
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from app import config
from app.errors import Problem
from app.services import received
from app.services.received import ARCHIVE, Incoming

CHUNK = 1 << 18
LONGEST_NAME = 1000


def blueprint() -> Blueprint:
    pages = Blueprint("receiving", __name__)

    @pages.post("/receive")
    def receive() -> Any:
        """A form of parts: `name`, then each `file` by its path inside, or one `archive`.

        The file names are percent-encoded, so that they may hold anything.
        """
        into = config.folders()
        with received.receiving(into) as incoming:
            if archive := _filled(incoming):
                incoming.unpack(incoming.staging / ARCHIVE, archive)
            done = received.keep(incoming, into)
        return render_template("add.html", folder=done.folder, received=done)

    return pages


def _filled(incoming: Incoming) -> str:
    """Write all that comes; the name of the archive, if that is what came."""
    archive = ""
    with ExitStack() as stack:
        file: IO[bytes] | None = None
        field = ""
        for event in _events():
            if isinstance(event, (Field, File)):
                stack.close()
                field, file = event.name, None
                name = unquote(event.filename) if isinstance(event, File) else ""
                if field == "file":
                    file = stack.enter_context(incoming.file(name))
                elif field == ARCHIVE and not archive:
                    archive = name
                    file = stack.enter_context((incoming.staging / ARCHIVE).open("xb"))
            elif isinstance(event, Data) and field == "name":
                incoming.name = (incoming.name + event.data.decode(errors="replace"))[:LONGEST_NAME]
            elif isinstance(event, Data):
                incoming.space.take(len(event.data))
                if file is not None:
                    file.write(event.data)
    return archive


def _events() -> Iterator[Event]:
    """The parts of the form as they come in."""
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != "multipart/form-data" or not boundary:
        raise Problem("This is no form with files.")
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), max_form_memory_size=1 << 20)
    try:
        while chunk := request.stream.read(CHUNK):
            decoder.receive_data(chunk)
            while not isinstance(event := decoder.next_event(), NeedData):
                yield event
        decoder.receive_data(None)
        while not isinstance(event := decoder.next_event(), NeedData):
            if isinstance(event, Epilogue):
                return
            yield event
    except (ValueError, BadRequest) as error:
        raise Problem("The form broke off, or is damaged.", remedy="Send it again.") from error
