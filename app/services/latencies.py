"""How long instances took to answer lately, from what their fronts recorded on their hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from app.deployer.agent.metrics import parts
from app.models import Location
from app.scoring import samples, sketch
from app.services.together import ASKED_AT_ONCE, Crew, values

if TYPE_CHECKING:
    from app.workspace import Workspace

LATELY = 3600
"""Seconds before now that count."""
MOST = 1 << 20
"""Bytes of rows that one host is asked for."""

Place = tuple[str, str]
"""A model, and the location of its instance."""


def p95(work: Workspace, places: Iterable[Place]) -> dict[Place, float]:
    """Seconds within which 95 of 100 requests of the last hour were answered, where known."""
    wanted = set(places)
    with work.open_store() as store:
        known = [each for each in store.locations.all() if each.name in {at for _, at in wanted}]
    crew = Crew.of(work)
    hosts = {each.name: partial(_asked, crew, each) for each in known}
    said = values(crew, hosts, ASKED_AT_ONCE)
    found: dict[Place, float] = {}
    for model, place in wanted:
        rows = said.get(place)
        if isinstance(rows, dict) and (took := rows.get(model)) is not None:
            found[model, place] = took
    return found


def _asked(work: Workspace, location: Location) -> dict[str, float | None]:
    """Instance name → its p95; of hosts whose agent cannot say, nothing."""
    with work.reach(location) as road:
        answer = parts(road.call("metrics", name=None, most=MOST))
    since = answer["now"] - LATELY
    return {name: _p95(each, since) for name, each in answer["instances"].items()}


def _p95(said: Mapping[str, Any], since: float) -> float | None:
    whole: Mapping[str, Any] = {}
    for _, _, at, _, _, body in said.get("samples", ()):
        if at >= since:
            whole = sketch.merge(whole, samples.unpack(body).get("latency", {}))
    return sketch.quantile(whole, 0.95) if whole else None
