"""A window of this desktop for the pages: WebKitGTK's, else a browser's without its frame."""

from __future__ import annotations

import importlib.machinery
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

TITLE = "RhythmicML"
SIZE = (1280, 800)
SMALLEST = (900, 560)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "microsoft-edge", "brave-browser")
SYSTEM_PACKAGES = "/usr/lib/python3/dist-packages"


class NoWindow(Exception):
    """There is no window to be had here; its text says why, in one line."""


class Window:
    """The one window of a program. All but `run` may be called from any thread."""

    def __init__(self, home: Path) -> None:
        self._storage = home / "window"
        self._window: Any = None
        self._there = threading.Event()

    def run(self, url: str) -> None:
        """Show a page until the window is closed; only from the main thread. Raises NoWindow."""
        webview = _webview()
        self._storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._window = webview.create_window(
            TITLE, url, width=SIZE[0], height=SIZE[1], min_size=SMALLEST,
            text_select=True, zoomable=True,
        )  # fmt: skip
        try:
            # Private, it would have no localStorage; unasked, it would take Qt under KDE.
            webview.start(
                self._started, gui="gtk" if sys.platform == "linux" else None,
                private_mode=False, storage_path=str(self._storage),
            )  # fmt: skip
        except webview.errors.WebViewException as error:
            raise NoWindow(str(error)) from error
        finally:
            self._there.clear()

    @property
    def there(self) -> bool:
        return self._there.is_set()

    def raised(self) -> bool:
        """Bring it to the front; False when there is none."""
        if self.there:
            self._window.restore()
            self._window.show()
        return self.there

    def pick_folder(self) -> str:
        """The folder that somebody chose in the desktop's own dialogue; "" for none."""
        import webview

        chosen = self._window.create_file_dialog(webview.FileDialog.FOLDER) if self.there else None
        return str(chosen[0]) if chosen else ""

    def _started(self) -> None:
        self._there.set()
        if sys.platform != "linux":
            return
        from gi.repository import GLib  # type: ignore[import-not-found]

        for number in (signal.SIGTERM, signal.SIGINT):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self._end)

    def _end(self) -> bool:
        """Close, also with a dialogue open, whose own loop GTK would wait for."""
        from gi.repository import GLib, Gtk

        for each in Gtk.Window.list_toplevels():
            if isinstance(each, Gtk.Dialog):
                each.response(Gtk.ResponseType.CANCEL)
        GLib.idle_add(self._window.destroy)
        return False


def browser_window(url: str, home: Path) -> subprocess.Popen[bytes] | None:
    """A browser's window without tabs, ending when it is closed; None without such a browser.

    Not for root: these browsers do not start for root with their sandbox on.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if not found or not has_display() or (hasattr(os, "getuid") and os.getuid() == 0):
        return None
    profile = f"--user-data-dir={home / 'window' / 'browser'}"
    return subprocess.Popen(
        [found, f"--app={url}", profile, "--no-first-run", "--no-default-browser-check"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def has_display() -> bool:
    """Whether somebody answers where the environment says that the display is.

    Asked before GTK is: with a dead display it ends the whole program.
    """
    if sys.platform != "linux":
        return True
    return any(_answers(family, address) for family, address in _displays(os.environ))


def _displays(environ: Any) -> list[tuple[socket.AddressFamily, Any]]:
    """The sockets that WAYLAND_DISPLAY and DISPLAY name."""
    found: list[tuple[socket.AddressFamily, Any]] = []
    if wayland := environ.get("WAYLAND_DISPLAY"):
        runtime = environ.get("XDG_RUNTIME_DIR", "/nonexistent")
        found.append((socket.AF_UNIX, f"{runtime}/{wayland}"))
    host, colon, number = environ.get("DISPLAY", "").rpartition(":")
    screen = number.partition(".")[0]
    if colon and screen.isdigit():
        if host in ("", "unix"):
            path = f"/tmp/.X11-unix/X{screen}"
            found += [(socket.AF_UNIX, path), (socket.AF_UNIX, "\0" + path)]
        else:
            found.append((socket.AF_INET, (host, 6000 + int(screen))))
    return found


def _answers(family: socket.AddressFamily, address: Any) -> bool:
    try:
        with socket.socket(family) as link:
            link.settimeout(2)
            link.connect(address)
    except OSError:
        return False
    return True


def _webview() -> Any:
    """pywebview with what it needs here. Raises NoWindow."""
    if not has_display():
        raise NoWindow("There is no display.")
    if sys.platform == "linux":
        _prepare(os.environ)
        sys.meta_path.append(_SystemGi())
        try:
            import gi  # type: ignore[import-not-found]

            gi.require_version("Gtk", "3.0")
            _require_webkit(gi)
        except (ImportError, ValueError) as error:
            raise NoWindow(
                "WebKitGTK is not installed (on Debian: gir1.2-webkit2-4.1 and python3-gi)."
            ) from error
    import webview

    return webview


def _require_webkit(gi: Any) -> None:
    try:
        gi.require_version("WebKit2", "4.1")
    except ValueError:
        gi.require_version("WebKit2", "4.0")


def _prepare(environ: Any) -> None:
    """What WebKitGTK needs in its environment before it is loaded.

    With LANG unset or C the page's language is "C", with which number formats throw.
    """
    if environ.get("LANG", "C").partition(".")[0] in ("", "C", "POSIX"):
        environ["LANG"] = "en_US.UTF-8"
        for name in ("LC_ALL", "LC_MESSAGES"):
            environ.pop(name, None)
    environ.setdefault("WEBKIT_DISABLE_DMABUF_RENDERER", "1")


class _SystemGi:
    """Finds the desktop's own GTK bindings, and nothing else of the system's Python packages."""

    NAMES = ("gi", "cairo")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.NAMES:
            return None
        return importlib.machinery.PathFinder.find_spec(name, [SYSTEM_PACKAGES])
