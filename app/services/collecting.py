"""Bringing here what instances recorded: only what is newer, from all locations at once.

Each location is asked in a thread of its own and what it says is kept at once, so one that is down
costs the others nothing. A page of rows is the newest there are; what lies between it and what was
known before is the *gap*, brought page by page, over several rounds if it is large.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from app.deployer.agent.metrics import parts
from app.errors import Problem
from app.models import Location
from app.scoring import samples
from app.services import alerts, instances, logs
from app.services.series import UNREADABLE, is_failure
from app.store.recorded import Happened, Sample

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.store.recorded import Recorded
    from app.workspace import Workspace

PAGE = 4 << 20
"""Bytes of rows in one answer."""
PAGES = 8
"""Of one instance's gap, in one round."""
SIZE = 4 << 30
"""Bytes that all that was collected may take; the oldest rows go first."""
WITHIN = 60.0
"""Seconds for one answer."""

Cursor = dict[str, Any]
"""What is known of a host's file: {"file": its name, "sample", "event": rowids up to which all is
here, "gap": None or {"sample": above that one, "before": below that one}}."""


def collect(
    work: Workspace, name: str | None = None, *, to: str | None = None
) -> list[dict[str, Any]]:
    """As `instances.status`, with what was recorded meanwhile brought here on the same ways.

    Instances are then held to their limits (alerts.py).
    """
    rows = instances.status(work, name, to=to, ask=ask)
    alerts.after(work, rows)
    return rows


def ask(work: Workspace, location: Location) -> dict[str, dict[str, Any]]:
    """What a host says of its instances; brings what those of ours recorded."""
    try:
        with work.reach(location, looking=True) as road:
            said = instances.asked_of(road, location)
            _bring(work, road, location.name, set(said))
            return said
    except Problem as problem:
        with work.open_recorded() as recorded:
            recorded.heard(location.name, time.time(), None, problem.what)
        raise


def _bring(work: Workspace, road: Road, location: str, there: set[str]) -> None:
    with work.open_store() as store:
        names = [each.model for each in store.instances.all(location=location)]
    with work.open_recorded() as recorded:
        cursors = {each["model"]: each["cursor"] for each in recorded.sources(location)}
        sent = {
            name: (time.time(), road.send("metrics", **_wanted(name, cursors.get(name, {}))))
            for name in names
            if name in there
        }
        skews = []
        for name, (began, pending) in sent.items():
            said = parts(pending.result(WITHIN))
            skews.append(skew_of(float(said["now"]), began, time.time()))
            _take(recorded, road, (name, location), cursors.get(name, {}), said, skews[0])
        recorded.heard(location, time.time(), skews[0] if skews else None)
        recorded.cut(SIZE)
    logs.keep(work, road, location, logs.due(work, location, sent))


def _wanted(name: str, cursor: Cursor) -> dict[str, Any]:
    """Arguments of the op `metrics`."""
    known = {key: cursor.get(key) for key in ("file", "sample", "event", "before")}
    return {"name": name, "since": {name: known}, "most": PAGE}


def skew_of(there: float, sent: float, received: float) -> float:
    """How far a host's clock is ahead: 0 as long as it may be right, else by the middle."""
    if sent <= there <= received:
        return 0.0
    return round(there - (sent + received) / 2, 1)


def _take(
    recorded: Recorded,
    road: Road,
    key: tuple[str, str],
    cursor: Cursor,
    said: dict[str, Any],
    skew: float,
) -> None:
    """Keep a page of an instance, then what of its gap there is time for."""
    name = key[0]
    source = recorded.source(*key)
    for _ in range(PAGES):
        page = said["instances"].get(name, {"error": "It gave no answer."})
        if "error" in page:
            recorded.advance(source, cursor, str(page["error"])[:300])
            return
        cursor = following(cursor, page)
        with recorded.write():
            recorded.put(source, read(page["samples"], skew), _events(page, skew))
            recorded.advance(source, cursor)
        if not cursor.get("gap"):
            return
        known = {**cursor, **cursor["gap"]}
        said = parts(road.send("metrics", **_wanted(name, known)).result(WITHIN))
        said["instances"].get(name, {})["of_gap"] = True


def following(cursor: Cursor, page: dict[str, Any]) -> Cursor:
    """What is known after a page. of_gap: it is of the gap, not of what is new."""
    if not page["file"]:  # nothing was recorded there, or no more
        return cursor
    if page["file"] != cursor.get("file"):
        cursor = {"file": page["file"], "sample": 0, "event": 0, "gap": None}
    rowids = [int(row[0]) for row in page["samples"]]
    events = [int(row[0]) for row in page["events"]]
    gap = cursor.get("gap")
    bottom = gap["sample"] if gap else cursor["sample"]
    if page["more"] and rowids:
        gap = {"sample": bottom, "before": min(rowids)}
    elif page.get("of_gap"):
        gap = None
    return {
        "file": page["file"],
        "sample": max([cursor["sample"], *rowids]),
        "event": max([cursor["event"], *events]),
        "gap": gap,
    }


def read(rows: list[list[Any]], skew: float) -> list[Sample]:
    """Rows as they came; one that is none is left out: hosts are not trusted."""
    found = []
    for _, step, at, release, version, packed in rows:
        try:
            body = samples.unpack(packed)
            found.append(_row(int(step), int(at), str(release), version, skew, body, packed))
        except UNREADABLE:
            continue
    # A coarser row takes the place of finer ones, so those have to be there already.
    return sorted(found, key=lambda row: row.step)


def _row(
    step: int, at: int, release: str, version: Any, skew: float, body: dict[str, Any], packed: bytes
) -> Sample:
    if step not in samples.STEPS:
        raise ValueError(f"no step: {step}")
    counts = body["requests"].items()
    return Sample(
        step=step,
        at=at,
        release=release,
        version=None if version is None else int(version),
        skew=skew,
        seconds=float(body["seconds"]),
        requests=sum(int(n) for _, n in counts),
        failed=sum(int(n) for code, n in counts if is_failure(code)),
        columns=bool(body["inputs"] or body["outputs"]),
        body=packed,
    )


def _events(page: dict[str, Any], skew: float) -> list[Happened]:
    return [
        Happened(page["file"], int(n), float(at), skew, str(kind), str(body)[:20_000])
        for n, at, kind, body in page["events"]
    ]
