"""What is true of an instance after somebody was cut off, for who has to tell it."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .layout import CURRENT, Instance
from .locks import held, holder
from .loop import op
from .switching import settle_switch, unconfirmed

if TYPE_CHECKING:
    from .loop import Agent, Payload

LINES = 200


@op("settle")
def settle(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """End what those left half done who held the lock before us; then `truth`. args: name."""
    held(agent, args["name"])
    instance = Instance(agent.base, args["name"])
    settle_switch(agent, instance)
    sweep(instance)
    return _facts(instance)


def sweep(instance: Instance) -> None:
    """Remove what was being written when somebody was cut off: no release, no file is half."""
    kept = {_target(instance.tls), _target(instance.releases / CURRENT)}
    half = [
        each
        for each in instance.releases.glob("*")
        if each.name != CURRENT and not (each / "release.json").is_file()
    ]
    for path in (*instance.folder.glob(".*"), *instance.releases.glob(".*"), *half):
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _target(link: Path) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(link)
    return ""


@op("truth")
def truth(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """What the host knows of an instance, deployed or not. args: name."""
    return _facts(Instance(agent.base, args["name"]))


def _facts(instance: Instance) -> dict[str, Any]:
    return {
        "known": instance.facts_file.is_file(),
        "stopped": bool(instance.facts().get("stopped")),
        "port": instance.port(),
        "current": instance.current(),
        "versions": {str(each["id"]): each["version"] for each in instance.complete()},
        "history": instance.history(LINES),
        "holder": holder(instance.lock_file),
        "unconfirmed": unconfirmed(instance),
    }
