"""Commands about what was: who did what, and which version answered."""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import click

from app.cli.base import command, to_option, workspace
from app.cli.output import emit, follow, table
from app.errors import Problem
from app.words import ago, milliseconds

LEVELS = ("debug", "info", "warning", "error")
SHOWN = 400
"""Characters of what was asked and answered."""


@click.command()
@click.argument("what", metavar="REQUEST_ID|TIME")
@click.argument("model", required=False)
@click.option("--replay", is_flag=True, help="Ask that version the same again, on this machine.")
@to_option
@command
def explain(what: str, model: str | None, replay: bool, to: str | None, as_json: bool) -> None:
    """Say which version answered a request, or at a time: its files, lock, release and host."""
    from app.services import explain as service

    rows = service.explain(workspace(), what, model, to=to)
    if not replay:
        emit(rows, as_json, _show)
        return
    if len(rows) > 1 or rows[0]["request"] is None:
        raise Problem("Only one request can be repeated.", remedy="Name it, not a time.")
    if not as_json:
        _show(rows)
    done = follow(service.replay(workspace(), rows[0]), as_json)
    emit({**rows[0], "replay": done.data}, as_json, lambda said: _replayed(said, done.text))
    if not done.data["same"]:
        sys.exit(1)


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        version = f"v{row['version']}" if row["version"] else "a version not of this store"
        click.echo(f"{row['model']} {version} on {row['location']}, {row['host']}")
        for name, text in _facts(row):
            click.echo(f"  {name:<9} {text}")


def _facts(row: dict[str, Any]) -> list[tuple[str, str]]:
    at = datetime.fromtimestamp(row["at"], timezone.utc).astimezone()
    facts = [("release", row["release"]), ("time", f"{at:%Y-%m-%d %H:%M:%S%z}")]
    if row["requests"] is not None:
        facts.append(("answered", f"{row['requests']:,} requests around that time"))
    if row["request"]:
        facts += _of_request(row["request"])
    if row["manifest"]:
        facts += [
            ("files", row["manifest"]),
            ("lock", f"{row['lock'] or 'none'}, Python {row['python']}"),
            ("version", row["digest"]),
            ("committed", f"{row['committed']} by {row['author']} {row['message']}".rstrip()),
        ]
    if deployed := row["deployed"]:
        facts.append(("deployed", f"{deployed['at']} by {deployed['who']} ({deployed['action']})"))
    return facts


def _of_request(request: dict[str, Any]) -> list[tuple[str, str]]:
    took = request["seconds"]
    words = f"{request['status']} in {milliseconds(took)}, {request['endpoint']}"
    kept = [("asked", request["inputs"]), ("said", request["outputs"])]
    return [("status", words), *((name, _cut(text)) for name, text in kept if text)]


def _cut(text: str) -> str:
    """As text: a terminal acts on nothing of it."""
    from app.scoring.summaries import escaped

    shown = escaped(text[:SHOWN])
    return shown if len(text) <= SHOWN else f"{shown}…"


def _replayed(said: dict[str, Any], words: str) -> None:
    from app.services.gate import row_words

    click.echo(words)
    for row in (said["replay"]["difference"] or {}).get("first", []):
        click.echo(f"  {row_words(row)}")


@click.command()
@click.argument("model", required=False)
@to_option
@click.option("-n", "--lines", type=click.IntRange(1, 1_000_000), help="How many; 20, of CSV all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@command
def history(
    model: str | None, to: str | None, lines: int | None, as_csv: bool, as_json: bool
) -> None:
    """Show what was done, to a model or to all: by whom, from where, and how it ended."""
    from app.services import history as service

    if as_json and as_csv:
        raise click.UsageError("--json or --csv, not both.")
    limit = lines or (service.EVERY if as_csv else 20)
    found = service.lines(workspace(), model, to=to, limit=limit)
    if as_csv:
        click.echo(service.table(found), nl=False)
        return
    emit(found, as_json, lambda _: _show_history(found, model))


def _show_history(found: list[dict[str, Any]], model: str | None) -> None:
    if not found:
        click.echo(f"Nothing was done{f' with {model}' if model else ''} yet.")
        return
    rows = [
        {
            "when": ago(each["started"]),
            "action": each["action"],
            **({} if model else {"model": each["model"]}),
            "version": _from_to(each),
            "location": each["location"],
            "who": each["who"],
            "result": each["result"] or "under way",
            "detail": _cut(each["detail"]),
        }
        for each in found
    ]
    table(rows, {key: key.upper() for key in rows[0]})


def _from_to(line: dict[str, Any]) -> str:
    after = f"v{line['to']}" if line["to"] else "-"
    return f"v{line['from']} → {after}" if line["from"] and line["to"] else after


@click.command()
@click.argument("model")
@click.option("-n", "--lines", type=click.IntRange(1, 100_000), default=100, help="How many.")
@click.option("-f", "--follow", "follow_log", is_flag=True, help="Go on with what comes.")
@click.option("--grep", default="", metavar="TEXT", help="Lines with it alone, in any case.")
@click.option("--level", type=click.Choice(LEVELS), default="debug", help="Of it, or worse.")
@to_option
@command
def logs(
    model: str, lines: int, follow_log: bool, grep: str, level: str, to: str | None, as_json: bool
) -> None:
    """Show what an instance said; what is kept here of it when its host is out of reach."""
    from app.services import logs as service

    if as_json and follow_log:
        raise click.UsageError("--json gives one value, and --follow never ends.")
    wanted: dict[str, Any] = {"lines": lines, "to": to, "grep": grep, "level": level}
    if follow_log:
        with suppress(KeyboardInterrupt):
            for line in service.tail(workspace(), model, follow=True, **wanted):
                if line is not None:
                    click.echo(line)
        return
    found = service.last(workspace(), model, **wanted)
    if found.kept_at is not None:
        at = datetime.fromtimestamp(found.kept_at, timezone.utc).isoformat()
        click.echo(f"{found.why} These lines were kept here {ago(at)}.", err=True)
    emit(found.lines, as_json, lambda said: click.echo("\n".join(said)) if said else None)
