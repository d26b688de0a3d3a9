"""Jobs as JSON: looked at, ended, ordered again."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app import jobs
from app.services import orders
from app.views.api.fields import BEGUN, JOB, NUMBER, as_row, job
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace


def routes(work: Workspace) -> list[Route]:
    def list_jobs(limit: int = 50) -> Any:
        """Jobs, newest first"""
        with work.open_store() as store:
            return [as_row(each) for each in store.jobs.all(limit)]

    def show_job(number: int, after: int = 0) -> Any:
        """One job, and what happened in it after an event, each with its number `n`"""
        with work.open_store() as store:
            found = store.jobs.get(number)
            said = store.jobs.events(number, after)
        return {**as_row(found), "events": [{"n": n, **asdict(event)} for n, event in said]}

    def cancel_job(number: int) -> Any:
        """Have a job end as soon as it can; its hosts take back what it began"""
        jobs.cancel(work, number)
        return job(work, number)

    def retry_job(number: int) -> Any:
        """Order once more what a job was about; gives the new job"""
        return job(work, orders.again(work, number))

    limit = Field("limit", "how many at most", "integer", least=1, most=1000)
    after = Field("after", "the number of the last event that is known", "integer")
    return [
        Route("GET", "/jobs", list_jobs, {"type": "array", "items": JOB}, query=(limit,)),
        Route("GET", f"/jobs/{NUMBER}", show_job, JOB, query=(after,)),
        Route("POST", f"/jobs/{NUMBER}/cancel", cancel_job, JOB),
        Route("POST", f"/jobs/{NUMBER}/retry", retry_job, JOB, status=202, leads=BEGUN),
    ]
