"""`GET /openapi.json` and `GET /docs`: what this model takes, made anew only when it changes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from .bodies import Json, inferred
from .inputs import Reader
from .operations import Operations, error_shapes, headers, refusals
from .release import Release

HTML = b"text/html; charset=utf-8"
PAGE = Path(__file__).with_name("docs.html")
encode = msgspec.json.encode


class Documents:
    """The descriptions of one release. secured(): whether requests need a token now."""

    def __init__(self, release: Release, reader: Reader) -> None:
        self.release = release
        self.reader = reader
        self.secured: Callable[[], bool] = bool
        self._made: tuple[Any, bool, bytes] = (None, False, b"")
        self._page: tuple[bytes, bytes] | None = None

    def openapi(self) -> bytes:
        schema, secured = self.reader.schema, self.secured()
        if self._made[0] is not schema or self._made[1] is not secured:
            self._made = schema, secured, encode(document(self, secured))
        return self._made[2]

    def page(self) -> tuple[bytes, bytes]:
        """The page, and its headers: it may run its own script and talk to us, nothing else."""
        if self._page is None:
            html = PAGE.read_text(encoding="utf-8")
            script = html.partition("<script>")[2].partition("</script>")[0]
            digest = b64encode(sha256(script.encode()).digest()).decode()
            policy = (
                "default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; "
                f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
                "frame-ancestors 'none'"
            )
            headers = (
                f"Content-Security-Policy: {policy}\r\nX-Content-Type-Options: nosniff\r\n"
                "Referrer-Policy: no-referrer\r\n"
            )
            self._page = html.encode(), headers.encode()
        return self._page


def document(about: Documents, secured: bool) -> Json:
    """The whole OpenAPI 3.1 document."""
    release = about.release
    schemas = {f"{name}_error": shape for name, shape in error_shapes().items()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": release.model,
            "version": str(release.version),
            "description": f"Model {release.model}, version {release.version}, served by "
            "RhythmicML. JSON Schema cannot say that lists are equally long: where they must be, "
            "the shapes of one and two rows are written out; more rows go the same way, up to "
            f"{int(release.scoring.get('max_request_rows') or 10_000)} in a request. Bodies may "
            "be compressed (`Content-Encoding: gzip` or `deflate`); wherever GET is answered, "
            "HEAD is, too.",
        },
        "paths": Operations(release, about.reader).paths(),
        "security": [{"token": []}] if secured else [{}, {"token": []}],
        "components": {
            "schemas": {**schemas, "inferred": inferred()},
            "headers": headers(),
            "responses": refusals(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "x-schema": about.reader.schema.as_json(),
    }
