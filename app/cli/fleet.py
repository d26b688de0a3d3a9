"""What is printed of several locations, and the commands about groups of them."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from itertools import chain
from typing import Any

import click

from app.cli.base import command, workspace
from app.cli.output import emit, follow, table
from app.models import Event
from app.words import size, told


def finish(events: Iterator[Event], as_json: bool) -> dict[str, Any]:
    """Show the work, then its result; of several locations a table, and exit code 1 if any failed.

    Ctrl-C goes to the work, which then says what is where.
    """
    try:
        result = follow(events, as_json)
    except KeyboardInterrupt:
        result = _interrupted(events, as_json)
    if "locations" not in result.data:
        emit(result.data, as_json, lambda _: click.echo(result.text))
        return result.data
    emit(result.data, as_json, lambda _: _show(result))
    if result.data.get("stopped"):
        sys.exit(130)
    if result.data["failed"]:
        sys.exit(1)
    return result.data


def _interrupted(events: Iterator[Event], as_json: bool) -> Event:
    if not isinstance(events, Generator):
        raise KeyboardInterrupt
    try:
        return follow(chain([events.throw(KeyboardInterrupt())], events), as_json)
    except StopIteration:
        raise KeyboardInterrupt from None


def _show(result: Event) -> None:
    rows = result.data["locations"]
    for row in rows:
        if "plan" in row:
            click.echo(f"{row['location']}:")
            click.echo("\n".join(f"  {w}" for w in row["plan"] or ["Nothing would be done."]))
    table([{**row, "version": told(row["release"] or "") or "-"} for row in rows], HEADS)
    for row in rows:
        problem = row["problem"] or {}
        for name in ("cause", "remedy"):
            if problem.get(name):
                click.echo(f"{row['location']}: {name.capitalize()}: {problem[name]}", err=True)
    click.echo(result.text)
    if result.data["stopped"]:
        click.echo("Stopped. Nothing is half done: the same command goes on from here.", err=True)


HEADS = {key: key.upper() for key in ("location", "result", "version", "seconds", "error")}


def show_checks(result: Event) -> None:
    """A line for each location."""
    rows = [_check_row(row) for row in result.data["locations"]]
    table(rows, {key: key.upper().replace("_", " ") for key in rows[0]})
    click.echo(result.text)


def _check_row(row: dict[str, Any]) -> dict[str, Any]:
    facts = row["facts"]
    if not facts:
        return {**dict.fromkeys(CHECKED, "-"), "location": row["location"],
                "error": row["problem"]["what"]}  # fmt: skip
    return {
        "location": row["location"],
        "system": f"{facts['distribution']} {facts['distribution_version']}".strip(),
        "user": facts["user"],
        "python": facts["pythons"][0]["version"] if facts["pythons"] else "none",
        "disk_free": size(facts["disk_free"]),
        "internet": {True: "yes", False: "no"}.get(facts["internet"], "-"),
        "latency": f"{facts['latency'] * 1000:.1f} ms",
        "error": "",
    }


CHECKED = ("location", "system", "user", "python", "disk_free", "internet", "latency", "error")


@click.group("group")
def group() -> None:
    """One name for several locations."""


@group.command()
@click.argument("name")
@click.argument("locations", nargs=-1, required=True)
@command
def add(name: str, locations: tuple[str, ...], as_json: bool) -> None:
    """Make a group of locations; the first is the first to be deployed to."""
    from app.services import groups

    members = groups.add(workspace(), name, locations)
    words = f"{name} means {', '.join(members)}."
    emit({"name": name, "locations": members}, as_json, lambda _: click.echo(words))


@group.command("list")
@command
def list_groups(as_json: bool) -> None:
    """List the groups."""
    from app.services import groups

    found = groups.all_groups(workspace())

    def show(_: Any) -> None:
        for name, members in found.items():
            click.echo(f"{name}: {', '.join(members)}")
        if not found:
            click.echo("There is no group. rhythmicml location group add NAME LOCATION …")

    emit(found, as_json, show)


@group.command()
@click.argument("name")
@command
def remove(name: str, as_json: bool) -> None:
    """Forget a group. Its locations stay."""
    from app.services import groups

    groups.remove(workspace(), name)
    emit({"removed": name}, as_json, lambda _: click.echo(f"The group {name} is forgotten."))
