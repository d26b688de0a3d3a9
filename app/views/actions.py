"""What the pages order: the plan of a deployment, and every verb, as jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import Problem
from app.services import fleet, orders, scanning
from app.services.orders import Order
from app.views import jobs, pipelines
from app.views.shadow import percent

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace

OPTIONS = {
    "commit": ("message",),
    "deploy": ("to", "message", "stop_first", "with_stages"),
    "shadow": ("to", "percent"),
    "undeploy": ("to", "purge"),
    "remove": ("undeploy",),
    "restore-store": ("undo",),
    "backup": (),
    "verify": (),
    "check": (),
    "test": (),
}
FLAGS = ("stop_first", "with_stages", "purge", "undeploy", "undo")


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("actions", __name__)

    @pages.get("/models/<name>/deploy")
    def form(name: str) -> Any:
        with work.open_store() as store:
            model = store.models.get(name)
            versions = store.versions.all(model)
            groups = store.groups.all()
            default = store.locations.default().name
            deployed = [each.location for each in store.instances.all(model=name)]
        configured = versions[0].configuration.location if versions else None
        return render_template(
            "deploy.html", model=model, versions=versions, groups=groups, there=deployed,
            chosen=request.args.get("v", type=int),
            to=request.args.get("to") or configured or next(iter(deployed), default),
        )  # fmt: skip

    @pages.post("/models/<name>/plan")
    def plan(name: str) -> Any:
        order = _order("deploy", request.form["subject"])
        if busy := orders.under_way(work, name, order.options.get("to", "")):
            return render_template("plan.html", rows=[], order=order, name=name, busy=busy)
        if "@" not in order.subject:  # a plan must not make a version
            return _unversioned(work, order)
        try:
            *_, result = fleet.deploy(work, order.subject, dry_run=True, **order.options)
            rows = result.data.get("locations") or [result.data]
        except Problem as problem:
            rows = [{"location": order.options.get("to", ""), "problem": problem.as_dict()}]
        return render_template("plan.html", rows=rows, order=order, name=name)

    @pages.get("/confirm")
    def confirm() -> Any:
        """The question before a change of a server: what it will do, where, on its button."""
        order = _order(request.args["verb"], request.args["subject"])
        return render_template("confirm.html", order=order)

    @pages.post("/orders")
    def order() -> Any:
        if request.form["verb"] == "remove" and request.form.get("sure") != request.form["subject"]:
            raise Problem(f'Type "{request.form["subject"]}" to remove it.')
        number = orders.start(work, _order(request.form["verb"], request.form["subject"]))
        with work.open_store() as store:
            return render_template("job.html", shown=jobs.shown(store, store.jobs.get(number)))

    return pages


def _unversioned(work: Workspace, order: Order) -> str:
    """What can be said of deploying a folder before it is a version."""
    with work.open_store() as store:
        model = store.models.get(order.subject)
    return render_template(
        "plan.html", rows=[], order=order, uncommitted=True,
        piped=pipelines.is_pipeline(work, model.name, None),
        drafted=scanning.drafted_sample(work, model),
    )  # fmt: skip


def _order(verb: str, subject: str) -> Order:
    """What the request asks for, with the options that the verb has."""
    if verb not in orders.VERBS:
        raise Problem(f'RhythmicML knows no order "{verb}".')
    asked = {name: request.values.get(name, "").strip() for name in OPTIONS.get(verb, ("to",))}
    given = {name: value for name, value in asked.items() if value}
    options: dict[str, Any] = {k: v == "on" if k in FLAGS else v for k, v in given.items()}
    if "percent" in options:
        options["percent"] = percent(options["percent"])
    return Order(verb, subject, options)
