"""Commands about what runs: deploy, switch, roll back, look, ask."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import Any

import click

from app.cli import glance
from app.cli.base import command, sure, to_option, workspace
from app.cli.fleet import finish
from app.cli.output import emit, follow, table
from app.errors import Problem
from app.words import ago, size

FILE = click.Path(dir_okay=False, path_type=Path)


force_option = click.option("--force", is_flag=True, help="Even if a pipeline that asks it breaks.")


@click.command()
@click.argument("what", metavar="FOLDER|MODEL[@VERSION]")
@to_option
@click.option("--port", type=click.IntRange(1, 65535), help="The port to answer on.")
@click.option("-m", "--message", default="", help="What changed, for the new version.")
@click.option("--stop-first", is_flag=True, help="End the old release before the new one starts.")
@click.option("--plan", "dry_run", is_flag=True, help="Only say what would be done on the host.")
@click.option("--rollback-all", is_flag=True, help="If a location fails, all go back.")
@click.option("--with-stages", is_flag=True, help="Deploy a pipeline's missing stages first.")
@force_option
@command
def deploy(what: str, as_json: bool, **options: Any) -> None:
    """Put a version into production: commit what changed, send it, prove it, switch to it."""
    from app.services import fleet, places

    done = finish(fleet.deploy(workspace(), what, **options), as_json)
    if not as_json and not options["dry_run"]:
        [first, *_] = done.get("locations", [done])
        where = places.said_with(workspace(), done["model"], first["location"])
        click.echo(f"Ask it: rhythmicml score {done['model']}{where} --data FILE")


@click.command()
@click.argument("reference", metavar="MODEL@VERSION")
@to_option
@force_option
@command
def switch(reference: str, to: str | None, force: bool, as_json: bool) -> None:
    """Make another version production that is on the host already."""
    from app.services import deployments, fleet

    finish(fleet.each(workspace(), deployments.switch, reference, to=to, force=force), as_json)


@click.command()
@click.argument("model")
@to_option
@force_option
@command
def rollback(model: str, to: str | None, force: bool, as_json: bool) -> None:
    """Go back to the release that was production before."""
    from app.services import deployments, fleet

    finish(fleet.each(workspace(), deployments.rollback, model, to=to, force=force), as_json)


@click.command()
@click.argument("model")
@to_option
@command
def start(model: str, to: str | None, as_json: bool) -> None:
    """Start an instance that was stopped."""
    from app.services import deployments, fleet

    finish(fleet.each(workspace(), deployments.start, model, to=to), as_json)


@click.command()
@click.argument("model")
@to_option
@force_option
@command
def stop(model: str, to: str | None, force: bool, as_json: bool) -> None:
    """Stop an instance until it is started again."""
    from app.services import deployments, fleet

    finish(fleet.each(workspace(), deployments.stop, model, to=to, force=force), as_json)


@click.command()
@click.argument("model")
@to_option
@command
def restart(model: str, to: str | None, as_json: bool) -> None:
    """Stop an instance's process and start it again; connections wait meanwhile."""
    from app.services import deployments, fleet

    finish(fleet.each(workspace(), deployments.restart, model, to=to), as_json)


