"""Putting versions into production, and taking them out: deploy, switch, rollback, stop, undeploy.

Each is a generator of events; it does nothing until someone iterates, and closing it stops between
steps. The last event is the result.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.deployer import plan as planning
from app.deployer.agent.retention import rollback_target
from app.deployer.apply import Source, apply
from app.deployer.plan import Found, Step, Wanted
from app.errors import GateFailed, NotFound, Problem
from app.models import Event, Location, Model, Version
from app.services import (
    dependents,
    logs,
    references,
    releases,
    retention,
    schemas,
    secrets,
    shipping,
    staging,
    tunnelling,
)
from app.services.attempts import (
    Attempt,
    Events,
    ask_look,
    attempting,
    before_result,
    beginning,
    carry_out,
    certified,
    look,
    nothing_to_send,
    planned,
    recorded,
    single,
)
from app.services.gate import Unsteady
from app.services.places import (
    location_for,
    location_of,
    not_deployed,
    releases_of,
    status_of,
    way_words,
)
from app.words import told

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.workspace import Workspace


def deploy(
    work: Workspace,
    what: str,
    *,
    to: str | None = None,
    port: int | None = None,
    message: str = "",
    dry_run: bool = False,
    stop_first: bool = False,
    force: bool = False,
    stages_come: bool = False,
) -> Events:
    """Put a version into production: `what` is a folder, a model, or model@version.

    A folder or a model is committed first if anything in it changed. A second run changes nothing.
    dry_run: the result holds the plan and nothing is changed on the host. stop_first: the release
    in production ends before the new one starts, and is started again if that one fails. force:
    pipelines that ask it may break. stages_come: the stages of this pipeline need not be there yet.
    """
    model, version = yield from references.version_of(work, what, message)
    location = location_for(work, model.name, version.configuration.location, to)
    yield Event("step", f"Look at {location.name}")
    others = staging.elsewhere(work, model.name, version.configuration, location)
    with beginning(work, "deploy", model.name, location, not dry_run) as (road, begun):
        wanted, source = _wanted(work, model, version, location, road, others, port)
        wanted = replace(wanted, stop_first=stop_first)
        looking = ask_look(road, wanted)
        attempt = begun()
        found = planning.parse_found(looking.result())
        yield Event("done", _looked_at(attempt))
        if wanted.stages and not stages_come:
            staging.check(wanted, found, others, location, version.schema)
        asking = _agreed(attempt, wanted, found, version.schema, force)
        for each in planning.cautions(wanted, found):
            yield Event("note", f"{each.name}: {each.words}")
        room, found = yield from _made_room(attempt, wanted, found, dry_run)
        wanted, found, source = yield from shipping.completed(
            attempt, version, wanted, found, source
        )
        wanted = secrets.confided(work, location, wanted)
        wanted = certified(attempt, wanted, found, version.configuration)
        wanted = staging.confided(work, wanted, found, others, location, dry_run)
        steps, found = _steps(attempt, wanted, found, dry_run)
        breaking = _breaking(work, model, version, found)
        if dry_run:
            yield planned(wanted, attempt, found, [*room, *steps], breaking)
        else:
            yield from _do(attempt, wanted, found, steps, source, breaking, asking)


def _wanted(
    work: Workspace,
    model: Model,
    version: Version,
    location: Location,
    road: Road,
    others: Mapping[str, staging.Elsewhere],
    port: int | None,
) -> tuple[Wanted, Source]:
    """The release as this host is to have it, and what it is made of."""
    reached = staging.reached(version.configuration, others)
    with work.open_store() as store:
        wanted, source = releases.wanted(store, model, version, road.hello, port, reached)
        before = store.deployments.for_model(model.name, location.name)
    loads_in = next((took for each in before if (took := each.took("start"))), None)
    return replace(wanted, loads_in=loads_in), source


def _looked_at(attempt: Attempt) -> str:
    way = way_words(attempt.road.hello["mode"])
    return f"Look at {attempt.location.name}" + (f" ({way})" if way else "")


def _made_room(
    attempt: Attempt, wanted: Wanted, found: Found, dry_run: bool
) -> Generator[Event, None, tuple[list[Step], Found]]:
    """Old releases go before a new one is judged and sent; what went, and what is there then."""
    room = [] if found.release else planning.tidy(wanted, found)
    if room and not dry_run:
        yield from apply(room, attempt.road, attempt.model, nothing_to_send)
        found = look(attempt.road, wanted)
    return room, found


def _steps(
    attempt: Attempt, wanted: Wanted, found: Found, dry_run: bool
) -> tuple[list[Step], Found]:
    """The plan. A new instance gets its port once nothing speaks against the plan."""
    steps = planning.plan(wanted, found)
    if not (dry_run or wanted.port or found.port):
        found = replace(found, port=attempt.road.call("reserve", name=attempt.model))
        steps = planning.plan(wanted, found)
    return steps, found


def _do(
    attempt: Attempt,
    wanted: Wanted,
    found: Found,
    steps: list[Step],
    source: Source,
    breaking: tuple[str, ...],
    asking: dependents.Dependents,
) -> Events:
    """The plan; what fails while it is watched is taken back."""
    try:
        yield from tunnelling.let_in(attempt, wanted, found)
        done = carry_out(attempt, wanted, found, steps, source, breaking, asking)
        yield from _locking_out(attempt, wanted, done)
    except Unsteady as fallen:
        yield from _fall_back(attempt, found.current or "", wanted.release, fallen)


def _locking_out(attempt: Attempt, wanted: Wanted, events: Events) -> Events:
    """The same events; where its stages are no more, its tunnels are let in no more."""
    places = tunnelling.before(attempt) - set(wanted.tunnels_to)
    key = attempt.road.call("tunnel_key", name=attempt.model, make=False) if places else None
    yield from before_result(events, tunnelling.lock_out(attempt, places, key))


def _fall_back(attempt: Attempt, release: str, failed: str, fallen: Unsteady) -> Events:
    """Bring back the release that was production before; the failure is told all the same."""
    before = told(release, failed)
    yield Event("step", f"Go back to {before}")
    try:
        for event in _recall(attempt.then("rollback"), release, force=True):
            if event.kind != "result":
                yield event
    except Problem as problem:
        raise GateFailed(
            f"{fallen.what} Going back to {before} failed, too.",
            cause=f"{fallen.cause}\n{problem.what} {problem.cause}",
            remedy=f"rhythmicml status {attempt.model} says what serves now. {problem.remedy}",
            detail=fallen.detail,
        ) from problem
    raise GateFailed(
        fallen.what,
        cause=fallen.cause,
        remedy=f"{fallen.remedy} {before} is production again.",
        detail=fallen.detail,
    ) from fallen


def _breaking(work: Workspace, model: Model, version: Version, found: Found) -> tuple[str, ...]:
    """What those who call the version in production would stumble over."""
    numbers = {each["id"]: each["version"] for each in found.releases}
    with work.open_store() as store:
        known = {each.number: each for each in store.versions.all(model)}
    before = known.get(numbers.get(found.current, 0))
    return schemas.breaking(before.schema, version.schema) if before else ()


def switch(
    work: Workspace, reference: str, *, to: str | None = None, force: bool = False
) -> Events:
    """Make a version production whose release is on the host already: nothing is sent or built.

    force: pipelines that ask it may break.
    """
    name, number = references.numbered(reference, "switch")
    location = location_of(work, name, to)
    with work.open_store() as store:
        digest = store.versions.get(store.models.get(name), number).digest
    with attempting(work, "switch", name, location) as attempt:
        status = status_of(attempt.road, name, location.name)
        there = releases_of(status, number, location.name, digest)
        yield from _recall(attempt, there[-1], force)


def rollback(work: Workspace, name: str, *, to: str | None = None, force: bool = False) -> Events:
    """Go back to the release that was production before: nothing is sent or built.

    force: pipelines that ask it may break.
    """
    location = location_of(work, name, to)
    with attempting(work, "rollback", name, location) as attempt:
        status = status_of(attempt.road, name, location.name, history=100_000)
        history, there = status["history"], status["releases"]
        target = rollback_target(history, there, status["current"])
        if target is None:
            raise Problem(
                f"{name} has no earlier release on {location.name} to go back to.",
                remedy=f"rhythmicml versions {name}, then deploy the one you want",
            )
        yield from _recall(attempt, target, force)


def recall(work: Workspace, name: str, release: str, *, to: str | None = None) -> Events:
    """Go back to a release that is on the host, by its id."""
    location = location_of(work, name, to)
    with attempting(work, "rollback", name, location) as attempt:
        yield from _recall(attempt, release, force=True)


def start(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Start the production release of an instance that was stopped."""
    location = location_of(work, name, to)
    with attempting(work, "start", name, location) as attempt:
        current = status_of(attempt.road, name, location.name)["current"]
        if current is None:
            raise NotFound(f"{name} has no production release on {location.name}.")
        yield from _recall(attempt, current, force=True)


