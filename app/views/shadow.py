"""A version that gets copies of what production is asked: how it fares, how it is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import NotFound, Problem
from app.services import shadow
from app.services.orders import Order

if TYPE_CHECKING:
    from app.workspace import Workspace


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("shadow", __name__)

    @pages.get("/monitoring/<name>/<location>/shadow")
    def report(name: str, location: str) -> Any:
        """What was found so far, asked from the host now."""
        said, problem = None, None
        try:
            said = shadow.report(work, name, to=location)
        except NotFound:
            pass
        except Problem as found:
            problem = found
        return render_template(
            "shadow.html", said=said, problem=problem, name=name, location=location
        )

    @pages.get("/models/<name>/shadow")
    def form(name: str) -> Any:
        with work.open_store() as store:
            model = store.models.get(name)
            versions = store.versions.all(model)
            there = {each.location: each.version for each in store.instances.all(model=name)}
        to = request.args["to"]
        others = [each for each in versions if each.number != there.get(to)]
        return render_template("shadow_new.html", model=model, versions=others, to=to)

    @pages.post("/models/<name>/shadow/plan")
    def plan(name: str) -> Any:
        form = request.form
        row: dict[str, Any] = {"location": form["to"]}
        order = Order("shadow", form["subject"], {"to": form["to"], "percent": form["percent"]})
        try:
            share = percent(form["percent"])
            *_, result = shadow.start(
                work, order.subject, to=form["to"], percent=share, dry_run=True
            )
            row = result.data
        except Problem as problem:
            row["problem"] = problem.as_dict()
        return render_template("shadow_plan.html", row=row, order=order)

    return pages


def percent(text: str) -> float:
    """The share that was typed. Raises Problem when it is no number."""
    try:
        return float(text)
    except ValueError:
        raise Problem(
            f'"{text}" is no share of the requests.', remedy="Type 10, for 10 %."
        ) from None
