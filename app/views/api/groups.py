"""Groups of locations as JSON: listed, made, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.services import groups
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

ONE = "/groups/<name>"
MEMBERS = Field("locations", "the names of its locations, in order", "texts", required=True)


def routes(work: Workspace) -> list[Route]:
    def list_groups() -> Any:
        """Each group with its locations, in order"""
        return groups.all_groups(work)

    def set_group(name: str, locations: list[str]) -> Any:
        """Make a group of locations, or make it anew; the first is the first to be deployed to"""
        return {"name": name, "locations": groups.add(work, name, locations)}

    def remove_group(name: str) -> Any:
        """Forget a group; its locations stay"""
        groups.remove(work, name)
        return {"removed": name}

    names = {"type": "array", "items": {"type": "string"}}
    made = {"type": "object", "required": ["name", "locations"]}
    removed = {"type": "object", "required": ["removed"]}
    return [
        Route("GET", "/groups", list_groups, {"type": "object", "additionalProperties": names}),
        Route("PUT", ONE, set_group, made, body=(MEMBERS,)),
        Route("DELETE", ONE, remove_group, removed),
    ]
