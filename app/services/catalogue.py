"""All models at a glance."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from app.services.states import AILING
from app.workspace import Workspace

ORDERS = ("changed", "name", "version")
STATES = ("serving", "failing", "stopped", "unreachable", "outdated", "never")


def overview(work: Workspace) -> list[dict[str, Any]]:
    """Per model: its name, folder and description, its last version, where which version runs."""
    kept = ("name", "folder", "description", "version", "committed")
    where = ("location", "version")
    return [
        {
            **{key: row[key] for key in kept},
            "deployed": [{key: each[key] for key in where} for each in row["deployed"]],
        }
        for row in rows(work)
    ]


def rows(work: Workspace) -> list[dict[str, Any]]:
    """All models by name, each with its last version and its instances as the store knows them.

    Keys: those of Models.overview, and deployed: [Instance as a dict].
    """
    with work.open_store() as store:
        deployed: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for each in store.instances.all():
            deployed[each.model].append(asdict(each))
        return [{**row, "deployed": deployed[row["name"]]} for row in store.models.overview()]


def choose(
    rows: list[dict[str, Any]],
    words: str = "",
    *,
    state: str = "",
    location: str = "",
    tag: str = "",
    order: str = "changed",
) -> list[dict[str, Any]]:
    """Those whose name, description or tags hold all the words, in an order of ORDERS.

    state: one of STATES. Empty: any.
    """
    asked = words.lower().split()
    found = [
        row
        for row in rows
        if all(word in _text(row) for word in asked)
        and _is_in(row, state, location)
        and tag in ("", *row["tags"])
    ]
    if order == "changed":
        found.sort(key=lambda row: row["committed"] or row["created"], reverse=True)
    elif order == "version":
        found.sort(key=lambda row: row["version"] or 0, reverse=True)
    return found


def _text(row: dict[str, Any]) -> str:
    return " ".join((row["name"], row["description"], *row["tags"])).lower()


def _is_in(row: dict[str, Any], state: str, location: str) -> bool:
    there = [e for e in row["deployed"] if location in ("", e["location"])]
    return (bool(there) or not location) and state in ("", *states({**row, "deployed": there}))


def states(row: dict[str, Any]) -> set[str]:
    """Those of its instances; outdated where a newer version is here, never if it has none."""
    there = row["deployed"]
    found = {"failing" if each["state"] in AILING else each["state"] for each in there}
    if any((row["version"] or 0) > (each["version"] or 0) for each in there):
        found.add("outdated")
    return found or {"never"}
