"""What was done that changes no instance: commits, secrets, names, locations. By whom, when."""

from __future__ import annotations

from app.models import Deployment
from app.store.database import Database
from app.store.tables import now


class Notes:
    """Lines of history beside those of Deployments. Names, not references: they outlive models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        action: str,
        who: str,
        *,
        model: str = "",
        location: str = "",
        version: int | None = None,
        detail: str = "",
    ) -> None:
        """model, location: empty where it concerns none, or all."""
        row = {"at": now(), "action": action, "who": who, "model": model}
        self._database.insert(
            "notes", {**row, "location": location, "version": version, "detail": detail}
        )

    def of(self, model: str | None, location: str | None, limit: int) -> list[Deployment]:
        """Newest first, in the form of what was done to instances."""
        rows = self._database.query(
            "SELECT * FROM notes WHERE model = coalesce(?, model)"
            " AND location = coalesce(?, location) ORDER BY id DESC LIMIT ?",
            [model, location, limit],
        )
        return [
            Deployment(
                id=0, release="", previous="", started=row["at"], ended=row["at"], result="done",
                **{n: row[n] for n in ("model", "location", "action", "version", "who", "detail")},
            )
            for row in rows
        ]  # fmt: skip
