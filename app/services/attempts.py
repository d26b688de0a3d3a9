"""One attempt to change an instance: the host locked, the plan done, both histories kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.deployer import certificates
from app.deployer import plan as planning
from app.deployer.apply import Source, apply
from app.deployer.plan import Found, Step, Wanted
from app.errors import Problem
from app.models import Configuration, Event, Instance, Location
from app.services import places
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


def certified(
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
        places.host_of(location, attempt.road), attempt.road.hello["hostname"], *found.addresses
    )
    pair = certificates.needed(found.certificate, wanted.name, names, own)
    return replace(wanted, location=location.name, certificate=pair)


def carry_out(
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
    """The switch and the restart write the host's history, so they take the line along."""
    if step.do not in ("switch", "restart"):
        return step
    return Step(step.words, step.do, {**step.args, "entry": entry}, step.uploads)


def single(attempt: Attempt, step: Step, status: dict[str, Any], words: str) -> Events:
    """One order to an instance that is there."""
    current = status["current"] or ""
    with recorded(attempt, None, current, current):
        answers = yield from apply([step], attempt.road, attempt.model, nothing_to_send)
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


def nothing_to_send(digest: str) -> tuple[Path, int]:
    raise KeyError(digest)


def planned(
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
    url = places.url_of(
        wanted.exposure, places.host_of(attempt.location, attempt.road), instance.port
    )
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
