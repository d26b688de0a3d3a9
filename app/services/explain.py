"""Lineage: which version of which model answered, from the name of a request or from a time."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from app.deployer.agent.comparing import Tolerance, compare
from app.errors import NotFound, Problem
from app.models import Deployment, Event, Location, Model, Version, instant
from app.scoring.sampling import HIDDEN
from app.services import gate, monitoring, places, rehearsing
from app.services.series import UNREADABLE
from app.services.together import ASKED_AT_ONCE, Crew, values

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

MADE = ("deploy", "switch", "rollback", "start")
"""Actions after which a release is production."""
NAMES = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
"""As fronts take the name of a request."""
DAY = re.compile(r"\d{4}-\d\d-\d\d")
CLOCK = re.compile(r"\d\d?:\d\d(:\d\d)?")
Row = dict[str, Any]


def explain(
    work: Workspace, what: str, model: str | None = None, *, to: str | None = None
) -> list[Row]:
    """Who answered a request, or who answered at a time: a row for each release that did.

    {"model", "location", "host": its address, "release", "version", "digest", "manifest", "lock":
     of the version, "python", "message", "author", "committed"; None where the version is not in
     this store; "deployed": {"at", "who", "action"} or None,
     "at": seconds since 1970 by this machine's clock,
     "requests": how many it answered around that time, or None,
     "request": None of a time, else {"id", "status", "seconds", "endpoint", "inputs", "outputs"},
        the last two as JSON text, empty where they were not kept}
    Raises NotFound when nothing is known of it.
    """
    moment = moment_of(what)
    with work.open_store() as store:
        if model:
            store.models.get(model)
    chosen = places.named(work, to) if to else None
    at = (work, model, chosen)
    rows = _named(*at, what) if moment is None else _at(*at, moment)
    if not rows:
        raise _unknown(what, moment)
    with work.open_store() as store:
        return [{**row, **_lineage(store, row)} for row in rows]


def moment_of(text: str) -> float | None:
    """A day and a time, or a time of today, by this machine's clock unless it says otherwise."""
    if CLOCK.fullmatch(text):
        text = f"{datetime.now():%Y-%m-%d} {text:0>5}"
    if not DAY.match(text):
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise Problem(
            f'"{text}" is no time.', remedy="Write it as 2026-11-28T07:15, or 07:15 of today."
        ) from None


# By a time: from what was collected, and from the history


def _at(
    work: Workspace, model: str | None, chosen: Sequence[str] | None, moment: float
) -> list[Row]:
    if moment > time.time():
        raise Problem("That is still to come.", remedy="Name a time that has passed.")
    rows = []
    for name, location in _places(work, model):
        if chosen is not None and location not in chosen:
            continue
        counted = _counted(work, name, location, moment)
        if not counted:
            found = _production(work, name, location, moment)
            counted = {found: None} if found else {}
        row = {"model": name, "location": location, "at": moment, "request": None}
        rows += [{**row, "release": each, "requests": n} for each, n in counted.items()]
    return rows


def _places(work: Workspace, model: str | None) -> list[tuple[str, str]]:
    """Where a model is or was, or any."""
    with work.open_store() as store:
        done = {(each.model, each.location) for each in store.deployments.lasts(MADE, model)}
    recorded = {each for each in monitoring.history(work) if model in (None, each[0])}
    return sorted(done | recorded)


def _counted(work: Workspace, model: str, location: str, moment: float) -> dict[str, int | None]:
    """Release → what it answered, of rows that lie around that time."""
    with work.open_recorded() as recorded:
        source, skew = recorded.find(model, location), recorded.skew(location)
        rows = recorded.samples(source, moment + skew, moment + skew + 1) if source else []
    counts: Counter[str] = Counter()
    for row in rows:
        if row.at - row.skew <= moment < row.at - row.skew + row.step:
            counts[row.release] += row.requests
    answered = {release: n for release, n in counts.items() if n}
    return dict(answered or counts)


def _production(work: Workspace, model: str, location: str, moment: float) -> str | None:
    """What the history says was production then."""
    with work.open_store() as store:
        done = store.deployments.for_model(model, location, 10_000)
    for each in done:
        if each.result == "done" and instant(each.ended).timestamp() <= moment:
            if each.action in MADE:
                return each.release
            if each.action in ("stop", "undeploy"):
                return None
    return None


# By the name of a request: from the hosts


def _named(
    work: Workspace, model: str | None, chosen: Sequence[str] | None, request: str
) -> list[Row]:
    if not NAMES.fullmatch(request):
        raise Problem(
            f'"{request}" is neither a time nor the name of a request.',
            remedy="An answer has the name of its request in its header X-Request-Id.",
        )
    with work.open_store() as store:
        known = store.instances.all(model=model)
        names = {e.location for e in known if chosen is None or e.location in chosen}
        hosts = {name: store.locations.get(name) for name in names}
    crew = Crew.of(work)
    asks = {name: partial(_ask, crew, at, model, request) for name, at in hosts.items()}
    said = values(crew, asks, ASKED_AT_ONCE)
    rows = [each for found in said.values() if not isinstance(found, Problem) for each in found]
    silent = [problem for problem in said.values() if isinstance(problem, Problem)]
    if not rows and silent:
        raise silent[0]
    return rows


