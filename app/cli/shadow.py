"""The command that tries a version on copies of what production is asked."""

from __future__ import annotations

import click

from app.cli.base import command, to_option, workspace
from app.cli.fleet import finish
from app.cli.output import emit


@click.command()
@click.argument("reference", metavar="MODEL[@VERSION]")
@to_option
@click.option(
    "--percent", type=float, help="Share of the requests that are copied; 10 if not said."
)
@click.option("--end", is_flag=True, help="Send no more copies, and stop the version.")
@click.option("--plan", "dry_run", is_flag=True, help="Only say what would be done on the host.")
@command
def shadow(
    reference: str, to: str | None, percent: float | None, end: bool, dry_run: bool, as_json: bool
) -> None:
    """Run a version beside production on copies of its requests, and compare the answers.

    With a version it begins; without one it says what was found so far.
    """
    from app.services import shadow as shadowing

    if end and (percent is not None or dry_run or "@" in reference):
        raise click.UsageError("--end takes a model alone.")
    if end:
        finish(shadowing.end(workspace(), reference, to=to), as_json)
    elif "@" in reference:
        begun = shadowing.start(workspace(), reference, to=to, percent=percent, dry_run=dry_run)
        finish(begun, as_json)
    elif percent is not None or dry_run:
        raise click.UsageError(f"Say which version: rhythmicml shadow {reference}@NUMBER")
    else:
        found = shadowing.report(workspace(), reference, to=to)
        emit(found, as_json, lambda _: click.echo(shadowing.headed(found)))
