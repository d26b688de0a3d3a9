"""What a host cannot build by itself is made on this side and sent: packages, a Python.

That is so when it does not reach the package index, or when uv for its kind of machine is not at
hand here. Where nothing has to be built, nothing is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app import pythons, scratch
from app.dependencies import index_url
from app.deployer import runtime
from app.deployer.apply import Source, watched
from app.deployer.plan import Found, Sent, Wanted, interpreter
from app.errors import Problem
from app.models import Event, Version
from app.services.trees import Tree, tree
from app.unpack import Target, unpack

if TYPE_CHECKING:
    from app.services.attempts import Attempt

Address = tuple[str, int]
Made = dict[str, Tree]
"""Trees, by the field of Sent that names them."""


@dataclass(frozen=True)
class Lacking:
    """What has to be made here for the host. fetches: uv can fetch the Python there."""

    packages: bool
    python: bool
    fetches: bool = False


def completed(
    attempt: Attempt, version: Version, wanted: Wanted, found: Found, source: Source
) -> Generator[Event, None, tuple[Wanted, Found, Source]]:
    """With all that the host cannot build by itself made here, and its blobs wanted.

    Nothing is changed on the host. Raises Problem when it cannot be made here either.
    """
    if found.environment and found.runtime:
        return wanted, found, source
    lacking = _lacking(attempt, version, wanted, found)
    found = replace(found, fetches_pythons=lacking.fetches)
    if not (lacking.packages or lacking.python):
        return wanted, found, source
    _refuse_where_none_can_be_made(attempt)
    words = f"Get ready here what {attempt.location.name} cannot fetch"
    yield Event("step", words)
    made = yield from watched(lambda _tell: _made(attempt, version, wanted, found, lacking))
    yield Event("done", words)
    return _with(attempt, wanted, found, source, made)


def _refuse_where_none_can_be_made(attempt: Attempt) -> None:
    if sys.platform == "win32":
        raise Problem(
            f"What {attempt.location.name} has to be sent cannot be made on Windows.",
            cause="Its packages have to be laid out as on Linux, by the uv for its machine.",
            remedy="Deploy this version once from Linux; then it can be deployed from here.",
        )


def _lacking(attempt: Attempt, version: Version, wanted: Wanted, found: Found) -> Lacking:
    """By what is said of the location, else by trying."""
    has_python = found.environment or bool(interpreter(str(wanted.manifest["python"]), found))
    reached = _reached(attempt, version, has_python)
    packages = not (reached["index"] and wanted.tool[0])
    fetches = not has_python and not packages and reached["pythons"]
    return Lacking(packages, not has_python and not fetches, fetches)


def _reached(attempt: Attempt, version: Version, has_python: bool) -> dict[str, bool]:
    """Whether the host reaches the index, and where uv finds Pythons if it lacks one."""
    said, hello = attempt.location.internet, attempt.road.hello
    if said != "auto":
        return {"index": said == "always", "pythons": said == "always"}
    index = wanted_python = None
    if attempt.location.kind != "local":
        with attempt.work.open_store() as store:
            index = index_of(store.blobs.read(version.lock).decode())
    if not has_python:
        python = version.configuration.python
        wanted_python = pythons.download_address(python, hello["arch"], hello["libc"])
    if index is None and has_python:
        return {"index": True, "pythons": False}
    reached: dict[str, bool] = attempt.road.call("reach", index=index, pythons=wanted_python)
    return reached


def index_of(lock: str) -> Address | None:
    """Host and port of the index that a lock is made from; None when there is none to reach."""
    named = re.search(r"^(?:--index-url|-i)[ =]+(\S+)", lock, re.MULTILINE)
    parts = urlsplit(os.path.expandvars(named[1]) if named else index_url())
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)


def _made(
    attempt: Attempt, version: Version, wanted: Wanted, found: Found, lacking: Lacking
) -> Made:
    hello, home = attempt.road.hello, attempt.work.home
    target = Target(hello["arch"], hello["libc"], str(wanted.manifest["python"]))
    made: Made = {}
    if lacking.python:
        there = ", ".join(each["version"] for each in found.pythons) or "none"
        made["python"] = python_tree(home, target, there)
    if lacking.packages and not found.environment:
        with attempt.work.open_store() as store:
            lock = store.blobs.read(version.lock)
            files = wanted.manifest["files"] if wanted.links_beside else []
            beside = {path: store.blobs.path(digest) for path, digest, *_ in files if digest}
        made["environment"] = packages_tree(home, lock, target, beside)
    if lacking.packages and not found.runtime:
        own = replace(target, python=found.runtime_python or target.python)
        made["runtime"] = packages_tree(home, runtime.lock().path.read_bytes(), own, {})
    return made


def packages_tree(home: Path, lock: bytes, target: Target, beside: dict[str, Path]) -> Tree:
    """The packages of a lock for that target. beside: files of the model, by path in its folder."""

    def fill(folder: Path) -> None:
        with _laid_out(lock, beside) as file:
            unpack(file, target, folder)

    return tree(home, ["packages", lock.decode(), target.platform, target.python], fill)


@contextmanager
def _laid_out(lock: bytes, beside: dict[str, Path]) -> Iterator[Path]:
    """The lock as a file, with the model's files beside it."""
    with tempfile.TemporaryDirectory(dir=scratch.folder()) as folder:
        for path, content in beside.items():
            link = Path(folder, path)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(content)
        file = Path(folder, f"{sha256(lock).hexdigest()}.lock")
        file.write_bytes(lock)
        yield file


def python_tree(home: Path, target: Target, there: str) -> Tree:
    """A standalone Python for that target. there: what the host has, for people."""
    found = pythons.standalone(home, target, there)
    without = shutil.ignore_patterns("__pycache__")

    def fill(folder: Path) -> None:
        shutil.copytree(found, folder, symlinks=True, ignore=without, copy_function=_link)

    return tree(home, ["python", found.name, str(found)], fill)


def _link(source: str, target: str) -> None:
    """The same file under a second name; a copy where that cannot be."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _with(
    attempt: Attempt, wanted: Wanted, found: Found, source: Source, made: Made
) -> tuple[Wanted, Found, Source]:
    """The release with these trees, and which of their blobs the host lacks."""
    parts = {digest: part for tree in made.values() for digest, part in tree.parts().items()}
    missing = attempt.road.call("missing", digests=sorted(parts))
    sizes = {digest: part.size for digest, part in parts.items()}
    sent = Sent(**{field: tree.listing.digest for field, tree in made.items()}, blobs=sizes)

    def both(digest: str) -> tuple[Path, int]:
        part = parts.get(digest)
        return (part.path, part.size) if part else source(digest)

    found = replace(found, missing=found.missing | frozenset(missing))
    return replace(wanted, sent=sent), found, both
