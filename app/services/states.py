"""How an instance is, in one word, the same wherever it is shown.

serving       it answers
starting      its first front is not ready yet
degraded      it answers, but with errors or slower than its limits, or a worker is missing
failing       it does not answer, though it should
stopped       by order
unreachable   its host does not answer; `before` is what it was, `since` when that ended
unknown job   its host knows no such instance

Beside it: `outdated`, a newer version is committed; `modified`, the last `verify` of its location
found its files changed.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from app.errors import Problem
from app.scoring.samples import FINEST
from app.services import limits
from app.services import series as charts
from app.services.limits import Limits

if TYPE_CHECKING:
    from app.store.recorded import Recorded, Sample
    from app.workspace import Workspace

WELL = ("idle", "busy")
"""States of a worker that answers."""
UNKNOWN = "unknown job"
UP = ("serving", "degraded")
AILING = ("failing", "degraded", UNKNOWN)
"""States of an instance that somebody has to look at."""
LATELY = 30
"""Seconds of which errors and times are judged."""


def of(said: dict[str, Any]) -> str:
    """The state by what its host says (the agent's op `status`)."""
    fronts = [each for each in said["fronts"] if each["release"] == said["current"]]
    open_to_all = [each for each in fronts if each.get("accepting")]
    if any(each["ready"] for each in open_to_all):
        whole = all(w["state"] in WELL for front in open_to_all for w in front["workers"])
        return "serving" if whole else "degraded"
    if any(each.get("error") for each in open_to_all):
        return "failing"
    if said["stopped"]:
        return "stopped"
    if not said["listening"] or not said["fronts"]:
        return "failing"
    return "failing" if said["fate"]["over"] or said["fate"]["restarts"] else "starting"


def excess(moment: charts.Moment | None, limit: Limits, seconds: int = LATELY) -> str:
    """In words: which limits its requests of so many seconds are over; empty when none is."""
    figures = moment.figures() if moment else {}
    if not moment or moment.counts["requests"] < limits.LEAST:
        return ""
    errors, p95 = figures["errors"], figures["p95"]
    said = []
    if errors and limit["errors"] is not None and errors > limit["errors"]:
        said.append(f"{errors:.0%} of its answers are errors")
    if p95 and limit["p95"] is not None and p95 > limit["p95"]:
        said.append(f"one request in 20 takes over {p95:.2g} s")
    return f"{' and '.join(said).capitalize()} (last {seconds} s)." if said else ""


def judge(work: Workspace, rows: list[dict[str, Any]]) -> None:
    """Add to rows of `status` what only this side knows, and keep how each is.

    "state" becomes degraded over a limit; new are "state_since", "before", "modified", "traceback".
    """
    for row in rows:
        row.update(state_since=None, before="", modified=None, traceback="")
    with work.open_store() as store:
        bounds = limits.of_each(store, (row["model"] for row in rows))
    with contextlib.suppress(Problem), work.open_recorded() as recorded:
        for row in rows:
            _judge(recorded, row, bounds[row["model"]])
        keep(recorded, rows)
        kept, modified = recorded.states(), recorded.modified()
        for row in rows:
            state = kept[row["model"], row["location"]]
            row.update(state_since=state["since"], before=state["before"])
            if row["location"] in modified:
                row["modified"] = row["model"] in modified[row["location"]]


def _judge(recorded: Recorded, row: dict[str, Any], limit: Limits) -> None:
    source = recorded.find(row["model"], row["location"])
    if source is None:
        return
    if row["state"] in UP:
        over = _over(_rows(recorded, source, row["location"]), limit) or _slow(row, limit)
        row.update({"state": "degraded", "error": row["error"] or over} if over else {})
    elif row["state"] == "failing":
        row["traceback"] = last_traceback(recorded, source)


def _over(rows: list[Sample], limit: Limits) -> str:
    """A limit that the last row alone is over counts, too: among the many requests of before, the
    few that a slow instance answers would not show for half a minute."""
    newest = max((row.at for row in rows), default=0)
    last = [row for row in rows if row.at == newest]
    return excess(charts.together(rows), limit) or excess(charts.together(last), limit, FINEST)


def _slow(row: dict[str, Any], limit: Limits) -> str:
    """Seen before a row says so, or when so little is answered that no row ever will."""
    bound, takes = limit["p95"], row.get("takes") or 0.0
    return f"Requests take over {takes:.2g} s just now." if bound and takes > bound else ""


def lately(recorded: Recorded, source: int, location: str) -> charts.Moment | None:
    """What an instance did in the last half minute that can have been recorded."""
    return charts.together(_rows(recorded, source, location))


def _rows(recorded: Recorded, source: int, location: str) -> list[Sample]:
    there = time.time() + recorded.skew(location)
    return recorded.samples(source, there - LATELY - 10, there + 60)


def last_traceback(recorded: Recorded, source: int) -> str:
    """Of what ended its front or a worker last; what a host sends is text, and cut."""
    for said in recorded.last_of(source, ("failed", "worker")):
        with contextlib.suppress(ValueError, AttributeError):
            if told := str(json.loads(said).get("traceback") or ""):
                return told[-4000:]
    return ""


def keep(recorded: Recorded, rows: Iterable[dict[str, Any]]) -> None:
    """Note how instances are now, so that it can be told when that began, and what is pinned."""
    now = time.time()
    with recorded.write():
        for row in rows:
            said = {name: row.get(name) for name in ("error", "modified", "traceback")}
            recorded.keep_state(row["model"], row["location"], row["state"], now, said)
            if row["state"] != "unreachable":
                recorded.keep_pinned(row["model"], row["location"], row["pinned"])
