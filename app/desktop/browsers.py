"""What shows the pages where there is no window of our own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from app import portable
from app.desktop.displays import has_display

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "microsoft-edge", "brave-browser")


def browser() -> str | None:
    """The first browser of this machine that has windows without tabs."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def browser_window(url: str, home: Path) -> subprocess.Popen[bytes] | None:
    """A browser's window without tabs, ending when it is closed; None without such a browser.

    Not for root: these browsers do not start for root with their sandbox on.
    """
    found = browser()
    if not found or not has_display() or portable.user() == 0:
        return None
    profile = f"--user-data-dir={home / 'window' / 'browser'}"
    return subprocess.Popen(
        [found, f"--app={url}", profile, "--no-first-run", "--no-default-browser-check"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
