"""Small files of the host: what is under the base folder, and our own unit files."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

from .blobs import chunks_of, full_disk_explained, sync_folder, write_all
from .failure import Failure
from .loop import Agent, Payload, Stream, op

UNITS = ("/etc/systemd/system", "/run/systemd/system", "~/.config/systemd/user")


@op("read")
def read(agent: Agent, args: dict[str, Any], payload: Payload) -> Stream:
    """The content of the file at `path`."""
    path = allowed(agent, args["path"])
    try:
        return Stream(path.stat().st_size, chunks_of(path))
    except OSError as error:
        raise Failure(f'"{path}" cannot be read on the host.', kind="NotFound") from error


@op("write")
def write(agent: Agent, args: dict[str, Any], payload: Payload) -> str:
    """Make the payload the content of `path`, with `mode`; the path as it is on the host."""
    path = allowed(agent, args["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, payload.whole(), args.get("mode", 0o644))
    return str(path)


def allowed(agent: Agent, wanted: str) -> Path:
    """`wanted`, when it is under the base folder or one of our unit files."""
    path = Path(os.path.normpath(agent.base / os.path.expanduser(wanted)))
    if agent.base in path.parents or is_unit(path):
        return path
    raise Failure(f'"{wanted}" is outside of what RhythmicML may touch on the host.')


def is_unit(path: Path) -> bool:
    folders = [Path(folder).expanduser() for folder in UNITS]
    return any(
        folder in path.parents and path.relative_to(folder).parts[0].startswith("rhythmicml-")
        for folder in folders
    )


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write `path` whole or not at all, and durably."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with full_disk_explained(path.parent, len(content)):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(fd, content)
            os.fchmod(fd, mode)
            os.fsync(fd)
            os.rename(temporary, path)
        finally:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    sync_folder(path.parent)
