"""Who is at work here, for histories and locks."""

from __future__ import annotations

import getpass
import socket


def user() -> str:
    """The login name; empty where the system does not know one."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # Windows has no list of users to look at
        return ""


def who() -> str:
    """ana@laptop"""
    return f"{user() or 'somebody'}@{socket.gethostname()}"
