"""Jobs as JSON: looked at, ended, ordered again; and those that are about no model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app import jobs
from app.services import orders
from app.services.orders import Order
from app.views.api.fields import BEGUN, FOLDER, JOB, NUMBER, as_row, begin, job
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

PLACE = Field("location", "a location; else the store here", least=1, most=1000)


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

    def verify(location: str | None = None) -> Any:
        """Read again all that a location holds, or the store here; fails when it finds damage"""
        if location is not None:
            with work.open_store() as store:
                store.locations.get(location)
        return begin(work, Order("verify", location or ""))

    def backup(folder: str) -> Any:
        """Copy the store into a folder; again, only what is new"""
        return begin(work, Order("backup", folder))

    limit = Field("limit", "how many at most", "integer", least=1, most=1000)
    after = Field("after", "the number of the last event that is known", "integer")
    return [
        Route("GET", "/jobs", list_jobs, {"type": "array", "items": JOB}, query=(limit,)),
        Route("GET", f"/jobs/{NUMBER}", show_job, JOB, query=(after,)),
        Route("POST", f"/jobs/{NUMBER}/cancel", cancel_job, JOB),
        Route("POST", f"/jobs/{NUMBER}/retry", retry_job, JOB, status=202, leads=BEGUN),
        Route("POST", "/verify", verify, JOB, body=(PLACE,), status=202, leads=BEGUN),
        Route("POST", "/backup", backup, JOB, body=(FOLDER,), status=202, leads=BEGUN),
    ]
