"""The pages with charts, of an instance and of a host; what they draw as JSON, table and CSV."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, render_template, request

from app.errors import NotFound
from app.services import hosts, monitoring, versus
from app.spreadsheets import as_csv
from app.views import charts
from app.views.charts import Chart, Mark
from app.views.figures import host_shown
from app.views.monitoring import WORDS, range_asked, row_of

if TYPE_CHECKING:
    from app.views.live import Live
    from app.workspace import Workspace

LATEST = 1 << 40
"""Seconds; what is asked for after it is nonsense."""


@dataclass(frozen=True)
class Picture:
    """What is drawn. at: the axis, unix seconds; if not clock, since each version began."""

    about: str
    drawn: tuple[Chart, ...]
    at: list[float]
    found: dict[str, Any]
    ends: tuple[float, float]
    marks: list[Mark] = field(default_factory=list)
    clock: bool = True


def blueprint(work: Workspace, live: Live) -> Blueprint:
    pages = Blueprint("charts", __name__)

    @pages.get("/monitoring/<name>/<location>")
    def instance(name: str, location: str) -> Any:
        live.refresh()
        row = row_of(work, name, location)
        picture = _of_instance(work, name, location)
        versions = versus.versions(work, name, location)
        return render_template(
            "instance.html", page="monitoring", row=row, picture=picture, versions=versions,
            versus=_versus(), range=range_asked(), ranges=WORDS,
        )  # fmt: skip

    @pages.get("/monitoring/<name>/<location>/series")
    def series(name: str, location: str) -> Any:
        return _json(_of_instance(work, name, location))

    @pages.get("/monitoring/<name>/<location>/marks")
    def marks(name: str, location: str) -> Any:
        return render_template("instance_marks.html", picture=_of_instance(work, name, location))

    @pages.get("/monitoring/<name>/<location>/<key>.csv")
    def instance_csv(name: str, location: str, key: str) -> Any:
        return _csv(_of_instance(work, name, location), key)

    @pages.get("/monitoring/<name>/<location>/<key>")
    def instance_table(name: str, location: str, key: str) -> Any:
        return _table(_of_instance(work, name, location), key)

    @pages.get("/hosts")
    @pages.get("/hosts/<location>")
    def all_hosts(location: str = "") -> Any:
        picture = _of_host(work, location) if location else None
        return render_template(
            "hosts.html", page="monitoring", chosen=location,
            hosts=[host_shown(each) for each in hosts.overview(work)],
            picture=picture, range=range_asked(), ranges=WORDS,
        )  # fmt: skip

    @pages.get("/hosts/<location>/series")
    def host_series(location: str) -> Any:
        return _json(_of_host(work, location))

    @pages.get("/hosts/<location>/<key>.csv")
    def host_csv(location: str, key: str) -> Any:
        return _csv(_of_host(work, location), key)

    @pages.get("/hosts/<location>/<key>")
    def host_table(location: str, key: str) -> Any:
        return _table(_of_host(work, location), key)

    return pages


# What is asked for


def _ends() -> tuple[float, float]:
    """From when to when: what was dragged over, else the range up to now."""
    since = request.args.get("since", type=float)
    until = request.args.get("until", type=float)
    if since is not None and until is not None and 0 <= since < until < LATEST:
        return since, until
    now = time.time()
    return now - monitoring.RANGES[range_asked()], now


def _versus() -> tuple[int, int] | None:
    """The two versions that are compared."""
    one, other = (request.args.get(key, type=int) for key in ("a", "b"))
    return (one, other) if one and other and one != other else None


def _chart(picture: Picture, key: str) -> Chart:
    for chart in picture.drawn:
        if chart.key == key:
            return chart
    raise NotFound(f'There is no chart "{key}" of {picture.about}.')


def _of_instance(work: Workspace, name: str, location: str) -> Picture:
    about, ends = f"{name} on {location}", _ends()
    if chosen := _versus():
        return _of_versions(work, name, location, chosen)
    found = monitoring.series(work, name, location, *ends)
    return Picture(about, charts.INSTANCE, found["at"], found, ends, charts.marks(found))


def _of_versions(work: Workspace, name: str, location: str, chosen: tuple[int, int]) -> Picture:
    longest = monitoring.RANGES[range_asked()]
    found = versus.compare(work, name, location, chosen, longest)
    about = f"{name} on {location}, v{chosen[0]} and v{chosen[1]}"
    ends = (0.0, max([*found["at"], 1.0]))
    return Picture(about, charts.compared(*chosen), found["at"], found, ends, clock=False)


def _of_host(work: Workspace, location: str) -> Picture:
    ends = _ends()
    found = hosts.series(work, location, *ends)
    return Picture(location, charts.HOST, found["at"], found, ends)


# What is given


def _json(picture: Picture) -> dict[str, Any]:
    since, until = picture.ends
    return {
        "at": picture.at,
        "since": since,
        "until": until,
        "clock": picture.clock,
        "charts": charts.as_json(picture.drawn, picture.found),
        "marks": [vars(mark) for mark in picture.marks if mark.drawn],
    }


def _lines(picture: Picture, chart: Chart) -> tuple[list[str], list[list[str]]]:
    columns = chart.columns(picture.found)
    head = charts.header(columns, picture.clock)
    return head, charts.lines(columns, picture.at, picture.clock)


def _csv(picture: Picture, key: str) -> Response:
    answer = Response(as_csv(*_lines(picture, _chart(picture, key))), mimetype="text/csv")
    name = re.sub(r"[^\w.]+", "-", f"{picture.about} {key}", flags=re.ASCII)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return answer


def _table(picture: Picture, key: str) -> str:
    chart = _chart(picture, key)
    head, lines = _lines(picture, chart)
    csv = f"{request.path}.csv?{request.query_string.decode()}"
    return render_template(
        "chart_table.html", chart=chart, picture=picture, header=head, lines=lines, csv=csv
    )
