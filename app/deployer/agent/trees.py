"""What was unpacked on the client's side, put together here from blobs: links, nothing is built.

A tree's listing is a blob itself: {"files": [[path, digest, size, executable, target], …]}.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .blobs import full_disk_explained
from .failure import Failure
from .files import replace
from .layout import blob, make_folder, put_files

if TYPE_CHECKING:
    from .loop import Agent


def put_tree(agent: Agent, listing: str, folder: Path) -> None:
    """The files of a tree, below a folder; on the disk for good on return."""
    files = json.loads(_blob(agent.base, listing).read_bytes())["files"]
    for path, digest, _size, _executable, target in files:
        if not target and not blob(agent.base, digest).exists():
            raise Failure(f'"{path}" was sent and is not here any more.', remedy="Deploy again.")
    with full_disk_explained(folder, sum(size for _, _, size, *_ in files)):
        put_files(agent.base, folder, files)


def _blob(base: Path, digest: str) -> Path:
    path = blob(base, digest)
    if not path.exists():
        raise Failure("The listing of what was sent is not here any more.", remedy="Deploy again.")
    return path


def put_environment(agent: Agent, listing: str, folder: Path, python: str, version: str) -> None:
    """A virtual environment made of a tree. version: major.minor of that Python.

    Like uv's own: its scripts find their Python beside them, wherever they are.
    """
    with full_disk_explained(folder, 0):
        make_folder(folder / "bin")
        make_folder(folder / "lib" / f"python{version}" / "site-packages")
        (folder / "lib64").symlink_to("lib")
        (folder / "bin/python").symlink_to(python)
        for name in ("python3", f"python{version}"):
            (folder / "bin" / name).symlink_to("python")
        settings = {
            "home": os.path.dirname(python),
            "implementation": "CPython",
            "version_info": version,
            "include-system-site-packages": "false",
            "relocatable": "true",
        }
        text = "".join(f"{key} = {value}\n" for key, value in settings.items())
        replace(folder / "pyvenv.cfg", text.encode())
    put_tree(agent, listing, folder)
