"""This machine: what it is, what it is busy with, and what it lacks of what the program can use."""

from __future__ import annotations

import locale
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app import frozen
from app.deployer import keychain
from app.desktop import webkit
from app.desktop.browsers import browser
from app.desktop.displays import has_display
from app.errors import Problem


@dataclass(frozen=True)
class Need:
    """Something that makes the program better. remedy: empty where nothing is lacking."""

    name: str
    words: str
    remedy: str = ""

    @property
    def met(self) -> bool:
        return not self.remedy


def needs() -> list[Need]:
    """What this machine should have, each with how it is."""
    return [_window(), _keyring(), _key(), _python()]


def _window() -> Need:
    try:
        if sys.platform == "linux":
            webkit.require()
    except webkit.NoWindow:
        instead = "A browser shows the pages instead."
        return Need("Window", f"WebKitGTK is not installed. {instead}", _install("webkit"))
    return Need("Window", "Pages have a window of their own.")


def _keyring() -> Need:
    if found := keychain.backend():
        return Need("Keyring", f"Passwords can be kept in {found}.")
    return Need(
        "Keyring",
        "No keyring answers: passwords are asked for each time, secrets need consent to a file.",
        _install("keyring"),
    )


def _key() -> Need:
    """Whether a server could let us in without a password."""
    if os.environ.get("SSH_AUTH_SOCK") and Path(os.environ["SSH_AUTH_SOCK"]).is_socket():
        return Need("SSH key", "An SSH agent is running.")
    found = sorted(path.stem for path in _ssh().glob("id_*.pub"))
    if found:
        return Need("SSH key", f"There is {', '.join(found)}.")
    return Need(
        "SSH key",
        "None yet: servers will ask for your password. With one, ssh-copy-id takes it to each.",
        "ssh-keygen -t ed25519",
    )


def _python() -> Need:
    try:
        frozen.python()
        return Need("Python", f"Models on this machine can use {frozen.python_version()}.")
    except Problem as problem:
        return Need("Python", problem.what, _install("python"))


def _install(what: str) -> str:
    """The command that brings it here, by the package manager that there is."""
    for manager, command, names in PACKAGES:
        if shutil.which(manager):
            return f"{command} {names[what]}"
    return INSTEAD[what]


PACKAGES = (
    ("apt-get", "sudo apt-get install",
     {"webkit": "gir1.2-webkit2-4.1 python3-gi", "keyring": "gnome-keyring", "python": "python3"}),
    ("dnf", "sudo dnf install",
     {"webkit": "webkit2gtk4.1 python3-gobject", "keyring": "gnome-keyring", "python": "python3"}),
    ("pacman", "sudo pacman -S",
     {"webkit": "webkit2gtk-4.1 python-gobject", "keyring": "gnome-keyring", "python": "python"}),
)  # fmt: skip
INSTEAD = {
    "webkit": "Install WebKitGTK 4.1 with its description for programs (GObject introspection).",
    "keyring": "Install a keyring that speaks the Secret Service protocol, such as gnome-keyring.",
    "python": "Install Python 3.9 or later.",
}


def system() -> dict[str, str]:
    """What it is."""
    return {
        "system": _distribution(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "C library": " ".join(platform.libc_ver()).strip() or "-",
        "processors": str(os.cpu_count() or "-"),
        "memory": _memory(),
        "locale": ".".join(part or "-" for part in locale.getlocale()),
        "desktop": _words("XDG_CURRENT_DESKTOP", "XDG_SESSION_TYPE"),
    }


def windows() -> dict[str, str]:
    """What shows the pages."""
    return {
        "display": "answers" if has_display() else "none",
        "window": webkit.engine() or "none",
        "browser": Path(found).name if (found := browser()) else "none",
    }


def tools() -> dict[str, str]:
    """What else is made use of."""
    agent = os.environ.get("SSH_AUTH_SOCK", "")
    return {
        "keyring": keychain.backend() or "none",
        "ssh": _said("ssh", "-V"),
        "ssh agent": "running" if agent and Path(agent).is_socket() else "none",
        "ssh config": "there" if (_ssh() / "config").is_file() else "none",
        "python": _of(frozen.python),
        "systemctl": _said("systemctl", "--version"),
    }


def _ssh() -> Path:
    return Path.home() / ".ssh"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.platform()


def _memory() -> str:
    import psutil

    from app.words import size

    return size(psutil.virtual_memory().total)


def _words(*names: str) -> str:
    return " ".join(os.environ[name] for name in names if os.environ.get(name)) or "-"


def _said(*command: str) -> str:
    """The first line that a program says of itself."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return "none"
    return (done.stdout or done.stderr).partition("\n")[0].strip() or "none"


def _of(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except Problem as problem:
        return problem.what
