"""One attempt to change an instance: the host locked, the plan done, both histories kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.crash import crash_point
from app.deployer import certificates, tunnels
from app.deployer import plan as planning
from app.deployer.apply import Source, apply
from app.deployer.plan import Found, Step, Wanted
from app.errors import GateFailed, Left, Problem, Unreachable
from app.models import Configuration, Event, Instance, Location
from app.services import gate, places, truth
from app.services.person import who

if TYPE_CHECKING:
    from app.deployer.road import Pending, Road
    from app.services.dependents import Dependents
    from app.workspace import Workspace

Events = Iterator[Event]


@dataclass(frozen=True)
class Attempt:
    """One change of one instance: what, to which, over which road.

    id: by which both histories know it. notes: what became of those before, if they were cut off.
    """

    work: Workspace
    road: Road
    action: str
    model: str
    location: Location
    id: str
    notes: tuple[str, ...] = ()

    def then(self, action: str) -> Attempt:
        """What follows from this one, on the same road and under the same lock."""
        return replace(self, action=action, id=_new_id(), notes=())

    def entry(self, version: int | None = None) -> dict[str, Any]:
        """The line of the host's history; it says the same as ours."""
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        return {
            "action": self.action,
            "version": version,
            "who": who(),
            "at": at,
            "id": self.id,
        }


def _new_id() -> str:
    return secrets.token_hex(8)


@contextmanager
def attempting(
    work: Workspace, action: str, model: str, location: Location, locked: bool = True
) -> Iterator[Attempt]:
    """A way to the host, with the instance locked for us."""
    with beginning(work, action, model, location, locked) as (_, begun):
        yield begun()


@contextmanager
def beginning(
    work: Workspace, action: str, model: str, location: Location, locked: bool = True
) -> Iterator[tuple[Road, Callable[[], Attempt]]]:
    """A way to the host, where the lock is asked for, and what waits for it and begins.

    The host answers in order: what is sent before we wait is answered under the lock, and costs no
    round trip of its own.
    """
    number = _new_id()
    with work.reach(location) as road:
        if locked:
            me, _, host = who().partition("@")
            locking = road.send("lock", name=model, who=me, host=host, step=action, id=number)
            settling = road.send("settle", name=model)

        def begun() -> Attempt:
            notes: tuple[str, ...] = ()
            if locked:
                locking.result()
                notes = truth.settle(work, model, location, settling.result())
                crash_point("locked")
            return Attempt(work, road, action, model, location, number, notes)

        yield road, begun


def ask_look(road: Road, wanted: Wanted) -> Pending:
    """Ask what is on the host of all that this release needs (`planning.parse_found`)."""
    return road.send(
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
        stages=wanted.asks,
    )


def look(road: Road, wanted: Wanted) -> Found:
    """What is on the host of all that this release needs."""
    return planning.parse_found(ask_look(road, wanted).result())


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
    dependents: Dependents | None = None,
) -> Events:
    """Do the plan, keep the history on both sides, end with the result.

    dependents: who has to agree with what the release shows at the gate.
    """
    version = int(wanted.manifest["version"])
    answers: dict[str, Any] = {}
    yield from _notes(attempt)
    if steps:
        steps = [_with_entry(step, attempt.entry(version)) for step in steps]
        steps += planning.tidy(wanted, found)
        with recorded(attempt, version, wanted.release, found.current or "", steps=steps) as number:

            def heed(step: Step, answer: Any) -> None:
                schema = None
                if step.do == "gate":
                    schema = _learn(attempt, version, answer)
                    if wanted.gate:
                        _keep_report(attempt, number, answer)
                gate.heed(wanted, attempt.location.name, step, answer)
                if dependents and schema:
                    dependents.refuse_version(version, schema)

            events = apply(steps, attempt.road, attempt.model, source, heed)
            answers = yield from journaled(attempt, number, events)
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


def _keep_report(attempt: Attempt, number: int, report: dict[str, Any]) -> None:
    with attempt.work.open_store() as store:
        store.gates.keep(number, report)


def _learn(attempt: Attempt, version: int, report: dict[str, Any]) -> dict[str, Any] | None:
    """Keep with the version what it showed at the gate: what it takes and gives, its memory."""
    schema: dict[str, Any] | None = report.pop("schema", None)
    with attempt.work.open_store() as store:
        model = store.models.find(attempt.model)
        if schema and model:
            store.versions.learn(model, version, schema)
        if model and report["memory"]["new"]:
            store.versions.weighed(model, version, report["memory"]["new"])
    return schema


