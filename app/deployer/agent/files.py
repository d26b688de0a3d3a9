"""Small files of the host, written whole."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .blobs import full_disk_explained, sync_folder, write_all


def replace(
    path: Path, content: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Write `path` whole or not at all, and durably. owner: user and group, if not we."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    with full_disk_explained(path.parent, len(content)):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            write_all(fd, content)
            os.fchmod(fd, mode)
            if owner:
                os.fchown(fd, *owner)
            os.fsync(fd)
            os.rename(temporary, path)
        finally:
            os.close(fd)
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
    sync_folder(path.parent)
