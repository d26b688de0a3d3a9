"""A connection to the pages' server."""

from __future__ import annotations

from waitress.channel import HTTPChannel  # type: ignore[import-untyped]
from waitress.parser import HTTPRequestParser  # type: ignore[import-untyped]


class Channel(HTTPChannel):  # type: ignore[misc]
    """waitress's own, which would keep the body of a request that broke off, up to a gigabyte in a
    file without a name, until Python looks for garbage."""

    request: HTTPRequestParser | None

    def handle_close(self) -> None:
        super().handle_close()
        if self.request is not None:
            self.request.close()
            self.request = None
