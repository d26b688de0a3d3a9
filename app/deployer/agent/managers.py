"""Which supervisor this agent gives its orders to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .supervise import Keeper, Supervisor, Systemd

if TYPE_CHECKING:
    from .loop import Agent


def supervisor(agent: Agent) -> Supervisor:
    """systemd's system manager for root, the user's for others; the keeper where told so."""
    if agent.mode == "local":
        return Keeper()
    return Systemd("system" if agent.system_wide else "user")
