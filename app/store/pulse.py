"""Whether the store changed, and which part of it: cheap enough to be asked four times a second."""

from __future__ import annotations

from app.store.database import Database

TOPICS = {
    "models": (
        "SELECT (SELECT group_concat(name) FROM models), (SELECT max(id) FROM versions),"
        " (SELECT count(*) FROM versions)"
    ),
    "instances": (
        "SELECT (SELECT group_concat(model || location || release || state) FROM instances),"
        " (SELECT max(id) FROM deployments), (SELECT max(ended) FROM deployments),"
        " (SELECT max(id) FROM notes),"
        " (SELECT max(ended) FROM jobs),"
        " (SELECT group_concat(id) FROM jobs WHERE state = 'running')"
    ),
    "jobs": (
        "SELECT group_concat(id || state || cancelling ||"
        " coalesce((SELECT max(n) FROM events WHERE job_id = jobs.id), 0))"
        " FROM (SELECT * FROM jobs ORDER BY id DESC LIMIT 50) AS jobs"
    ),
    "locations": (
        'SELECT (SELECT group_concat(name || url || base || internet || "default") FROM locations),'
        " (SELECT group_concat(name || place || location) FROM location_groups)"
    ),
    "settings": "SELECT group_concat(name || value) FROM settings",
}


class Pulse:
    def __init__(self, database: Database) -> None:
        self._database = database

    def stamp(self) -> int:
        """A number that is another one once another connection has written anything."""
        return int(self._database.tuples("PRAGMA data_version")[0][0])

    def topics(self) -> dict[str, str]:
        """Part of the store → what is another text once that part has changed."""
        return {topic: repr(self._database.tuples(sql)) for topic, sql in TOPICS.items()}
