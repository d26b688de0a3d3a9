"""What a person can order as a job, by name: so that it can be kept, shown and ordered again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Any

from app import jobs
from app.errors import Problem
from app.models import Event, Job
from app.services import (
    adopting,
    backups,
    deployments,
    fleet,
    pins,
    places,
    rehearsing,
    removing,
    shadow,
    verifying,
    versions,
)
from app.services.together import Crew

if TYPE_CHECKING:
    from app.workspace import Workspace

Events = Iterator[Event]


@dataclass(frozen=True)
class Order:
    """A verb, what it is about (a model, model@version, a location, a folder), and its options."""

    verb: str
    subject: str
    options: dict[str, Any] = field(default_factory=dict)

    def events(self, work: Workspace) -> Events:
        """What happens while it is carried out."""
        return VERBS[self.verb](work, self.subject, **self.options)

    @property
    def model(self) -> str:
        """The name of the model that it is about; empty when it is about none."""
        return "" if self.verb in OF_NO_MODEL else self.subject.partition("@")[0]

    @property
    def command(self) -> str:
        """The same, for the command line."""
        words = ["rhythmicml", *COMMANDS.get(self.verb, self.verb).split()]
        words += [self.subject] if self.subject else []
        for name, value in self.options.items():
            flag = "--" + name.replace("_", "-")
            words += (
                []
                if value in (None, "", False)
                else [flag]
                if value is True
                else [flag, str(value)]
            )
        return join(words)

    def as_dict(self) -> dict[str, Any]:
        return {"verb": self.verb, "subject": self.subject, "options": self.options}


def start(work: Workspace, order: Order) -> int:
    """Carry it out as a job; its number."""
    crew = Crew.of(work)
    return jobs.start(
        work,
        order.verb,
        order.subject,
        partial(order.events, crew),
        request=order.as_dict(),
        leave=crew.leave,
    )


def of(job: Job) -> Order | None:
    """What a job was ordered as, if that was kept."""
    return Order(**job.request) if job.request else None


def under_way(work: Workspace, model: str, to: str = "") -> dict[int, str]:
    """What changes instances of a model now: number of the job → its words, the oldest first.

    to: what may touch one of these locations alone.
    """
    with work.open_store() as store:
        running = store.jobs.unfinished()
    return {
        job.id: job.words
        for job in running
        if (order := of(job))
        and order.model == model
        and order.verb in CHANGING
        and _may_meet(work, to, order.options.get("to", ""))
    }


def _may_meet(work: Workspace, one: str, other: str) -> bool:
    """Whether two texts that name locations may mean the same; an empty one may mean any."""
    if not one or not other or one == other:
        return True
    return not set(places.named(work, one)).isdisjoint(places.named(work, other))


def again(work: Workspace, number: int) -> int:
    """Order once more what a job was about; the new job's number."""
    with work.open_store() as store:
        order = of(store.jobs.get(number))
    if order is None:
        raise Problem(f"What job {number} was about is not known, so it cannot be repeated.")
    return start(work, order)


def _commit(work: Workspace, subject: str, **options: Any) -> Events:
    yield Event("step", f"Commit {subject}")
    made = versions.commit(work, subject, **options)
    yield Event("done", f"Commit {subject}")
    number = made.version.number
    words = f"{subject} v{number} is kept." if made.new else f"Nothing changed since v{number}."
    data = {"model": subject, "version": number, "new": made.new, "breaking": made.breaking}
    yield Event("result", words, data=data)


def _check(work: Workspace, subject: str) -> Events:
    return fleet.check(work, [subject])


def _verify(work: Workspace, subject: str) -> Events:
    """As the command: what is not as it should be makes it fail."""
    for event in verifying.verify(work, subject or None):
        data = event.data
        failed = {"failed": True} if data.get("findings") else {}
        yield replace(event, data={**data, **failed})


def _rehearse(work: Workspace, subject: str) -> Events:
    """A pipeline with all of its stages; the first rows of what each gave are kept with the job."""
    for event in rehearsing.rehearse(work, subject):
        if event.kind == "result":
            stages = [{**each, **rehearsing.brief(each)} for each in event.data["stages"]]
            event = replace(event, data={**event.data, "answer": None, "stages": stages})
        yield event


def _restore_store(work: Workspace, subject: str, undo: bool = False) -> Events:
    return backups.restore(work, None if undo else subject)


def _adopt(
    work: Workspace, subject: str, into: str | None = None, model: str | None = None
) -> Events:
    return adopting.adopt(work, subject, into=Path(into) if into else None, model=model)


def _each(verb: Callable[..., Events]) -> Callable[..., Events]:
    def ordered(work: Workspace, subject: str, to: str | None = None, **options: Any) -> Events:
        return fleet.each(work, verb, subject, to=to, **options)

    return ordered


def _pinned(stay: bool) -> Callable[..., Events]:
    def ordered(work: Workspace, subject: str, to: str | None = None) -> Events:
        words = f"{'Pin' if stay else 'Unpin'} {subject}"
        yield Event("step", words)
        done = pins.pin(work, subject, to=to, stay=stay)
        yield Event("done", words)
        place, kept = done["location"], ", ".join(f"v{each}" for each in done["pinned"])
        yield Event("result", f"Pinned on {place}: {kept or 'nothing'}.", data=done)

    return ordered


VERBS: dict[str, Callable[..., Events]] = {
    "commit": _commit,
    "deploy": fleet.deploy,
    "undeploy": deployments.undeploy,
    "check": _check,
    "remove": removing.remove,
    "verify": _verify,
    "backup": backups.backup,
    "restore-store": _restore_store,
    "adopt": _adopt,
    "pin": _pinned(True),
    "unpin": _pinned(False),
    "test": _rehearse,
    "shadow": shadow.start,
    "unshadow": shadow.end,
    **{
        verb.__name__: _each(verb)
        for verb in (
            *(deployments.switch, deployments.rollback, deployments.start),
            *(deployments.stop, deployments.restart),
        )
    },
}
COMMANDS = {"check": "location check", "test": "pipeline test", "unshadow": "shadow --end"}
OF_NO_MODEL = ("check", "verify", "backup", "restore-store", "adopt")
CHANGING = ("deploy", "undeploy", "switch", "rollback", "start", "stop", "restart")
"""What a host does for one at a time, of each model."""