def _with_entry(step: Step, entry: dict[str, Any]) -> Step:
    """The switch and the restart write the host's history, so they take the line along."""
    if step.do not in ("switch", "restart"):
        return step
    return Step(step.words, step.do, {**step.args, "entry": entry}, step.uploads)


def single(attempt: Attempt, step: Step, status: dict[str, Any], words: str) -> Events:
    """One order to an instance that is there."""
    current = status["current"] or ""
    yield from _notes(attempt)
    with recorded(attempt, None, current, current, steps=[step]) as number:
        events = apply([step], attempt.road, attempt.model, nothing_to_send)
        answers = yield from journaled(attempt, number, events)
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


def _notes(attempt: Attempt) -> Events:
    for words in attempt.notes:
        yield Event("note", words)


def before_result(events: Events, more: Iterable[Event]) -> Events:
    """The same events; what is done once they are, and is told, before their result."""
    for event in events:
        if event.kind == "result":
            yield from more
        yield event


def journaled(
    attempt: Attempt, number: int, events: Generator[Event, None, dict[str, Any]]
) -> Generator[Event, None, dict[str, Any]]:
    """Keep of each step that it is going to be done, and that it was."""
    step = -1
    with attempt.work.open_store() as store, closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                answers: dict[str, Any] = end.value
                return answers
            if event.kind == "step":
                step += 1
                store.deployments.note(number, step, "began")
            elif event.kind == "done":
                store.deployments.note(number, step, "ended")
            yield event


@contextmanager
def recorded(
    attempt: Attempt,
    version: int | None,
    release: str,
    previous: str,
    detail: str = "",
    steps: Sequence[Step] = (),
) -> Iterator[int]:
    """Our own history: begun before the first change, ended with what became of it. Its number."""
    with attempt.work.open_store() as store:
        number = store.deployments.start(
            attempt.model,
            attempt.location.name,
            attempt.action,
            version=version,
            release=release,
            previous=previous,
            who=who(),
            attempt=attempt.id,
            steps=[(step.do, step.words) for step in steps],
        )
    crash_point("recorded")
    try:
        yield number
    except Problem as problem:
        _break_off(attempt, number, problem)
        raise
    except BaseException:
        _break_off(attempt, number, None)
        raise
    crash_point("finishing")
    _finish(attempt.work, number, "done", detail)
    crash_point("finished")


def _break_off(attempt: Attempt, number: int, problem: Problem | None) -> None:
    """What went live has not failed; what nobody can know from here is for the host to tell."""
    with attempt.work.open_store() as store:
        begun = store.deployments.get(number)
    result = truth.broken_off(begun)
    left = isinstance(problem, Left)
    refused = problem is not None and not left and not isinstance(problem, Unreachable)
    if isinstance(problem, GateFailed) or (refused and result == truth.INTERRUPTED):
        result = truth.FAILED
    elif refused and result == truth.UNKNOWN:
        result = truth.refused(attempt.work, attempt.road, begun)
    why = f"{problem.what} {problem.cause}"[:400].strip() if problem and not left else ""
    _finish(attempt.work, number, result, why)


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
    wanted: Wanted, attempt: Attempt, found: Found, steps: list[Step], breaking: tuple[str, ...]
) -> Event:
    words = [*_admissions(wanted, attempt, steps), *(step.words for step in steps)]
    lines = [*(words or ["Nothing would be done."]), *map(_breaking_words, breaking)]
    data = {
        "model": wanted.name,
        "version": wanted.manifest["version"],
        "release": wanted.release,
        "previous": found.current,
        "location": attempt.location.name,
        "mode": attempt.road.hello["mode"],
        "changed": False,
        "plan": words,
        "fit": [asdict(each) for each in planning.fits(wanted, found)],
        "breaking": breaking,
    }
    return Event("result", "\n".join(lines), data=data)


def _admissions(wanted: Wanted, attempt: Attempt, steps: list[Step]) -> list[str]:
    """On other hosts, where this one gets new tunnels to them."""
    if not any(step.do == "tunnels" for step in steps):
        return []
    here = attempt.location.name
    return [tunnels.admitting(wanted.name, here, each) for each in wanted.tunnels_to]


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
    report = answers.get("gate") if wanted.gate else None
    words = "\n".join((words, *gate.brief(report or {}), *map(_breaking_words, breaking)))
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
