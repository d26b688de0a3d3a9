"""The Metadata tab: a model's description, its tags, and any keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import Problem
from app.models import Version
from app.services import configuring, describing
from app.services.describing import Description
from app.views.configuration import Editing, saved_or_merge, with_undo
from app.views.markdown import rendered
from app.views.undo import Texts

if TYPE_CHECKING:
    from app.workspace import Workspace


def blueprint(work: Workspace, texts: Texts) -> Blueprint:
    pages = Blueprint("metadata", __name__)

    @pages.get("/models/<name>/metadata/row")
    def row(name: str) -> Any:
        return render_template("metadata_row.html", key="", value="")

    @pages.post("/models/<name>/metadata/preview")
    def preview(name: str) -> Any:
        """The description as it will be shown. Nothing is changed."""
        return rendered(request.form["description"])

    @pages.post("/models/<name>/metadata")
    def save(name: str) -> Any:
        base, digest = request.form["base"], request.form["digest"]
        said = _said(describing.parse(base))
        sent = Editing(describing.written(base, said), base, digest)
        before = configuring.read(work, name)
        source = saved_or_merge(work, name, sent)
        if isinstance(source, str):
            return source
        page = render_template("metadata_edit.html", name=name, saved=True, **_shown(source))
        return with_undo(page, texts, name, before, source, "metadata")

    return pages


def tab(work: Workspace, name: str, version: Version | None, number: int | None) -> dict[str, Any]:
    """What the tab shows: what the folder says, or what an older version said."""
    with work.open_store() as store:
        latest = store.versions.latest(store.models.get(name))
    if version and latest and version.number != latest.number:
        said = describing.of(version.configuration)
        return {"said": said, "pairs": _pairs(said), "source": None, "problem": None}
    try:
        return {"problem": None, "name": name, **_shown(configuring.read(work, name))}
    except Problem as problem:
        return {"problem": problem, "source": None}


def _shown(source: configuring.Source) -> dict[str, Any]:
    said = describing.parse(source.text)
    return {"source": source, "said": said, "pairs": _pairs(said)}


def _pairs(said: Description) -> list[tuple[str, str]]:
    return [(key, describing.shown(value)) for key, value in said.values.items()]


def _said(before: Description) -> Description:
    """What the form holds. A value that was not touched stays what it is, whatever its kind."""
    values: dict[str, Any] = {}
    for key, value in zip(request.form.getlist("key"), request.form.getlist("value"), strict=True):
        key, value = key.strip(), value.strip()
        if not key and not value:
            continue
        if not key:
            raise Problem(f'The value "{value}" has no key.', remedy="Give it one.")
        if key in values or key == describing.TAGS:
            raise Problem(f'"{key}" is there twice.', remedy="Choose another key.")
        known = key in before.values and describing.shown(before.values[key]) == value
        values[key] = before.values[key] if known else configuring.value_of(value)
    tags = dict.fromkeys(t for each in request.form["tags"].split(",") if (t := each.strip()))
    description = request.form["description"].replace("\r\n", "\n").strip()
    if description == before.description.strip():
        description = before.description
    return Description(description, tuple(tags), values)
