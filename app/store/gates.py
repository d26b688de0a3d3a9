"""What the gate found, beside the deployment that asked it."""

from __future__ import annotations

import json
from typing import Any

from app.models import Deployment
from app.store.database import Database


class Gates:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, deployment: int, report: dict[str, Any]) -> None:
        row = {"deployment": deployment, "passed": report["passed"], "report": json.dumps(report)}
        self._database.upsert("gates", row, "deployment")

    def get(self, deployment: int) -> dict[str, Any] | None:
        rows = self._database.tuples("SELECT report FROM gates WHERE deployment = ?", [deployment])
        return json.loads(rows[0][0]) if rows else None

    def of_versions(self, model: str) -> dict[int, tuple[int, bool]]:
        """Version → the last deployment of it that was at the gate, and whether it passed."""
        rows = self._database.tuples(
            "SELECT version, id, passed FROM gates JOIN deployments ON id = deployment"
            " WHERE model = ? AND version IS NOT NULL ORDER BY id",
            [model],
        )
        return {version: (number, bool(passed)) for version, number, passed in rows}

    def last(
        self, model: str, location: str | None = None
    ) -> tuple[Deployment, dict[str, Any]] | None:
        """The newest report of a model, with the deployment it belongs to."""
        rows = self._database.query(
            "SELECT deployments.*, gates.report FROM gates"
            " JOIN deployments ON deployments.id = gates.deployment"
            " WHERE model = ? AND location = coalesce(?, location) ORDER BY id DESC LIMIT 1",
            [model, location],
        )
        if not rows:
            return None
        row = dict(rows[0])
        report = json.loads(row.pop("report"))
        return Deployment(**row), report
