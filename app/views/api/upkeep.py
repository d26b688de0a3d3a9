"""What is about no model, as JSON: the store read again, kept, put back; what locations have taken
over; how many releases stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.services import retention
from app.services.orders import Order
from app.views.api.fields import BEGUN, FOLDER, JOB, begin
from app.views.described import Field, Route

if TYPE_CHECKING:
    from app.workspace import Workspace

PLACE = Field("location", "a location; else the store here", least=1, most=1000)
OF_MODEL = Field("model", "this one alone", least=1, most=1000)
INTO = replace(
    FOLDER, name="into", about="where the folders of new models are made", required=False
)
BACKUP = replace(FOLDER, about="the whole path of a backup's folder", required=False)
UNDO = Field("undo", "put back what was here before the last restore", "boolean")
KEEP = Field("keep", "how many", "integer", required=True, least=1, most=retention.MOST)


def routes(work: Workspace) -> list[Route]:
    def verify(location: str | None = None) -> Any:
        """Read again all that a location holds, or the store here; fails when it finds damage"""
        if location is not None:
            _must_be_known(location)
        return begin(work, Order("verify", location or ""))

    def backup(folder: str) -> Any:
        """Copy the store into a folder; again, only what is new"""
        return begin(work, Order("backup", folder))

    def restore_store(folder: str = "", undo: bool = False) -> Any:
        """Put a backup in place of the store: all of it or nothing; it can be taken back

        Models, versions, locations and jobs are then those of the backup. What was here stays
        beside it: `undo`, without a folder, puts that back. A copy beside the store, which is a
        file, is put back by the command alone, once RhythmicML is closed.
        """
        if bool(folder) == undo:
            raise Problem("It is not said what to put back.", remedy="Give folder, or undo.")
        return begin(work, Order("restore-store", folder, {"undo": True} if undo else {}))

    def adopt(name: str, **options: Any) -> Any:
        """Take the models that a location has into the store here: versions, files, history"""
        _must_be_known(name)
        return begin(work, Order("adopt", name, options))

    def show_keep() -> Any:
        """How many good releases stay on a host, of models that do not say it"""
        with work.open_store() as store:
            return {"keep": retention.default(store)}

    def set_keep(keep: int) -> Any:
        """Change it; older releases go with the next deploy or switch of each model"""
        retention.set_default(work, keep)
        return show_keep()

    def _must_be_known(location: str) -> None:
        with work.open_store() as store:
            store.locations.get(location)

    kept = {"type": "object", "required": ["keep"]}
    at = "/locations/<name>/adopt"
    return [
        Route("POST", "/verify", verify, JOB, body=(PLACE,), status=202, leads=BEGUN),
        Route("POST", "/backup", backup, JOB, body=(FOLDER,), status=202, leads=BEGUN),
        Route("POST", "/restore-store", restore_store, JOB, body=(BACKUP, UNDO), status=202,
              leads=BEGUN),
        Route("POST", at, adopt, JOB, body=(OF_MODEL, INTO), status=202, leads=BEGUN),
        Route("GET", "/keep", show_keep, kept),
        Route("PUT", "/keep", set_keep, kept, body=(KEEP,)),
    ]  # fmt: skip
