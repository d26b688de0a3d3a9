"""Pipelines: all of them, and the Stages tab, where one is looked at, built and tried."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, make_response, render_template, request

from app import config
from app.configuration.stages import COMBINERS, STAGE_KEYS
from app.errors import NotFound, Problem
from app.meanings import MEANINGS
from app.models import Model, Version
from app.scoring.pipeline.graph import INPUT
from app.services import (
    composing,
    configuring,
    drafting,
    latencies,
    pipelines,
    rehearsing,
    trying,
)
from app.services.composing import Draft
from app.views.drawing import Drawing, asks, draw, label
from app.views.undo import Undo, undoable

if TYPE_CHECKING:
    from app.store import Store
    from app.views.live import Live
    from app.workspace import Workspace


LONGEST_UNDO = 50_000
"""Characters of a file that a window keeps for taking back; it travels in a header."""


@dataclass(frozen=True)
class Seen:
    """A pipeline as it is shown. stages: as pipelines.described, with "given", "gives" and "at"
    (which one in the file). problem: why they cannot be put in order."""

    draft: Draft
    stages: list[dict[str, Any]]
    drawing: Drawing | None
    place: str | None
    digest: str = ""
    problem: Problem | None = None


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("pipelines", __name__)

    @pages.get("/pipelines")
    def index() -> Any:
        live.refresh()
        return render_template("pipelines.html", page="pipelines", rows=_rows(work, live))

    @pages.get("/pipelines/new")
    def new() -> Any:
        with work.open_store() as store:
            known = [each.name for each in store.models.all()]
        return render_template("pipeline_new.html", models=known, folder=config.folders())

    @pages.post("/pipelines")
    def begin() -> Any:
        name = request.form["name"].strip()
        folder = Path(request.form["folder"].strip() or config.folders() / name)
        steps = request.form.getlist("model")
        if not steps:
            raise Problem("A pipeline asks at least one model.", remedy="Choose one.")
        made = composing.begin(work, folder, name, [",".join(steps)])
        return _go(f"/models/{made.name}/stages")

    @pages.get("/models/<name>/stages/drawn")
    def drawn(name: str) -> Any:
        """The graph, with how long each stage took lately: asked from the hosts just now."""
        number = request.args.get("v", type=int)
        with work.open_store() as store:
            model = store.models.get(name)
            version = store.versions.get(model, number) if number else None
        seen = _seen(work, live, name, version, with_p95=True)
        return render_template("stages.html", name=name, seen=seen, old=version is not None)

    @pages.get("/models/<name>/stages/form")
    def form(name: str) -> Any:
        source = configuring.read(work, name)
        at = request.args.get("at", type=int)
        found = composing.draft(source.text)
        if at is not None and not 0 <= at < len(found.stages):
            raise NotFound(f"{name} has no such stage any more.", remedy="Open the page again.")
        return render_template(
            "stage_form.html", **_form(name, source, at, found), verdict=_verdict(name, at)
        )

    @pages.post("/models/<name>/stages/check")
    def check(name: str) -> Any:
        """What is wrong with what was typed so far, and how it fits. Nothing is changed."""
        return render_template("stage_verdict.html", verdict=_verdict(name, _at()))

    @pages.post("/models/<name>/stages")
    def save(name: str) -> Any:
        source = configuring.read(work, name)
        text = composing.with_stage(source.text, _at(), _typed(work, name))
        composing.check(text)
        configuring.save(work, name, text, request.form["digest"])
        return _go(f"/models/{name}/stages")

    @pages.post("/models/<name>/stages/remove")
    def remove(name: str) -> Any:
        source = configuring.read(work, name)
        text = composing.without_stage(source.text, request.form.get("at", -1, type=int))
        saved = configuring.save(work, name, text, request.form["digest"])
        before = {"text": source.text, "digest": saved.digest}
        words = f"The stage is taken out of {config.FILE}."
        undo = Undo(words, f"/models/{name}/stages/back", before)
        answer = _go(f"/models/{name}/stages")
        return undoable(answer, undo) if len(source.text) < LONGEST_UNDO else answer

    @pages.post("/models/<name>/stages/back")
    def back(name: str) -> Any:
        """The file as it was before a stage was taken out."""
        configuring.save(work, name, request.form["text"], request.form["digest"])
        return _go(f"/models/{name}/stages")

    @pages.post("/models/<name>/trace")
    def trace(name: str) -> Any:
        """What a deployed pipeline answers, and what each of its stages gave."""
        try:
            found = trying.trace(work, name, request.form["body"], request.form["on"])
        except Problem as problem:
            return render_template("answer.html", answer=None, problem=problem)
        stages = [{**each, **rehearsing.brief(each)} for each in found["stages"]]
        return render_template("stage_outputs.html", stages=stages)

    def _verdict(name: str, at: int | None) -> composing.Verdict | None:
        """Of what the request has typed; of a stage as it stands; None of a new one."""
        source = configuring.read(work, name)
        if request.method == "POST":
            values = _typed(work, name)
            text = composing.with_stage(source.text, at, values)
        elif at is None:
            return None
        else:
            text, values = source.text, composing.draft(source.text).stages[at]
        with work.open_store() as store:
            location = _place(store, name, None)
            return composing.judge(store, text, values.get("name", ""), location)

    def _form(name: str, source: Any, at: int | None, found: Draft) -> dict[str, Any]:
        with work.open_store() as store:
            known = [each.name for each in store.models.all() if each.name != name]
        said = configuring.parsed(source.text).get("stage", [])
        values = composing.fields(said[at] if at is not None else {})
        own = values["name"]
        others = [each["name"] for each in found.stages if each["name"] not in ("", own)]
        return {
            "name": name, "at": at, "digest": source.digest, "values": values, "models": known,
            "sources": [INPUT, *others], "combiners": COMBINERS, "meanings": MEANINGS["stage"],
        }  # fmt: skip

    return pages


def tab(
    work: Workspace, live: Live, name: str, version: Version | None, number: int | None
) -> dict[str, Any]:
    """The graph of the folder, or of an older version, and what it can be tried with."""
    with work.open_store() as store:
        model = store.models.get(name)
        latest = store.versions.latest(model)
        body = trying.sample_of(store, model, version) if version else ""
    old = bool(version and latest and version.number != latest.number)
    seen = _seen(work, live, name, version if old else None)
    return {"name": name, "seen": seen, "body": body}


def is_pipeline(work: Workspace, name: str, version: Version | None) -> bool:
    """Whether a version has stages, or the folder, which may be on its way to one."""
    if version and version.configuration.stages:
        return True
    try:
        return bool(composing.draft(configuring.read(work, name).text).stages)
    except Problem:
        return False


def _seen(
    work: Workspace, live: Live, name: str, version: Version | None, *, with_p95: bool = False
) -> Seen:
    """version: an older one; None: the folder as it is."""
    try:
        source = None if version else configuring.read(work, name)
        text = source.text if source else configuring.of_version(work, version)  # type: ignore[arg-type]
        found = composing.draft(text)
    except Problem as problem:
        return Seen(Draft((), None, ""), [], None, None, problem=problem)
    with work.open_store() as store:
        place = _place(store, name, version)
        rows = [live.row(asdict(each)) for each in store.instances.all()]
    digest = source.digest if source else ""
    if found.graph is None:
        plain = [{**each, "given": "", "at": at} for at, each in enumerate(found.stages)]
        return Seen(found, plain, None, place, digest)
    stages = pipelines.described_of(found.graph, found.stages, place, rows)
    took = _p95(work, stages) if with_p95 else {}
    order = [each["name"] for each in found.stages]
    for each in stages:
        each["p95"] = took.get((each["instance"], each["location"]))
        each["at"] = order.index(each["name"])
        each["asks"] = asks(each)
        each["given"] = [
            (source, label(found.graph, source, each["name"]))
            for source in found.graph.needs(each["name"])
        ]
    return Seen(found, stages, draw(found.graph, stages), place, digest)


def _p95(work: Workspace, stages: list[dict[str, Any]]) -> dict[latencies.Place, float]:
    asked = {(each["instance"], each["location"]) for each in stages if each["state"]}
    return latencies.p95(work, asked) if asked else {}


def _place(store: Store, name: str, version: Version | None) -> str | None:
    """Where a pipeline is, or would be."""
    deployed = [each.location for each in store.instances.all(model=name)]
    latest = version or store.versions.latest(store.models.get(name))
    configured = latest.configuration.location if latest else None
    return next(iter(deployed), None) or configured or store.locations.default().name


def _rows(work: Workspace, live: Live) -> list[dict[str, Any]]:
    """All models that are pipelines, as production has them, or else their newest version."""
    with work.open_store() as store:
        rows = [live.row(asdict(each)) for each in store.instances.all()]
        known = [(model, store.versions.all(model)) for model in store.models.all()]
    found = [_row(work, live, model, versions, rows) for model, versions in known]
    return [row for row in found if row]


def _row(
    work: Workspace, live: Live, model: Model, versions: list[Version], rows: list[dict[str, Any]]
) -> dict[str, Any] | None:
    latest = versions[0] if versions else None
    if not is_pipeline(work, model.name, latest):
        return None
    own = [row for row in rows if row["model"] == model.name]
    running = next((each for each in versions if own and each.number == own[0]["version"]), None)
    seen = _seen(work, live, model.name, running or latest)
    levels: dict[int, list[dict[str, Any]]] = {}
    for stage in seen.stages:
        levels.setdefault(stage.get("level", 1), []).append(stage)
    description = latest.configuration.description if latest else ""
    return {
        "name": model.name, "description": description.partition("\n")[0], "deployed": own,
        "version": latest, "levels": list(levels.values()), "fault": seen.draft.fault,
    }  # fmt: skip


def _at() -> int | None:
    """Which stage of the file a form is about; None: a new one."""
    return request.form.get("at", type=int)


def _typed(work: Workspace, name: str) -> dict[str, str]:
    """What the form holds; a stage without a name is called after its model."""
    form = request.form
    values = {key: form.get(key, "") for key in STAGE_KEYS}
    values["after"] = "\n".join(form.getlist("after"))
    other = "combine" if form.get("does") == "ask" else "instance"
    values[other] = ""
    if values["combine"] != "weighted":
        values["weights"] = ""
    if not values["name"].strip():
        found = composing.draft(configuring.read(work, name).text)
        taken = {INPUT, *(each["name"] for each in found.stages)}
        called = values["instance"] or values["combine"]
        values["name"] = drafting.free_name(called, taken) if called else ""
    return values


def _go(address: str) -> Any:
    answer = make_response("", 204)
    answer.headers["HX-Redirect"] = address
    return answer
