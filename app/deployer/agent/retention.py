"""Which releases stay on a host: what was production last, what is now, what was pinned."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .files import replace
from .layout import Instance, read_json
from .loop import op

if TYPE_CHECKING:
    from .loop import Agent, Payload

SWITCHES = ("deploy", "switch", "rollback", "start")
"""What makes a release production; it says which in the history."""


def rollback_target(
    history: Iterable[dict[str, Any]], releases: Iterable[dict[str, Any]], current: str | None
) -> str | None:
    """The release that was production before the current one; None when there is none here.

    Deployments and switches stack up, a rollback takes one off: rolling back twice goes back two.
    """
    stack: list[str] = []
    for entry in history:
        release = entry.get("release")
        if entry.get("action") in ("deploy", "switch") and release and release not in stack[-1:]:
            stack.append(release)
        elif entry.get("action") == "rollback" and len(stack) > 1:
            stack.pop()
    here = {each["id"] for each in releases}
    below = [each for each in stack[:-1] if each in here and each != current]
    return below[-1] if below else None


def good(
    history: Iterable[dict[str, Any]], releases: Iterable[dict[str, Any]], count: int
) -> list[str]:
    """The last `count` releases that were production and are still here, newest first."""
    here = {str(each["id"]) for each in releases}
    productions = [entry.get("release") for entry in history]
    newest = dict.fromkeys(each for each in reversed(productions) if each in here)
    return [str(each) for each in newest][:count]


def switches(instance: Instance, last: int = 2000) -> list[dict[str, Any]]:
    """The lines of the history that say what became production, oldest first."""
    found = [each for each in instance.history(1_000_000) if each.get("action") in SWITCHES]
    return [each for each in found if each.get("release")][-last:]


def pinned(instance: Instance) -> list[str]:
    """The releases that stay until they are unpinned."""
    kept = (read_json(instance.folder / "pins.json") or {}).get("releases", [])
    return [str(each) for each in kept]


@op("pin")
def pin(agent: Agent, args: dict[str, Any], payload: Payload) -> list[str]:
    """Have releases stay, or no longer. args: name, releases (ids), stay, entry (history).

    Returns all that are pinned now.
    """
    instance = Instance(agent.base, args["name"])
    before, chosen = set(pinned(instance)), set(args["releases"])
    after = sorted(before | chosen if args["stay"] else before - chosen)
    if after != sorted(before):
        replace(instance.folder / "pins.json", json.dumps({"releases": after}).encode() + b"\n")
        instance.remember(**args["entry"])
    return after
