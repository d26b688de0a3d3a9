"""Everything that a report of a fault needs, without secrets.

It is told even when the store cannot be opened, so the store is only looked at. Addresses of
servers, and the home folder, are named by what they are instead.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import re
import shutil
import sys
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import VERSION, frozen, log, portable
from app.errors import Problem
from app.services import machine, redacting, secrets, ui_token
from app.store import looking
from app.words import ago, size

if TYPE_CHECKING:
    from app.workspace import Workspace

PACKAGES = (
    *("click", "cryptography", "flask", "keyring", "paramiko", "psutil", "pywebview", "rich"),
    *("sqlite-utils", "uv", "waitress"),
)
LINES = 60
"""Of the end of each log."""
HOST = re.compile(r"ssh://(?:[^@/]*@)?(\[[^\]]+\]|[^:/]+)")

Report = dict[str, Any]


def examine(work: Workspace, problem: Problem | None = None) -> Report:
    """{section: {name: words}}; `locations`, `instances` are lists of such, `log` is of lines.

    problem: what went wrong, if it is about that.
    """
    home = work.home
    kept = looking.rows(home / "store.sqlite", "locations")
    said: Report = {
        **({"problem": problem.as_dict()} if problem else {}),
        "program": _program(),
        "machine": machine.system(),
        "window": machine.windows(),
        "tools": machine.tools(),
        "needs": {each.name: each.remedy or "met" for each in machine.needs()},
        "packages": {name: _version(name) for name in PACKAGES},
        "store": _store(home),
        "locations": _locations(home, kept),
        "instances": _instances(home),
        "log": {name: log.tail(home, name, LINES) for name in (log.PAGES, log.ERRORS)},
    }
    redacted: Report = _redacted(said, _secrets(home), _names(home, kept))
    return redacted


def words(report: Report) -> str:
    """The same as text, for a message to whoever mends it."""
    lines = [f"RhythmicML {VERSION}, {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"]
    for section, said in report.items():
        if section == "log":
            for name, told in said.items():
                lines += ["", f"log/{name}", *(f"  {line}" for line in told or ["nothing"])]
        elif isinstance(said, list):
            lines += ["", section, *(f"  {_line(each)}" for each in said or [{"name": "none"}])]
        else:
            wide = max(map(len, said))
            lines += ["", section, *(f"  {name:{wide}}  {told}" for name, told in said.items())]
    return "\n".join(lines) + "\n"


def _line(said: dict[str, Any]) -> str:
    first, *more = said.items()
    return "  ".join([str(first[1]), *(f"{name} {told}" for name, told in more if told)])


def _program() -> dict[str, str]:
    return {
        "version": VERSION,
        "kind": "one file" if frozen.FROZEN else "from source",
        "python": f"{platform.python_version()} {sys.executable}",
        "user": "root" if portable.user() == 0 else "not root",
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "inside" if frozen.FROZEN else "none"


def _store(home: Path) -> dict[str, str]:
    said = {"folder": str(home), "free": _free(home)}
    for name in looking.KNOWN:
        found = looking.look(home / name)
        said[name] = _look_words(found)
        if rows := found["rows"]:
            said[f"{name}: rows"] = ", ".join(f"{table} {n}" for table, n in rows.items() if n)
    copies = sorted(path.name for path in home.glob("store.sqlite.*"))
    return {**said, "copies": ", ".join(copies) or "none"}


def _look_words(found: dict[str, Any]) -> str:
    if found["state"] == "none":
        return "none"
    shape = f"shape {found['shape']} of {found['known']}"
    return f"{found['state']}, {size(found['bytes'])}, {shape} {found['words']}".strip()


def _free(home: Path) -> str:
    try:
        there = next(each for each in (home, *home.parents) if each.exists())
        writable = "" if os.access(there, os.W_OK) else ", not writable"
        return size(shutil.disk_usage(there).free) + writable
    except OSError as error:
        return str(error)


def _locations(home: Path, kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    asked = {each["location"]: each for each in looking.rows(home / "monitoring.sqlite", "hosts")}
    return [
        {
            "name": each["name"],
            "kind": each["kind"],
            "privilege": each.get("privilege", ""),
            "internet": each.get("internet", ""),
            "default": "yes" if each.get("default") else "",
            **_heard(asked.get(each["name"], {})),
        }
        for each in kept
    ]


def _heard(said: dict[str, Any]) -> dict[str, str]:
    told = {"asked": _when(said.get("asked")), "answered": _when(said.get("answered"))}
    return {**told, "error": said.get("error") or ""}


def _when(stamp: float | None) -> str:
    if stamp is None:
        return "never"
    return ago(datetime.fromtimestamp(stamp, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"))


def _instances(home: Path) -> list[dict[str, Any]]:
    rows = looking.rows(home / "monitoring.sqlite", "states")
    now = {(each["model"], each["location"]): each["state"] for each in rows}
    return [
        {
            "model": each["model"],
            "on": each["location"],
            "state": now.get((each["model"], each["location"]), each["state"]),
            "version": each["version"],
            "exposure": each.get("exposure", ""),
        }
        for each in looking.rows(home / "store.sqlite", "instances")
    ]


# What is nobody else's business


def _secrets(home: Path) -> set[str]:
    """What is known here in the clear. What is in the keyring stays there."""
    found = {ui_token.read(home), *secrets.in_file(home)}
    with contextlib.suppress(OSError, ValueError):
        found.add(json.loads((home / "ui.json").read_bytes())["bearer"])
    return found - {""}


def _names(home: Path, kept: list[dict[str, Any]]) -> dict[str, str]:
    """Folders and addresses → what they are."""
    found = {str(home): "HOME-OF-RHYTHMICML", str(Path.home()): "~"}
    with contextlib.suppress(OSError, KeyError):
        found |= {f"/{getpass.getuser()}/": "/USER/", f"{getpass.getuser()}@": "USER@"}
    for each in kept:
        if host := HOST.search(each.get("url") or ""):
            found[host[1]] = f"HOST-OF-{each['name']}"
            user = each["url"].partition("://")[2].partition("@")[0]
            found[f"{user}@"] = "USER@"
    return found


def _redacted(said: Any, hidden: set[str], names: dict[str, str]) -> Any:
    if isinstance(said, str):
        return redacting.redacted(said, hidden, names)
    if isinstance(said, dict):
        return {key: _redacted(each, hidden, names) for key, each in said.items()}
    if isinstance(said, list) and said and isinstance(said[0], str):
        return redacting.redacted("\n".join(said), hidden, names).split("\n")
    if isinstance(said, list):
        return [_redacted(each, hidden, names) for each in said]
    return said
