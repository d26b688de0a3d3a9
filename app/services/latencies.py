"""How long instances took to answer lately, from what was collected of them. No host is asked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.services import series

if TYPE_CHECKING:
    from app.store.recorded import Recorded
    from app.workspace import Workspace

LATELY = 3600
"""Seconds before now that count."""

Place = tuple[str, str]
"""A model, and the location of its instance."""


def p95(work: Workspace, places: Iterable[Place]) -> dict[Place, float]:
    """Seconds within which 95 of 100 requests of the last hour were answered, where known."""
    with work.open_recorded() as recorded:
        found = {place: _p95(recorded, *place) for place in set(places)}
    return {place: took for place, took in found.items() if took is not None}


def _p95(recorded: Recorded, model: str, location: str) -> float | None:
    source = recorded.find(model, location)
    if source is None:
        return None
    there = time.time() + recorded.skew(location)
    whole = series.together(recorded.samples(source, there - LATELY, there + 60))
    return whole.figures()["p95"] if whole else None
