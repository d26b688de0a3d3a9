"""Settings: locations, appearance, the store, what this is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, make_response, render_template, request

from app.deployer.plan import GOOD_KEPT
from app.errors import NotTrusted, Problem
from app.services import groups, locations
from app.views import upkeep
from app.views.undo import Undo, undoable

if TYPE_CHECKING:
    from app.views.answers import Answers
    from app.workspace import Workspace

FIELDS = ("name", "url", "identity", "privilege", "base", "internet")
WAY = ("internet", "privilege", "base", "identity")
THEMES = ("system", "light", "dark")


def blueprint(work: Workspace, answers: Answers) -> Blueprint:
    pages = Blueprint("settings", __name__)

    @pages.get("/settings")
    def index() -> Any:
        known = locations.list_locations(work)
        with work.open_store() as store:
            there = store.instances.all()
        return render_template(
            "settings.html", page="settings", groups=groups.all_groups(work), home=work.home,
            there={each.name: [i.model for i in there if i.location == each.name]
                   for each in known},
            keys={each.name: locations.fingerprints(work, each) for each in known},
            about=upkeep.about(work), vendored=upkeep.parts(), kept=GOOD_KEPT,
        )  # fmt: skip

    @pages.get("/locations/new")
    def new() -> Any:
        return render_template("location_add.html", asked=dict.fromkeys(FIELDS, ""), key=None)

    @pages.post("/locations")
    def add() -> Any:
        asked = {name: request.form.get(name, "").strip() for name in FIELDS}
        typed = answers.with_typed(work, request.form.get("secret", ""))
        try:
            locations.add(
                typed, asked["name"], asked["url"], asked["identity"] or None,
                request.form.get("accept_key"), asked["privilege"] or "auto", asked["base"],
                bool(request.form.get("remember")), asked["internet"] or "auto",
            )  # fmt: skip
        except NotTrusted as unknown:
            return render_template("location_add.html", asked=asked, key=unknown)
        return _again()

    @pages.get("/locations/<name>/facts")
    def facts(name: str) -> Any:
        try:
            return render_template("facts.html", facts=locations.check(work, name), problem=None)
        except Problem as problem:
            return render_template("facts.html", facts=None, problem=problem)

    @pages.post("/locations/<name>/default")
    def default(name: str) -> Any:
        with work.open_store() as store:
            before = store.locations.default().name
        locations.set_default(work, name)
        undo = Undo(f"{name} is the default location now.", f"/locations/{before}/default")
        return undoable(_again(), undo)

    @pages.get("/locations/<name>/edit")
    def editing(name: str) -> Any:
        with work.open_store() as store:
            location = store.locations.get(name)
            there = [each.model for each in store.instances.all(location=name)]
        return render_template("location_edit.html", location=location, there=there)

    @pages.post("/locations/<name>/edit")
    def edit(name: str) -> Any:
        asked = {key: request.form[key].strip() for key in WAY if key in request.form}
        typed = answers.with_typed(work, request.form.get("secret", ""))
        locations.change(typed, name, **asked)
        return _again()

    @pages.get("/locations/<name>/remove")
    def removal(name: str) -> Any:
        with work.open_store() as store:
            location = store.locations.get(name)
            there = [each.model for each in store.instances.all(location=name)]
        return render_template("location_remove.html", location=location, there=there)

    @pages.post("/locations/<name>/remove")
    def remove(name: str) -> Any:
        locations.remove(work, name)
        return _again()

    @pages.post("/locations/<name>/forget-key")
    def forget(name: str) -> Any:
        locations.forget_key(work, name)
        return _again()

    @pages.post("/settings/theme")
    def theme() -> Any:
        chosen = request.form["theme"]
        if chosen not in THEMES:
            raise Problem(f'There is no theme "{chosen}".', remedy=f"Choose {', '.join(THEMES)}.")
        with work.open_store() as store:
            store.settings.set("theme", chosen)
        return "", 204

    return pages


def _again() -> Any:
    answer = make_response("", 204)
    answer.headers["HX-Redirect"] = "/settings"
    return answer
