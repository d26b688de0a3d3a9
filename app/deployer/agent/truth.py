"""What is true of an instance after somebody was cut off, for who has to tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layout import Instance
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
    return _facts(instance)


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
