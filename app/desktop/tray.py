"""An icon in the desktop's tray, where it has one: both windows are reached from there.

The library that speaks to trays (AppIndicator) is asked for where a tray is on the session's bus,
and is no part of what a window needs. Everything here runs on GTK's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

TRAY = "org.kde.StatusNotifierWatcher"
"""The name that a tray has on the bus."""
LIBRARIES = ("AyatanaAppIndicator3", "AppIndicator3")
NAME = "rhythmicml"

Entry = tuple[str, Callable[[], object]]


class Tray:
    """Shows the icon as soon as there is a tray, as long as we run."""

    def __init__(self, icon: str, title: str, entries: Sequence[Entry]) -> None:
        self._icon, self._title, self._entries = icon, title, entries
        self._shown: Any = None

    def watch(self) -> None:
        """Look for a tray from now on; waits for nothing."""
        from gi.repository import Gio  # type: ignore[import-not-found]

        Gio.bus_watch_name(
            Gio.BusType.SESSION, TRAY, Gio.BusNameWatcherFlags.NONE, self._appeared, None
        )

    def _appeared(self, *_: Any) -> None:
        """A tray is there, or there again, which the library notices by itself."""
        library = None if self._shown else _library()
        if library is None:
            return
        category = library.IndicatorCategory.APPLICATION_STATUS
        self._shown = library.Indicator.new(NAME, self._icon, category)
        self._shown.set_title(self._title)
        self._shown.set_menu(_menu(self._entries))
        self._shown.set_status(library.IndicatorStatus.ACTIVE)


def _library() -> Any:
    """None where neither of them is installed."""
    import gi  # type: ignore[import-not-found]

    for name in LIBRARIES:
        with suppress(ValueError, ImportError):
            gi.require_version(name, "0.1")
            return import_module(f"gi.repository.{name}")
    return None


def _menu(entries: Sequence[Entry]) -> Any:
    from gi.repository import Gtk

    menu = Gtk.Menu()
    for words, do in entries:
        item = Gtk.MenuItem(label=words)
        item.connect("activate", _aside, do)
        menu.append(item)
    menu.show_all()
    return menu


def _aside(_: Any, do: Callable[[], object]) -> None:
    """Not on GTK's thread, which a new window waits for."""
    threading.Thread(target=do, daemon=True).start()
