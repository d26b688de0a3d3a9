"""Commands about how instances fare: now, and over time."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import click

from app.cli.base import command, workspace
from app.cli.output import emit, table
from app.errors import NotFound
from app.words import figure

UNITS = {
    "requests": ("req/s", 1.0),
    "p50": ("ms", 1000.0),
    "p95": ("ms", 1000.0),
    "p99": ("ms", 1000.0),
    "errors": ("%", 100.0),
    "memory": ("bytes", 1.0),
}
"""Of the list; what is recorded times that."""
MORE = {
    "cpu": ("%", 100.0),
    "refused": ("req/s", 1.0),
    "predict_p50": ("ms", 1000.0),
    "predict_p95": ("ms", 1000.0),
    "predict_p99": ("ms", 1000.0),
    "queue": ("", 1.0),
    "batch": ("rows", 1.0),
    "restarts": ("", 1.0),
    "files": ("", 1.0),
}
"""Of one instance besides."""
RANGES = ("15m", "1h", "6h", "24h", "7d", "30d", "90d")
AGAIN = 15.0
"""Seconds between two looks."""
LINES = 25
HAPPENED = 10
DRIFTED = 10


@click.command()
@click.argument("model", required=False)
@click.argument("location", required=False)
@click.option("--range", "span", type=click.Choice(RANGES), default="1h", show_default=True)
@click.option("--offline", is_flag=True, help="Ask no host: what was collected before.")
@click.option("--watch", is_flag=True, help="Go on, every 15 s, until Ctrl-C.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@command
def monitor(
    model: str | None,
    location: str | None,
    span: str,
    offline: bool,
    watch: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show how all instances fare, or one over time, also what was recorded while nobody looked."""
    if watch and (as_json or as_csv):
        raise click.UsageError("--watch never ends, so it goes with neither --json nor --csv.")
    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both.")

    def look() -> None:
        if not offline:
            _collect(model, location)
        if model is None:
            _all(as_json, as_csv)
        else:
            _one(model, location, span, as_json, as_csv)

    if not watch:
        look()
        return
    with suppress(KeyboardInterrupt):
        while True:
            look()
            time.sleep(AGAIN)
            click.clear()


def _collect(model: str | None, location: str | None) -> None:
    """What was recorded of a model that is no more can still be read."""
    from app.services import collecting

    with suppress(NotFound):
        collecting.collect(workspace(), model, to=location)


# All of them


def _all(as_json: bool, csv: bool) -> None:
    from app.services import monitoring, watched
    from app.spreadsheets import as_csv

    rows = watched.choose(monitoring.overview(workspace()))
    if csv:
        head = ["model", "location", "state", "version", *_heads(UNITS)]
        body = [[*_which(row), *_figures(row, UNITS)] for row in rows]
        click.echo(as_csv(head, body), nl=False)
        return
    emit(rows, as_json, _show_all)


def _show_all(rows: list[dict[str, Any]]) -> None:
    if not rows:
        click.echo("Nothing is deployed. Start with: rhythmicml deploy FOLDER")
        return
    lines = [_line(row) for row in rows]
    table(lines, {key: key.upper() for key in lines[0]})
    for row in rows:
        if row["error"]:
            click.echo(f"\n{row['model']} on {row['location']}: {row['error']}")


def _line(row: dict[str, Any]) -> dict[str, str]:
    names = ("model", "location", "state", "version")
    newer = f" (v{row['latest']} is newer)" if row["outdated"] else ""
    which = dict(zip(names, (each or "-" for each in _which(row)), strict=True))
    which["version"] += newer
    return {**which, **_words(row, UNITS)}


def _which(row: dict[str, Any]) -> list[str]:
    version = f"v{row['version']}" if row["version"] else ""
    return [row["model"], row["location"], row["state"], version]


# One over time


