"""pywebview, with the WebKit of this system under it and what both need to work."""

from __future__ import annotations

import importlib.machinery
import os
import sys
import warnings
from importlib.machinery import ModuleSpec
from typing import Any

from app.desktop.displays import has_display

SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"


class NoWindow(Exception):
    """There is no window to be had here; its text says why, in one line."""


def loaded() -> Any:
    """pywebview with what it needs here. Raises NoWindow."""
    if not has_display():
        raise NoWindow("There is no display.")
    if sys.platform == "linux":
        _prepare(os.environ)
        require()
        _require_screen()
    if sys.platform == "win32":
        _require_webview2()
    import webview

    return webview


def _require_screen() -> None:
    """A display may answer and refuse us, for which GTK would end the program."""
    from gi.repository import Gdk  # type: ignore[import-not-found]

    if Gdk.Display.get_default() is None:
        raise NoWindow("The display does not let this user in.")


def _require_webview2() -> None:
    """Without it pywebview takes Internet Explorer's engine, which cannot show these pages."""
    try:
        from webview.platforms.winforms import renderer
    except (ImportError, OSError, RuntimeError) as error:
        raise NoWindow(f".NET cannot be used: {error}.") from error
    if renderer != "edgechromium":
        raise NoWindow("WebView2 is not installed.")


def require() -> str:
    """The version of WebKitGTK's description for programs. Raises NoWindow where there is none."""
    if not any(isinstance(each, _SystemGi) for each in sys.meta_path):
        sys.meta_path.append(_SystemGi())
    try:
        import gi  # type: ignore[import-not-found]

        gi.require_version("Gtk", "3.0")
        gi.require_version("Gdk", "3.0")
        return _webkit(gi)
    except (ImportError, ValueError) as error:
        raise NoWindow(
            "WebKitGTK is not installed (on Debian: gir1.2-webkit2-4.1 and python3-gi)."
        ) from error


def engine() -> str:
    """What shows pages in a window here, in words; "" for nothing."""
    if sys.platform != "linux":
        return {"darwin": "WKWebView", "win32": "WebView2"}.get(sys.platform, "")
    try:
        described = require()
        with warnings.catch_warnings():  # of how the bindings are imported
            warnings.simplefilter("ignore", ImportWarning)
            from gi.repository import WebKit2
    except (NoWindow, ImportError):
        return ""
    parts = (WebKit2.get_major_version, WebKit2.get_minor_version, WebKit2.get_micro_version)
    return f"WebKitGTK {'.'.join(str(part()) for part in parts)} ({described})"


def _webkit(gi: Any) -> str:
    try:
        gi.require_version("WebKit2", "4.1")
    except ValueError:
        gi.require_version("WebKit2", "4.0")
        return "4.0"
    return "4.1"


def _prepare(environ: Any) -> None:
    """What WebKitGTK needs in its environment before it is loaded.

    Where the language is "C", so is the page's, with which number formats throw.
    """
    said = environ.get("LC_ALL") or environ.get("LC_MESSAGES") or environ.get("LANG") or "C"
    if _is_c(said):
        for name in ("LC_ALL", "LC_MESSAGES"):
            environ.pop(name, None)
        if _is_c(environ.get("LANG") or "C"):
            environ["LANG"] = "en_US.UTF-8"
    environ.setdefault("WEBKIT_DISABLE_DMABUF_RENDERER", "1")


def _is_c(locale: str) -> bool:
    return locale.partition(".")[0] in ("C", "POSIX")


class _SystemGi:
    """Finds the desktop's own GTK bindings, and nothing else of the system's Python packages."""

    NAMES = ("gi", "cairo")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.NAMES:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [SYSTEM_PACKAGES])
