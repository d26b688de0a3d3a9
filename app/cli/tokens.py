"""Commands about tokens: who may ask an instance."""

from __future__ import annotations

from typing import Any

import click

from app.cli.base import command, to_option, workspace
from app.cli.output import emit, table
from app.words import ago

GRACES = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[float]):
    """A span of time: 90s, 30m, 1h, 2d, or 0."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in GRACES else (text, "s")
        if not number.isdigit() or int(number) * GRACES[unit] > 365 * 86400:
            self.fail(f'"{text}" is no time such as 30m, 1h or 2d, at most a year.', param, ctx)
        return float(int(number) * GRACES[unit])


@click.group()
def token() -> None:
    """Who may ask an instance."""


@token.command()
@click.argument("model")
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(["score", "admin"]),
    default="score",
    help="score: everything about asking it. admin: its metrics too.",
)
@to_option
@command
def add(model: str, name: str, scope: str, to: str | None, as_json: bool) -> None:
    """Make a token and print it, this once. May be done before the first deployment."""
    from app.services import tokens

    made = tokens.add(workspace(), model, name, scope=scope, to=to)
    emit(made, as_json, _show_new)


@token.command("list")
@click.argument("model")
@to_option
@command
def list_tokens(model: str, to: str | None, as_json: bool) -> None:
    """List an instance's tokens; their texts are known nowhere."""
    from app.services import tokens

    found = tokens.list_tokens(workspace(), model, to=to)

    def show(_: Any) -> None:
        if not found:
            click.echo(f"{model} has no tokens. Make one: rhythmicml token add {model} NAME")
            return
        rows = [
            {**each, "created": ago(each["created"]), "until": each["until"] or ""}
            for each in found
        ]
        table(rows, {key: key.upper() for key in rows[0]})

    emit(found, as_json, show)


@token.command()
@click.argument("model")
@click.argument("name")
@to_option
@command
def remove(model: str, name: str, to: str | None, as_json: bool) -> None:
    """Refuse a token from now on."""
    from app.services import tokens

    done = tokens.remove(workspace(), model, name, to=to)

    def show(_: Any) -> None:
        click.echo(f"{name} is refused from now on; {done['left']} left.")
        if not done["left"]:
            click.echo("Without any, a public port refuses all; on loopback all may ask.")
        _warn(done)

    emit(done, as_json, show)


@token.command()
@click.argument("model")
@click.argument("name")
@click.option(
    "--grace",
    type=Duration(),
    default="1h",
    show_default=True,
    help="How long the text before stays good: 30m, 1h, 2d; 0: not at all.",
)
@to_option
@command
def rotate(model: str, name: str, grace: float, to: str | None, as_json: bool) -> None:
    """Make a new text for a token and print it, this once."""
    from app.services import tokens

    made = tokens.rotate(workspace(), model, name, grace=grace, to=to)

    def show(_: Any) -> None:
        _show_new(made)
        click.echo(f"The one before is good until {made['until']}.", err=True)

    emit(made, as_json, show)


def _show_new(made: dict[str, Any]) -> None:
    """The text alone on stdout, for pipes."""
    click.echo(made["token"])
    click.echo("Keep it now, it is not shown again. To be sent with each request as", err=True)
    click.echo("  Authorization: Bearer TOKEN", err=True)
    _warn(made)


def _warn(done: dict[str, Any]) -> None:
    if done["not_told"]:
        click.echo(
            f"{', '.join(done['not_told'])} runs and could not be told: it goes by the tokens it "
            f"knew. This helps: rhythmicml deploy {done['model']}, or restart",
            err=True,
        )
