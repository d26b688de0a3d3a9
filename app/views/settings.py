"""Settings: locations, appearance, the store, what this is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Blueprint, make_response, render_template, request

from app.errors import NotTrusted, Problem
from app.services import endings, groups, locations, retention
from app.views import upkeep
from app.views.undo import Undo, undoable

if TYPE_CHECKING:
    from app.views.answers import Answers
    from app.workspace import Workspace

FIELDS = ("name", "url", "identity", "privilege", "base", "internet")
WAY = ("internet", "privilege", "base", "identity", "accept_key")
THEMES = ("system", "light", "dark")


def blueprint(work: Workspace, answers: Answers) -> Blueprint:
    pages = Blueprint("settings", __name__)

    @pages.get("/settings")
    def index() -> Any:
        known = locations.list_locations(work)
        with work.open_store() as store:
            there = store.instances.all()
            secrets = store.models.secrets()
            kept = retention.default(store)
        return render_template(
            "settings.html", page="settings", groups=groups.all_groups(work), home=work.home,
            there={each.name: [i.model for i in there if i.location == each.name]
                   for each in known},
            keys={each.name: locations.fingerprints(work, each) for each in known},
            about=upkeep.about(work), vendored=upkeep.parts(), kept=kept, most=retention.MOST,
            job_notices=endings.wanted(work), looking=True,
            found={model: [{"name": each} for each in named] for model, named in secrets.items()},
        )  # fmt: skip

    @pages.get("/locations/new")
    def new() -> Any:
        asked = dict.fromkeys(FIELDS, "") | {"default": request.args.get("first", "")}
        return render_template("location_add.html", asked=asked, key=None)

    @pages.post("/locations")
    def add() -> Any:
        asked = {name: request.form.get(name, "").strip() for name in (*FIELDS, "default")}
        typed = answers.with_typed(work, request.form.get("secret", ""))
        try:
            locations.add(
                typed, asked["name"], asked["url"], asked["identity"] or None,
                request.form.get("accept_key"), asked["privilege"] or "auto", asked["base"],
                bool(request.form.get("remember")), asked["internet"] or "auto",
            )  # fmt: skip
        except NotTrusted as unknown:
            return render_template("location_add.html", asked=asked, key=unknown)
        if asked["default"]:
            locations.set_default(work, asked["name"])
        return _again()

    @pages.get("/locations/<name>/facts")
    def facts(name: str) -> Any:
        try:
            return render_template("facts.html", facts=locations.check(work, name))
        except NotTrusted as unknown:
            return render_template("facts.html", key=unknown, name=name)
        except Problem as problem:
            return render_template("facts.html", problem=problem)

    @pages.post("/locations/<name>/default")
    def default(name: str) -> Any:
        with work.open_store() as store:
            before = store.locations.default().name
        locations.set_default(work, name)
        undo = Undo(f"{name} is the default location now.", f"/locations/{before}/default")
        return undoable(_again(), undo)

    @pages.get("/locations/<name>/edit")
    def editing(name: str) -> Any:
        return render_template("location_edit.html", **_with_models(work, name))

    @pages.post("/locations/<name>/edit")
    def edit(name: str) -> Any:
        asked = {key: request.form[key].strip() for key in WAY if key in request.form}
        typed = answers.with_typed(work, request.form.get("secret", ""))
        locations.change(typed, name, **asked)
        return _again()

    @pages.get("/locations/<name>/remove")
    def removal(name: str) -> Any:
        return render_template("location_remove.html", **_with_models(work, name))

    @pages.post("/locations/<name>/remove")
    def remove(name: str) -> Any:
        locations.remove(work, name)
        return _again()

    @pages.post("/locations/<name>/forget-key")
    def forget(name: str) -> Any:
        locations.forget_key(work, name)
        return _again()

    @pages.post("/settings/keep")
    def keep() -> Any:
        asked = request.form["keep"].strip()
        if not asked.isdecimal():
            raise Problem(f'"{asked}" is no whole number.')
        with work.open_store() as store:
            before = retention.default(store)
        retention.set_default(work, int(asked))
        undo = Undo(
            f"{int(asked)} good releases stay now.", "/settings/keep", {"keep": str(before)}
        )
        return undoable(_again(), undo)

    @pages.post("/settings/theme")
    def theme() -> Any:
        chosen = request.form["theme"]
        if chosen not in THEMES:
            raise Problem(f'There is no theme "{chosen}".', remedy=f"Choose {', '.join(THEMES)}.")
        with work.open_store() as store:
            store.settings.set("theme", chosen)
        return "", 204

    @pages.post("/settings/job-notices")
    def job_notices() -> Any:
        endings.want(work, "on" in request.form)
        return "", 204

    return pages


def _with_models(work: Workspace, name: str) -> dict[str, Any]:
    """A location, and the models that are deployed there."""
    with work.open_store() as store:
        location = store.locations.get(name)
        there = [each.model for each in store.instances.all(location=name)]
    return {"location": location, "there": there}


def _again() -> Any:
    """Back to where it was asked for: an empty Catalogue, or Settings."""
    here = urlsplit(request.headers.get("HX-Current-URL", "")).path
    answer = make_response("", 204)
    answer.headers["HX-Redirect"] = "/" if here == "/" else "/settings"
    return answer
