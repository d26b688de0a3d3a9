"""That a job has ended, told on the desktop to whoever did not stay to watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.models import Job, instant
from app.services import notices

if TYPE_CHECKING:
    from app.workspace import Workspace

SETTING = "job_notices"
"""Whether a notice comes at the end of a job; it does, unless it says no."""
LONG = 10.0
"""Seconds from which on a job is long: of a shorter one the person has seen the end."""
WORDS = {"done": "is done", "failed": "failed", "cancelled": "is cancelled"}


def wanted(work: Workspace) -> bool:
    return notices.wanted(work, SETTING)


def want(work: Workspace, yes: bool) -> None:
    notices.want(work, yes, SETTING)


def tell(work: Workspace, number: int) -> str:
    """Show a notice of a job that has ended; why it was not shown, "" when it was."""
    with work.open_store() as store:
        job = store.jobs.get(number)
        told = [event.text for _, event in store.jobs.events(number) if event.kind == "result"]
    if _took(job) < LONG:
        return "It was short."
    if not wanted(work):
        return "Notices of jobs are turned off in Settings."
    title, text = words(job, told[-1] if told else "")
    return notices.tell(work, title, text)


def words(job: Job, result: str) -> tuple[str, str]:
    """Title and text."""
    title = f"{job.words} {WORDS.get(job.state, job.state)}"
    return title, str(job.outcome.get("what", "")) if job.state == "failed" else result


def _took(job: Job) -> float:
    return (instant(job.ended) - instant(job.started)).total_seconds() if job.ended else 0.0