def _one(model: str, location: str | None, span: str, as_json: bool, csv: bool) -> None:
    from app.services import monitoring, moved, series
    from app.spreadsheets import as_csv

    work, until = workspace(), time.time()
    at = monitoring.place(work, model, location)
    rows = monitoring.overview(work)
    now = next((row for row in rows if (row["model"], row["location"]) == (model, at)), None)
    most = series.MOST if as_json or csv else LINES
    since = until - monitoring.RANGES[span]
    found = monitoring.series(work, model, at, since, until, most=most)
    if csv:
        units = {**UNITS, **MORE}
        body = [[_stamp(point["at"]), *_figures(point, units)] for point in _points(found)]
        click.echo(as_csv(["time", *_heads(units)], body), nl=False)
        return
    said = {**found, "now": now, "drift": moved.overview(work, model, at)}
    emit(said, as_json, lambda said: _show_one(said, span))


def _show_one(found: dict[str, Any], span: str) -> None:
    now = found["now"]
    state = f"{now['state']} v{now['version']}" if now else "is no more"
    click.echo(f"{found['model']} on {found['location']}: {state}")
    if now and now["error"]:
        click.echo(now["error"])
    _show_points(found, span)
    _show_drift(found["drift"])
    if found["marks"]:
        click.echo()
    for mark in found["marks"][-HAPPENED:]:
        click.echo(f"{_clock(mark['at'], span)}  {mark['words']}")


def _show_points(found: dict[str, Any], span: str) -> None:
    lines = [
        {
            "time": _clock(point["at"], span),
            **_words(point, UNITS),
            **_words(point, {"cpu": MORE["cpu"]}),
        }
        for point in _points(found)
    ]
    if not lines:
        click.echo(f"Nothing was recorded in the last {span}.")
        return
    click.echo()
    table(lines, {key: key.upper() for key in lines[0]})


def _show_drift(found: dict[str, Any]) -> None:
    """The columns that moved most, against what the version was made from and the week before."""
    lines = [
        {
            "": "▲" if each["moved"] else "",
            "column": each["title"] if each["side"] == "inputs" else f"{each['name']} (output)",
            **_distances(each["reference"], ""),
            **_distances(each["week"], " week"),
        }
        for each in found["columns"]
        if each["score"] is not None
    ][:DRIFTED]
    if not lines:
        return
    made = found["reference"]
    against = f"v{made['version']}'s {made['source']} and " if made else ""
    click.echo(f"\nThe last day against {against}the week before it:")
    table(lines, {key: key.upper() for key in lines[0]})


def _distances(said: dict[str, Any] | None, suffix: str) -> dict[str, str]:
    known = {name: said[name] if said else None for name in ("psi", "ks")}
    return {f"{n}{suffix}": "-" if v is None else f"{v:.3f}" for n, v in known.items()}


def _points(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that anything was recorded at, oldest first."""
    names = ("at", *UNITS, *MORE)
    columns = zip(*(found[name] for name in names), strict=True)
    points = [dict(zip(names, values, strict=True)) for values in columns]
    return [point for point in points if point["requests"] is not None]


# Figures


def _heads(units: dict[str, tuple[str, float]]) -> list[str]:
    return [f"{name} [{unit}]" if unit else name for name, (unit, _) in units.items()]


def _figures(row: dict[str, Any], units: dict[str, tuple[str, float]]) -> list[str | None]:
    return [
        None if row[name] is None else f"{row[name] * factor:.6g}"
        for name, (_, factor) in units.items()
    ]


def _words(row: dict[str, Any], units: dict[str, tuple[str, float]]) -> dict[str, str]:
    return {
        name: figure(None if row[name] is None else row[name] * factor, unit)
        for name, (unit, factor) in units.items()
    }


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _clock(at: float, span: str) -> str:
    """By this machine's clock, as short as the range allows."""
    form = "%H:%M:%S" if span in ("15m", "1h", "6h") else "%d %b %H:%M"
    return datetime.fromtimestamp(at, timezone.utc).astimezone().strftime(form)
