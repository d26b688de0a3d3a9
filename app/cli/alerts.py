"""Commands about alerts: which there are, from where on, and who is told."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import Any

import click

from app.cli.base import ask, command, sure, workspace
from app.cli.output import emit, problems, table
from app.errors import Problem
from app.words import ago

FROM_STDIN = click.option("--stdin", "from_stdin", is_flag=True, help="Read the secret from stdin.")
IN_FILE = click.option("--file", "in_file", is_flag=True, help="Without a keyring, use a file.")
OFF = click.option("--off", is_flag=True, help="Tell nobody that way any more.")
CONSENT = "No keyring here. Keep it unencrypted in a file only you may read?"


@click.group(invoke_without_command=True)
@click.option("--all", "everything", is_flag=True, help="Those that are over too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value, nothing else.")
@click.pass_context
def alerts(context: click.Context, everything: bool, as_json: bool) -> None:
    """Show what is wrong where; change from where on it is, and who is told."""
    if context.invoked_subcommand is None:
        with problems(as_json):
            _list(everything, as_json)


def _list(everything: bool, as_json: bool) -> None:
    from app.services import alerts as service

    found = service.listed(workspace(), open_only=not everything)

    def show(_: Any) -> None:
        if not found:
            click.echo("There are no alerts." if everything else "There are no open alerts.")
            return
        table(
            [{**each, "since": _when(each["began"]), "seen": _seen(each)} for each in found],
            {"id": "ID", "about": "ABOUT", "since": "SINCE", "seen": "SEEN", "words": "WHAT"},
        )

    emit(found, as_json, show)


def _when(at: float) -> str:
    return ago(datetime.fromtimestamp(at, timezone.utc).isoformat())


def _seen(alert: dict[str, Any]) -> str:
    if alert["ended"]:
        return f"over, {_when(alert['ended'])}"
    return f"by {alert['who']}" if alert["acknowledged"] else "-"


@alerts.command()
@click.argument("numbers", type=int, nargs=-1, required=True, metavar="ID …")
@command
def ack(numbers: tuple[int, ...], as_json: bool) -> None:
    """Say that you have seen these alerts, so that others know."""
    from app.services import alerts as service

    done = service.acknowledge(workspace(), numbers)

    def show(_: Any) -> None:
        for each in done:
            click.echo(f"{each['id']}, {each['about']}: seen by {each['who']}")

    emit(done, as_json, show)


@alerts.command()
@click.argument("rule", required=False)
@click.argument("limit", required=False, metavar="LIMIT|off|default")
@click.option("--model", help="For this model alone.")
@command
def limit(rule: str | None, limit: str | None, model: str | None, as_json: bool) -> None:
    """Show from where on there is an alert, or change it: limit p95 2, limit drift off."""
    from app.services import limits

    number = None if limit in (None, "off", "default") else _number(limit)
    with workspace().open_store() as store:
        if model:
            store.models.get(model)
        if limit == "default":
            limits.reset(store, rule or "", model)
        elif limit:
            limits.change(store, rule or "", number, model)
        found = limits.of(store, model)
    if rule and rule not in found:
        raise Problem(f'There is no rule "{rule}".', remedy=f"There are: {', '.join(found)}.")
    asked = {name: value for name, value in found.items() if rule in (None, name)}

    def show(_: Any) -> None:
        rows = [
            {"rule": name, "limit": "off" if value is None else f"{value:g}",
             "unit": limits.MEANINGS[name][0], "when": limits.MEANINGS[name][1]}
            for name, value in asked.items()
        ]  # fmt: skip
        table(rows, {"rule": "RULE", "limit": "LIMIT", "unit": "UNIT", "when": "ALERT WHEN"})

    emit(asked, as_json, show)


def _number(text: str | None) -> float:
    """0.05, and 5% too."""
    said = (text or "").strip()
    try:
        return float(said.removesuffix("%")) / (100 if said.endswith("%") else 1)
    except ValueError:
        what = f'"{text}" is no limit.'
        raise Problem(what, remedy="Give a number such as 0.05 or 5%, off, or default.") from None


@alerts.command()
@command
def ways(as_json: bool) -> None:
    """Show who is told of alerts, and how the last try went."""
    _ways(as_json)


def _ways(as_json: bool) -> None:
    from app.services import telling

    found = telling.described(workspace())

    def show(_: Any) -> None:
        rows = [
            {"way": each["way"], "to": each["to"] or "off", "tried": _tried(each)} for each in found
        ]
        table(rows, {"way": "WAY", "to": "TO", "tried": "LAST TRY"})

    emit(found, as_json, show)


def _tried(way: dict[str, Any]) -> str:
    if not way["at"]:
        return "-"
    return f"{_when(way['at'])}: {way['error'] or 'taken'}"


@alerts.command()
@command
def test(as_json: bool) -> None:
    """Send a test by every way that is set up; exit code 1 when one did not take it."""
    from app.services import telling

    done = telling.test(workspace())

    def show(_: Any) -> None:
        if not done:
            click.echo("Nobody is told of alerts: rhythmicml alerts ways")
        for each in done:
            click.echo(f"{each['way']}: {each['error'] or 'taken'}")

    emit(done, as_json, show)
    if any(each["error"] for each in done):
        sys.exit(1)


@alerts.command()
@click.argument("wanted", type=click.Choice(["on", "off"]))
@command
def notices(wanted: str, as_json: bool) -> None:
    """Show notices on this machine's desktop, or not: of alerts, and of jobs that ended."""
    from app.services import notices as service

    service.want(workspace(), wanted == "on")
    _ways(as_json)


