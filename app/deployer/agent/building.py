"""How things of the base folder are built: by one at a time, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .failure import Failure
from .layout import make_folder
from .locks import open_lock
from .run import execute

if TYPE_CHECKING:
    from .loop import Agent

UNBUILT = (
    "The environment could not be built on this host.",
    "Read what uv says. Production is as it was.",
)
SETTINGS = {
    "UV_NO_PROGRESS": "1",
    # Hosts behind an inspecting proxy trust it through the system's certificates.
    "UV_SYSTEM_CERTS": "1",
}


def uv(
    agent: Agent, argv: list[str], environ: dict[str, str], failed: tuple[str, str] = UNBUILT
) -> None:
    """Run uv, passing on what it says; its last words are the detail when it fails.

    failed: what and remedy of the Failure then.
    """
    env = {**SETTINGS, **environ}
    done = execute(agent, argv, env=env, cwd="/", on_line=lambda _, line: agent.event(log=line))
    if done.code:
        detail = "\n".join(done.err.strip().splitlines()[-30:])
        raise Failure(failed[0], remedy=failed[1], detail=detail)


@contextmanager
def cleared(folder: Path) -> Iterator[None]:
    """An empty place to build in; whatever does not get finished leaves nothing on the disk."""
    shutil.rmtree(folder, ignore_errors=True)
    make_folder(folder.parent)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def sole(folder: Path) -> Iterator[None]:
    """One builder at a time; another waits and then finds it built."""
    make_folder(folder.parent)
    lock = open_lock(folder.parent / f".{folder.name}.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
