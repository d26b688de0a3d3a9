"""Commands about pipelines: begin one, look at it, try it with all its stages."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Any

import click

from app.cli.base import command, to_option, workspace
from app.cli.models import FOLDER
from app.cli.output import emit, follow, table
from app.configuration.stages import COMBINERS


@click.group("pipeline")
def pipeline() -> None:
    """Models assembled into one that asks them, stage by stage."""


@pipeline.command()
@click.argument("folder", type=FOLDER)
@click.argument("steps", metavar="MODEL[,MODEL]...", nargs=-1, required=True)
@click.option("--name", help="The pipeline's name; else the folder's.")
@click.option("--combine", type=click.Choice(COMBINERS), help="How the last ones become one.")
@command
def init(
    folder: Path, steps: tuple[str, ...], name: str | None, combine: str | None, as_json: bool
) -> None:
    """Write a pipeline into FOLDER that asks models one after the other.

    Those joined by commas are asked at once: features ridge,trees --combine mean.
    """
    from app.services import drafting

    made = drafting.init(workspace(), folder, steps, combine or "", name)
    written = ", ".join(made.written) or "nothing: all of it is there"
    path = quote(str(folder))

    def words(_: Any) -> None:
        click.echo(f"{made.name}: wrote {written}.")
        click.echo(f"Next: try it with rhythmicml pipeline test {path}")
        click.echo(f"Then: rhythmicml deploy {path} --with-stages")

    emit(made, as_json, words)


@pipeline.command()
@click.argument("reference", metavar="PIPELINE[@VERSION]")
@to_option
@command
def show(reference: str, to: str | None, as_json: bool) -> None:
    """Show the stages of PIPELINE in order: what each asks, and how that fares."""
    from app.services import stages

    found = stages.show(workspace(), reference, to=to)
    emit(found, as_json, lambda _: _show(found))


def _show(found: dict[str, Any]) -> None:
    where = f"{found['state']} on {found['location']}" if found["location"] else "not deployed"
    click.echo(f"{found['model']} v{found['version']}: {where}")
    rows = [
        {
            "step": each["level"],
            "stage": each["name"] + (" *" if each["name"] == found["output"] else ""),
            "asks": asks_words(each),
            "version": version_words(each),
            "state": each["state"] or ("not deployed" if each["instance"] else ""),
            "after": ", ".join(each["after"]),
            "when": each["when"],
        }
        for each in found["stages"]
    ]
    heads = {key: key.upper() for key in rows[0]}
    if not any(row["when"] for row in rows):
        del heads["when"]
    table(rows, heads)
    click.echo("* gives the answer")


def asks_words(stage: dict[str, Any]) -> str:
    """Whose instance a stage asks and where, or how it combines."""
    if stage["instance"]:
        place = f" on {stage['location']}" if stage["location"] else ""
        return f"{stage['instance']}{place}" + (" (optional)" if stage["optional"] else "")
    weights = ", ".join(f"{each:g}" for each in stage["weights"] or ())
    return f"{stage['combine']} {weights}".strip()


def version_words(stage: dict[str, Any]) -> str:
    """Which version answers, and whether it is pinned."""
    if not stage["instance"]:
        return ""
    running, pinned = stage["version"], stage["pinned"]
    if pinned and running not in (None, pinned):
        return f"v{running}, pinned to v{pinned}"
    if pinned:
        return f"v{pinned}, pinned"
    return f"v{running}" if running else "-"


@pipeline.command("test")
@click.argument("what", metavar="FOLDER|PIPELINE[@VERSION]")
@click.option("--data", type=click.File("rb"), help="A request; else the sample. - is stdin.")
@command
def test_pipeline(what: str, data: Any, as_json: bool) -> None:
    """Run a pipeline with all its stages on this machine, and show what each gives.

    Nothing is deployed, and nothing of it stays.
    """
    from app.services import rehearsing

    body = data.read() if data else None
    done = follow(rehearsing.rehearse(workspace(), what, body), as_json)
    emit(done.data, as_json, lambda _: _tested(done.data))


def _tested(said: dict[str, Any]) -> None:
    for each in said["stages"]:
        version = f" v{each['version']}" if each["version"] else ""
        who = f"{each['instance']}{version}" if each["instance"] else "combined here"
        click.secho(f"{each['name']}  ", bold=True, nl=False)
        click.echo(f"{who}, {each['rows']} rows, {each['ms']:.1f} ms")
        for row in rows_words(each):
            click.echo(f"  {row}")
    click.echo(f"The answer: {json.dumps(said['answer'], ensure_ascii=False)}")


def rows_words(stage: dict[str, Any]) -> list[str]:
    """The first rows of what a stage gave, a line each, cut short."""
    from app.services import rehearsing

    said = rehearsing.brief(stage, 3, 96)
    return [*said["output"], *([f"… and {said['more']:,} more"] if said["more"] else [])]
