"""Commands about what stays on a host, whether it is whole, and how to get it back from there."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import click

from app.cli.base import command, to_option, workspace
from app.cli.output import emit, follow
from app.errors import Busy

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


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@command
def backup(folder: Path, as_json: bool) -> None:
    """Copy the store into a folder: all models, versions, locations; again: only what is new."""
    from app.services import backups

    result = follow(backups.backup(workspace(), folder), as_json)
    emit(result.data, as_json, lambda _: click.echo(result.text))


@click.command("restore-store")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--undo", is_flag=True, help="Put back what was here before the last restore.")
@command
def restore_store(folder: Path | None, undo: bool, as_json: bool) -> None:
    """Put a backup, or a copy of the store, in its place: all or nothing; nothing is lost."""
    from app import config
    from app.services import backups, models, reviving
    from app.views import door

    if (folder is None) != undo:
        raise click.UsageError("Name the folder of a backup, or say --undo.")
    found = models.whole(folder) if folder else None
    copy = found if found and found.is_file() else None  # replaced under who has it open
    with door.alone(config.home()) if copy else nullcontext(True) as alone:
        if not alone:
            raise Busy("RhythmicML is open.", remedy="Close its window first, or end it.")
        work = workspace()
        events = reviving.put_back(work, copy) if copy else backups.restore(work, found)
        result = follow(events, as_json)
    emit(result.data, as_json, lambda _: click.echo(result.text))


@click.command()
@click.argument("count", type=int, required=False)
@command
def keep(count: int | None, as_json: bool) -> None:
    """Show or set how many good releases stay on a host, of models that do not say it."""
    from app.services import retention

    work = workspace()
    if count is not None:
        retention.set_default(work, count)
    with work.open_store() as store:
        kept = retention.default(store)
    words = f"Of a model that does not say `keep`, the last {kept} good releases stay on a host."
    emit({"keep": kept}, as_json, lambda _: click.echo(words))
