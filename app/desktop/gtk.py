"""What WebKitGTK does for us beyond pywebview: links elsewhere, dropped folders, dark themes."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

ELSEWHERE = ("http", "https", "mailto")
DARK = 1
"""What the desktop's portal calls a preference for dark."""
PORTAL = ("org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop")
ASKED = ("org.freedesktop.appearance", "color-scheme")


def prepare(
    view: Any, own: str, dragged: Callable[[list[str]], None], fell: Callable[[], None]
) -> None:
    """own: the address of our pages. dragged: is told the paths of what is dragged over the view.
    fell: that it was dropped, and the page did not take it."""

    def decide(_: Any, decision: Any, __: Any) -> bool:
        where = _where(decision)
        if is_elsewhere(where, own):
            _open(where)
        elif urlsplit(where).scheme == "file":  # which WebKit would show in our place
            dragged(paths([where]))
            fell()
        else:
            return False
        decision.ignore()
        return True

    view.connect("decide-policy", decide)
    view.connect("create", lambda _, action: _open(action.get_request().get_uri()))
    view.connect("drag-data-received", lambda *told: dragged(paths(told[4].get_uris() or ())))


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
    from gi.repository import Gio, GLib  # type: ignore[import-not-found]

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
