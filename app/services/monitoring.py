"""What instances did and do: collected from their hosts, read from here, with or without them.

Times are seconds since 1970 by this machine's clock; a host's own are corrected by how far its
clock was ahead when they were collected.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from app.errors import NotFound, Problem
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
RANGES = {
    "15m": 900,
    "1h": 3600,
    "6h": 21_600,
    "24h": 86_400,
    "7d": 7 * 86_400,
    "30d": 30 * 86_400,
    "90d": 90 * 86_400,
}
"""What one can ask for → its seconds."""
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


def overview(work: Workspace, span: float | None = None) -> list[dict[str, Any]]:
    """A row for each instance that was deployed from here, by model and location; asks no host.

    {"model", "location", "port", "release",
     "state": serving | starting | degraded | failing | stopped | unreachable | unknown job
        (states.py), as it was ordered from here before it was ever asked,
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
    span: seconds up to now that "requests", "errors" and "spark" are of, instead.
    """
    with work.open_store() as store:
        known = store.instances.all()
        latest = store.versions.newest(each.model for each in known)
    with work.open_recorded() as recorded:
        states, skew = recorded.states(), _skews(recorded)
        alerts = Counter((a["model"], a["location"]) for a in recorded.alerts.all(open_only=True))
        return [
            {
                **_state(each, states.get((each.model, each.location)), latest.get(each.model)),
                **_lately(recorded, each),
                **_over(recorded, recorded.find(each.model, each.location), skew(each), span),
                "alerts": alerts[each.model, each.location],
                "skew": skew(each),
            }
            for each in known
        ]


def _state(known: Instance, kept: dict[str, Any] | None, newest: int | None) -> dict[str, Any]:
    """What is known of an instance without what it recorded."""
    never: dict[str, Any] = {"since": None, "before": "", "asked": None, "said": {}}
    state = kept or {"state": known.state, **never}
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
    }


def _last_rows(recorded: Recorded, model: str, location: str) -> list[Sample]:
    """Those of the last minute that was recorded, whenever that was."""
    source = recorded.find(model, location)
    newest = None if source is None else recorded.newest(source)
    if source is None or newest is None:
        return []
    return recorded.samples(source, newest - LATELY + 10, newest + 1)


def _over(
    recorded: Recorded, source: int | None, skew: float, span: float | None
) -> dict[str, Any]:
    """Of a span of time, without a look into the rows: there may be a thousand instances."""
    step = (span or SPARK * SPARK_STEP) / SPARK
    start = time.time() - SPARK * step
    rows = recorded.counts(source, start + skew, step) if source is not None else []
    rates = {n: requests / covered for n, requests, _, covered in rows if covered}
    spark = {"spark": [rates.get(n) for n in range(SPARK)]}
    if span is None:
        return spark
    requests, failed, covered = (sum(row[column] for row in rows) for column in (1, 2, 3))
    return {
        **spark,
        "requests": requests / covered if covered else None,
        "errors": failed / requests if requests else None,
    }


def traffic(work: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    """(model, location) of each instance → its "requests" and "spark" as `overview` has them.

    Without a look into the rows, so that it costs little for many instances.
    """
    with work.open_store() as store:
        known = store.instances.all()
    with work.open_recorded() as recorded:
        skew, found = _skews(recorded), {}
        for each in known:
            source = recorded.find(each.model, each.location)
            found[each.model, each.location] = {
                "requests": _rate(recorded, source, skew(each)),
                **_over(recorded, source, skew(each), None),
            }
        return found


def _skews(recorded: Recorded) -> Callable[[Instance], float]:
    """Of an instance: how far its host's clock was ahead, all read at once."""
    hosts = recorded.hosts()
    return lambda known: float(hosts.get(known.location, {}).get("skew", 0.0))


def _rate(recorded: Recorded, source: int | None, skew: float) -> float | None:
    """Requests per second of the last minute that was recorded; None: that is long ago."""
    newest = None if source is None else recorded.newest(source)
    if source is None or newest is None or time.time() + skew - newest > STALE:
        return None
    rows = recorded.counts(source, newest - LATELY + 10, LATELY)
    covered = sum(row[3] for row in rows)
    return sum(row[1] for row in rows) / covered if covered else None


def series(
    work: Workspace,
    model: str,
    location: str,
    since: float,
    until: float,
    *,
    version: int | None = None,
    most: int = charts.MOST,
) -> dict[str, Any]:
    """What an instance did in that time, as columns over one axis of so many points at most.

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
    said = charts.columns(rows, since, until, charts.width(since, until, most))
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


def place(work: Workspace, model: str, location: str | None = None) -> str:
    """The location of an instance that anything is known of, also where it is no more."""
    with work.open_store() as store:
        known = {each.location for each in store.instances.all(model=model)}
    gone = {at for name, at in history(work) if name == model}
    found = (known | gone) & {location} if location else known or gone
    if len(found) == 1:
        return found.pop()
    if not found:
        where = f" on {location}" if location else ""
        raise NotFound(f"Nothing was recorded of {model}{where}.", remedy="rhythmicml monitor")
    raise Problem(
        f"{model} is on several locations: {', '.join(sorted(found))}.",
        remedy=f"Name one: rhythmicml monitor {model} {min(found)}",
    )