@click.command()
@click.argument("model")
@to_option
@click.option("--purge", is_flag=True, help="Remove its releases, tokens, secrets too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@force_option
@command
def undeploy(
    model: str, to: str | None, purge: bool, yes: bool, force: bool, as_json: bool
) -> None:
    """Take an instance off its location. Its versions stay here."""
    from app.services import deployments

    if purge and not sure(f"Remove {model} and all its releases from the host?", yes):
        raise click.UsageError("Nothing was done. With --yes it is done without a question.")
    finish(deployments.undeploy(workspace(), model, to=to, purge=purge, force=force), as_json)


@click.command()
@click.argument("model")
@to_option
@command
def unlock(model: str, to: str | None, as_json: bool) -> None:
    """End whoever is changing an instance, and what they began; for one that hangs."""
    from app.services import deployments

    finish(deployments.unlock(workspace(), model, to=to), as_json)


@click.command()
@click.argument("model", required=False)
@to_option
@click.option("--watch", is_flag=True, help="Go on showing it, with jobs and machines.")
@click.option("--window", is_flag=True, help="Show it in a small window.")
@command
def status(model: str | None, to: str | None, watch: bool, window: bool, as_json: bool) -> None:
    """Show what runs where, and how it is."""
    from app.services import instances, truth

    if watch or window:
        if as_json or model or to or (watch and window):
            raise click.UsageError("--watch and --window show all, and stand alone.")
        glance.watch(workspace()) if watch else glance.open_window()
        return

    found = instances.status(workspace(), model, to=to)

    def show(_: Any) -> None:
        for words in truth.loose(workspace(), model, to):
            click.echo(words)
        if not found:
            click.echo(_nothing_words(model, to))
            return
        rows = [_status_row(each) for each in found]
        table(rows, {key: key.upper() for key in rows[0]})
        for each in found:
            if each["exposure"] == "public":
                click.echo(f"\n{_public_words(each)}")
            if each["pinned"]:
                pinned = ", ".join(f"v{number}" for number in each["pinned"])
                click.echo(f"\n{each['model']} on {each['location']}: {pinned} pinned")
            if each.get("error"):
                click.echo(f"\n{each['model']} on {each['location']}: {each['error']}")
            if each["stages"]:
                click.echo(f"\n{_stages_words(each)}")
            if each["warm"]:
                click.echo(f"\n{_warm_words(each)}")
            if each["note"]:
                click.echo(f"\n{each['note']}")

    emit(found, as_json, show)


def _nothing_words(model: str | None, to: str | None) -> str:
    if model:
        return f"{model} is not deployed{f' on {to}' if to else ''}. rhythmicml deploy {model}"
    return f"Nothing is deployed{f' on {to}' if to else ''}. Start with: rhythmicml deploy FOLDER"


def _status_row(each: dict[str, Any]) -> dict[str, Any]:
    newer = f" (v{each['latest']} is newer)" if each.get("outdated") else ""
    return {
        "model": each["model"],
        "location": each["location"],
        "state": each["state"],
        "version": f"v{each['version']}{newer}" if each["version"] else "-",
        "port": each["port"] or "-",
        "exposure": each["exposure"],
        "tokens": each["tokens"],
        "requests": each["requests"],
        "memory": size(each["memory"]) if each["memory"] else "-",
        "since": ago(each["since"]) if each["since"] else "-",
    }


def _stages_words(each: dict[str, Any]) -> str:
    """A pipeline's stages that are instances, in a line."""
    asked = [stage for stage in each["stages"] if stage["instance"]]
    words = ", ".join(
        f"{stage['name']} ({stage['instance']}"
        + (f" v{stage['version']}, {stage['state']})" if stage["version"] else ", not deployed)")
        for stage in asked
    )
    return f"{each['model']} on {each['location']} asks {words}"


def _warm_words(each: dict[str, Any]) -> str:
    idle = each["warm"]
    return (
        f"{each['model']} on {each['location']}: v{idle['version']} is warm until {idle['until']}; "
        f"rhythmicml rollback {each['model']} is instant till then."
    )


def _public_words(each: dict[str, Any]) -> str:
    words = f"{each['model']} on {each['location']}: {each['url'] or 'public'}"
    tls = each["certificate"]
    if not tls:
        return words
    return f"{words}\n  certificate until {tls['expires'][:10]}, SHA-256 {tls['fingerprint']}"


@click.command()
@click.argument("model")
@click.option(
    "--data", type=click.File("rb"), required=True, help="The request, or a table; - is stdin."
)
@click.option("--out", type=FILE, help="Score --data as a table, row by row, into this file.")
@click.option("--keep", multiple=True, metavar="COLUMNS|all", help="Columns of --data to keep.")
@click.option("--bad", type=FILE, help="Where rows go that are refused; else OUT.bad.jsonl.")
@click.option("--strict", is_flag=True, help="End with 1 when rows were bad.")
@click.option("--batch-rows", type=click.IntRange(1, 1_000_000), help="Rows in a request; 1000.")
@click.option("--connections", type=click.IntRange(1, 64), help="Requests at once; 4.")
@click.option("--rows", type=click.Choice(["records", "lists"]), help="How rows are sent.")
@click.option("--restart", is_flag=True, help="Begin anew instead of continuing.")
@click.option("--force", is_flag=True, help="Overwrite OUT, and the file of bad rows.")
@to_option
@command
def score(model: str, data: Any, to: str | None, as_json: bool, **options: Any) -> None:
    """Ask an instance: send a file of JSON, print the answer. Or score a whole table."""
    from app.services import instances

    given = {name: value for name, value in options.items() if value not in (None, (), False)}
    if "out" in given:
        _score_file(model, Path(data.name), to, as_json, given)
        return
    if given:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} is of use with --out.")
    _refuse_table(model, data.name)
    answer = instances.score(workspace(), model, data.read(), to=to)
    content = answer.pop("content")
    emit(answer, as_json, lambda _: click.echo(content, nl=sys.stdout.isatty()))


def _refuse_table(model: str, name: str) -> None:
    """A table without --out would be sent as if it were JSON."""
    from app.services import tables

    path = Path(name)
    if tables.is_table(path):
        raise Problem(
            f'"{path.name}" is a table, and --out is not given.',
            remedy=f"rhythmicml score {model} --data {quote(name)} --out scores.csv",
        )


def _score_file(
    model: str, data: Path, to: str | None, as_json: bool, given: dict[str, Any]
) -> None:
    from app.services import scoring

    strict = given.pop("strict", False)
    order = scoring.Order(model, data, to=to, **given)
    done = finish(scoring.score_file(workspace(), order), as_json)
    if done["bad"]:
        if not as_json:
            click.echo(f"Warning: {done['bad']:,} rows are bad: {done['bad_file']}", err=True)
        if strict:
            sys.exit(1)


@click.command()
@click.argument("model")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="On this machine; 0: any.")
@to_option
@command
def tunnel(model: str, port: int, to: str | None, as_json: bool) -> None:
    """Make an instance reachable on a port of this machine, until Ctrl-C."""
    from app.services import instances

    with instances.tunnel(workspace(), model, port=port, to=to) as opened:
        address = {"url": opened.url, "port": opened.port}
        emit(
            address, as_json, lambda _: click.echo(f"{model} answers at {opened.url} (Ctrl-C ends)")
        )
        sys.stdout.flush()
        opened.wait()


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), help="The model; else the example.")
@command
def demo(folder: Path | None, as_json: bool) -> None:
    """Do the whole main job on this machine with the example model."""
    from app.services import instances

    result = follow(instances.demo(workspace(), folder), as_json)
    emit(result.data, as_json, lambda _: click.echo(result.text))
