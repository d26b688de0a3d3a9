"""One line of the table: our figure, the best peer's, the ratio, the goal, met or not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

HEADINGS = ("case", "what", "RhythmicML", "beside", "ratio", "goal", "met")


class Row(NamedTuple):
    """met: None when it could not be measured; `ours` then says why."""

    case: str
    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""
    met: bool | None = None


def table(rows: Iterable[Row]) -> str:
    words = {True: "yes", False: "no", None: ""}
    return markdown(HEADINGS, [(*row[:-1], words[row.met]) for row in rows])


def markdown(headings: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    heads = list(headings)
    every = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in every)


def at_least(
    case: str, what: str, ours: float, best: float, name: str, goal: float, unit: str
) -> Row:
    """A row where more is better: ours / best must be `goal` or more."""
    ratio = ours / best
    figures = f"{ours:,.0f} {unit}", f"{name} {best:,.0f} {unit}", f"{ratio:.1f}×"
    return Row(case, what, *figures, f"≥ {goal:g}×", ratio >= goal)


def at_most(case: str, what: str, ours: float, bound: float, name: str, goal: float) -> Row:
    """A row where less is better, in ms: ours / bound must be `goal` or less."""
    ratio = ours / bound
    figures = f"{ours:.2f} ms", f"{name} {bound:.2f} ms", f"{ratio:.2f}×"
    return Row(case, what, *figures, f"≤ {goal:g}×", ratio <= goal)
