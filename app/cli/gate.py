"""Commands about proving a model before it takes traffic: test, record, report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from app.cli.base import command, to_option, workspace
from app.cli.output import emit, follow
from app.words import ago, size, told

FILE = click.Path(dir_okay=False, path_type=Path)
SHOWN = 10
"""Differing rows that are printed."""


@click.command()
@click.argument("what", metavar="[FOLDER|MODEL[@VERSION]]", default=".")
@command
def test(what: str, as_json: bool) -> None:
    """Try a model on this machine, deploying nothing: its sample, its golden inputs."""
    from app.services import trials

    result = follow(trials.try_out(workspace(), what), as_json)

    def show(report: dict[str, Any]) -> None:
        print_report(report)
        click.echo(result.text)

    emit(result.data, as_json, show)


@click.command()
@click.argument("what", metavar="FOLDER|MODEL[@VERSION]")
@click.option("--from", "source", metavar="LOCATION", help="Ask the instance there instead.")
@click.option("--force", is_flag=True, help="Overwrite answers that are no longer the same.")
@click.option("--reference", type=FILE, help="Keep what this table is like with the version.")
@click.option("--target", multiple=True, metavar="COLUMN", help="One the model is not given.")
@command
def record(
    what: str,
    source: str | None,
    force: bool,
    reference: Path | None,
    target: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the answers to samples/*.json beside them, for the gate to hold releases to.

    With --reference it keeps what training data were like instead, for drift to be told by.
    """
    from app.services import training, trials

    if reference and (source or force):
        raise click.UsageError("--reference goes with neither --from nor --force.")
    if target and not reference:
        raise click.UsageError("--target is of use with --reference.")
    events = (
        training.record(workspace(), what, reference, target)
        if reference
        else trials.record(workspace(), what, source=source, force=force)
    )
    result = follow(events, as_json)
    emit(result.data, as_json, lambda _: click.echo(result.text))


@click.command()
@click.argument("model")
@to_option
@command
def report(model: str, to: str | None, as_json: bool) -> None:
    """Show what the gate found the last time that MODEL was deployed."""
    from app.services import gate

    deployment, found = gate.last_report(workspace(), model, to)

    def show(_: Any) -> None:
        passed = "passed its gate" if found["passed"] else "did not pass its gate"
        click.echo(
            f"{model} v{deployment.version} on {deployment.location} {passed}, "
            f"{ago(deployment.started)}."
        )
        print_report(found)
        for sentence in found["over"]:
            click.echo(sentence)

    emit({"deployment": deployment, "report": found}, as_json, show)


def print_report(report: Mapping[str, Any], err: bool = False) -> None:
    """A table of the golden inputs, one of what they took, and the first rows that differ."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from app.services.gate import row_words

    console = Console(stderr=err, highlight=False)
    against = told(report["against"] or "")
    inputs = Table(box=None, pad_edge=False)
    heads = ["input", "rows", "as recorded", *([f"as {against}"] if against else [])]
    for head in heads:
        inputs.add_column(head, justify="left" if head == "input" else "right")
    for each in report["inputs"]:
        cells = [each["name"], str(each["rows"]), _compared(each["recorded"], each)]
        cells += [_compared(each["current"], each)] if against else []
        inputs.add_row(*map(escape, cells))
    if report["inputs"]:
        console.print(inputs)
    figures = Table(box=None, pad_edge=False)
    for head in ("", "median", "p99", "requests", "memory"):
        figures.add_column(head, justify="right" if head else "left")
    for side, name in (("new", "this one"), ("current", against)):
        if name and report["latency"].get(side):
            figures.add_row(name, *_figures(report, side))
    if figures.rows:
        console.print(figures)
    differing = [
        f"{each['name']} {row_words(row)} ({word})"
        for each in report["inputs"]
        for word, found in (("recorded", each["recorded"]), (against, each["current"]))
        for row in (found or {}).get("first", [])
    ]
    for line in differing[:SHOWN]:
        console.print(escape(line), soft_wrap=True)


def _compared(found: Mapping[str, Any] | None, each: Mapping[str, Any]) -> str:
    if found is None:
        return "-"
    if "cannot" in found:
        return "cannot take it"
    if each["status"] != 200:
        return f"status {each['status']}" if each["status"] else "no answer"
    differ = found["differ"]
    return f"{differ:,} differ" if differ else "all"


def _figures(report: Mapping[str, Any], side: str) -> list[str]:
    took, memory = report["latency"][side], report["memory"][side]
    times = [f"{took[key] * 1000:.3g} ms" for key in ("median", "p99")]
    return [*times, str(took["requests"]), size(memory) if memory else "-"]
