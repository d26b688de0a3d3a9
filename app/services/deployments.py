"""Putting versions into production, and taking them out: deploy, switch, rollback, stop, undeploy.

Each is a generator of events; it does nothing until someone iterates, and closing it stops between
steps. The last event is the result.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.deployer import certificates
from app.deployer import plan as planning
from app.deployer.apply import Source, apply
from app.deployer.plan import Found, Step, Wanted
from app.errors import NotFound, Problem
from app.models import Configuration, Event, Instance, Location, Model, Version
from app.services import models, releases, schemas, versions
from app.services.person import who

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.workspace import Workspace

Events = Iterator[Event]


@dataclass(frozen=True)
class Attempt:
    """One change of one instance: what, to which, by whom, over which road."""

    work: Workspace
    road: Road
    action: str
    model: str
    location: Location

    def entry(self, version: int | None = None) -> dict[str, Any]:
        """The line of the host's history; it says the same as ours."""
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {"action": self.action, "version": version, "who": who(), "at": at}


def deploy(
    work: Workspace,
    what: str,
    *,
    to: str | None = None,
    port: int | None = None,
    message: str = "",
    dry_run: bool = False,
) -> Events:
    """Put a version into production: `what` is a folder, a model, or model@version.

    A folder or a model is committed first if anything in it changed. A second run changes nothing.
    dry_run: the result holds the plan and nothing is changed on the host.
    """
    model, version = yield from _version_of(work, what, message)
    location = location_for(work, version.configuration.location, to)
    yield Event("step", f"Look at {location.name}")
    with attempting(work, "deploy", model.name, location, locked=not dry_run) as attempt:
        with work.open_store() as store:
            wanted, source = releases.wanted(store, model, version, attempt.road.hello, port)
        found = look(attempt.road, wanted)
        wanted = _known_by(attempt, wanted, found, version.configuration)
        steps = planning.plan(wanted, found)
        if not (dry_run or wanted.port or found.port):
            found = replace(found, port=attempt.road.call("reserve", name=model.name))
            steps = planning.plan(wanted, found)
        yield Event("done", f"Look at {location.name}")
        breaking = _breaking(work, model, version, found)
        if dry_run:
            yield _planned(wanted, location, steps, breaking)
            return
        yield from _carry_out(attempt, wanted, found, steps, source, breaking)


def _breaking(work: Workspace, model: Model, version: Version, found: Found) -> tuple[str, ...]:
    """What those who call the version in production would stumble over."""
    numbers = {each["id"]: each["version"] for each in found.releases}
    with work.open_store() as store:
        known = {each.number: each for each in store.versions.all(model)}
    before = known.get(numbers.get(found.current, 0))
    return schemas.breaking(before.schema, version.schema) if before else ()


def switch(work: Workspace, reference: str, *, to: str | None = None) -> Events:
    """Make a version production whose release is on the host already: nothing is sent or built."""
    name, number = versions.parse_reference(reference)
    location = location_of(work, name, to)
    if number is None:
        raise Problem(
            f'"{reference}" does not say which version.',
            remedy=f"rhythmicml versions {name} lists them; then: rhythmicml switch {name}@NUMBER",
        )
    with work.open_store() as store:
        digest = store.versions.get(store.models.get(name), number).digest
    with attempting(work, "switch", name, location) as attempt:
        status = _status(attempt.road, name)
        there = [each for each in status["releases"] if each["digest"] == digest]
        if not there:
            known = sorted({f"v{each['version']}" for each in status["releases"]})
            raise NotFound(
                f"{name} has no release of version {number} on {location.name}.",
                cause=f"There are: {', '.join(known)}.",
                remedy=f"rhythmicml deploy {name}@{number} --to {location.name}",
            )
        yield from _recall(attempt, there[-1]["id"])


