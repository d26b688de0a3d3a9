"""Commands about what stays on a host, whether it is whole, and how to get it back from there."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app.cli.base import command, to_option, workspace
from app.cli.output import emit, follow

INTO = "Where the folders of new models are made; ~/RhythmicML unless said."


@click.command()
@click.argument("reference", metavar="MODEL@VERSION")
@to_option
@command
def pin(reference: str, to: str | None, as_json: bool) -> None:
    """Have a version's release stay on its host, however many come after it."""
    _pin(reference, to, as_json, stay=True)


@click.command()
@click.argument("reference", metavar="MODEL@VERSION")
@to_option
@command
def unpin(reference: str, to: str | None, as_json: bool) -> None:
    """Let a version's release go again when its time has come."""
    _pin(reference, to, as_json, stay=False)


def _pin(reference: str, to: str | None, as_json: bool, stay: bool) -> None:
    from app.services import pins

    done = pins.pin(workspace(), reference, to=to, stay=stay)
    pinned = ", ".join(f"v{number}" for number in done["pinned"]) or "none"
    words = f"Pinned of {done['model']} on {done['location']}: {pinned}"
    emit(done, as_json, lambda _: click.echo(words))


@click.command()
@click.argument("location", required=False)
@command
def verify(location: str | None, as_json: bool) -> None:
    """Read again all that a location holds, or the store here, and say what is not as it was."""
    from app.services import verifying

    result = follow(verifying.verify(workspace(), location), as_json)
    emit(result.data, as_json, lambda _: click.echo(result.text))
    if result.data["findings"]:
        sys.exit(1)


@click.command()
@click.argument("location")
@click.option("--model", help="This one alone.")
@click.option("--into", type=click.Path(path_type=Path), metavar="FOLDER", help=INTO)
@command
def adopt(location: str, model: str | None, into: Path | None, as_json: bool) -> None:
    """Take the models that a location has into the store here: versions, files, history."""
    from app.services import adopting

    events = adopting.adopt(workspace(), location, into=into, model=model)
    result = follow(events, as_json)
    emit(result.data, as_json, lambda _: click.echo(result.text))


def register(group: click.Group) -> None:
    for each in (pin, unpin, verify, adopt):
        group.add_command(each)
