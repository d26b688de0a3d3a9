"""What is known of instances and hosts when they are held to their limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from app.configuration.values import size
from app.models import Version
from app.services import drifting, states
from app.services.rules import Facts, HostFacts

if TYPE_CHECKING:
    from app.services.series import Moment
    from app.store import Store
    from app.store.recorded import Recorded

Row = dict[str, Any]
Moments = dict[tuple[str, str], "Moment | None"]


def gather(
    store: Store, recorded: Recorded, rows: Sequence[Row], now: float
) -> list[Facts | HostFacts]:
    """Of each instance whose host answered, and of each host. rows: as `status` has them."""
    seen = {(row["model"], row["location"]): row for row in rows if row["state"] != "unreachable"}
    drifting.refresh(store, recorded, seen, now)
    moments = {key: _moment(recorded, *key) for key in seen}
    there: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        there[row["location"]].append(row)
    versions = store.versions.some((row["model"], row["version"]) for row in rows)
    of_instances = [
        _facts(recorded, row, moments[key], versions.get((key[0], row["version"])), now)
        for key, row in seen.items()
    ]
    of_hosts = [_of_host(recorded, name, each, moments) for name, each in there.items()]
    return [*of_instances, *of_hosts]


def _moment(recorded: Recorded, model: str, location: str) -> Moment | None:
    source = recorded.find(model, location)
    return None if source is None else states.lately(recorded, source, location)


def _facts(
    recorded: Recorded, row: Row, moment: Moment | None, version: Version | None, now: float
) -> Facts:
    figures = moment.figures() if moment else {}
    source = recorded.find(row["model"], row["location"])
    tls = row.get("certificate")
    return Facts(
        model=row["model"],
        location=row["location"],
        state=row["state"],
        error=row["error"],
        requests=moment.counts["requests"] if moment else None,
        errors=figures.get("errors"),
        p95=figures.get("p95"),
        takes=row.get("takes"),
        memory=figures.get("memory"),
        most=_most_memory(version),
        ends=datetime.fromisoformat(tls["expires"]).timestamp() if tls else None,
        drift=None if source is None else drifting.of(recorded, source, now),
    )


def _most_memory(version: Version | None) -> float | None:
    """What the version says that it may take, in bytes."""
    said = version.configuration.memory if version else None
    return float(size(said)) if said else None


def _of_host(recorded: Recorded, location: str, rows: list[Row], moments: Moments) -> HostFacts:
    reached = any(row["state"] != "unreachable" for row in rows)
    known = [moment for (_, at), moment in moments.items() if at == location and moment]
    used = {name: pair for moment in known for name, pair in _levels(moment)}
    error = recorded.hosts().get(location, {}).get("error", "")
    return HostFacts(location, reached, error, len(rows), used)


def _levels(moment: Moment) -> Iterator[tuple[str, tuple[float, float]]]:
    for name in ("memory", "disk"):
        part, whole = (moment.levels.get(f"host_{name}{end}") for end in ("", "_total"))
        if part is not None and whole:
            yield name, (part, whole)
