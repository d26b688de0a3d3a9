"""The program's windows on this desktop: the pages, the status window; their menu and dialogues."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.desktop import menu, webkit
from app.desktop.agent import WINDOW
from app.desktop.pane import MAIN, STATUS, Pane
from app.desktop.webkit import NoWindow as NoWindow

LOOK_EVERY = 0.25
ENDING = (signal.SIGTERM, signal.SIGINT)
SAVED_IN = (Path.home() / "Downloads",)
"""Where a file is offered to be saved, if it is there."""


class Window:
    """All windows of a program. All but `run` may be called from any thread.

    busy: how many jobs are at work. invite: gives a URL that lets a window in, to a path.
    """

    def __init__(
        self,
        home: Path,
        busy: Callable[[], int] = lambda: 0,
        invite: Callable[[str], str] = lambda path: path,
    ) -> None:
        self.home = home
        self._storage = home / "window"
        self._busy = busy
        self._invite = invite
        self.pages = Pane(MAIN, self._storage, self._closing, invite)
        self.status = Pane(STATUS, self._storage, self._closing, invite)
        self._webview: Any = None
        self._there = threading.Event()
        self._up = threading.Event()
        self._leave = False
        self._unwanted = False
        self._resting = False
        self._call = threading.Condition()
        self._called: list[bool] = []
        self._sources: list[int] = []
        self._tray: Any = None

    def run(self, url: str, *, status: bool = False) -> None:
        """Show a page until all windows are closed; only from the main thread. Raises NoWindow.

        status: in the status window.
        """
        webview = self._webview = webkit.loaded()
        self._storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        pane = self.status if status else self.pages
        pane.open(webview, url)
        pane.shown.events.shown += self._up.set
        heard = {number: signal.getsignal(number) for number in ENDING}
        try:
            # Private, it would have no localStorage; unasked, it would take Qt under KDE.
            webview.start(
                self._started, gui="gtk" if sys.platform == "linux" else None,
                private_mode=False, storage_path=str(self._storage), user_agent=WINDOW,
                menu=menu.built(webview, menu.entries(self)),
            )  # fmt: skip
        except webview.errors.WebViewException as error:
            raise NoWindow(str(error)) from error
        finally:
            self._there.clear()
            self._up.set()
            self._hear(heard)

    def called(self, over: Callable[[], bool]) -> bool | None:
        """Closed, wait until somebody wants a window: whether the status window; None once over.

        `raised` says yes meanwhile; who wanted one has to be shown one, then, by `run`.
        """
        self._unwanted, self._resting = False, True
        while not (self._called or over()):
            with self._call:
                self._call.wait(LOOK_EVERY)
            _heed_tray()
        with self._call:
            self._resting = False
            wanted, self._called = self._called, []
        return wanted[0] if wanted else None

    @property
    def there(self) -> bool:
        return self._there.is_set()

    def until_up(self, most: float) -> None:
        """Wait until there is a frame, whatever is in it; so many seconds at most."""
        self._up.wait(most)

    def raised(self, *, status: bool = False) -> bool:
        """Bring the pages, or the status window, to the front; False when there is no window."""
        pane = self.status if status else self.pages
        with self._call:
            if self._resting:
                self._called.append(status)
                self._call.notify()
                return True
        if not self.there:
            return False
        if not pane.raised():
            pane.open(self._webview, self._invite("/status" if status else "/"))
        return True

    def show_status(self) -> None:
        self.raised(status=True)

    def show(self, path: str) -> None:
        """A page of ours in the large window, opened where there is none."""
        if not self.there:
            return
        if not self.pages.shown:
            self.pages.open(self._webview, self._invite(path))
            return
        self.pages.raised()
        self.pages.go(self._invite(path))

    def pick_folder(self) -> str:
        """The folder that somebody chose in the desktop's own dialogue; "" for none."""
        if not (self.there and self.pages.shown):
            return ""
        chosen = self.pages.shown.create_file_dialog(self._webview.FileDialog.FOLDER)
        return str(chosen[0]) if chosen else ""

    def ask_where(self, name: str) -> str:
        """Where somebody wants a file of this name, by the desktop's own dialogue; "": nowhere."""
        if not (self.there and self.pages.shown):
            return ""
        kind = self._webview.FileDialog.SAVE
        folder = str(next((each for each in SAVED_IN if each.is_dir()), Path.home()))
        chosen = self.pages.shown.create_file_dialog(kind, directory=folder, save_filename=name)
        return str(chosen if isinstance(chosen, str) else chosen[0]) if chosen else ""

    def dropped(self) -> list[str]:
        """The paths of what was dropped onto the pages, told once."""
        paths, self.pages.dropped = self.pages.dropped, []
        return paths

    def tell_page(self, name: str) -> None:
        """Have the page do what an entry of the menu says."""
        if self.pages.shown:
            self.pages.shown.run_js(f"void desktop.{name}()")

    def zoom(self, steps: int) -> None:
        self.pages.zoom(steps)

    def close(self) -> None:
        """As the button of the frame of the window with the menu does."""
        if self._must_ask(self.pages) and not self._sure(self.pages):
            return
        self._leave = True
        if self.pages.shown:
            self.pages.shown.destroy()

    def give_up(self) -> None:
        """Close all, or what comes yet as soon as it is there; whatever is at work."""
        self._unwanted = True
        if self.there:
            self._close_all()

    def _close_all(self) -> None:
        for pane in (self.pages, self.status):
            if pane.shown:
                pane.shown.destroy()

    def _closing(self, pane: Pane) -> bool | None:
        """Whether it may close: asked on the way, for here the window system waits for us."""
        if self._leave or not self._must_ask(pane):
            pane.remember()
            self._leave = False
            return None
        threading.Thread(target=self._ask_to_close, args=(pane,), daemon=True).start()
        return False

    def _ask_to_close(self, pane: Pane) -> None:
        if self._sure(pane):
            self._leave = True
            pane.shown.destroy()

    def _must_ask(self, pane: Pane) -> bool:
        """Whether to close it would leave jobs at work."""
        other = self.pages if pane is self.status else self.status
        return not (self._unwanted or other.shown) and self._busy() > 0

    def _sure(self, pane: Pane) -> bool:
        """Asked in one text: GTK shows no title."""
        number = self._busy()
        jobs = f"{number} jobs are" if number > 1 else "A job is"
        they, it = ("They go", "them") if number > 1 else ("It goes", "it")
        words = (
            f"{jobs} still at work.\n\nClose the window? {they} on in the background; "
            f"opened again, RhythmicML shows {it}."
        )
        return bool(pane.shown.create_confirmation_dialog(pane.kind.title, words))

    def _started(self) -> None:
        self._there.set()
        if self._unwanted:
            self._close_all()
        if sys.platform != "linux":
            return
        from gi.repository import GLib  # type: ignore[import-not-found]

        for number in ENDING:
            self._sources.append(GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self._end))
        if self._tray is None:
            self._settle_in()

    def _settle_in(self) -> None:
        """What stays for the next `run`."""
        from gi.repository import GLib

        from app.config import asset
        from app.desktop import gtk
        from app.desktop.tray import Tray

        GLib.idle_add(gtk.follow_theme)
        self._tray = Tray(
            str(asset("icons/rhythmicml-128.png")), "RhythmicML",
            [("Open RhythmicML", self.raised), ("Status window", self.show_status)],
        )  # fmt: skip
        GLib.idle_add(self._tray.watch)

    def _hear(self, handlers: dict[Any, Any]) -> None:
        """Signals as before: those that GLib hears go unheard once its loop has ended."""
        if sys.platform == "linux":
            from gi.repository import GLib

            while self._sources:
                GLib.source_remove(self._sources.pop())
        for number, handler in handlers.items():
            if handler is not None:
                signal.signal(number, handler)

    def _end(self) -> bool:
        """Close all, also with a dialogue open, whose own loop GTK would wait for."""
        from gi.repository import GLib, Gtk

        for each in Gtk.Window.list_toplevels():
            if isinstance(each, Gtk.Dialog):
                each.response(Gtk.ResponseType.CANCEL)
        GLib.idle_add(self.give_up)
        return True


def _heed_tray() -> None:
    """What was clicked in the tray while no window has GTK look."""
    if sys.platform == "linux":
        from gi.repository import GLib

        while GLib.MainContext.default().iteration(False):
            pass