def rollback(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Go back to the release that was production before: nothing is sent or built."""
    location = location_of(work, name, to)
    with attempting(work, "rollback", name, location) as attempt:
        status = _status(attempt.road, name, history=100_000)
        history, there = status["history"], status["releases"]
        target = planning.rollback_target(history, there, status["current"])
        if target is None:
            raise Problem(
                f"{name} has no earlier release on {location.name} to go back to.",
                remedy=f"rhythmicml versions {name}, then deploy the one you want",
            )
        yield from _recall(attempt, target)


def start(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Start the production release of an instance that was stopped."""
    location = location_of(work, name, to)
    with attempting(work, "start", name, location) as attempt:
        current = _status(attempt.road, name)["current"]
        if current is None:
            raise NotFound(f"{name} has no production release on {location.name}.")
        yield from _recall(attempt, current)


def restart(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Stop the production release and start it again; connections wait meanwhile."""
    location = location_of(work, name, to)
    with attempting(work, "restart", name, location) as attempt:
        status = _status(attempt.road, name)
        if status["stopped"] or not status["listening"]:
            raise Problem(
                f"{name} does not run on {location.name}.", remedy=f"rhythmicml start {name}"
            )
        step = Step(
            f"Restart {status['current']}",
            "restart",
            {"name": name, "entry": attempt.entry()},
        )
        yield from _single(attempt, step, status, f"{name} was restarted on {location.name}.")


def stop(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Stop an instance: it answers no more, also not after a reboot, until it is started."""
    location = location_of(work, name, to)
    with attempting(work, "stop", name, location) as attempt:
        status = _status(attempt.road, name)
        step = Step(
            f"Stop {name} on {location.name}", "stop", {"name": name, "entry": attempt.entry()}
        )
        yield from _single(attempt, step, status, f"{name} is stopped on {location.name}.")


def undeploy(work: Workspace, name: str, *, to: str | None = None, purge: bool = False) -> Events:
    """Take an instance away. Its releases stay on the host, unless purge."""
    location = location_of(work, name, to, or_default=purge)
    with attempting(work, "undeploy", name, location) as attempt:
        known = attempt.road.call("status", name=name, history=0)
        if not known and not purge:
            _forget(work, name, location)
            raise not_deployed(name, location.name)
        status = known[0] if known else {"current": None, "releases": [], "port": None}
        args = {"name": name, "purge": purge, "entry": attempt.entry()}
        step = Step(f"Take {name} off {location.name}", "undeploy", args)
        yield from _single(attempt, step, status, f"{name} is gone from {location.name}.")
    _forget(work, name, location)


def _forget(work: Workspace, name: str, location: Location) -> None:
    with work.open_store() as store:
        store.instances.remove(name, location.name)


def not_deployed(name: str, place: str) -> NotFound:
    return NotFound(f"{name} is not deployed on {place}.", remedy=f"rhythmicml deploy {name}")


# The parts


def _version_of(
    work: Workspace, what: str, message: str
) -> Generator[Event, None, tuple[Model, Version]]:
    """The model and version to deploy; a changed folder is committed first."""
    if _is_folder(work, what):
        name, number = models.add(work, Path(what)).model.name, None
    else:
        name, number = versions.parse_reference(what)
    if number is None:
        yield Event("step", f"Commit {name}")
        committed = versions.commit(work, name, message)
        new = f"Version {committed.version.number} of {name} is committed"
        same = f"Nothing changed since version {committed.version.number} of {name}"
        yield Event("done", new if committed.new else same)
        number = committed.version.number
    with work.open_store() as store:
        model = store.models.get(name)
        return model, store.versions.get(model, number)


def _is_folder(work: Workspace, what: str) -> bool:
    """A path, rather than the name of a model: it has a slash, or no model is called so."""
    if not what:
        raise Problem("A folder or a model has to be named.", remedy="Write . for this folder.")
    if "/" in what or what in (".", ".."):
        return True
    with work.open_store() as store:
        known = store.models.find(what.partition("@")[0])
    return known is None and Path(what).is_dir()


def location_for(work: Workspace, configured: str | None, to: str | None) -> Location:
    """Where to deploy: as asked, else as configured, else the default location."""
    with work.open_store() as store:
        chosen = to or configured
        return store.locations.get(chosen) if chosen else store.locations.default()


def location_of(work: Workspace, name: str, to: str | None, or_default: bool = False) -> Location:
    """Where an instance is: as asked, else the only location it was deployed to.

    or_default: the default location when it is deployed nowhere, for what may be left of it.
    """
    with work.open_store() as store:
        known = store.instances.all(model=name)
        if not known:
            store.models.get(name)
        if to:
            return store.locations.get(to)
        if not known and or_default:
            return store.locations.default()
        if not known:
            raise NotFound(f"{name} is not deployed anywhere.", remedy=f"rhythmicml deploy {name}")
        if len(known) > 1:
            places = ", ".join(each.location for each in known)
            raise Problem(
                f"{name} is deployed to several locations.",
                cause=f"They are: {places}.",
                remedy="Say which with --to LOCATION.",
            )
        return store.locations.get(known[0].location)


@contextmanager
def attempting(
    work: Workspace, action: str, model: str, location: Location, locked: bool = True
) -> Iterator[Attempt]:
    """A way to the host, with the instance locked for us."""
    with work.reach(location) as road:
        attempt = Attempt(work, road, action, model, location)
        if locked:
            me, _, host = who().partition("@")
            road.call("lock", name=model, who=me, host=host, step=action)
            with work.open_store() as store:
                store.deployments.mark_interrupted(model, location.name)
        yield attempt


def look(road: Road, wanted: Wanted) -> Found:
    """What is on the host of all that this release needs."""
    answer = road.call(
        "look",
        name=wanted.name,
        release=wanted.release,
        environment=wanted.manifest["environment"],
        runtime=wanted.manifest["runtime"],
        tool=wanted.tool[0] or "none",
        blobs=sorted(wanted.blobs),
        units=wanted.unit_names,
        port=wanted.port,
        exposure=wanted.exposure,
    )
    return planning.parse_found(answer)


def _known_by(
    attempt: Attempt, wanted: Wanted, found: Found, configuration: Configuration | None
) -> Wanted:
    """With the certificate that has to be put there, if it is public and one has to be.

    configuration: None for a release that is there already, which keeps the one it has.
    """
    if not wanted.public:
        return wanted
    own, location = None, attempt.location
    if configuration:
        own = certificates.read(configuration.certificate, configuration.certificate_key)
    there = certificates.known(found.certificate)
    if configuration is None and there and not there.made_here:
        return replace(wanted, location=location.name)
    names = certificates.names_of(
        host_of(location, attempt.road), attempt.road.hello["hostname"], *found.addresses
    )
    pair = certificates.needed(found.certificate, wanted.name, names, own)
    return replace(wanted, location=location.name, certificate=pair)


def host_of(location: Location, road: Road) -> str:
    """The name by which others reach a location."""
    return urlsplit(location.url).hostname or str(road.hello["hostname"])


def url_of(exposure: str, host: str, port: int | None) -> str:
    """Where an instance answers; on loopback, as its own host sees it."""
    if exposure != planning.PUBLIC:
        return f"http://127.0.0.1:{port}"
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def _status(road: Road, name: str, history: int = 20) -> dict[str, Any]:
    """What the host says of one instance; NotFound when it has none of that name."""
    found: list[dict[str, Any]] = road.call("status", name=name, history=history)
    if not found:
        raise not_deployed(name, road.place)
    return found[0]


def _recall(attempt: Attempt, release: str) -> Events:
    """Make a release production that is on the host already."""
    there = attempt.road.call("manifest", name=attempt.model, release=release)
    wanted = releases.recalled(there)
    found = look(attempt.road, wanted)
    wanted = _known_by(attempt, wanted, found, None)
    if not (found.environment and found.runtime):
        raise Problem(
            f"Release {release} cannot start: its environment is gone from "
            f"{attempt.location.name}.",
            remedy=f"rhythmicml deploy {attempt.model}@{there['version']} builds it again.",
        )
    steps = planning.serve(wanted, found)
    yield from _carry_out(attempt, wanted, found, steps, _nothing_to_send)


def _nothing_to_send(digest: str) -> tuple[Path, int]:
    raise KeyError(digest)


def _carry_out(
    attempt: Attempt,
    wanted: Wanted,
    found: Found,
    steps: list[Step],
    source: Source,
    breaking: tuple[str, ...] = (),
) -> Events:
    """Do the plan, keep the history on both sides, end with the result."""
    version = int(wanted.manifest["version"])
    answers: dict[str, Any] = {}
    if steps:
        steps = [_with_entry(step, attempt.entry(version)) for step in steps]
        steps += planning.tidy(wanted, found)
        with recorded(attempt, version, wanted.release, found.current or ""):
            answers = yield from apply(steps, attempt.road, attempt.model, source)
    _learn(attempt, version, answers.get("gate") or {})
    port = answers.get("listen", {}).get("port") or found.port
    tls = certificates.known(
        wanted.certificate.certificate if wanted.certificate else found.certificate
    )
    fingerprint = tls.fingerprint if tls and wanted.public else ""
    instance = Instance(
        attempt.model, attempt.location.name, port, wanted.release, version, "serving",
        exposure=wanted.exposure, fingerprint=fingerprint,
    )  # fmt: skip
    with attempt.work.open_store() as store:
        store.instances.upsert(instance)
    yield _result(attempt, wanted, found, steps, answers, instance, tls, breaking)


def _learn(attempt: Attempt, version: int, gate: dict[str, Any]) -> None:
    """Keep with the version what its front said that it takes and gives."""
    schema = gate.pop("schema", None)
    with attempt.work.open_store() as store:
        model = store.models.find(attempt.model)
        if schema and model:
            store.versions.learn(model, version, schema)


def _with_entry(step: Step, entry: dict[str, Any]) -> Step:
    """The switch writes the host's history, so it takes the line along."""
    if step.do != "switch":
        return step
    return Step(step.words, step.do, {**step.args, "entry": entry}, step.uploads)


def _single(attempt: Attempt, step: Step, status: dict[str, Any], words: str) -> Events:
    """One order to an instance that is there."""
    current = status["current"] or ""
    with recorded(attempt, None, current, current):
        answers = yield from apply([step], attempt.road, attempt.model, _nothing_to_send)
    state = {"stop": "stopped", "restart": "serving"}.get(attempt.action, "")
    if state:
        _remember(attempt, status, state)
    data = {
        "model": attempt.model,
        "location": attempt.location.name,
        "action": attempt.action,
        "release": current or None,
        **answers[step.do],
    }
    yield Event("result", words, data=data)


@contextmanager
def recorded(
    attempt: Attempt, version: int | None, release: str, previous: str, detail: str = ""
) -> Iterator[None]:
    """Our own history: begun before the first change, ended with what became of it."""
    with attempt.work.open_store() as store:
        number = store.deployments.start(
            attempt.model,
            attempt.location.name,
            attempt.action,
            version=version,
            release=release,
            previous=previous,
            who=who(),
        )
    try:
        yield
    except Problem as problem:
        _finish(attempt.work, number, "failed", f"{problem.what} {problem.cause}"[:400].strip())
        raise
    except BaseException:
        _finish(attempt.work, number, "interrupted")
        raise
    _finish(attempt.work, number, "done", detail)


def _finish(work: Workspace, number: int, result: str, detail: str = "") -> None:
    with work.open_store() as store:
        store.deployments.finish(number, result, detail)


def _remember(attempt: Attempt, status: dict[str, Any], state: str) -> None:
    """What an order changed of an instance: its state alone."""
    version = {each["id"]: each["version"] for each in status["releases"]}
    current, tls = status["current"], certificates.known(status["certificate"])
    public = status["exposure"] == planning.PUBLIC
    instance = Instance(
        attempt.model,
        attempt.location.name,
        status["port"],
        current or "",
        version.get(current),
        state,
        exposure=status["exposure"],
        fingerprint=tls.fingerprint if tls and public else "",
    )
    with attempt.work.open_store() as store:
        store.instances.upsert(instance)


def _planned(
    wanted: Wanted, location: Location, steps: list[Step], breaking: tuple[str, ...]
) -> Event:
    words = [step.words for step in steps]
    lines = [*(words or ["Nothing would be done."]), *map(_breaking_words, breaking)]
    data = {
        "model": wanted.name,
        "version": wanted.manifest["version"],
        "release": wanted.release,
        "location": location.name,
        "changed": False,
        "plan": words,
        "breaking": breaking,
    }
    return Event("result", "\n".join(lines), data=data)


def _breaking_words(change: str) -> str:
    return f"Breaking: {change}"


def _result(
    attempt: Attempt,
    wanted: Wanted,
    found: Found,
    steps: list[Step],
    answers: dict[str, Any],
    instance: Instance,
    tls: certificates.Described | None,
    breaking: tuple[str, ...],
) -> Event:
    name, version, place = wanted.name, wanted.manifest["version"], attempt.location.name
    words = f"{name} v{version} is serving on {place}."
    if not steps:
        words = f"{name} v{version} was serving on {place} already; nothing was changed."
    url = url_of(wanted.exposure, host_of(attempt.location, attempt.road), instance.port)
    if wanted.public:
        words += f"\nEveryone who has a token can ask it: {url}"
    if wanted.public and tls:
        words += f"\nIts certificate is good until {tls.expires:%Y-%m-%d}"
        words += ", which is soon: renew it, then deploy again." if tls.ends_soon() else "."
        words += f" SHA-256 {tls.fingerprint}"
    words = "\n".join((words, *map(_breaking_words, breaking)))
    data = {
        "model": name,
        "version": version,
        "release": wanted.release,
        "previous": found.current,
        "location": place,
        "action": attempt.action,
        "port": instance.port,
        "exposure": instance.exposure,
        "url": url,
        "certificate": tls.as_dict() if tls and wanted.public else None,
        "changed": bool(steps),
        "breaking": breaking,
        "steps": [step.words for step in steps],
        "sent": answers.get("upload", {"files": 0, "bytes": 0}),
        "gate": answers.get("gate"),
    }
    return Event("result", words, data=data)
