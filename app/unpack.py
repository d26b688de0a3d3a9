"""The packages of a lock, unpacked on this side for a host that cannot fetch them itself.

uv puts them into a virtual environment here as it would there, for the host's platform and Python;
what it brought is then moved. Beside dependencies.py the only place here that runs uv.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app import frozen
from app.dependencies import UNREACHED, find_uv, without_secrets
from app.deployer.agent.host import libc
from app.errors import Problem

ARCHS = ("x86_64", "aarch64")

GLIBC = (17, 28, *range(31, 41))
"""The minor versions of glibc 2 that uv knows as platforms."""

REFUSED = re.compile(r"(\S+?)==(\S+) has no (?:usable )?wheels")
MISMATCH = re.compile(r"Hash mismatch for `([^`]+)`")
UNBUILT = re.compile(r"Failed to (?:download and )?build `([^`]+)`")
NO_NETWORK = ("was not found in the cache", *UNREACHED)
FULL = "No space left on device"


@dataclass(frozen=True)
class Target:
    """What packages are for. libc: "glibc 2.36" or "musl". python: major.minor."""

    arch: str
    libc: str
    python: str

    @property
    def platform(self) -> str:
        """uv's name for it: the newest that the host's libc can still run."""
        if self.libc == "musl" and self.arch in ARCHS:
            return f"{self.arch}-unknown-linux-musl"
        kind, _, version = self.libc.partition(" ")
        fitting = [minor for minor in GLIBC if [2, minor] <= _numbers(version)[:2]]
        if kind != "glibc" or not fitting or self.arch not in ARCHS:
            raise Problem(
                f"Packages for {self.words} cannot be had from here.",
                cause=f"Known are {' and '.join(ARCHS)}, with glibc 2.17 or later, or musl.",
                remedy="Use such a host, or one with internet.",
            )
        return f"{self.arch}-manylinux_2_{fitting[-1]}"

    @property
    def words(self) -> str:
        return f"Python {self.python} on {self.arch} with {self.libc or 'an unknown C library'}"


def unpack(lock: Path, target: Target, folder: Path) -> None:
    """Fill a new folder with what the lock's packages put into a virtual environment: lib, bin, …

    lock: a file; packages it takes from folders lie beside it. Source packages are built where the
    result runs on the host. Raises Problem, with uv's own words as its detail.
    """
    same = builder(target)
    python = same or frozen.python()
    made = _uv(["venv", "--quiet", "--relocatable", "--python", python, str(folder)])
    if made.returncode:
        raise _failed(target, made.stderr.strip(), bool(same))
    own = set(files_of(folder))
    if pins(lock):
        only = [] if same else ["--only-binary", ":all:"]
        done = _uv(
            [
                *("pip", "install", "--quiet", "--color", "never", "--python", str(folder)),
                *("--python-platform", target.platform, "--python-version", target.python),
                *(*only, "--require-hashes", "--requirement", lock.name),
            ],
            cwd=lock.parent,
        )
        if done.returncode:
            raise _failed(target, without_secrets(done.stderr), bool(same))
    for path in {*own, folder / ".lock"}:
        path.unlink(missing_ok=True)
    for library in [*folder.glob("lib/python3.*"), *folder.glob("include/site/python3.*")]:
        library.rename(library.with_name(f"python{target.python}"))


def pins(lock: Path) -> bool:
    """Whether the lock has any package at all."""
    lines = (line.strip() for line in lock.read_text("utf-8").splitlines())
    return any(line and not line.startswith(("#", "--")) for line in lines)


def files_of(folder: Path) -> Iterator[Path]:
    """Every file and link below, links to folders too."""
    for parent, folders, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)
        yield from (path for path in (Path(parent, name) for name in folders) if path.is_symlink())


def builder(target: Target) -> str:
    """The Python here whose builds run on that host; empty when there is none."""
    if not sys.platform.startswith("linux") or target.arch != platform.machine():
        return ""
    return python_here(target.python) if runs_there(libc(), target.libc) else ""


def runs_there(here: str, there: str) -> bool:
    """Whether what is built with the C library here finds all it needs in the one there."""
    kind, _, version = here.partition(" ")
    kind_there, _, version_there = there.partition(" ")
    return bool(kind) and kind == kind_there and _numbers(version) <= _numbers(version_there)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def python_here(version: str) -> str:
    """A Python of that version (major.minor) on this machine; empty when there is none."""
    if version == frozen.python_version():
        return frozen.python()
    home = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    if found := sorted(home.glob(f"versions/{version}.*/bin/python{version}")):
        return str(found[-1])
    done = _uv(["python", "find", "--no-python-downloads", "--no-project", version])
    return "" if done.returncode else done.stdout.strip()


def _uv(argv: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    try:
        return subprocess.run(
            [str(find_uv()), *argv],
            cwd=cwd,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    except OSError as error:
        raise Problem("uv could not be started.", remedy="Install it: pip install uv") from error


def _failed(target: Target, said: str, builds: bool) -> Problem:
    """What uv said, as what it means for the person."""
    if FULL in said:
        return Problem(
            "The disk of this machine is full.", remedy="Free some space here.", detail=said
        )
    if found := MISMATCH.search(said):
        return Problem(
            f"{found[1]} is not what was locked: its hash is another one.",
            remedy="Find out who changed it on the index. If that is in order, commit again "
            "to lock it anew.",
            detail=said,
        )
    if any(words in said for words in NO_NETWORK):
        return Problem(
            "The packages cannot be fetched: neither the host nor this machine reaches the index.",
            remedy="Check the network here; or, if the host does reach an index that this "
            "machine does not: location add … --internet always",
            detail=said,
        )
    if found := REFUSED.search(said):
        return _no_wheel(f"{found[1]} {found[2]}", target, said, builds)
    if found := UNBUILT.search(said):
        return Problem(
            f"{found[1].replace('==', ' ')} is only there as source, and building it here failed.",
            remedy="Have what it needs installed here (a compiler, headers), or put a wheel of it "
            "into a folder of the model and name that with --find-links.",
            detail=said,
        )
    return Problem(
        f"The packages for {target.words} could not be unpacked here.",
        remedy="Read what uv says. Production is as it was.",
        detail=said,
    )


def _no_wheel(package: str, target: Target, said: str, builds: bool) -> Problem:
    why = (
        "" if builds else f" It cannot be built here: that takes {target.words}, or an older libc."
    )
    return Problem(
        f"{package} has no wheel for {target.words}.",
        cause=f"It is only there as source or for other platforms.{why}",
        remedy="Ask for a version that has one, or put a wheel of it into a folder of the model "
        "and name that with --find-links.",
        detail=said,
    )
