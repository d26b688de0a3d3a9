"""What several parts of the API take and give."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app.errors import NotFound
from app.models import Job
from app.services import orders
from app.views.described import Field

if TYPE_CHECKING:
    from app.services.orders import Order
    from app.workspace import Workspace

PREFIX = "/api/v1"
NUMBER = "<int:number>"
MODEL = "/models/<model>"
JOB = {
    "type": "object",
    "required": ["id", "kind", "subject", "state", "started", "ended", "outcome", "command"],
}
BEGUN = ("show_job", {"number": "$response.body#/id"})
VERSION = Field("version", "the version's number", "integer")
CHOSEN = Field("version", "the version's number", "integer", required=True)
TO = Field(
    "to",
    "a location, several with commas, or a group; else where the model is, or goes",
    least=1,
    most=1000,
)
ON = Field("to", "a location; else where the model is", least=1, most=1000)
FOLDER = Field(
    "folder", "the whole path of a folder", required=True, least=1, pattern=r"^[/~][^\u0000]*$"
)


def reference(model: str, version: int | None) -> str:
    """`churn` or `churn@3`; a name cannot bring a number of its own."""
    if "@" in model:
        raise NotFound(f'No model "{model}" is known.')
    return model if version is None else f"{model}@{version}"


def begin(work: Workspace, order: Order) -> dict[str, Any]:
    """The job that carries it out."""
    return job(work, orders.start(work, order))


def job(work: Workspace, number: int) -> dict[str, Any]:
    with work.open_store() as store:
        return as_row(store.jobs.get(number))


def as_row(found: Job) -> dict[str, Any]:
    order = orders.of(found)
    return {**asdict(found), "command": order.command if order else ""}
