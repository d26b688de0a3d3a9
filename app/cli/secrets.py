"""Commands about secrets: what a model is told in confidence."""

from __future__ import annotations

import sys
from typing import Any

import click

from app.cli.base import ask, command, sure, to_option, workspace
from app.cli.output import emit, table
from app.errors import Problem


@click.group()
def secret() -> None:
    """What a model is told in confidence."""


@secret.command("set")
@click.argument("model")
@click.argument("name")
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the value from stdin.")
@click.option("--file", "in_file", is_flag=True, help="Without a keyring, keep it in a file.")
@to_option
@command
def set_secret(
    model: str, name: str, from_stdin: bool, in_file: bool, to: str | None, as_json: bool
) -> None:
    """Keep the value of a secret. It is asked for, or read from stdin; never an argument."""
    from app.services import secrets

    def consent() -> bool:
        return sure("No keyring here. Keep it unencrypted in a file only you may read?", in_file)

    value = _value(name, from_stdin)
    done = secrets.set_value(workspace(), model, name, value, to=to, into_file=consent)

    def show(_: Any) -> None:
        click.echo(f"{name} is kept in {_where(done['kept'])}.")
        click.echo(f"What runs has it after: rhythmicml restart {model}, or deploy", err=True)

    emit(done, as_json, show)


def _value(name: str, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.read().removesuffix("\n")
    if not sys.stdin.isatty():
        raise Problem(
            f"There is nobody to ask for the value of {name}.",
            remedy="Give --stdin and the value on stdin.",
        )
    return ask(f"Value of {name}") or ""


def _where(kept: str | None) -> str:
    return {"file": "a file of this machine", "keyring": "the keyring"}.get(kept or "", "-")


@secret.command("list")
@click.argument("model")
@command
def list_secrets(model: str, as_json: bool) -> None:
    """List the secrets a model names, and whether a value is kept here; never the values."""
    from app.services import secrets

    found = secrets.list_secrets(workspace(), model)

    def show(_: Any) -> None:
        if not found:
            click.echo(f"{model} names no secrets: docs/configuration.md, `secrets`.")
            return
        rows = [
            {**each, "location": each["location"] or "all", "kept": _where(each["kept"])}
            for each in found
        ]
        table(rows, {"name": "NAME", "location": "FOR", "kept": "KEPT IN"})

    emit(found, as_json, show)


@secret.command()
@click.argument("model")
@click.argument("name")
@to_option
@command
def remove(model: str, name: str, to: str | None, as_json: bool) -> None:
    """Forget the value of a secret here; hosts that have it keep it while a release needs it."""
    from app.services import secrets

    done = secrets.remove(workspace(), model, name, to=to)

    def show(_: Any) -> None:
        click.echo(f"{name} is forgotten here.")
        click.echo(
            f"Hosts have it while a release there names it; the first deploy after that removes "
            f"it, rhythmicml undeploy {model} --purge at once.",
            err=True,
        )

    emit(done, as_json, show)
