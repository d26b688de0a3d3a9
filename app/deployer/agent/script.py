"""`rhythmicml-host`: one file in the base folder that does the most needful when no client is left.

It is this package as a program that Python can run (a zip archive behind a first line), so whoever
logs in to the host does what the client would: the same operations, lock and history.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from .files import replace

if TYPE_CHECKING:
    from .loop import Agent

NAME = "rhythmicml-host"
MAIN = "from {package}.byhand import main\n\nmain({mode!r})\n"
EPOCH = (1980, 1, 1, 0, 0, 0)


def install(agent: Agent) -> None:
    """Put it there, or renew it."""
    path, content = agent.base / NAME, program(agent.mode)
    if not (path.is_file() and path.read_bytes() == content):
        replace(path, content, 0o755)


def program(mode: str) -> bytes:
    """The file: the same modules and mode give the same bytes."""
    import zipfile

    held = io.BytesIO()
    held.write(f"#!{sys.executable or '/usr/bin/env python3'}\n".encode())
    with zipfile.ZipFile(held, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, source in sorted(_sources().items()):
            file = name.partition(".")[2] or "__init__"
            archive.writestr(zipfile.ZipInfo(f"{__package__}/{file}.py", EPOCH), source)
        main = MAIN.format(package=__package__, mode=mode)
        archive.writestr(zipfile.ZipInfo("__main__.py", EPOCH), main)
    return held.getvalue()


def _sources() -> dict[str, str]:
    """Our modules as they were sent (start.py), by name."""
    loader: Any = getattr(sys.modules[str(__package__)].__spec__, "loader", None)
    sources: dict[str, str] = loader.get_source.__globals__["sources"]()
    return sources
