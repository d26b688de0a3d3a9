"""A notice on this machine's desktop, through what the platform has for it.

Linux: whoever answers `org.freedesktop.Notifications` on the session's D-Bus. macOS: osascript
(not tried). Where there is nothing of the kind, that is said, and all else goes on.
"""

from __future__ import annotations

import html
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from app import config, portable

if TYPE_CHECKING:
    from jeepney import DBusAddress, Message

    from app.workspace import Workspace

SETTING = "notices"
"""Whether notices are wanted on this machine; they are, unless it says no."""
WITHIN = 2.0
"""Seconds for the desktop to answer."""
LONGEST = {"title": 120, "text": 600}
NAME, PATH = "org.freedesktop.Notifications", "/org/freedesktop/Notifications"
SCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


def tell(work: Workspace, title: str, text: str) -> str:
    """As `show`, if notices are wanted."""
    if not wanted(work):
        return "Notices are turned off in Settings."
    return show(title, text)


def wanted(work: Workspace, setting: str = SETTING) -> bool:
    """setting: of some notices only (endings.py), which have their own."""
    with work.open_store() as store:
        return bool(store.settings.get(setting, True))


def want(work: Workspace, yes: bool, setting: str = SETTING) -> None:
    with work.open_store() as store:
        store.settings.set(setting, yes)


def show(title: str, text: str) -> str:
    """Show a notice; returns why it was not shown, "" when it was. Takes 2 s at most."""
    title, text = plain(title, LONGEST["title"]), plain(text, LONGEST["text"])
    try:
        if sys.platform == "darwin":
            _by_script(title, text)
        elif sys.platform == "linux":
            _by_bus(title, text)
        else:
            return "This system has no notices that we know how to show."
    except (FileNotFoundError, ConnectionError):
        return "This desktop shows no notices: nobody is there who would."
    except (OSError, RuntimeError, StopIteration, ValueError, subprocess.SubprocessError) as error:
        return f"This desktop shows no notices: {str(error) or type(error).__name__}"
    return ""


def plain(text: str, longest: int) -> str:
    """Text that a desktop and a terminal can take: it may come from a host, with anything in it."""
    whole = text.encode("utf-8", "replace").decode()
    kept = "".join(each if each.isprintable() or each == "\n" else " " for each in whole)
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def _by_script(title: str, text: str) -> None:
    lines = [part for line in SCRIPT for part in ("-e", line)]
    argv = ["/usr/bin/osascript", *lines, "--", title, text]
    subprocess.run(argv, check=True, capture_output=True, timeout=WITHIN)


def _by_bus(title: str, text: str) -> None:
    from jeepney import DBusAddress, DBusErrorResponse, new_method_call
    from jeepney.io.blocking import open_dbus_connection
    from jeepney.wrappers import unwrap_msg

    desktop = DBusAddress(PATH, NAME, NAME)
    try:
        with open_dbus_connection(session_bus(), auth_timeout=WITHIN) as bus:
            ask = new_method_call(desktop, "GetCapabilities")
            (abilities,) = unwrap_msg(bus.send_and_get_reply(ask, timeout=WITHIN))
            said = html.escape(text, quote=False) if "body-markup" in abilities else text
            unwrap_msg(bus.send_and_get_reply(_notify(desktop, title, said), timeout=WITHIN))
    except DBusErrorResponse as error:
        raise RuntimeError(": ".join(map(str, (error.name, *error.data)))) from error


def _notify(desktop: DBusAddress, title: str, text: str) -> Message:
    from jeepney import new_method_call

    icon = str(config.asset("icons/rhythmicml-128.png"))
    hints = {"desktop-entry": ("s", "io.github.rhythmicml")}
    body: tuple[Any, ...] = ("RhythmicML", 0, icon, title, text, [], hints, -1)
    return new_method_call(desktop, "Notify", "susssasa{sv}i", body)


def session_bus() -> str:
    """Where the session's D-Bus is: where the environment says, else where systemd has it."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{portable.user()}")
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={runtime}/bus"
