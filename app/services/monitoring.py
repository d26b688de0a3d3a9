"""What instances did and do: collected from their hosts, read from here, with or without them.

Times are seconds since 1970 by this machine's clock; a host's own are corrected by how far its
clock was ahead when they were collected.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from app.models import instant
from app.services import series as charts
from app.store.recorded import Recorded, Sample

if TYPE_CHECKING:
    from app.models import Deployment, Instance
    from app.workspace import Workspace

LATELY = 60
"""Seconds that figures of "now" are of."""
SPARK, SPARK_STEP = 30, 120
"""Points of a sparkline, and seconds of each: an hour."""
FIGURES = ("requests", "errors", "p50", "p95", "p99", "memory", "cpu")
STALE = 90
"""Seconds after which the last row is no longer said to be of now."""
WORDS = {
    "started": "a front was started",
    "ready": "a front is ready",
    "failed": "the model did not start",
    "accepting": "a front serves",
    "resting": "a front rests",
    "draining": "a front ends",
    "ended": "a front has ended",
    "worker": "a worker has ended",
    "recording": "recording",
}
"""Of what a front notes."""
MARKED = ("deploy", "switch", "rollback", "start", "stop", "restart", "undeploy")


def overview(work: Workspace) -> list[dict[str, Any]]:
    """A row for each instance that was deployed from here, by model and location; asks no host.

    {"model", "location", "port", "release",
     "state": serving | starting | degraded | failing | stopped | unreachable | unknown job,
        "" before it was ever asked,
     "since": when it came to be in that state, or None,
     "before": the state before that one, "",
     "asked": when its host was asked last, or None,
     "error": why it is not as it should be, "",
     "version", "latest": numbers or None, "outdated": bool,
     "modified": whether its files were changed on the host; None: not known,
     "at": the end of the last row that was recorded, or None, "stale": whether that is long ago,
     "requests": per second, "errors": share of 5xx of all (0–1), "p50", "p95", "p99": s,
     "memory": bytes, "cpu": cores; each None where not known, or stale,
     "spark": [requests per second or None] × 30, of two minutes each, the last one is now,
     "alerts": how many are open, "skew": seconds that the host's clock is ahead}
    """
    with work.open_store() as store:
        known = store.instances.all()
        latest = {each["name"]: each["version"] for each in store.models.overview()}
    with work.open_recorded() as recorded:
        states, skews = recorded.states(), recorded.hosts()
        alerts = Counter((a["model"], a["location"]) for a in recorded.alerts(open_only=True))
        return [
            {
                **_state(each, states.get((each.model, each.location)), latest.get(each.model)),
                **_lately(recorded, each),
                "alerts": alerts[each.model, each.location],
                "skew": skews.get(each.location, {}).get("skew", 0.0),
            }
            for each in known
        ]


def _state(known: Instance, kept: dict[str, Any] | None, newest: int | None) -> dict[str, Any]:
    """What is known of an instance without what it recorded."""
    state = kept or {"state": "", "since": None, "before": "", "asked": None, "said": {}}
    return {
        **{name: getattr(known, name) for name in ("model", "location", "port", "release")},
        **{name: state[name] for name in ("state", "since", "before", "asked")},
        "error": state["said"].get("error", ""),
        "version": known.version,
        "latest": newest,
        "outdated": bool(newest and known.version and newest > known.version),
        "modified": state["said"].get("modified"),
    }


def _lately(recorded: Recorded, known: Instance) -> dict[str, Any]:
    now = time.time()
    rows = _last_rows(recorded, known.model, known.location)
    end = max((row.at + row.step - row.skew for row in rows), default=None)
    stale = end is None or now - end > STALE
    whole = None if stale else charts.together(rows)
    figures = whole.figures() if whole else {}
    return {
        "at": end,
        "stale": stale,
        **{name: figures.get(name) for name in FIGURES},
        "spark": _spark(recorded, known, now),
    }


def _last_rows(recorded: Recorded, model: str, location: str) -> list[Sample]:
    """Those of the last minute that was recorded, whenever that was."""
    source = recorded.find(model, location)
    newest = None if source is None else recorded.newest(source)
    if source is None or newest is None:
        return []
    return recorded.samples(source, newest - LATELY + 10, newest + 1)


def traffic(work: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    """(model, location) of each instance → its "requests" and "spark" as `overview` has them.

    Without a look into the rows, so that it costs little for many instances.
    """
    now = time.time()
    with work.open_store() as store:
        known = store.instances.all()
    with work.open_recorded() as recorded:
        return {
            (each.model, each.location): {
                "requests": _rate(recorded, each, now),
                "spark": _spark(recorded, each, now),
            }
            for each in known
        }


def _rate(recorded: Recorded, known: Instance, now: float) -> float | None:
    """Requests per second of the last minute that was recorded; None: that is long ago."""
    source, skew = recorded.find(known.model, known.location), recorded.skew(known.location)
    rows = recorded.rates(source, now + skew - STALE - LATELY) if source else []
    end = max((at + step for at, step, *_ in rows), default=0.0)
    if now + skew - end > STALE:
        return None
    lately = [row for row in rows if row[0] >= end - LATELY]
    covered = {at: seconds for at, _, seconds, *_ in sorted(lately)}
    return sum(requests for *_, requests, _ in lately) / sum(covered.values())


def _spark(recorded: Recorded, known: Instance, now: float) -> list[float | None]:
    """Requests per second in each part of the last hour; None: nothing was recorded."""
    source, skew = recorded.find(known.model, known.location), recorded.skew(known.location)
    since = now + skew - SPARK * SPARK_STEP
    rates = recorded.averages(source, since, SPARK_STEP) if source else {}
    return [rates.get(n) for n in range(SPARK)]


def series(
    work: Workspace,
    model: str,
    location: str,
    since: float,
    until: float,
    *,
    version: int | None = None,
) -> dict[str, Any]:
    """What an instance did in that time, as columns over one axis of at most 600 points.

    {"model", "location", "since", "until", "step": seconds of a point,
     "at": [start of each point],
     and, each as long as "at", None where nothing was recorded:
     "requests": answered per second, "errors": share of 5xx (0–1), "refused": per second,
     "p50", "p95", "p99": seconds to an answer, "predict_p50", "predict_p95", "predict_p99": of
        the model alone, "queue": most that waited, "batch": rows of a batch on average,
     "restarts": of workers, "memory": bytes, "cpu": cores, "files": open ones,
     "host_cpu": 0–1, "host_memory", "host_memory_total", "host_disk", "host_disk_total": bytes,
     "host_load",
     "codes": {status code: answered per second},
     "marks": as `marks` has them, "skew": seconds that the host's clock was ahead when last asked}
    version: of that one alone, to compare two over their own times.
    """
    with work.open_recorded() as recorded:
        skew = recorded.skew(location)
        source = recorded.find(model, location)
        rows: list[Sample] = []
        if source is not None:
            rows = recorded.samples(source, since + skew - 5, until + skew + 5, version)
    said = charts.columns(rows, since, until)
    told = marks(work, model, location, since, until)
    return {"model": model, "location": location, **said, "marks": told, "skew": skew}


def latest(work: Workspace, model: str, location: str) -> dict[str, Any]:
    """The figures of the last minute of one instance, all of series' columns, from no host.

    {"at": its end or None, "stale": bool, each of series' columns: value or None,
     "versions": [numbers that answered in it]}
    """
    now = time.time()
    with work.open_recorded() as recorded:
        rows = _last_rows(recorded, model, location)
        skew = recorded.skew(location)
    whole = charts.together(rows)
    end = max((row.at + row.step - row.skew for row in rows), default=None)
    figures = whole.figures() if whole else dict.fromkeys(charts.COLUMNS)
    versions = sorted({row.version for row in rows if row.version is not None})
    return {
        "at": end,
        "stale": end is None or now - end > STALE,
        **figures,
        "versions": versions,
        "skew": skew,
    }


def marks(
    work: Workspace, model: str, location: str, since: float, until: float
) -> list[dict[str, Any]]:
    """What happened to an instance in that time, in order.

    [{"at", "kind", "words", "version": number or None, "detail": ""}], kind: deploy, switch,
    rollback, start, stop, restart, undeploy (as ordered from here), or what its fronts noted:
    started, ready, failed, accepting, resting, draining, ended, worker, recording.
    """
    with work.open_store() as store:
        ordered = store.deployments.for_model(model, location, 1000)
    with work.open_recorded() as recorded:
        source, skew = recorded.find(model, location), recorded.skew(location)
        noted = [] if source is None else recorded.happened(source, since + skew, until + skew)
    said = [_ordered(each) for each in ordered if each.action in MARKED]
    said += [_noted(each.at - each.skew, each.kind, each.body) for each in noted]
    return sorted((one for one in said if since <= one["at"] < until), key=lambda one: one["at"])


def _ordered(each: Deployment) -> dict[str, Any]:
    version = f" v{each.version}" if each.version else ""
    return {
        "at": instant(each.ended or each.started).timestamp(),
        "kind": each.action,
        "words": f"{each.action}{version} by {each.who}: {each.result or 'under way'}",
        "version": each.version,
        "detail": each.detail,
    }


def _noted(at: float, kind: str, body: str) -> dict[str, Any]:
    """What a front noted; hosts are not trusted, so it is text, and short."""
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    told = {name: str(value) for name, value in said.items()} if isinstance(said, dict) else {}
    why = next((told[name] for name in ("error", "how", "why") if told.get(name)), "")
    words = f"{WORDS.get(kind, kind)}{f': {why}' if why else ''}"
    detail = told.get("traceback", "")[-4000:]
    return {"at": at, "kind": kind, "words": words[:300], "version": None, "detail": detail}


def hosts(work: Workspace) -> list[dict[str, Any]]:
    """Each location that was asked: {"location", "skew", "asked", "answered", "error"}."""
    with work.open_recorded() as recorded:
        return list(recorded.hosts().values())


def history(work: Workspace) -> list[tuple[str, str]]:
    """(model, location) of all that something was recorded of, also where it is no more."""
    with work.open_recorded() as recorded:
        return [(each["model"], each["location"]) for each in recorded.sources()]
