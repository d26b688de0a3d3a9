"""A version that runs beside production on copies of its requests, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.deployer import plan as planning
from app.deployer.apply import apply
from app.deployer.plan import Found, Step, Wanted
from app.errors import NotFound, Problem
from app.models import Event, Version
from app.scoring import sketch
from app.services import gate, references, releases, secrets, shipping
from app.services.attempts import (
    Attempt,
    Events,
    ask_look,
    attempting,
    beginning,
    journaled,
    planned,
    recorded,
    single,
)
from app.services.places import location_of, not_deployed
from app.words import ago, milliseconds

if TYPE_CHECKING:
    from app.deployer.apply import Source
    from app.workspace import Workspace

USUAL = 10.0
SHARES = {"p50": 0.5, "p99": 0.99}


def start(
    work: Workspace,
    reference: str,
    *,
    to: str | None = None,
    percent: float | None = None,
    dry_run: bool = False,
) -> Events:
    """Ship a version, start it beside production and send it copies of a share of the requests.

    dry_run: the result holds the plan and nothing is changed on the host.
    """
    name, number = references.numbered(reference, "shadow")
    location = location_of(work, name, to)
    percent = USUAL if percent is None else percent
    _refuse_share(percent)
    with work.open_store() as store:
        model = store.models.get(name)
        version = store.versions.get(model, number)
    _refuse_pipeline(version, name)
    yield Event("step", f"Look at {location.name}")
    with beginning(work, "shadow", name, location, not dry_run) as (road, begun):
        with work.open_store() as store:
            wanted, source = releases.wanted(store, model, version, road.hello, None)
        looking = ask_look(road, wanted)
        attempt = begun()
        found = planning.parse_found(looking.result())
        yield Event("done", f"Look at {location.name}")
        _refuse(attempt, wanted, found)
        wanted, found, source = yield from shipping.completed(
            attempt, version, wanted, found, source
        )
        wanted = secrets.confided(work, location, wanted)
        tolerance = gate.gate_of(version.configuration).tolerance
        steps = planning.shadow(wanted, found, percent, tolerance)
        if dry_run:
            yield planned(wanted, attempt, found, steps, ())
            return
        yield from _carry_out(attempt, wanted, found, steps, source, percent)


def _refuse_share(percent: float) -> None:
    if not 0 < percent <= 100:
        raise Problem(
            f"{percent:g} % of the requests cannot be copied.",
            remedy="Say a share above 0 and at most 100: --percent 10",
        )


def _refuse_pipeline(version: Version, name: str) -> None:
    if version.configuration.stages:
        raise Problem(
            f"{name} is a pipeline, and those cannot be tried on copies.",
            cause="Its stages are production of others: each copy would be asked of them, too.",
            remedy="Try its parts: rhythmicml shadow STAGE@NUMBER, "
            f"or all of it: rhythmicml pipeline test {name}",
        )


def _refuse(attempt: Attempt, wanted: Wanted, found: Found) -> None:
    """What the unit of production would not let run beside it, and what would compare nothing."""
    name, number = wanted.name, wanted.manifest["version"]
    if found.current is None:
        raise not_deployed(name, attempt.location.name)
    if found.current == wanted.release:
        raise Problem(
            f"{name} v{number} is production on {attempt.location.name} already.",
            remedy="Name another version.",
        )
    unit = "".join(found.units.values())
    secret = found.mode == "system" and wanted.secret_names and "secrets.json" not in unit
    if secret or wanted.exposure != found.exposure:
        what = "takes secrets" if secret else f"is made for {wanted.exposure}"
        raise Problem(
            f"{name} v{number} {what}, which production is not prepared for.",
            cause="Both share one unit, which changes with a deployment only.",
            remedy=f"rhythmicml deploy {name}@{number} --to {attempt.location.name}",
        )


def _carry_out(
    attempt: Attempt,
    wanted: Wanted,
    found: Found,
    steps: list[Step],
    source: Source,
    percent: float,
) -> Events:
    number = int(wanted.manifest["version"])
    last = steps[-1]
    entry = {**attempt.entry(number), "percent": percent}
    steps = [*steps[:-1], Step(last.words, last.do, {**last.args, "entry": entry}, last.uploads)]
    for words in attempt.notes:
        yield Event("note", words)
    current = found.current or ""
    with recorded(attempt, number, wanted.release, current, steps=steps) as row:
        events = apply(steps, attempt.road, attempt.model, source)
        answers = yield from journaled(attempt, row, events)
    place = attempt.location.name
    words = (
        f"{attempt.model} v{number} gets copies of {percent:g} % of the requests on {place}; "
        f"its answers are compared and thrown away.\nSee: rhythmicml shadow {attempt.model}"
    )
    data = {
        "model": attempt.model,
        "version": number,
        "release": wanted.release,
        "location": place,
        "action": attempt.action,
        "percent": percent,
        "changed": True,
        "steps": [step.words for step in steps],
        "seconds": answers["shadow"]["seconds"],
    }
    yield Event("result", words, data=data)


def end(work: Workspace, name: str, *, to: str | None = None) -> Events:
    """Send no more copies, and stop the release that got them."""
    location = location_of(work, name, to)
    with attempting(work, "unshadow", name, location) as attempt:
        known = attempt.road.call("status", name=name, history=0)
        if not known or not known[0]["shadow"]:
            raise _none(name, location.name)
        order = known[0]["shadow"]
        args = {"name": name, "entry": attempt.entry(order["version"])}
        step = Step(f"End the shadow v{order['version']} of {name}", "unshadow", args)
        words = f"{name} v{order['version']} gets no more copies on {location.name}."
        for event in single(attempt, step, known[0], words):
            if event.kind == "result":
                said = _report(name, location.name, event.data)
                event = Event("result", f"{words}\n{told(said)}", data={**event.data, **said})
            yield event


def report(work: Workspace, name: str, *, to: str | None = None) -> dict[str, Any]:
    """What came of it so far; NotFound where no version gets copies."""
    location = location_of(work, name, to)
    with work.reach(location) as road:
        found = road.call("shadowed", name=name)
    if found is None:
        raise _none(name, location.name)
    return _report(name, location.name, found)


def _none(name: str, place: str) -> NotFound:
    return NotFound(
        f"No version of {name} gets copies of the requests on {place}.",
        remedy=f"rhythmicml shadow {name}@NUMBER --to {place}",
    )


def _report(name: str, place: str, found: dict[str, Any]) -> dict[str, Any]:
    """What the host says of it, with quantiles in the place of sketches."""
    order, said = found["order"], found["report"] or {}
    kept = ("release", "version", "percent", "since")
    counts = ("asked", "compared", "dropped", "failed", "rows", "differ", "largest")
    sides = said.get("latency") or {}
    return {
        "model": name,
        "location": place,
        **{key: order.get(key) for key in kept},
        **{key: said.get(key, 0) for key in counts},
        "mean_distance": said.get("mean_distance", 0.0),
        "latency": {
            side: _quantiles(sides.get(side) or {}) for side in ("production", "candidate")
        },
        "first": said.get("first", []),
        "error": said.get("error") or "",
        "candidate": found["candidate"],
        "counted": found["report"] is not None,
    }


def _quantiles(of: dict[str, Any]) -> dict[str, float | None]:
    return {name: sketch.quantile(of, share) for name, share in SHARES.items()}


def told(said: dict[str, Any]) -> str:
    """A report in lines for people."""
    lines = [
        f"{said['compared']:,} requests compared of {said['asked']:,} copied: "
        f"{said['dropped']:,} dropped, {said['failed']:,} failed.",
        f"{said['differ']:,} of {said['rows']:,} rows differ{_far(said)}.",
    ]
    lines += [_times(side, said["latency"][side]) for side in said["latency"] if said["compared"]]
    lines += [f"Last error: {said['error']}"] if said["error"] else []
    lines += [
        f"  {each['at']}, row {each['row']} {each['path']}".rstrip()
        + f": {each['wanted']} became {each['got']}"
        for each in said["first"]
    ]
    return "\n".join(lines)


def _far(said: dict[str, Any]) -> str:
    if not said["largest"]:
        return ""
    return f"; numbers by {said['largest']:.3g} at most, {said['mean_distance']:.3g} in the mean"


def _times(side: str, found: dict[str, float | None]) -> str:
    shown = (f"{name} {milliseconds(value)}" for name, value in found.items() if value is not None)
    return f"{side.capitalize()}: {', '.join(shown)}"


def headed(said: dict[str, Any]) -> str:
    """The same with who it is about, and whether the candidate can answer at all."""
    head = (
        f"{said['model']} v{said['version']} on {said['location']}: copies of "
        f"{said['percent']:g} % of the requests, {ago(said['since'])}"
    )
    if not said["counted"]:
        return f"{head}\nProduction does not say what it found: it does not run."
    ready = said["candidate"]["ready"]
    return "\n".join((head, *([] if ready else ["It is not ready now."]), told(said)))
