"""Standalone Pythons: which can be sent to a host, and where uv fetches them from."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from app.dependencies import find_uv
from app.errors import Problem
from app.unpack import Target


def request(version: str, arch: str, libc: str) -> str:
    """uv's name for the Python of a host: cpython-3.12-linux-x86_64-gnu."""
    return f"cpython-{version}-linux-{arch}-{'gnu' if libc.startswith('glibc') else 'musl'}"


def standalone(home: Path, target: Target, there: str) -> Path:
    """The folder of a Python that runs on such a host; fetched by uv when there is none here.

    there: which Pythons the host has, for people. Raises Problem when it cannot be had.
    """
    wanted, own = request(target.python, target.arch, target.libc), home / "pythons"
    if found := _newest(wanted, [own, _uv_folder()]):
        return found
    argv = ["install", "--no-bin", "--no-progress", "--install-dir", str(own), wanted]
    done = _uv(argv)
    if found := _newest(wanted, [own]):
        return found
    raise Problem(
        f"Python {target.python} is not on that host.",
        cause=f"Found there: {there}. It cannot be fetched there, none of this machine's own can "
        "be sent, and uv could not fetch one here.",
        remedy="Set `python` under [dependencies] to one that is there; or have it installed "
        f"there, or here: uv python install {wanted}",
        detail=done.stderr.strip(),
    )


def _newest(wanted: str, folders: list[Path]) -> Path | None:
    """The newest Python of that name in the first folder that has one; links are not followed."""
    start, _, ending = wanted.partition("-linux-")
    for folder in folders:
        named = folder.glob(f"{start}.*-linux-{ending}")
        whole = [each for each in named if "+" not in each.name and not each.is_symlink()]
        whole = [each for each in whole if (each / "bin" / "python3").exists()]
        if whole:
            return max(whole, key=lambda each: [int(n) for n in re.findall(r"\d+", each.name)])
    return None


def download_address(version: str, arch: str, libc: str) -> tuple[str, int] | None:
    """Host and port that uv would fetch such a Python from; None when it knows of none."""
    wanted = request(version, arch, libc)
    argv = ["list", "--only-downloads", "--all-arches", "--output-format", "json", wanted]
    try:
        known = json.loads(_uv(argv).stdout or "[]")
    except ValueError:
        return None
    places = [urlsplit(each["url"] or "") for each in known]
    return next(((each.hostname, each.port or 443) for each in places if each.hostname), None)


def _uv_folder() -> Path:
    return Path(_uv(["dir"]).stdout.strip() or "~/.local/share/uv/python").expanduser()


def _uv(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(find_uv()), "python", *argv],
        env=os.environ | {"UV_NO_PROJECT": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
