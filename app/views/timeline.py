"""The Versions tab: where each version is, what its gate found, any two compared, one deleted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template, request

from app.errors import NotFound, Problem
from app.models import Version
from app.services import differences, gate, versions

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace


@dataclass(frozen=True)
class Row:
    """A version and its places. gate: (deployment, passed), if it was at one.

    there: locations that have its release. stays: why it cannot be deleted, if it cannot.
    """

    version: Version
    production: tuple[str, ...]
    there: tuple[str, ...]
    pinned: tuple[str, ...]
    gate: tuple[int, bool] | None
    stays: str


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("timeline", __name__)

    @pages.get("/models/<name>/compare")
    def compare(name: str) -> Any:
        a, b = _two(request.args.getlist("v", type=int))
        with work.open_store() as store:
            numbers = [each.number for each in store.versions.all(store.models.get(name))]
        found = versions.diff(work, f"{name}@{a}", f"{name}@{b}")
        return render_template(
            "compare.html", page="catalogue", name=name, a=a, b=b, numbers=numbers,
            differences=found, settings=[c for c in found.configuration if not _is_said(c)],
            metadata=[c for c in found.configuration if _is_said(c)],
            side_by_side=differences.side_by_side,
        )  # fmt: skip

    @pages.get("/models/<name>/gate/<int:deployment>")
    def report(name: str, deployment: int) -> Any:
        with work.open_store() as store:
            found = store.gates.get(deployment)
            done = store.deployments.get(deployment) if found else None
            newest = store.gates.last(name, done.location) if done else None
        if done is None or done.model != name:
            raise NotFound(f"{name} has no such report.")
        last = newest is not None and newest[0].id == done.id
        return render_template(
            "gate.html", done=done, report=found, row_words=gate.row_words, last=last
        )

    @pages.get("/models/<name>/delete")
    def deleting(name: str) -> Any:
        number = request.args.get("v", type=int)
        with work.open_store() as store:
            model, version = versions.find(store, f"{name}@{number}")
            why = versions.in_use(store, model).get(version.number)
        return render_template("delete.html", name=name, version=version, why=why)

    @pages.post("/models/<name>/delete")
    def delete(name: str) -> Any:
        gone = versions.remove(work, f"{name}@{request.form.get('v', type=int)}")
        return render_template("deleted.html", name=name, version=gone)

    return pages


def tab(
    work: Workspace, live: Live, name: str, version: Version | None, number: int | None
) -> dict[str, Any]:
    """Every version, newest first, with what is known of it here and on the hosts."""
    with work.open_store() as store:
        model = store.models.get(name)
        places = [live.row(asdict(each)) for each in store.instances.all(model=name)]
        stay = versions.in_use(store, model)
        gates = store.gates.of_versions(name)
        rows = [
            Row(
                each,
                tuple(p["location"] for p in places if p["version"] == each.number),
                tuple(p["location"] for p in places if each.number in p.get("there", ())),
                tuple(p["location"] for p in places if each.number in p.get("pinned", ())),
                gates.get(each.number),
                stay.get(each.number, ""),
            )
            for each in store.versions.all(model)
        ]
    return {"rows": rows, "places": [each["location"] for each in places]}


def _is_said(change: differences.Change) -> bool:
    """Whether it is what the model says of itself, which changes nothing in how it runs."""
    return change.name == "description" or change.name.startswith("metadata.")


def _two(numbers: list[int]) -> list[int]:
    if len(numbers) != 2:
        raise Problem("Two versions can be compared, no more and no less.")
    return sorted(numbers)
