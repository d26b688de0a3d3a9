"""Long work in a thread of its own: what it says is kept; it can be cancelled between events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

from app import log
from app.errors import Problem
from app.models import Event
from app.progress import Teller

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

Task = Callable[[], Iterator[Event]]

_leaving: dict[int, Callable[[], None]] = {}
"""Of each job of this process, what has it stop waiting for its host."""


def start(
    work: Workspace,
    kind: str,
    subject: str,
    task: Task,
    *,
    request: dict[str, Any] | None = None,
    leave: Callable[[], None] = lambda: None,
) -> int:
    """Run a service's events to their end in a thread; returns the job's number at once.

    request: what was asked for, kept with the job. leave: called when it is cancelled, so that a
    service which waits for a host gets a Problem.
    """
    with work.open_store() as store:
        number = store.jobs.add(kind, subject, request).id
    _leaving[number] = leave
    threading.Thread(target=_run, args=(work, number, task), name=f"job {number}").start()
    return number


def cancel(work: Workspace, number: int) -> None:
    """Have a job end as soon as it can. What ended already stays as it is."""
    with work.open_store() as store:
        if store.jobs.get(number).state == "running":
            store.jobs.cancel(number)
    _leaving.get(number, lambda: None)()


def cancel_all(work: Workspace) -> None:
    """Have all jobs of this process end as soon as they can."""
    for number in list(_leaving):
        cancel(work, number)


def unfinished() -> list[threading.Thread]:
    """The threads of this process's jobs that have not ended."""
    return [each for each in threading.enumerate() if each.name.startswith("job ")]


def _run(work: Workspace, number: int, task: Task) -> None:
    try:
        with work.open_store() as store:
            state, outcome = _outcome(store, number, task)
            store.jobs.finish(number, state, outcome)
    finally:
        del _leaving[number]
    from app.services import endings  # which knows of orders, and they of jobs

    with suppress(Problem):  # the store went away meanwhile
        endings.tell(work, number)


def _outcome(store: Store, number: int, task: Task) -> tuple[str, dict[str, Any]]:
    """How it ended, and what it gave back or what went wrong."""
    data: dict[str, Any] = {}
    teller = Teller()
    try:
        with closing(task()) as events:  # type: ignore[type-var]
            for event in events:
                if kept := teller.of(event, time.monotonic()):
                    store.jobs.heard(number, kept)
                data = event.data if event.kind == "result" else data
                if store.jobs.get(number).cancelling:
                    return "cancelled", data
    except Problem as problem:
        cancelled = store.jobs.get(number).cancelling
        return "cancelled" if cancelled else "failed", dict(problem.as_dict())
    except Exception as error:
        log.keep(store.home, error, f"job {number}")
        remedy = "Report it with what this prints: rhythmicml doctor"
        return "failed", {
            "what": "RhythmicML made a mistake.", "cause": repr(error), "remedy": remedy,
        }  # fmt: skip
    return "failed" if data.get("failed") else "done", data
