"""The command that opens the pages."""

from __future__ import annotations

import os
import signal
import sys
import threading
import webbrowser
from pathlib import Path

import click

from app.cli.base import command
from app.cli.output import emit


@click.command()
@click.option("--no-window", is_flag=True, help="Only print the address; open nothing.")
@command
def ui(no_window: bool, as_json: bool) -> None:
    """Open the pages in a browser. The address is printed; it lets one window in, once."""
    from app import config
    from app.views import server
    from app.workspace import Workspace

    os.umask(0o077)
    home = config.home()
    with server.alone(home) as first:
        if not first:
            _show(_from_the_running_one(home), no_window, as_json)
            return
        serving = server.Server(Workspace(home))
        serving.start()
        with server.announced(home, serving):
            asked = _asked_to_end()
            _show(serving.invitation(), no_window, as_json)
            asked.wait()
        serving.close()


@click.command("ui-token")
@click.option("--new", is_flag=True, help="Make another one; the one before is refused at once.")
@command
def ui_token(new: bool, as_json: bool) -> None:
    """Print the token by which scripts ask the open pages (docs/api.md), made if there is none."""
    from app import config
    from app.services import ui_token
    from app.views import server

    home = config.home()
    said = {"token": ui_token.get(home, new=new), "url": server.open_at(home)}

    def show(_: object) -> None:
        click.echo(said["token"])
        where = said["url"] or "The pages are not open: rhythmicml ui --no-window"
        click.echo(where, err=True)

    emit(said, as_json, show)


def _from_the_running_one(home: Path) -> str:
    from app.errors import Busy
    from app.views import server

    said = server.running(home)
    if said and (url := server.invited(said)):
        return url
    raise Busy(
        "RhythmicML is open already, and does not answer.",
        remedy=f"End process {said['pid']}." if said else "Try again in a moment.",
    )


def _show(url: str, no_window: bool, as_json: bool) -> None:
    emit({"url": url}, as_json, lambda _: click.echo(f"RhythmicML: {url}"))
    sys.stdout.flush()
    if not (no_window or as_json):
        webbrowser.open(url)


def _asked_to_end() -> threading.Event:
    """Set by Ctrl-C, or by whoever ends the program politely."""
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    return asked


def register(group: click.Group) -> None:
    group.add_command(ui)
    group.add_command(ui_token)
