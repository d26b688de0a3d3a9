"""The window's menu: what it shows, and what each entry does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.window import Window

Entry = tuple[str, Callable[[], None]] | None
"""What it says and does; None is a line between groups."""


def entries(window: Window) -> dict[str, list[Entry]]:
    """Title → entries. What the pages do is done by their own script (assets/static/desktop.js)."""

    def page(name: str) -> Callable[[], None]:
        return lambda: window.tell_page(name)

    return {
        "File": [
            ("Add model…", page("add")),
            ("Add the example", page("example")),
            None,
            ("Close", window.close),
        ],
        "Model": [
            ("Deploy…", page("deploy")),
            ("Commit…", page("commit")),
            ("Compare with the folder", page("changes")),
            ("Versions", page("versions")),
            ("Instances", page("instances")),
        ],
        "View": [
            ("Catalogue", page("catalogue")),
            ("Jobs", page("jobs")),
            ("Settings", page("settings")),
            ("Status window", window.show_status),
            None,
            ("Find anything", page("find")),
            ("Larger", lambda: window.zoom(1)),
            ("Smaller", lambda: window.zoom(-1)),
            ("Normal size", lambda: window.zoom(0)),
            ("Light or dark", page("theme")),
            ("Load again", page("reload")),
        ],
        "Help": [
            ("Keyboard", page("help")),
            ("Report a fault…", page("report")),
        ],
    }


def built(webview: Any, titles: dict[str, list[Entry]]) -> list[Any]:
    """The same in pywebview's words."""
    from webview.menu import Menu, MenuAction, MenuSeparator

    return [
        Menu(title, [MenuAction(*entry) if entry else MenuSeparator() for entry in listed])
        for title, listed in titles.items()
    ]
