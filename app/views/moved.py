"""Drift: what an instance is asked and answers now, beside how it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, render_template

from app.services import moved
from app.views import histograms

if TYPE_CHECKING:
    from app.workspace import Workspace

SHOWN = 50


def blueprint(work: Workspace) -> Blueprint:
    pages = Blueprint("moved", __name__)

    @pages.get("/monitoring/<name>/<location>/drift")
    def drift(name: str, location: str) -> Any:
        found = moved.overview(work, name, location)
        rows = [
            {**each, "drawn": _drawn(each), "words": _words(each)}
            for each in found["columns"][:SHOWN]
        ]
        return render_template(
            "drift.html", found=found, rows=rows, more=len(found["columns"]) - len(rows),
            wide=histograms.WIDE, tall=histograms.TALL,
        )  # fmt: skip

    return pages


def _drawn(column: dict[str, Any]) -> histograms.Histogram | None:
    """None too where a host's summary is none."""
    try:
        return histograms.draw(column["then"], column["now"])
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        return None


def _words(column: dict[str, Any]) -> str:
    """What the distances do not say: by how many deviations the mean moved, how nulls did."""
    said = column["reference"] or column["week"] or {}
    parts = []
    if said.get("shift"):
        parts.append(f"mean {said['shift']:+.2g} deviations")
    if abs(said.get("nulls", 0.0)) >= 0.005:
        parts.append(f"nulls {said['nulls']:+.0%}")
    return ", ".join(parts)
