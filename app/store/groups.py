"""Groups of locations, by name; a location that is forgotten leaves its groups."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import NotFound
from app.store.database import Database


class Groups:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> dict[str, list[str]]:
        """Name → its locations, in the order in which they were given."""
        found: dict[str, list[str]] = {}
        query = 'SELECT name, location FROM location_groups ORDER BY name, "place"'
        for name, location in self._database.tuples(query):
            found.setdefault(name, []).append(location)
        return found

    def members(self, name: str) -> list[str]:
        """The locations of a group; none when there is no such group."""
        return self.all().get(name, [])

    def put(self, name: str, locations: Sequence[str]) -> None:
        """The group, new or as it is from now on."""
        with self._database.write():
            self._database.execute("DELETE FROM location_groups WHERE name = ?", [name])
            for place, location in enumerate(locations):
                row = {"name": name, "place": place, "location": location}
                self._database.insert("location_groups", row)

    def remove(self, name: str) -> None:
        with self._database.write():
            if not self.members(name):
                raise NotFound(
                    f'No group "{name}" is known.', remedy="rhythmicml location group list"
                )
            self._database.execute("DELETE FROM location_groups WHERE name = ?", [name])