def restart(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Stop the production release and start it again; connections wait meanwhile."""
    location = location_of(work, name, to)
    with attempting(work, "restart", name, location) as attempt:
        status = status_of(attempt.road, name, location.name)
        if status["stopped"] or not status["listening"]:
            raise Problem(
                f"{name} does not run on {location.name}.", remedy=f"rhythmicml start {name}"
            )
        yield from _made_fit(attempt, status["current"])
        step = Step(
            f"Restart {told(status['current'])}",
            "restart",
            {"name": name, "entry": attempt.entry()},
        )
        yield from single(attempt, step, status, f"{name} was restarted on {location.name}.")


def _made_fit(attempt: Attempt, release: str) -> Events:
    """Refused where it could not start again; told the values that were set here since the host
    got its own."""
    wanted = releases.recalled(attempt.road.call("manifest", name=attempt.model, release=release))
    found = look(attempt.road, wanted)
    planning.refuse_unfit(found)
    if wanted.secret_names:
        wanted = secrets.confided(attempt.work, attempt.location, wanted)
        steps = planning.confide(wanted, found)
        yield from apply(steps, attempt.road, attempt.model, nothing_to_send)


def stop(work: Workspace, name: str, *, to: str | None = None, force: bool = False) -> Events:
    """Stop an instance: it answers no more, also not after a reboot, until it is started.

    force: even while a pipeline asks it.
    """
    location = location_of(work, name, to)
    with attempting(work, "stop", name, location) as attempt:
        status = status_of(attempt.road, name, location.name)
        _asking(attempt, force).refuse_end("stopped")
        step = Step(
            f"Stop {name} on {location.name}", "stop", {"name": name, "entry": attempt.entry()}
        )
        yield from single(attempt, step, status, f"{name} is stopped on {location.name}.")


def unlock(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """End whoever holds the lock of an instance; what they began is taken back."""
    location = location_of(work, name, to, or_default=True)
    with (
        attempting(work, "unlock", name, location, locked=False) as attempt,
        recorded(attempt, None, "", ""),
    ):
        holder = attempt.road.call("unlock", name=name, entry=attempt.entry())["holder"]
    words = f"Nobody was changing {name} on {location.name}."
    if holder:
        owner = f"{holder['who']}@{holder.get('host', '')}".rstrip("@")
        words = f"{owner} was changing {name} on {location.name}, and has been ended."
    data = {"model": name, "location": location.name, "action": "unlock", "holder": holder}
    yield Event("result", words, data=data)


def undeploy(
    work: Workspace, name: str, *, to: str | None = None, purge: bool = False, force: bool = False
) -> Events:
    """Take an instance away. Its releases stay on the host, unless purge.

    force: even while a pipeline asks it.
    """
    location = location_of(work, name, to, or_default=purge)
    with attempting(work, "undeploy", name, location) as attempt:
        known = attempt.road.call("status", name=name, history=0)
        if not known and not purge:
            _forget(work, name, location)
            raise not_deployed(name, location.name)
        _asking(attempt, force).refuse_end("taken away")
        with suppress(Problem):  # what it said stays readable
            logs.keep(work, attempt.road, location.name, [name])
        status = known[0] if known else {"current": None, "releases": [], "port": None}
        args = {"name": name, "purge": purge, "entry": attempt.entry()}
        step = Step(f"Take {name} off {location.name}", "undeploy", args)
        places = tunnelling.ever(work, name, location)
        key = attempt.road.call("tunnel_key", name=name, make=False) if places else None
        events = single(attempt, step, status, f"{name} is gone from {location.name}.")
        events = before_result(events, staging.end_tokens(work, name, location))
        yield from before_result(events, tunnelling.lock_out(attempt, places, key))
    _forget(work, name, location)


def _forget(work: Workspace, name: str, location: Location) -> None:
    with work.open_store() as store:
        store.instances.remove(name, location.name)


# The parts


def _asking(attempt: Attempt, force: bool) -> dependents.Dependents:
    """The pipelines that ask the instance."""
    there = attempt.road.call("dependents", name=attempt.model)
    return dependents.of(attempt.work, attempt.model, attempt.location, there, force)


def _agreed(
    attempt: Attempt, wanted: Wanted, found: Found, schema: dict[str, Any] | None, force: bool
) -> dependents.Dependents:
    """Who asks the instance; they can go on with this version, by what is known of it so far."""
    force = force or found.current == wanted.release
    asking = dependents.of(attempt.work, attempt.model, attempt.location, found.dependents, force)
    asking.refuse_version(int(wanted.manifest["version"]), schema)
    return asking


def _recall(attempt: Attempt, release: str, force: bool = False) -> Events:
    """Make a release production that is on the host already. force: pipelines may break."""
    there = attempt.road.call("manifest", name=attempt.model, release=release)
    with attempt.work.open_store() as store:
        wanted = replace(releases.recalled(there), keep=retention.of_release(store, there))
    found = look(attempt.road, wanted)
    asking = _agreed(attempt, wanted, found, _schema_of(attempt, there["version"]), force)
    wanted = secrets.confided(attempt.work, attempt.location, wanted)
    wanted = certified(attempt, wanted, found, None)
    proved = any(each.release == release and each.ready for each in found.serving)
    if not proved and (wrong := attempt.road.call("sound", name=attempt.model, release=release)):
        raise Problem(
            f"{attempt.model} {told(release)} cannot be production: "
            f"it is damaged on {attempt.location.name}.",
            cause="; ".join(wrong[:5]),
            remedy=f"rhythmicml deploy {attempt.model}@{there['version']} "
            f"--to {attempt.location.name} makes it whole again.",
        )
    steps = planning.recall(wanted, found)
    yield from tunnelling.let_in(attempt, wanted, found)
    events = carry_out(attempt, wanted, found, steps, nothing_to_send, dependents=asking)
    yield from _locking_out(attempt, wanted, events)


def _schema_of(attempt: Attempt, number: int) -> dict[str, Any] | None:
    """What a version takes and gives, if it is known here."""
    with attempt.work.open_store() as store:
        model = store.models.find(attempt.model)
        found = [v for v in store.versions.all(model) if v.number == number] if model else []
    return found[0].schema if found else None