def _ask(work: Workspace, location: Location, model: str | None, request: str) -> list[Row]:
    """Hosts are not trusted: what they say is text and numbers, and what is neither is left out."""
    with work.reach(location) as road:
        found: list[Row] = road.call("trace", name=model, id=request)["found"]
    with work.open_recorded() as recorded:
        skew = recorded.skew(location.name)
    rows = []
    for each in found:
        with contextlib.suppress(*UNREADABLE):
            rows.append(_of_request(each, location.name, request, skew))
    return rows


def _of_request(found: Row, location: str, request: str, skew: float) -> Row:
    kept, line = found["sampled"] or {}, found["line"] or {}
    at = float(kept["at"]) if kept else instant(str(line["time"])).timestamp()
    said = {**line, **kept}
    return {
        "model": str(found["name"]),
        "location": location,
        "release": str(said["release"]),
        "at": at - skew,
        "requests": None,
        "request": {
            "id": request,
            "status": int(said["status"]),
            "seconds": float(said["seconds"]),
            "endpoint": str(said["endpoint"]),
            "inputs": str(kept.get("inputs", "")),
            "outputs": str(kept.get("outputs", "")),
        },
    }


# What a release is made of


def _lineage(store: Store, row: Row) -> Row:
    """A release that was never deployed from here is not taken for a version of this store."""
    done = [
        each
        for each in store.deployments.for_model(row["model"], row["location"], 10_000)
        if each.release == row["release"] and each.action in MADE
    ]
    before = [e for e in done if instant(e.started).timestamp() <= row["at"]]
    model = store.models.find(row["model"])
    number = next((each.version for each in done if each.version), None)
    version = _version(store, model, number)
    urls = {each.name: each.url or "this machine" for each in store.locations.all()}
    return {
        "host": urls.get(row["location"], "a location that is no more"),
        "version": number,
        **_made_of(version),
        "deployed": _deployed((before or done)[0]) if done else None,
    }


def _version(store: Store, model: Model | None, number: int | None) -> Version | None:
    every = store.versions.all(model) if model and number else []
    return next((each for each in every if each.number == number), None)


def _made_of(version: Version | None) -> Row:
    held = asdict(version) if version else {}
    names = ("digest", "manifest", "lock", "message", "author")
    python = version.configuration.python if version else None
    return {
        **{name: held.get(name) for name in names},
        "python": python,
        "committed": held.get("created"),
    }


def _deployed(done: Deployment) -> Row:
    return {"at": done.ended or done.started, "who": done.who, "action": done.action}


def _unknown(what: str, moment: float | None) -> NotFound:
    if moment is not None:
        at = datetime.fromtimestamp(moment, timezone.utc).astimezone()
        return NotFound(
            f"Nothing was production at {at:%Y-%m-%d %H:%M:%S}.", remedy="rhythmicml history MODEL"
        )
    return NotFound(
        f"No instance knows the request {what}.",
        cause="Those that went well are kept only where [log] sample, or access_log, says so.",
        remedy="Name the time instead, such as 07:15: rhythmicml explain 07:15 MODEL",
    )


# Once more


def replay(work: Workspace, row: Row) -> Iterator[Event]:
    """Ask the same version, built on this machine, the same again, and compare.

    The result: {"same", "status", "answer", "difference": as `comparing.compare`, or None}.
    """
    model, version, body = _replayable(work, row)
    with work.open_store() as store:
        members = list(rehearsing.members_of(store, model, version))
    said = yield from rehearsing.asked_here(work, members, body)
    outputs = json.loads(row["request"]["outputs"] or "null")
    status, difference = row["request"]["status"], None
    same = said["status"] == status
    if status == 200 and same:
        tolerance = Tolerance(*gate.gate_of(version.configuration).tolerance)
        difference = compare({"predictions": outputs}, _predictions(said["answer"]), tolerance, 10)
        same = not difference["differ"]
    name = f"{model.name} v{version.number}"
    words = f"{name} answers the same on this machine." if same else f"{name} answers otherwise."
    data = {"same": same, "status": said["status"], "answer": said["answer"]}
    yield Event("result", words, data={**data, "difference": difference})


def _predictions(answer: Any) -> dict[str, Any]:
    """Without what a pipeline says of its stages."""
    return {"predictions": answer.get("predictions") if isinstance(answer, dict) else answer}


def _replayable(work: Workspace, row: Row) -> tuple[Model, Version, bytes]:
    request = row["request"] or {}
    if not request.get("inputs"):
        raise Problem(
            "This request cannot be repeated: what it asked was not kept.",
            remedy="Have some kept from now on: [log] sample = 0.01 in rhythmicml.toml.",
        )
    if HIDDEN in request["inputs"]:
        raise Problem(
            "This request cannot be repeated: columns of it were redacted.",
            cause="[log] redact names them, so their values were never kept.",
        )
    with work.open_store() as store:
        model = store.models.find(row["model"])
        version = _version(store, model, row["version"])
    if model is None or version is None:
        raise NotFound(
            f"The version behind {row['release']} is not in this store.",
            remedy=f"rhythmicml adopt {row['location']} takes it from the host.",
        )
    return model, version, b'{"inputs": ' + request["inputs"].encode() + b"}"
