"""The command that opens the pages."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import webbrowser
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app import portable
from app.cli.base import command
from app.cli.output import emit
from app.cli.starting import WINDOWS, mended, told_in_a_window
from app.deployer.agent import signals

if TYPE_CHECKING:
    from app.views.door import Door
    from app.views.server import Server
    from app.window import Window
    from app.workspace import Workspace

AT_ONCE = 3.0
"""Seconds within which nobody opens a window and closes it again."""
FRAME = 1.0
"""Seconds at most that a window's frame gets for itself. Python does one thing at a time: what is
imported meanwhile would hold up WebKit's processes, which start with it and take longest."""


@click.command()
@click.option("--no-window", is_flag=True, help="Only print the address; open nothing.")
@click.option("--browser", is_flag=True, help="Open them in the browser instead.")
@command
def ui(no_window: bool, browser: bool, as_json: bool) -> None:
    """Open the pages in a window. The address is printed; it lets one browser in, once."""
    way = "none" if no_window or as_json else "browser" if browser else "window"
    serve(way, as_json)


def serve(way: str, as_json: bool = False) -> None:
    """Serve the pages until they are closed, or bring to the front who does already.

    way: none, browser, window, or status, the small one.
    """
    from app import config
    from app.views import door
    from app.workspace import Workspace

    os.umask(0o077)
    work = Workspace(config.home())
    joined = partial(_joined, work.home, way, as_json)
    with told_in_a_window(work, way), door.alone(work.home, joined) as first:
        if not first:
            return
        gc.disable()  # what is imported is no garbage: looking for some takes an eighth of a start
        with mended(work, way):
            _prepare(way)
        _serve(work, way, as_json)


def _prepare(way: str) -> None:
    """What a window needs before it can be shown; whether there is one is seen later."""
    from app.desktop import webkit

    if way in WINDOWS:
        with suppress(webkit.NoWindow):
            webkit.loaded()


def _serve(work: Workspace, way: str, as_json: bool) -> None:
    """Show the door at once, while what is behind it is made ready."""
    from app.views import door

    opened = door.Door(work.home)
    window = _window(work, opened) if way in WINDOWS else None
    with door.announced(work.home, opened), ThreadPoolExecutor(1) as beside:
        asked = _asked_to_end()  # before anybody is told whom to end
        coming = beside.submit(_begin, work, opened, window)
        coming.add_done_callback(partial(_give_up, asked))
        if window is None:
            coming.result()  # who cannot see a window is told one thing: the address, or why not
        _say(opened.invitation(), as_json)
        _Shown(work, opened, coming, window, asked).until_ended(way)
        coming.result().close()


def _window(work: Workspace, opened: Door) -> Window:
    from app.window import Window

    return Window(work.home, lambda: len(_at_work()), opened.invitation)


def _begin(work: Workspace, opened: Door, window: Window | None) -> Server:
    """Import the pages, the longest part of a start, and serve them."""
    if window is not None:
        window.until_up(FRAME)
    from app.store import copies
    from app.views.server import Server

    try:
        serving = Server(work, opened, window)
        serving.start()
    finally:
        gc.freeze()
        gc.enable()
    threading.Thread(target=copies.keep_daily, args=(work.home,), daemon=True).start()
    return serving


def _heed(asked: threading.Event, window: Window) -> None:
    """Asked to end before there is a window that could be: it closes as soon as it is there."""
    asked.wait()
    window.give_up()


def _give_up(asked: threading.Event, coming: Future[Server]) -> None:
    """There will be no pages: nobody need wait for them."""
    if coming.exception():
        asked.set()


def _joined(home: Path, way: str, as_json: bool) -> bool:
    """Show what another program serves: in its window, else in one of ours or a browser.

    False when it does not answer.
    """
    invited = _invited(home, raise_window=way in WINDOWS, status=way == "status")
    if not invited:
        return False
    _say(invited["url"], as_json)
    if way != "none" and not invited["raised"]:
        _show(home, way, invited["url"])
    return True


