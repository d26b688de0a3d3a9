"""The Try it tab: a request as a form or as JSON, sent to an instance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import Problem
from app.models import Version
from app.services import filling, trying, versions

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("asking", __name__)

    @pages.post("/models/<name>/ask")
    def ask(name: str) -> Any:
        try:
            answer = trying.ask(work, name, _body(name), request.form["on"])
        except Problem as problem:
            return render_template("answer.html", answer=None, problem=problem)
        return render_template("answer.html", answer=answer, problem=None)

    @pages.post("/models/<name>/ask/view")
    def view(name: str) -> Any:
        """What was filled in so far, in the other view. Nothing is sent."""
        body = _body(name)
        form = request.form["view"] == "form"
        filled = filling.entries(_schema(name), body) if form else []
        return render_template(
            "try_request.html", name=name, number=request.form["v"], body=body, entries=filled,
            can_fill=True,
        )  # fmt: skip

    def _schema(name: str) -> dict[str, Any] | None:
        return versions.show(work, f"{name}@{request.form['v']}").version.schema

    def _body(name: str) -> str:
        if "body" in request.form:
            return request.form["body"]
        return filling.body_of(_schema(name), request.form.getlist("value"))

    return pages


def tab(
    work: Workspace, live: Live, name: str, version: Version | None, number: int | None
) -> dict[str, Any]:
    """The version's sample, filled in, and how programs would ask the same."""
    with work.open_store() as store:
        body = trying.sample_of(store, store.models.get(name), version) if version else ""
        there = [live.row(asdict(each)) for each in store.instances.all(model=name)]
    asked = next((each for each in there if each.get("url")), there[0] if there else {})
    url = asked.get("url") or f"http://127.0.0.1:{asked.get('port', 8101)}"
    entries = filling.entries(version.schema, body) if version else []
    return {
        "name": name,
        "number": version.number if version else 0,
        "body": body,
        "entries": entries,
        "can_fill": bool(entries),
        "url": url,
        "far": asked.get("location", "local") if url.startswith("http://127.0.0.1:") else "local",
        "snippets": trying.snippets(url, body),
    }
