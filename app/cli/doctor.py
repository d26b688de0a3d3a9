"""The command for whoever reports a fault."""

from __future__ import annotations

import click

from app.cli.base import command, workspace
from app.cli.output import emit


@click.command()
@command
def doctor(as_json: bool) -> None:
    """Print all that a report of a fault needs, without secrets or addresses."""
    from app.services import doctor

    report = doctor.examine(workspace())
    emit(report, as_json, lambda _: click.echo(doctor.words(report), nl=False))
