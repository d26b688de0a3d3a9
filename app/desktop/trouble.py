"""A window of its own for what keeps the program from starting: what is wrong, what can be done.

Whoever started it by a double click has no terminal to read it in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.desktop import webkit

TITLE = "RhythmicML cannot start"
SIZE = (640, 560)


def show(page: Path, problem: Any, report: str, choices: Mapping[str, str]) -> str:
    """The key of the choice that was made; "" when the window was closed. Raises NoWindow.

    page: the template of it. problem: what it shows on top. report: what can be copied.
    choices: key → words of a button.
    """
    from jinja2 import Environment

    webview = webkit.loaded()
    template = Environment(autoescape=True).from_string(page.read_text("utf-8"))
    html = template.render(problem=problem, report=report, choices=choices)
    answer = _Answer()
    window = webview.create_window(
        TITLE, html=html, js_api=answer, width=SIZE[0], height=SIZE[1], text_select=True
    )
    answer._close = window.destroy
    try:
        webview.start(gui="gtk" if sys.platform == "linux" else None)
    except webview.errors.WebViewException as error:
        raise webkit.NoWindow(str(error)) from error
    return answer._chosen


class _Answer:
    """What the page's script may call: all of it that has no underscore."""

    def __init__(self) -> None:
        self._chosen = ""
        self._close: Callable[[], None] = lambda: None

    def choose(self, key: str) -> None:
        self._chosen = key
        self._close()
