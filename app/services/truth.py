"""What became of attempts that were cut off: asked from the host, kept in the store, told.

An attempt that this store knows no end of is open. The host's history says whether it happened.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.models import Deployment, Instance, Location
from app.services import places

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.store import Store
    from app.workspace import Workspace

DONE, FAILED, INTERRUPTED = "done", "failed", "interrupted"
TAKEN_BACK, UNKNOWN = "taken back", "unknown"
DECISIVE = ("switch", "stop", "restart", "undeploy", "unlock", "shadow")
"""Steps that change production: cut off before them, it is as it was."""

AGAIN = {"unshadow": "shadow --end"}
"""Commands that are not called as what they do."""

CUT_OFF = (INTERRUPTED, TAKEN_BACK, UNKNOWN)
MAKES_PRODUCTION = ("deploy", "switch", "rollback", "start")
CHANGES = (*MAKES_PRODUCTION, "stop", "restart", "undeploy")


def broken_off(attempt: Deployment) -> str:
    """The result of an attempt that ends before its end, by what was begun."""
    decisive = [each for each in attempt.steps if each["do"] in DECISIVE]
    if any(each["ended"] for each in decisive):
        return DONE
    begun = not attempt.steps or any(each["began"] for each in decisive)
    return UNKNOWN if begun else INTERRUPTED


def outcome(attempt: Deployment, said: dict[str, Any]) -> str | None:
    """What became of an attempt by what its host says (op `truth`); None: not decided yet."""
    noted = said["unconfirmed"]
    waiting = _same(noted, attempt) and noted["release"] == said["current"]
    if waiting or _same(said["holder"], attempt):
        return None
    lines = [line for line in said["history"] if _same(line, attempt)]
    if any(line["action"] == "take-back" for line in lines):
        return TAKEN_BACK
    stopped = attempt.action == "stop" and said["stopped"]
    gone = attempt.action == "undeploy" and not said["known"]
    if lines or stopped or gone or (attempt.steps and all(s["ended"] for s in attempt.steps)):
        return DONE
    return INTERRUPTED


def refused(work: Workspace, road: Road, attempt: Deployment) -> str:
    """The result of an attempt whose decisive step the host refused, by what it says now.

    It may have refused what comes after the switch, and a host that goes down refuses before it is
    silent: then the attempt stays open.
    """
    try:
        said = road.call("truth", name=attempt.model)
    except Problem:
        return UNKNOWN
    result = outcome(attempt, {**said, "holder": None})  # the holder are we
    if result == DONE and attempt.action in MAKES_PRODUCTION:
        with work.open_store() as store:
            _know(store, attempt, said)
    return {None: UNKNOWN, DONE: DONE}.get(result, FAILED)


def _same(said: dict[str, Any] | None, attempt: Deployment) -> bool:
    return bool(said and attempt.attempt and said.get("id") == attempt.attempt)


def reconcile(work: Workspace, road: Road, location: Location, model: str | None = None) -> None:
    """Ask the host how each open attempt on it ended, and keep that.

    What a client of ours began and gave up is ended there, if it has not noticed yet.
    """
    with work.open_store() as store:
        attempts = store.deployments.open(model, location.name)
    for name in {each.model for each in attempts}:
        said = road.call("truth", name=name)
        given_up = [each for each in attempts if each.model == name and each.result == UNKNOWN]
        if any(_same(said["holder"], each) for each in given_up):
            road.call("abandon", name=name, id=said["holder"]["id"])
            said = road.call("truth", name=name)
        settle(work, name, location, said)


def settle(
    work: Workspace, model: str, location: Location, said: dict[str, Any]
) -> tuple[str, ...]:
    """Keep how the open attempts on an instance ended; that in words, one each."""
    words = []
    with work.open_store() as store:
        for attempt in store.deployments.open(model, location.name):
            result = outcome(attempt, said)
            if result is None:
                continue
            ended = store.deployments.finish(attempt.id, result, attempt.detail or _where(attempt))
            if result == DONE and attempt.action in MAKES_PRODUCTION:
                _know(store, attempt, said)
            words.append(told(ended, said["versions"].get(said["current"])))
    return tuple(words)


def _know(store: Store, attempt: Deployment, said: dict[str, Any]) -> None:
    """The instance as the attempt left it, which had no time to write it down."""
    known = store.instances.get(attempt.model, attempt.location)
    release = said["current"] or ""
    instance = known or Instance(attempt.model, attempt.location, None, "", None, "")
    version = said["versions"].get(release)
    changed = {"port": said["port"], "release": release, "version": version, "state": "serving"}
    store.instances.upsert(replace(instance, **changed, seen=""))


def _where(attempt: Deployment) -> str:
    if not attempt.step:
        return ""
    number = sum(1 for each in attempt.steps if each["began"])
    return f'cut off at "{attempt.step}" (step {number} of {len(attempt.steps)})'


def told(attempt: Deployment, serving: int | None) -> str:
    """In words: how an attempt ended, what serves, how to go on or back."""
    name, to = attempt.model, f"--to {attempt.location}"
    version = f" v{attempt.version}" if attempt.version else ""
    subject = f"The {attempt.action} of {name}{version} on {attempt.location} by {attempt.who}"
    now = f"v{serving} is production there" if serving else "nothing is production there"
    again = f"rhythmicml {AGAIN.get(attempt.action, attempt.action)} {name}"
    if attempt.version and attempt.action in ("deploy", "switch", "shadow"):
        again += f"@{attempt.version}"
    undo = f"rhythmicml switch {name}@{serving} {to}" if serving else ""
    undo = undo or f"rhythmicml undeploy {name} {to}"
    if attempt.result == DONE:
        makes = attempt.version and attempt.action in MAKES_PRODUCTION
        back = f" rhythmicml rollback {name} {to} undoes it." if makes else ""
        return f"{subject} was cut off after it was done: {now}.{back}"
    if attempt.result == TAKEN_BACK:
        return f"{subject} was taken back, as nobody confirmed it: {now}. {again} {to} repeats it."
    if attempt.result == "":
        at = f', at "{attempt.step}"' if attempt.step else ""
        return f"{subject} is under way{at}."
    if attempt.result == UNKNOWN and attempt.version:
        return (
            f"{subject} was cut off while it switched: {now}. What nobody has confirmed is taken "
            f"back by the host within 90 seconds; {again} {to} keeps it."
        )
    if attempt.result == UNKNOWN:
        return f"{subject} was cut off while it was done; what became of it the host has to say."
    return (
        f"{subject} was {_where(attempt) or 'cut off'}: {now}. "
        f"{again} {to} resumes it, {undo} ends what was begun."
    )


def note_of(store: Store, model: str, location: str, serving: int | None) -> str:
    """What there is to say of the last attempt on an instance, if it was cut off."""
    attempts = store.deployments.for_model(model, location)
    last = next((each for each in attempts if each.action in CHANGES), None)
    return told(last, serving) if last and last.result in (*CUT_OFF, "") else ""


def undecided(work: Workspace, name: str | None, to: str | None) -> list[Location]:
    """Where attempts were made whose end is not known here."""
    with work.open_store() as store:
        places = {each.location for each in store.deployments.open(name, to)}
        known = {each.name: each for each in store.locations.all()}
    return [known[place] for place in sorted(places) if place in known]


def ask(work: Workspace, name: str | None, to: str | None) -> None:
    """Ask the hosts what became of open attempts; those of a host that is away stay open."""
    for location in undecided(work, name, to):
        with contextlib.suppress(Problem), work.reach(location) as road:
            reconcile(work, road, location, name)


def loose(work: Workspace, name: str | None, to: str | None) -> list[str]:
    """What there is to say of attempts that were cut off where nothing is deployed.

    to: locations, as `places.named` takes them.
    """
    meant = places.named(work, to) if to else None
    with work.open_store() as store:
        deployed = {(each.model, each.location) for each in store.instances.all()}
        last = store.deployments.lasts(CHANGES, name)
    last = [each for each in last if meant is None or each.location in meant]
    cut_off = [each for each in last if each.result in (*CUT_OFF, "")]
    return [told(e, None) for e in cut_off if (e.model, e.location) not in deployed]
