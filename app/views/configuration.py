"""The Configuration tab: `rhythmicml.toml` as a form and as text, checked while it is typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Blueprint, make_response, render_template, request

from app.configuration.values import Fault
from app.errors import Problem, Stale
from app.models import Version
from app.services import configuring, merging
from app.views.undo import Texts, Undo, undoable

if TYPE_CHECKING:
    from app.workspace import Workspace


@dataclass(frozen=True)
class Editing:
    """What somebody edits. base: the file as it was when it was opened, with its digest."""

    draft: str
    base: str
    digest: str
    faults: list[Fault] = field(default_factory=list)
    raw: bool = False
    saved: bool = False

    @property
    def faulty(self) -> dict[str, str]:
        """Key in the form → what is wrong with it."""
        known = {each.name for keys in self.fields.values() for each in keys}
        named = {f"{each.section}.{each.key}": each.words for each in self.faults}
        return {name: words for name, words in named.items() if name in known and not self.raw}

    @property
    def others(self) -> list[str]:
        """What is wrong with no field of the form."""
        beside = set(self.faulty.values())
        return [each.words for each in self.faults if each.words not in beside]

    @property
    def fields(self) -> dict[str, list[configuring.Field]]:
        return {} if self.raw else configuring.fields(self.draft)


def blueprint(work: Workspace, texts: Texts) -> Blueprint:
    pages = Blueprint("configuration", __name__)

    @pages.post("/models/<name>/configuration/check")
    def check(name: str) -> Any:
        """What is wrong with what was typed so far. Nothing is changed."""
        return render_template("configuration_faults.html", name=name, editing=_sent())

    @pages.post("/models/<name>/configuration/view")
    def view(name: str) -> Any:
        """What was typed so far, in the other view. Nothing is changed."""
        sent = _sent()
        raw = request.form["view"] == "raw" or not _is_toml(sent)
        editing = Editing(sent.draft, sent.base, sent.digest, sent.faults, raw)
        return render_template("configuration_edit.html", name=name, editing=editing)

    @pages.post("/models/<name>/configuration")
    def save(name: str) -> Any:
        sent = _sent()
        if sent.faults:  # said beside what is typed, which stays
            beside = {"HX-Retarget": "#verdict", "HX-Reswap": "innerHTML"}
            return check(name), beside
        before = configuring.read(work, name)
        source = saved_or_merge(work, name, sent)
        if isinstance(source, str):
            return source
        done = Editing(source.text, source.text, source.digest, raw=sent.raw, saved=True)
        page = render_template("configuration_edit.html", name=name, editing=done)
        return with_undo(page, texts, name, before, source, "configuration")

    @pages.post("/models/<name>/<any(configuration,metadata):tab>/undo")
    def undo(name: str, tab: str) -> Any:
        """The file as it was before it was saved, unless it is another one by now."""
        digest = request.form["digest"]
        configuring.save(work, name, texts.before(name, digest), digest)
        return "", 204, {"HX-Redirect": f"/models/{name}/{tab}"}

    return pages


def saved_or_merge(work: Workspace, name: str, sent: Editing) -> configuring.Source | str:
    """The file as it is saved; where it was changed meanwhile, the page that shows both edits."""
    try:
        return configuring.save(work, name, sent.draft, sent.digest)
    except Stale as stale:
        theirs = configuring.read(work, name)
        return render_template(
            "configuration_merge.html", name=name, editing=sent, theirs=theirs, problem=stale,
            merged=merging.merge(sent.base, theirs.text, sent.draft),
        )  # fmt: skip


def with_undo(
    page: str,
    texts: Texts,
    name: str,
    before: configuring.Source,
    now: configuring.Source,
    tab: str,
) -> Any:
    """The page after a save, with the offer to take it back, if there was another file to keep."""
    if not before.digest or before.text == now.text or configuring.check(before.text):
        return page
    texts.keep(name, now.digest, before.text)
    words = f"The {tab} of {name} is saved."
    undo = Undo(words, f"/models/{name}/{tab}/undo", {"digest": now.digest})
    return undoable(make_response(page), undo)


def tab(work: Workspace, name: str, version: Version | None, number: int | None) -> dict[str, Any]:
    """What the tab shows: the folder's file, or that of an older version."""
    if version and number is not None and number != _latest(work, name):
        return {"text": configuring.of_version(work, version)}
    try:
        source = configuring.read(work, name)
    except Problem as problem:
        return {"editing": None, "problem": problem, "name": name}
    faults = configuring.check(source.text)
    editing = Editing(source.text, source.text, source.digest, faults)
    if not _is_toml(editing):
        editing = Editing(source.text, source.text, source.digest, faults, raw=True)
    return {"editing": editing, "problem": None, "name": name}


def _latest(work: Workspace, name: str) -> int:
    with work.open_store() as store:
        latest = store.versions.latest(store.models.get(name))
        return latest.number if latest else 0


def _is_toml(editing: Editing) -> bool:
    return not any(fault.section == fault.key == "" for fault in editing.faults)


def _sent() -> Editing:
    """What the form holds: as text, or a text with the fields that were changed in it."""
    form = request.form
    base, digest, draft = form["base"], form["digest"], form["draft"].replace("\r\n", "\n")
    if "text" in form:
        draft = form["text"].replace("\r\n", "\n")
        return Editing(draft, base, digest, configuring.check(draft), raw=True)
    keys = (each for group in configuring.fields(draft).values() for each in group)
    values = {(each.section, each.key): form.get(each.name, each.value) for each in keys}
    draft = configuring.with_fields(draft, values)
    return Editing(draft, base, digest, configuring.check(draft))
