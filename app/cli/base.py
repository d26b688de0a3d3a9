"""What every command shares: the workspace, --json, questions at a terminal."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.cli.output import problems
from app.workspace import Workspace

Command = TypeVar("Command", bound=Callable[..., Any])


def command(function: Command) -> Command:
    """Give a command --json and the edge at which Problems become words."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON value, nothing else.")
    @functools.wraps(function)
    def at_the_edge(*args: Any, as_json: bool, **options: Any) -> None:
        with problems(as_json):
            _warn_of_newer_store()
            function(*args, as_json=as_json, **options)

    return at_the_edge  # type: ignore[return-value]


def _warn_of_newer_store() -> None:
    """Said once, on stderr, whatever the command is: what it may do is to look."""
    from app import config
    from app.store.migrations import newer

    if said := newer(config.home() / "store.sqlite"):
        click.echo(f"Warning: {said.what} {said.remedy}", err=True)


to_option = click.option(
    "--to", "--on", "to", metavar="LOCATION", help="Where: a location; a,b or a group for several."
)


def workspace() -> Workspace:
    """This user's workspace; questions are asked only where somebody can answer."""
    from app import config

    return Workspace(config.home(), ask if sys.stdin.isatty() else None)


def ask(question: str) -> str | None:
    """A secret from the terminal, not shown while typed."""
    answer: str = click.prompt(question, hide_input=True, err=True, default="", show_default=False)
    return answer or None


def sure(question: str, yes: bool) -> bool:
    """Whether to go on with what cannot be undone; without a terminal only with --yes."""
    return yes or (sys.stdin.isatty() and click.confirm(question, err=True))
