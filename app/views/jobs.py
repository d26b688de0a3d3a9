"""Jobs: everything that runs, how far it is, how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app import jobs
from app.errors import NotFound
from app.models import Event, Job
from app.services import orders

if TYPE_CHECKING:
    from app.store import Store
    from app.views.live import Live
    from app.workspace import Workspace

RECENT = 30


@dataclass
class Line:
    """One step of a job, as it is shown. share: how much of it is done, 0 to 1, if known."""

    words: str
    state: str
    share: float | None = None
    amount: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """A job with its lines."""

    job: Job
    order: orders.Order | None
    lines: list[Line]
    result: str


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("jobs", __name__)
    with work.open_store() as store:
        if not store.refusal:
            store.jobs.mark_interrupted()

    @pages.get("/jobs")
    def index() -> Any:
        with work.open_store() as store:
            found = [shown(store, job) for job in store.jobs.all(RECENT)]
        part = {"drawer-body": "jobs_drawer.html"}.get(request.headers.get("HX-Target", ""))
        whole = "HX-Request" not in request.headers
        template = "jobs_page.html" if whole else part or "jobs.html"
        return render_template(template, page="jobs", jobs=found)

    @pages.get("/jobs/ring")
    def ring() -> Any:
        return render_template("jobs_ring.html")

    @pages.get("/jobs/<int:number>")
    def one(number: int) -> Any:
        with work.open_store() as store:
            found = shown(store, store.jobs.get(number))
        return render_template("job.html", shown=found)

    @pages.post("/jobs/<int:number>/cancel")
    def cancel(number: int) -> Any:
        jobs.cancel(work, number)
        return one(number)

    @pages.get("/jobs/<int:number>/again")
    def confirm_again(number: int) -> Any:
        """The question before the same is done once more."""
        with work.open_store() as store:
            order = orders.of(store.jobs.get(number))
        if order is None:
            raise NotFound(f"What job {number} was about is not known.")
        return render_template("confirm.html", order=order, again=f"/jobs/{number}/again")

    @pages.post("/jobs/<int:number>/again")
    def again(number: int) -> Any:
        return one(orders.again(work, number))

    return pages


def shown(store: Store, job: Job) -> Shown:
    """A job as its events tell it."""
    events = [event for _, event in store.jobs.events(job.id)]
    result = next((event.text for event in reversed(events) if event.kind == "result"), "")
    return Shown(job, orders.of(job), lines_of(events, job.state), result)


def lines_of(events: list[Event], state: str) -> list[Line]:
    """The steps, each as far as it came; the last one has the job's state."""
    lines: list[Line] = []
    for event in events:
        if event.kind == "step":
            lines.append(Line(event.text, "running"))
        elif event.kind == "note":
            lines.append(Line(event.text, "note"))
        elif lines and event.kind == "progress":
            lines[-1].share = (event.done or 0) / event.total if event.total else None
            lines[-1].amount = event.text
        elif lines and event.kind == "log":
            lines[-1].notes.append(event.text)
        elif lines and event.kind == "done":
            lines[-1].state, lines[-1].share = "done", None
            lines[-1].words, lines[-1].amount = event.text or lines[-1].words, _took(event)
    ended = {"failed": "failed", "cancelled": "open", "interrupted": "open"}.get(state, state)
    for line in lines:
        if line.state == "running":
            line.state = ended
    return lines


def _took(event: Event) -> str:
    """How long a step took, if one could have noticed."""
    seconds = event.data.get("seconds") or 0
    return f"{seconds:.1f} s" if seconds >= 0.1 else ""
