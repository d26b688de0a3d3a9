"""Two versions of an instance, each over its own time: seconds since it began to be recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.errors import NotFound
from app.services import series

if TYPE_CHECKING:
    from app.store.recorded import Recorded
    from app.workspace import Workspace

Span = tuple[int, int, int]
"""A version; when it was recorded first and last, by its host's clock."""


def versions(work: Workspace, model: str, location: str) -> list[int]:
    """Those that anything is known of, newest first."""
    with work.open_recorded() as recorded:
        return [number for number, _, _ in _spans(recorded, model, location)[1]]


def compare(
    work: Workspace, model: str, location: str, chosen: tuple[int, int], longest: float
) -> dict[str, Any]:
    """{"at": [seconds since each began], version: the columns of `series` for it, …}.

    longest: seconds of each that are looked at.
    """
    with work.open_recorded() as recorded:
        source, spans = _spans(recorded, model, location)
        found = [span for number in chosen for span in spans if span[0] == number]
        if len(found) < len(chosen) or source is None:
            raise NotFound(f"Nothing was recorded of one of these versions of {model}.")
        length = min(longest, max(last - first for _, first, last in found))
        step = series.width(0, length)
        said = {n: _columns(recorded, source, n, first, length, step) for n, first, _ in found}
    points = min(len(each["at"]) for each in said.values())
    return {"at": [n * step for n in range(points)]} | {
        str(number): {name: each[name][:points] for name in series.COLUMNS}
        for number, each in said.items()
    }


def _spans(recorded: Recorded, model: str, location: str) -> tuple[int | None, list[Span]]:
    source = recorded.find(model, location)
    return source, [] if source is None else recorded.spans(source)


def _columns(
    recorded: Recorded, source: int, version: int, first: int, length: float, step: int
) -> dict[str, Any]:
    since = first // step * step
    rows = recorded.samples(source, since, since + length, version)
    whole = [row._replace(skew=0.0) for row in rows]  # one clock is as good as another here
    return series.columns(whole, since, since + length, step)
