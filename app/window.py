"""The window of this desktop for the pages: WebKit's of the system, with menu and dialogues."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.desktop import menu, place, webkit
from app.desktop.webkit import NoWindow as NoWindow

TITLE = "RhythmicML"
ZOOM_KEYS = {"plus": 1, "equal": 1, "KP_Add": 1, "minus": -1, "KP_Subtract": -1, "0": 0, "KP_0": 0}


class Window:
    """The one window of a program. All but `run` may be called from any thread.

    busy: how many jobs are at work.
    """

    def __init__(self, home: Path, busy: Callable[[], int] = lambda: 0) -> None:
        self._storage = home / "window"
        self._kept = self._storage / "place.json"
        self._busy = busy
        self._place = place.Place()
        self._webview: Any = None
        self._window: Any = None
        self._there = threading.Event()
        self._leave = False

    def run(self, url: str) -> None:
        """Show a page until the window is closed; only from the main thread. Raises NoWindow."""
        webview = self._webview = webkit.loaded()
        self._storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._window = self._made(url)
        try:
            # Private, it would have no localStorage; unasked, it would take Qt under KDE.
            webview.start(
                self._started, gui="gtk" if sys.platform == "linux" else None,
                private_mode=False, storage_path=str(self._storage),
                menu=menu.built(webview, menu.entries(self)),
            )  # fmt: skip
        except webview.errors.WebViewException as error:
            raise NoWindow(str(error)) from error
        finally:
            self._there.clear()

    def _made(self, url: str) -> Any:
        self._place = place.read(self._kept).on(_screens(self._webview))
        window = self._webview.create_window(
            TITLE, url, width=self._place.width, height=self._place.height,
            x=self._place.x, y=self._place.y, maximized=self._place.maximized,
            min_size=place.SMALLEST, text_select=True, zoomable=True,
        )  # fmt: skip
        window.events.closing += self._closing
        window.events.shown += self._shown
        return window

    @property
    def there(self) -> bool:
        return self._there.is_set()

    def raised(self) -> bool:
        """Bring it to the front; False when there is none."""
        if self.there and self._window:
            self._window.restore()
            self._window.show()
        return bool(self.there and self._window)

    def pick_folder(self) -> str:
        """The folder that somebody chose in the desktop's own dialogue; "" for none."""
        if not (self.there and self._window):
            return ""
        chosen = self._window.create_file_dialog(self._webview.FileDialog.FOLDER)
        return str(chosen[0]) if chosen else ""

    def tell_page(self, name: str) -> None:
        """Have the page do what an entry of the menu says."""
        if self._window:
            self._window.run_js(f"desktop.{name}()")

    def zoom(self, steps: int) -> None:
        self._place = self._place.zoomed(steps)
        self._on_main(self._magnify)

    def close(self) -> None:
        """As the button of the window's frame does."""
        if self._busy() and not self._sure():
            return
        self._leave = True
        if self._window:
            self._window.destroy()

    def _closing(self) -> bool | None:
        """Whether it may close: asked on the way, for here the window system waits for us."""
        if self._leave or not self._busy():
            self._remember()
            self._window = None
            return None
        threading.Thread(target=self.close, daemon=True).start()
        return False

    def _sure(self) -> bool:
        """Asked in one text: GTK shows no title."""
        number = self._busy()
        jobs = f"{number} jobs are" if number > 1 else "A job is"
        they, it = ("They go", "them") if number > 1 else ("It goes", "it")
        words = (
            f"{jobs} still at work.\n\nClose the window? {they} on in the background; "
            f"opened again, RhythmicML shows {it}."
        )
        return bool(self._window.create_confirmation_dialog(TITLE, words))

    def _shown(self) -> None:
        self._on_main(self._prepare_native)

    # What only GTK needs, on its own thread.

    def _prepare_native(self) -> None:
        native = self._window and self._window.native
        if native:
            native.connect("key-press-event", self._pressed)
            native.set_icon_name("rhythmicml")
            self._magnify()

    def _pressed(self, _: Any, event: Any) -> bool:
        from gi.repository import Gdk  # type: ignore[import-not-found]

        steps = ZOOM_KEYS.get(Gdk.keyval_name(event.keyval) or "")
        if steps is None or not event.state & Gdk.ModifierType.CONTROL_MASK:
            return False
        self.zoom(steps)
        return True

    def _magnify(self) -> None:
        from webview.platforms.gtk import BrowserView

        if view := BrowserView.instances.get(self._window.uid if self._window else ""):
            view.webview.set_zoom_level(self._place.zoom)

    def _remember(self) -> None:
        native = self._window and self._window.native
        if sys.platform != "linux" or not native:
            return
        now = replace(self._place, maximized=bool(native.is_maximized()))
        if not now.maximized:
            (x, y), (width, height) = native.get_position(), native.get_size()
            now = replace(now, x=x, y=y, width=width, height=height)
        try:
            place.keep(self._kept, now)
        except OSError:  # a full disk keeps nobody from closing a window
            pass

    def _on_main(self, do: Callable[[], None]) -> None:
        if sys.platform == "linux" and self.there:
            from gi.repository import GLib

            GLib.idle_add(do)

    def _started(self) -> None:
        self._there.set()
        if sys.platform != "linux":
            return
        from gi.repository import GLib

        for number in (signal.SIGTERM, signal.SIGINT):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self._end)

    def _end(self) -> bool:
        """Close, also with a dialogue open, whose own loop GTK would wait for."""
        from gi.repository import GLib, Gtk

        self._leave = True
        for each in Gtk.Window.list_toplevels():
            if isinstance(each, Gtk.Dialog):
                each.response(Gtk.ResponseType.CANCEL)
        if self._window:
            GLib.idle_add(self._window.destroy)
        return False


def _screens(webview: Any) -> list[place.Rectangle]:
    """Of this desktop. Asked of GTK itself: asked of pywebview, it would start without the menu."""
    if sys.platform != "linux":
        return [(each.x, each.y, each.width, each.height) for each in webview.screens]
    from gi.repository import Gdk

    display = Gdk.Display.get_default()
    monitors = [display.get_monitor(n) for n in range(display.get_n_monitors())] if display else []
    areas = [each.get_geometry() for each in monitors]
    return [(each.x, each.y, each.width, each.height) for each in areas]
