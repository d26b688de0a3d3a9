"""What WebKitGTK does for us beyond pywebview: links elsewhere, dropped folders, dark themes."""

from __future__ import annotations

import contextlib
import time
import webbrowser
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ELSEWHERE = ("http", "https", "mailto")
DARK = 1
"""What the desktop's portal calls a preference for dark."""
PORTAL = ("org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop")
REVIVED = 3
"""Times a minute at most that a page is loaded again whose process has ended."""
ASKED = ("org.freedesktop.appearance", "color-scheme")


def prepare(
    view: Any, own: str, dropped: Callable[[list[str]], None], invite: Callable[[str], str]
) -> None:
    """own: the address of our pages. dropped: is told the paths of what was dropped on the view.
    invite: gives a URL that lets it in to a path, for a view whose process was killed.

    A drop of files is taken before WebKit hears of it, which now and then loses one: GTK says that
    the drag has left before it says that it ends here.
    """
    from gi.repository import Gtk  # type: ignore[import-not-found]

    over: dict[Any, list[str]] = {}
    ends: deque[float] = deque(maxlen=REVIVED + 1)

    def decide(_: Any, decision: Any, __: Any) -> bool:
        where = _where(decision)
        if is_elsewhere(where, own):
            _open(where)
        elif urlsplit(where).scheme == "file":  # which WebKit would show in our place
            dropped(paths([where]))
        else:
            return False
        decision.ignore()
        return True

    def told(_: Any, drag: Any, __: int, ___: int, data: Any, *____: Any) -> None:
        if found := paths(data.get_uris() or ()):
            over.clear()
            over[drag] = found

    def fell(_: Any, drag: Any, __: int, ___: int, when: int) -> bool:
        found = over.pop(drag, [])
        if found:
            Gtk.drag_finish(drag, True, False, when)
            dropped(found)
        return bool(found)

    def revive(_: Any, __: Any) -> None:
        ends.append(time.monotonic())
        if len(ends) <= REVIVED or ends[-1] - ends[0] > 60:
            view.load_uri(invite(_page(view.get_uri() or own)))

    view.connect("web-process-terminated", revive)
    view.connect("decide-policy", decide)
    view.connect("create", lambda _, action: _open(action.get_request().get_uri()))
    view.connect("drag-data-received", told)
    view.connect("drag-drop", fell)


def _page(url: str) -> str:
    """The path and the query of a page; of an invitation, those that it leads to."""
    split = urlsplit(url)
    if split.path == "/bootstrap":
        return parse_qs(split.query).get("to", ["/"])[0]
    return f"{split.path}?{split.query}" if split.query else split.path


def _where(decision: Any) -> str:
    """Whereto a navigation leads; "" of what is none."""
    action = getattr(decision, "get_navigation_action", None)
    return str(action().get_request().get_uri()) if action else ""


def is_elsewhere(url: str, own: str) -> bool:
    """Whether a URL is for a browser, or whoever writes mail."""
    asked, ours = urlsplit(url), urlsplit(own)
    return asked.scheme in ELSEWHERE and asked.netloc != ours.netloc


def _open(url: str) -> None:
    if urlsplit(url).scheme in ELSEWHERE:
        webbrowser.open(url)


def paths(uris: tuple[str, ...] | list[str]) -> list[str]:
    """Of file: URIs of this machine."""
    split = [urlsplit(uri.strip()) for uri in uris]
    return [
        unquote(each.path)
        for each in split
        if each.scheme == "file" and each.netloc in ("", "localhost")
    ]


def follow_theme() -> None:
    """Have GTK, and so the pages, be dark when the desktop prefers that, now and later.

    GTK 3 itself knows only the names of themes; desktops of today say it through a portal.
    """
    from gi.repository import Gio, GLib

    with contextlib.suppress(GLib.Error):
        portal = Gio.DBusProxy.new_for_bus_sync(
            Gio.BusType.SESSION, Gio.DBusProxyFlags.DO_NOT_AUTO_START_AT_CONSTRUCTION, None,
            *PORTAL, "org.freedesktop.portal.Settings", None,
        )  # fmt: skip
        portal.connect("g-signal", _changed)
        _kept.append(portal)
        said = portal.call_sync(
            "Read", GLib.Variant("(ss)", ASKED), Gio.DBusCallFlags.NONE, 500, None
        )
        _prefer(said.unpack()[0])


_kept: list[Any] = []
"""The portal goes on telling as long as somebody holds it."""


def _changed(_: Any, __: Any, signal: str, told: Any) -> None:
    if signal == "SettingChanged":
        *name, value = told.unpack()
        if tuple(name) == ASKED:
            _prefer(value)


def _prefer(scheme: Any) -> None:
    """0 is no preference, which leaves it to the theme."""
    from gi.repository import Gtk

    if scheme in (1, 2):
        Gtk.Settings.get_default().set_property("gtk-application-prefer-dark-theme", scheme == DARK)
