"""The Dashboard of a model: each of its tabs, for the newest version or an older one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, make_response, render_template, request

from app.errors import NotFound, Problem
from app.models import Model, Version
from app.services import history, models, orders, scanning, versions
from app.views import asking, configuration, files, metadata, pipelines, timeline
from app.views.undo import Undo, undoable

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace

TABS = {
    "overview": "Overview",
    "stages": "Stages",
    "files": "Files",
    "versions": "Versions",
    "configuration": "Configuration",
    "metadata": "Metadata",
    "try": "Try it",
    "instances": "Instances",
    "history": "History",
}
OF_MODELS = tuple(key for key in TABS if key != "stages")
STILL = ("configuration", "metadata", "try", "stages")
"""Tabs that no news replace, since somebody types there."""
LINES = 100
"""Of history; all are in the export."""


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("dashboard", __name__)

    @pages.get("/models/<name>")
    @pages.get("/models/<name>/<any({}):tab>".format(",".join(TABS)))
    def show(name: str, tab: str = "overview") -> Any:
        live.refresh()
        number = request.args.get("v", type=int)
        try:
            about = _about(name, number)
        except NotFound:
            if "HX-Request" in request.headers:
                return _gone(name)
            raise
        tabs: dict[str, Callable[..., dict[str, Any]]] = {
            "files": _files, "history": _history,
            "configuration": partial(configuration.tab, work),
            "metadata": partial(metadata.tab, work),
            "versions": partial(timeline.tab, work, live),
            "try": partial(asking.tab, work, live),
            "stages": partial(pipelines.tab, work, live),
        }  # fmt: skip
        more = tabs.get(tab)
        piped = pipelines.is_pipeline(work, name, about["version"])
        shown = {key: words for key, words in TABS.items() if piped or key in (tab, *OF_MODELS)}
        return render_template(
            "dashboard.html", page="catalogue", tab=tab, tabs=shown, still=tab in STILL, **about,
            **(more(name, about["version"], number) if more else {}),
        )  # fmt: skip

    @pages.get("/models/<name>/history.<any(csv, json):form>")
    def exported(name: str, form: str) -> Response:
        found = history.lines(work, name)
        text = history.table(found) if form == "csv" else json.dumps(found, ensure_ascii=False)
        kind = "text/csv" if form == "csv" else "application/json"
        answer = Response(text, mimetype=kind)
        answer.headers["Content-Disposition"] = f'attachment; filename="{name}-history.{form}"'
        return answer

    @pages.get("/models/<name>/changes")
    def changes(name: str) -> Any:
        with work.open_store() as store:
            latest = store.versions.latest(store.models.get(name))
        found = _changes(name) if latest else {}
        return render_template("changes_badge.html", name=name, latest=latest, **found)

    @pages.get("/models/<name>/files/changes")
    def looked(name: str) -> Any:
        return render_template("files_changes.html", name=name, **_looked(name))

    @pages.post("/models/<name>/draft")
    def draft(name: str) -> Any:
        """Write what a folder lacks of a model, for somebody to go on from."""
        with work.open_store() as store:
            models.init(Path(store.models.get(name).folder), name)
        answer = make_response("", 204)
        answer.headers["HX-Redirect"] = f"/models/{name}/files"
        return answer

    @pages.get("/models/<name>/restore")
    def restoring(name: str) -> Any:
        about = _about(name, request.args.get("v", type=int))
        return render_template("restore.html", **about)

    @pages.post("/models/<name>/restore")
    def restore(name: str) -> Any:
        """Put a version back; what the folder holds is committed first, so nothing is lost."""
        number = request.form.get("v", type=int)
        latest = next((each.number for each in versions.versions(work, name)), None)
        done = versions.restore(work, f"{name}@{number}", commit_first=True)
        answer = make_response(
            render_template("restored.html", name=name, number=number, done=done)
        )
        before = done.committed.number if done.committed else latest
        if before in (None, number):
            return answer
        words = f"v{number} of {name} is back in the folder."
        back = {"v": str(before)}
        return undoable(answer, Undo(words, f"/models/{name}/restore", back))

    def _about(name: str, number: int | None) -> dict[str, Any]:
        with work.open_store() as store:
            model = store.models.get(name)
            found = store.versions.all(model)
            there = [live.row(asdict(each)) for each in store.instances.all(model=name)]
            last = store.deployments.for_model(name, limit=1)
        version = _chosen(model, found, number)
        return {
            "model": model,
            "versions": found,
            "version": version,
            "latest": found[0] if found else None,
            "old": bool(found) and version is not found[0],
            "instances": there,
            "serves": {each["version"]: each["location"] for each in there},
            "last": last[0] if last else None,
            "under_way": orders.under_way(work, name),
        }

    def _changes(name: str) -> dict[str, Any]:
        """What the folder holds that is in no version: the differences, or why there are none."""
        try:
            return {"changes": versions.diff(work, name), "problem": None}
        except Problem as problem:
            return {"changes": None, "problem": problem}

    def _files(name: str, version: Version | None, number: int | None) -> dict[str, Any]:
        if version is None:
            return {"found": _scanned(name), **_left_out(name)}
        held = {**files.shown(work, name, version), "packages": versions.packages(work, version)}
        if version.id != versions.one(work, name).id:
            return held
        return held | ({"later": True} if version.files > files.MANY else _looked(name))

    def _looked(name: str) -> dict[str, Any]:
        return {**_changes(name), **_left_out(name)}

    def _scanned(name: str) -> scanning.Scanned:
        with work.open_store() as store:
            return scanning.scan(work, Path(store.models.get(name).folder))

    def _left_out(name: str) -> dict[str, Any]:
        try:
            return {"left_out": versions.left_out(work, name)}
        except Problem:  # the folder cannot be read, which is said where its changes would be
            return {"left_out": []}

    def _history(name: str, version: Version | None, number: int | None) -> dict[str, Any]:
        found = history.lines(work, name)
        return {"history": found[:LINES], "more": max(0, len(found) - LINES)}

    return pages


def _gone(name: str) -> Any:
    """What takes the place of an open page whose model, or version, is there no more."""
    answer = make_response(render_template("gone.html", name=name))
    answer.headers["HX-Retarget"], answer.headers["HX-Reswap"] = "#main", "innerHTML"
    answer.headers["HX-Reselect"] = ".gone"
    return answer


def _chosen(model: Model, found: list[Version], number: int | None) -> Version | None:
    if number is None:
        return found[0] if found else None
    for version in found:
        if version.number == number:
            return version
    raise Problem(f"{model.name} has no version {number}.")
