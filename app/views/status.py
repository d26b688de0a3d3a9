"""The status window: all at a glance, in 360 × 520."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template

from app.services import glance, monitoring
from app.views.figures import host_shown, row_shown

if TYPE_CHECKING:
    from app.views.live import Live
    from app.views.server import Server
    from app.workspace import Workspace

ORDER = ("failing", "degraded", "unreachable", "starting", "serving", "stopped")
"""Of the counts on top."""


def blueprint(work: Workspace, live: Live, server: Server) -> Blueprint:
    pages = Blueprint("status", __name__)

    @pages.get("/status")
    def index() -> Any:
        live.refresh()
        window = server.window
        return render_template(
            "status.html", page="status", on_top=bool(window and window.status.on_top),
            **_instances(), **_jobs(), **_machines(),
        )  # fmt: skip

    @pages.get("/status/instances")
    def instances() -> Any:
        live.refresh()
        return render_template("status_instances.html", **_instances())

    @pages.get("/status/jobs")
    def jobs() -> Any:
        return render_template("status_jobs.html", **_jobs())

    @pages.get("/status/machines")
    def machines() -> Any:
        return render_template("status_machines.html", **_machines())

    def _instances() -> dict[str, Any]:
        rows = [
            {**row, "state": live.row(row)["state"] or row["state"] or "unknown"}
            for row in monitoring.overview(work)
        ]
        ordered = glance.instances(rows)
        states = [row["state"] for row in ordered]
        return {
            "rows": [row_shown(row) for row in ordered],
            "counts": [(each, states.count(each)) for each in ORDER if each in states],
            "alerts": glance.alerts(work),
        }

    def _jobs() -> dict[str, Any]:
        return {"jobs": glance.jobs(work)}

    def _machines() -> dict[str, Any]:
        here = {**glance.machine(work.home), "location": "This machine", "at": None, "state": ""}
        return {"machines": [host_shown(each) for each in (here, *glance.locations(work))]}

    return pages
