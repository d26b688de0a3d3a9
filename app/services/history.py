"""Who did what, from which machine, from what to what, and how it ended: models and locations."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app.models import Deployment, instant
from app.services import person
from app.spreadsheets import as_csv

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

EVERY = 1 << 30
HEAD = (
    "started", "ended", "action", "model", "location", "from", "to", "user", "machine",
    "result", "detail", "log",
)  # fmt: skip
OF_RELEASE = re.compile(r"v(\d+)-")

Line = dict[str, Any]


def note(store: Store, action: str, model: str = "", **more: Any) -> None:
    """Write down what somebody here did. more: location, version, detail."""
    store.notes.add(action, person.who(), model=model, **more)


def lines(
    work: Workspace, model: str | None = None, *, to: str | None = None, limit: int = EVERY
) -> list[Line]:
    """What was done to a model and its instances, or to all, newest first.

    Each is a Deployment's fields, with "seconds" of each step or None, and "from", "to":
    numbers of versions or None, "user", "machine".
    Raises NotFound for a model that is not known and never was.
    """
    with work.open_store() as store:
        done = store.deployments.for_model(model, to, limit)
        done += store.notes.of(model, to, limit)
        if not done and model:
            store.models.get(model)
    done.sort(key=lambda each: each.started, reverse=True)
    return [_line(each) for each in done[:limit]]


def _line(each: Deployment) -> Line:
    user, _, machine = each.who.partition("@")
    before = OF_RELEASE.match(each.previous)
    changed = each.release != each.previous
    return {
        **asdict(each),
        "steps": [{**step, "seconds": _took(step)} for step in each.steps],
        "from": int(before[1]) if before and changed else None,
        "to": each.version,
        "user": user,
        "machine": machine,
    }


def _took(step: dict[str, str]) -> float | None:
    if not step["began"] or not step["ended"]:
        return None
    return (instant(step["ended"]) - instant(step["began"])).total_seconds()


def table(found: list[Line]) -> str:
    """As CSV, oldest last; the log is a line for each step."""
    body = [[_cell(each, name) for name in HEAD] for each in found]
    return as_csv(HEAD, body)


def _cell(line: Line, name: str) -> Any:
    if name != "log":
        return line[name]
    return "\n".join(f"{s['began'] or '-'} {s['ended'] or '-'} {s['words']}" for s in line["steps"])