@alerts.command()
@FROM_STDIN
@IN_FILE
@OFF
@command
def webhook(from_stdin: bool, in_file: bool, off: bool, as_json: bool) -> None:
    """Have an address told: a POST of JSON. The address is asked for, or read from stdin."""
    from app.services import telling

    if off:
        telling.stop(workspace(), telling.WEBHOOK)
    else:
        url = _secret("Address of the webhook", from_stdin).strip()
        telling.use_webhook(workspace(), url, into_file=lambda: sure(CONSENT, in_file))
    _ways(as_json)


@alerts.command()
@click.option("--server", metavar="HOST[:PORT]", help="The mail server.")
@click.option("--from", "sender", metavar="ADDRESS", help="Who writes; else the first of --to.")
@click.option("--to", "to", multiple=True, metavar="ADDRESS", help="Whom to write to; repeatable.")
@click.option("--user", default="", help="Log in as; the password is asked for.")
@click.option(
    "--security", type=click.Choice(["starttls", "tls", "none"]), default="starttls",
    show_default=True, help="How to speak to the server.",
)  # fmt: skip
@FROM_STDIN
@IN_FILE
@OFF
@command
def email(
    server: str | None,
    sender: str | None,
    to: tuple[str, ...],
    user: str,
    security: str,
    from_stdin: bool,
    in_file: bool,
    off: bool,
    as_json: bool,
) -> None:
    """Have people written to. The password is asked for, or read from stdin; never an argument."""
    from app.services import mail, telling

    if off:
        telling.stop(workspace(), telling.EMAIL)
    elif not server or not to:
        raise click.UsageError("Name --server and --to, or say --off.")
    else:
        chosen = mail.checked(server, sender or to[0], to, security=security, user=user)
        password = _secret(f"Password of {user} at {server}", from_stdin) if user else ""
        telling.use_email(workspace(), chosen, password, into_file=lambda: sure(CONSENT, in_file))
    _ways(as_json)


def _secret(what: str, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.read().removesuffix("\n")
    if not sys.stdin.isatty():
        raise Problem(f"There is nobody to ask: {what}.", remedy="Give --stdin, and it on stdin.")
    return ask(what) or ""
