"""What the data were like that a version was made from, column by column."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.models import Model, Version
from app.store.database import Database, Row
from app.store.tables import now


@dataclass(frozen=True)
class Reference:
    """columns: name → summary (app/scoring/summaries.py), in the order of the file."""

    version: int
    made: str
    source: str
    rows: int
    columns: dict[str, dict[str, Any]]


class Training:
    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(
        self, version: Version, source: str, rows: int, columns: dict[str, dict[str, Any]]
    ) -> Reference:
        made = now()
        row: Row = {"version_id": version.id, "made": made, "source": source, "rows": rows}
        self._database.upsert("training", {**row, "columns": json.dumps(columns)}, "version_id")
        return Reference(version.number, made, source, rows, columns)

    def of(self, model: Model, number: int | None) -> Reference | None:
        """That of a version, else of the last one before it that has one; None: of the newest."""
        row = self._database.one(
            "SELECT number AS version, made, source, rows, columns FROM training"
            " JOIN versions ON versions.id = version_id"
            " WHERE model_id = ? AND number <= coalesce(?, number) ORDER BY number DESC LIMIT 1",
            [model.id, number],
        )
        return Reference(**row | {"columns": json.loads(row["columns"])}) if row else None
