"""Alerts as JSON: looked at, acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.services import alerts
from app.views.api.fields import NUMBER
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace


def routes(work: Workspace) -> list[Route]:
    def list_alerts(all: bool = False, limit: int = 100) -> Any:
        """Alerts, the open ones that nobody has seen first"""
        return alerts.listed(work, open_only=not all, limit=limit)

    def acknowledge_alert(number: int) -> Any:
        """Say that somebody has seen an open alert; it stays until it is over"""
        return alerts.acknowledge(work, [number])[0]

    names = ("id", "rule", "model", "location", "subject", "words", "began", "ended", "who")
    row = {"type": "object", "required": list(names)}
    every = Field("all", "those that are over too", "boolean")
    limit = Field("limit", "how many at most", "integer", least=1, most=1000)
    return [
        Route("GET", "/alerts", list_alerts, {"type": "array", "items": row}, query=(every, limit)),
        Route("POST", f"/alerts/{NUMBER}/acknowledge", acknowledge_alert, row),
    ]
