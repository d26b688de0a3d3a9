"""The Catalogue: all models, and what is done to a model as a whole."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, make_response, render_template, request

from app.errors import Problem
from app.services import catalogue, models, monitoring, scanning, versions
from app.views.figures import path_of
from app.views.undo import Undo, undoable

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace

SHOWN = 50
"""Rows before "Show more"."""
MOST = 50
"""Folders that are looked at for one request."""


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("catalogue", __name__)

    @pages.get("/")
    def index() -> Any:
        live.refresh()
        return render_template("catalogue.html", page="catalogue", **found())

    @pages.get("/catalogue/rows")
    def rows() -> Any:
        live.refresh()
        return render_template("catalogue_rows.html", **found())

    @pages.get("/catalogue/changes")
    def changes() -> Any:
        names = request.args.getlist("name")[:MOST]
        return render_template("changed.html", changed=versions.uncommitted(work, names))

    def found() -> dict[str, Any]:
        asked = {key: request.args.get(key, "") for key in ("q", "state", "location", "tag")}
        order = request.args.get("order", "changed")
        shown = request.args.get("shown", SHOWN, type=int)
        everything = catalogue.rows(work)
        lately = monitoring.traffic(work)
        for row in everything:
            row["deployed"] = [_drawn(live.row(each), lately) for each in row["deployed"]]
        chosen = catalogue.choose(
            everything, asked["q"][:200], state=asked["state"], location=asked["location"],
            tag=asked["tag"], order=order,
        )  # fmt: skip
        return {
            "rows": chosen[:shown],
            "more": max(0, len(chosen) - shown),
            "shown": shown,
            "asked": asked,
            "order": order,
            "total": len(everything),
            "counts": _counts(everything),
            "tags": sorted({tag for row in everything for tag in row["tags"]}),
        }

    @pages.get("/models/new")
    def new() -> Any:
        return render_template("add.html")

    @pages.get("/models/scan")
    def scan() -> Any:
        folder = request.args.get("folder", "").strip()
        found = scanning.scan(work, Path(folder)) if folder else None
        return render_template("add_found.html", found=found)

    @pages.post("/models")
    def add() -> Any:
        folder = Path(request.form["folder"].strip())
        if request.form.get("draft"):
            models.init(folder)
        added = models.add(work, folder, request.form.get("name", "").strip() or None)
        return _go(f"/models/{added.name}")

    @pages.post("/models/example")
    def example() -> Any:
        return _go(f"/models/{models.example(work).name}")

    @pages.get("/models/<name>/unfold")
    def unfold(name: str) -> Any:
        found = versions.versions(work, name)
        there: dict[int | None, list[str]] = defaultdict(list)
        with work.open_store() as store:
            for each in store.instances.all(model=name):
                there[each.version].append(each.location)
        return render_template("unfold.html", name=name, versions=found, there=there)

    @pages.get("/models/<name>/rename")
    def renaming(name: str) -> Any:
        """The field in the place of the name; from: the page that it is on."""
        with work.open_store() as store:
            models.refuse_deployed(store, name, "renamed")
        return render_template("rename.html", name=name, from_page=request.args.get("from", ""))

    @pages.post("/models/<name>/rename")
    def rename(name: str) -> Any:
        there = request.form.get("from", "")
        new = models.rename(work, name, request.form["name"].strip()).name
        answer = _go(f"/models/{new}") if there == "dashboard" else make_response("", 204)
        if new == name:
            return answer
        back = {"name": name, "from": there}
        return undoable(answer, Undo(f"{name} is called {new} now.", f"/models/{new}/rename", back))

    @pages.get("/models/<name>/remove")
    def removal(name: str) -> Any:
        with work.open_store() as store:
            model = store.models.get(name)
            there = store.instances.all(model=name)
        number = len(versions.versions(work, name))
        return render_template("remove.html", model=model, there=there, number=number)

    @pages.post("/models/<name>/remove")
    def remove(name: str) -> Any:
        if request.form.get("name") != name:
            raise Problem(f'Type "{name}" to remove it.')
        models.remove(work, name)
        return _go("/")

    return pages


def _drawn(row: dict[str, Any], lately: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    """An instance with its requests per second, and the line of those of the last hour."""
    traffic = lately.get((row["model"], row["location"]), {"requests": None, "spark": []})
    return {**row, "rate": traffic["requests"], "line": path_of(traffic["spark"])}


def _go(address: str) -> Any:
    answer = make_response("", 204)
    answer.headers["HX-Redirect"] = address
    return answer


def _counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many models there are of each kind that one can choose."""
    states = [catalogue.states(row) for row in rows]
    return {state: sum(state in there for there in states) for state in catalogue.STATES}
