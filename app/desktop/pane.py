"""One native window: it opens as it was left, magnifies, comes to the front, stays on top."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.desktop import gtk, place
from app.desktop.place import Place

ZOOM_KEYS = {"plus": 1, "equal": 1, "KP_Add": 1, "minus": -1, "KP_Subtract": -1, "0": 0, "KP_0": 0}


FELL = "void (typeof desktop === 'undefined' || desktop.dropped())"


@dataclass(frozen=True)
class Kind:
    """What windows of a sort have in common. file: where its place is kept."""

    title: str
    file: str
    smallest: tuple[int, int]
    first: Place
    menu: bool


MAIN = Kind("RhythmicML", "place.json", place.SMALLEST, Place(), menu=True)
STATUS = Kind(
    "RhythmicML status", "status.json", (300, 320), Place(width=360, height=520), menu=False
)


class Pane:
    """One of them. `open` makes it; all else may be called from any thread, at any time."""

    def __init__(
        self, kind: Kind, folder: Path, closing: Callable[[Pane], bool | None],
        invite: Callable[[str], str],
    ) -> None:  # fmt: skip
        self.kind = kind
        self.shown: Any = None
        """pywebview's window, as long as there is one."""
        self.dropped: list[str] = []
        """Paths of what fell on it last."""
        self._url = ""
        self._kept = folder / kind.file
        self._closing = closing
        self._invite = invite
        self._place = kind.first
        self._webview: Any = None
        self._prepared = False

    def open(self, webview: Any, url: str) -> None:
        self._webview, self._url, self._prepared = webview, url, False
        self._place = place.read(self._kept, self.kind.first)
        self._place = self._place.on(_screens(webview), self.kind.smallest)
        self.shown = webview.create_window(
            self.kind.title, url, width=self._place.width, height=self._place.height,
            x=self._place.x, y=self._place.y, maximized=self._place.maximized,
            min_size=self.kind.smallest, on_top=self._place.on_top,
            text_select=True, zoomable=True,
        )  # fmt: skip
        self.shown.events.closing += lambda: self._closing(self)
        self.shown.events.closed += self._gone
        if sys.platform == "linux":
            self.shown.events.before_show += self._prepare_native
            # A second window may have been made before that could be asked for.
            self.shown.events.shown += lambda: self._on_main(self._prepare_native)

    def _gone(self) -> None:
        self.shown = None

    def raised(self) -> bool:
        """Bring it to the front; False when there is none."""
        if self.shown:
            self.shown.restore()
            self.shown.show()
            self._on_main(self._present)
        return bool(self.shown)

    def go(self, url: str) -> None:
        if self.shown:
            self.shown.load_url(url)

    def zoom(self, steps: int) -> None:
        self._place = self._place.zoomed(steps)
        self._on_main(self._magnify)

    @property
    def on_top(self) -> bool:
        return self._place.on_top

    def keep_on_top(self, yes: bool) -> None:
        self._place = replace(self._place, on_top=yes)
        if self.shown:
            self.shown.on_top = yes

    def remember(self) -> None:
        """Keep where it is, for the next time; from the window system's own thread."""
        native = self.shown and self.shown.native
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

    # What only GTK needs, on its own thread.

    def _prepare_native(self) -> None:
        native = self.shown and self.shown.native
        if native and not self._prepared:
            self._prepared = True
            native.connect("key-press-event", self._pressed)
            native.set_icon_name("rhythmicml")
            native.set_show_menubar(self.kind.menu)
            self._magnify()
            if view := self._view():
                # pywebview would when it loads: then WebKit draws, and waits for its page half a
                # second if that has just begun.
                view.set_opacity(1.0)
                gtk.prepare(view, self._url, self._fell, self._invite)

    def _fell(self, paths: list[str]) -> None:
        """Have the page show what was dropped; not here, where its answer would be waited for."""
        self.dropped = paths
        say = self.shown.run_js
        threading.Thread(target=say, args=(FELL,), daemon=True).start()

    def _view(self) -> Any:
        """WebKit's, if it is there."""
        from webview.platforms.gtk import BrowserView

        found = BrowserView.instances.get(self.shown.uid if self.shown else "")
        return found.webview if found else None

    def _present(self) -> None:
        if native := self.shown and self.shown.native:
            native.present()

    def _pressed(self, _: Any, event: Any) -> bool:
        from gi.repository import Gdk  # type: ignore[import-not-found]

        steps = ZOOM_KEYS.get(Gdk.keyval_name(event.keyval) or "")
        if steps is None or not event.state & Gdk.ModifierType.CONTROL_MASK:
            return False
        self.zoom(steps)
        return True

    def _magnify(self) -> None:
        if view := self._view():
            view.set_zoom_level(self._place.zoom)

    def _on_main(self, do: Callable[[], None]) -> None:
        if sys.platform == "linux" and self.shown:
            from gi.repository import GLib

            GLib.idle_add(do)


def _screens(webview: Any) -> list[place.Rectangle]:
    """Of this desktop. Asked of GTK itself: asked of pywebview, it would start without the menu."""
    if sys.platform != "linux":
        return [(each.x, each.y, each.width, each.height) for each in webview.screens]
    from gi.repository import Gdk

    display = Gdk.Display.get_default()
    monitors = [display.get_monitor(n) for n in range(display.get_n_monitors())] if display else []
    areas = [each.get_geometry() for each in monitors]
    return [(each.x, each.y, each.width, each.height) for each in areas]
