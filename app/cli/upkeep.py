"""Commands about what stays on a host, whether it is whole, and how to get it back from there."""

from __future__ import annotations

import click

from app.cli.base import command, to_option, workspace
from app.cli.output import emit


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


def register(group: click.Group) -> None:
    for each in (pin, unpin):
        group.add_command(each)