def _show(home: Path, way: str, url: str) -> None:
    from app.window import NoWindow, Window

    def invite(_: str) -> str:
        invited = _invited(home, raise_window=False, status=True)
        return str(invited["url"]) if invited else url

    if way == "status":
        with suppress(NoWindow):
            Window(home, invite=invite).run(url, status=True)
            return
    webbrowser.open(url)


@click.command("ui-token")
@click.option("--new", is_flag=True, help="Make another one; the one before is refused at once.")
@command
def ui_token(new: bool, as_json: bool) -> None:
    """Print the token by which scripts ask the open pages (docs/api.md), made if there is none."""
    from app import config
    from app.services import ui_token
    from app.views import door

    home = config.home()
    said = {"token": ui_token.get(home, new=new), "url": door.open_at(home)}

    def show(_: object) -> None:
        click.echo(said["token"])
        where = said["url"] or "The pages are not open: rhythmicml ui --no-window"
        click.echo(where, err=True)

    emit(said, as_json, show)


def _invited(home: Path, *, raise_window: bool, status: bool) -> dict[str, Any] | None:
    """What the program says that serves this store already."""
    from app.views import door

    said = door.running(home)
    return door.invited(said, raise_window=raise_window, status=status) if said else None


def _say(url: str, as_json: bool) -> None:
    emit({"url": url}, as_json, lambda _: click.echo(f"RhythmicML: {url}"))
    sys.stdout.flush()


@dataclass(frozen=True)
class _Shown:
    """Pages that are served, or about to be, and what shows them. asked: to end."""

    work: Workspace
    opened: Door
    coming: Future[Server]
    window: Window | None
    asked: threading.Event

    def until_ended(self, way: str) -> None:
        """Until the window is closed and its jobs are done; without one, until asked to end."""
        if way == "browser":
            webbrowser.open(self.opened.invitation())
        if self.window is None:
            portable.wait_for(self.asked)
            return
        again: bool | None = way == "status"
        while again is not None:
            again = self._finish(self.window) if self._until_closed(self.window, again) else None

    def _until_closed(self, window: Window, status: bool) -> bool:
        """Whether it was closed with jobs at work. status: show the small one."""
        from app.window import NoWindow

        path = "/status" if status else "/"
        threading.Thread(target=_heed, args=(self.asked, window), daemon=True).start()
        try:
            window.run(self.opened.invitation(path), status=status)
        except NoWindow as none:
            self.coming.result().window = None
            click.echo(f"{none} A browser shows the pages; Ctrl-C ends them.", err=True)
            self._browse(path)
        return bool(_at_work())

    def _browse(self, path: str) -> None:
        """Until a browser's window is closed; where there is only a tab, until asked to end."""
        from app.desktop.browsers import browser_window

        began = time.monotonic()
        shown = browser_window(self.opened.invitation(path), self.work.home)
        while shown and shown.poll() is None and not self.asked.wait(0.5):
            pass
        if shown and self.asked.is_set():
            shown.terminate()
        elif not shown or time.monotonic() - began < AT_ONCE:  # it gave the address to another
            webbrowser.open(self.opened.invitation(path))
            portable.wait_for(self.asked)

    def _finish(self, window: Window) -> bool | None:
        """Until jobs are done and no browser looks on; as Window.called when one is wanted."""
        from app import jobs

        number = len(_at_work())
        these, them = (f"{number} jobs", "them") if number > 1 else ("1 job", "it")
        self.asked.clear()  # which may have closed the window
        click.echo(f"Finishing {these}; Ctrl-C cancels {them} ...")
        looked_at = self.coming.result().feed
        again = window.called(
            lambda: self.asked.is_set() or not (_at_work() or looked_at.listeners)
        )
        if self.asked.is_set():
            jobs.cancel_all(self.work)
            for thread in _at_work():
                thread.join()
        return again


def _at_work() -> list[threading.Thread]:
    from app import jobs

    return jobs.unfinished()


def _asked_to_end() -> threading.Event:
    """Set by Ctrl-C, or by whoever ends the program politely."""
    asked = threading.Event()
    signals.set_by(asked, signal.SIGINT, signal.SIGTERM)
    return asked
