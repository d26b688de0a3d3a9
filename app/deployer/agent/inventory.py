"""All that a host knows of its instances and their versions, for a store that knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layout import instances
from .loop import op

if TYPE_CHECKING:
    from .loop import Agent, Payload


@op("inventory")
def inventory(agent: Agent, args: dict[str, Any], payload: Payload) -> list[dict[str, Any]]:
    """Each instance with the release.json of every release, oldest first, and its history."""
    return [
        {
            "name": each.name,
            "deployed": each.facts_file.is_file(),
            "stopped": bool(each.facts().get("stopped")),
            "port": each.port(),
            "current": each.current(),
            "releases": each.complete(),
            "history": each.history(1_000_000),
        }
        for each in instances(agent.base)
    ]
