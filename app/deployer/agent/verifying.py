"""Whether what is under the base folder is what it should be: every byte is read again.

What is found damaged is set aside or marked, so that the next deploy sends, places or builds it
anew: a blob moves to `blobs/damaged/`, a release gets `.damaged`, an environment loses `.complete`.
"""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import environments, late
from .blobs import chunks_of
from .layout import (
    CURRENT,
    DAMAGED,
    Instance,
    blob,
    environment,
    instances,
    read_json,
    runtime,
)
from .locks import share
from .loop import ClientGone, op
from .managers import supervisor

if TYPE_CHECKING:
    from .loop import Agent, Payload

Finding = dict[str, Any]

NOTHING: dict[str, Any] = {
    "findings": [],
    "bytes": 0,
    "files": 0,
    "undigested": 0,
    "unfinished": 0,
    "instances": [],
    "units": {},
}
"""What `verify` says where nothing was ever put."""


@op("verify")
def verify(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Read again all that is here, telling bytes as events.

    Returns findings ({"kind", "where", "what", and "name", "version" where it is a release's}),
    bytes, the instances with what their units are made from, the unit files there are, and what
    could not be judged: undigested (files of packages), unfinished (environments and runtimes).
    """
    if not agent.base.is_dir():
        return NOTHING
    share(agent)
    tops = ("blobs", "envs", "runtime", "instances")
    reader = Reader(agent, [agent.base / top for top in tops])
    whole = list(instances(agent.base))
    findings = list(_blobs(agent.base, reader))
    runtimes = sorted((agent.base / "runtime").glob("[0-9a-f]*"))
    environs = sorted((agent.base / "envs").glob("[0-9a-f]*"))
    unfinished = sum(not (each / environments.COMPLETE).is_file() for each in runtimes + environs)
    for folder in runtimes:
        findings += _built(folder, "runtime", _runtime(folder, reader))
    for folder in environs:
        findings += _built(folder, "environment", _packages(folder, reader))
    if any(each["kind"] in ("runtime", "environment") for each in findings):
        shutil.rmtree(agent.base / "cache", ignore_errors=True)  # its files are the same ones
    for instance in whole:
        findings += _releases(agent.base, instance, reader)
    return {
        "findings": findings,
        "bytes": reader.done,
        "files": reader.files,
        "undigested": reader.undigested,
        "unfinished": unfinished,
        "instances": [_made_of(agent, each) for each in whole if each.facts_file.is_file()],
        "units": supervisor(agent).all_units(),
    }


@op("sound")
def sound(agent: Agent, args: dict[str, Any], payload: Payload) -> list[str]:
    """What is wrong with one release: its files are read again, of its packages only the sizes.

    Damaged, it is marked as `verify` does, so that a deploy makes it whole.

    args: name, release.
    """
    folder = Instance(agent.base, args["name"]).release(args["release"])
    manifest, reader = read_json(folder / "release.json"), Reader(agent, [folder])
    wrong = list(_release(agent.base, folder, manifest, reader))
    if wrong and manifest:
        (folder / DAMAGED).touch()
        for entry in manifest.get("files", []):
            _set_aside(blob(agent.base, str(entry[1])), reader)
    parts = [(folder / "runtime/env", folder / "runtime")]
    if not manifest or manifest.get("environment"):
        parts.append((folder / "env", folder / "env"))
    for home, top in parts:
        gone = list(_packages(home, None)) if environments.whole(top) else []
        if gone:
            (top / environments.COMPLETE).unlink()
        elif not environments.whole(top):
            gone = [f'its {top.name} is not whole or its Python is gone: "{top.resolve()}"']
        wrong += gone
    return wrong


class Reader:
    """Hashes files, each inode once, and tells how far it is."""

    def __init__(self, agent: Agent, tops: list[Path]) -> None:
        self.agent = agent
        self.done = 0
        self.files = 0
        self.undigested = 0
        self.total = sum(_sizes(tops))
        self._known: dict[tuple[int, int], str] = {}
        self._told = 0.0

    def digest(self, path: Path) -> str:
        """The SHA-256 of a file; empty when it cannot be read."""
        try:
            status = path.stat()
            inode = status.st_dev, status.st_ino
            if inode not in self._known:
                self._known[inode] = self._hash(path)
        except OSError:
            return ""
        return self._known[inode]

    def _hash(self, path: Path) -> str:
        hashed = late.sha256()
        for chunk in chunks_of(path):
            hashed.update(chunk)
            self._tell(len(chunk))
        self.files += 1
        return hashed.hexdigest()

    def _tell(self, more: int) -> None:
        if self.agent.gone.is_set():
            raise ClientGone
        self.done += more
        if time.monotonic() - self._told > 0.2:
            self._told = time.monotonic()
            self.agent.event(progress=self.done, total=max(self.total, self.done), unit="B")


def _sizes(tops: list[Path]) -> Iterator[int]:
    """Of every file once, however many names it has."""
    seen = set()
    for top in tops:
        for folder, _, names in os.walk(top):
            for name in names:
                try:
                    status = os.lstat(f"{folder}/{name}")
                except OSError:
                    continue
                if status.st_ino not in seen and name.rpartition(".")[2] != "pyc":
                    seen.add(status.st_ino)
                    yield status.st_size


def _finding(kind: str, where: Path, what: str, **more: Any) -> Finding:
    return {"kind": kind, "where": str(where), "what": what, **more}


def _blobs(base: Path, reader: Reader) -> Iterator[Finding]:
    for path in sorted((base / "blobs").glob("??/" + "[0-9a-f]" * 8 + "*")):
        if len(path.name) == 64 and _set_aside(path, reader):
            yield _finding("blob", path, "holds something else than its name says")


def _set_aside(path: Path, reader: Reader) -> bool:
    """Move a blob away if it is there and does not hold what its name says."""
    if not path.is_file() or reader.digest(path) == path.name:
        return False
    aside = path.parents[1] / "damaged"
    aside.mkdir(exist_ok=True)
    path.rename(aside / path.name)
    return True


def _built(folder: Path, kind: str, wrong: Iterator[str]) -> list[Finding]:
    """What is wrong with an environment or a runtime; then it is no longer whole."""
    if not (folder / environments.COMPLETE).is_file():
        return []  # half built, or found damaged before: the next deployment builds it
    found = [_finding(kind, folder, what) for what in wrong]
    if found:
        (folder / environments.COMPLETE).unlink()
    return found


def _runtime(folder: Path, reader: Reader) -> Iterator[str]:
    program = folder / "program"
    listed = read_json(folder / environments.FILES)
    for path, digest in (listed or {}).items():
        if reader.digest(program / path) != digest:
            yield f'"program/{path}" is not as it was put there'
    if listed:
        yield from (f'"program/{path}" is extra' for path in _extra(program, set(listed)))
    yield from _packages(folder / "env", reader)


def _packages(folder: Path, reader: Reader | None) -> Iterator[str]:
    """Every file of every installed package, against the RECORD that came with it.

    Without a reader only its size.
    """
    if not (folder / "bin/python").exists():
        yield f'its Python is gone: "{os.path.realpath(folder / "bin/python")}"'
    for site in sorted(folder.glob("lib/python*/site-packages")):
        for record in sorted(site.glob("*.dist-info/RECORD")):
            yield from _recorded(site, record, reader)


def _recorded(site: Path, record: Path, reader: Reader | None) -> Iterator[str]:
    import csv

    try:
        rows = list(csv.reader(record.read_text("utf-8").splitlines()))
    except (OSError, ValueError, csv.Error):
        yield f'"{record.relative_to(site)}" cannot be read'
        return
    for path, said, size in (row for row in rows if len(row) == 3):
        if not said:
            if reader is not None and not path.endswith(".pyc"):
                reader.undigested += 1
            continue
        same = reader is None or "sha256=" + reader.digest(site / path) == _plain(said)
        if not same or _size(site / path) != size:
            yield f'"{path}" is not as {record.parent.name.partition("-")[0]} brought it'
    if any(row and len(row) != 3 for row in rows):
        yield f'"{record.relative_to(site)}" is not as it was written'


def _size(path: Path) -> str:
    try:
        return str(path.stat().st_size)
    except OSError:
        return ""


def _plain(said: str) -> str:
    """A RECORD's digest in hexadecimal: `sha256=47DEQp…` → `sha256=e3b0c4…`."""
    kind, _, text = said.partition("=")
    try:
        return f"{kind}={base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)).hex()}"
    except ValueError:
        return said


def _releases(base: Path, instance: Instance, reader: Reader) -> Iterator[Finding]:
    for folder in sorted(instance.releases.glob("v*")):
        manifest = read_json(folder / "release.json")
        wrong = list(_release(base, folder, manifest, reader))
        said = {"name": instance.name, "version": (manifest or {}).get("version")}
        for what in wrong:
            yield _finding("release", folder, what, **said, release=folder.name)
        if wrong and manifest:
            (folder / DAMAGED).touch()
    link = instance.releases / CURRENT
    if link.is_symlink() and instance.current() is None:
        target = os.readlink(link)
        yield _finding("current", link, f'leads to "{target}", no release', name=instance.name)


def _release(
    base: Path, folder: Path, manifest: dict[str, Any] | None, reader: Reader
) -> Iterator[str]:
    if manifest is None:
        yield "has no release.json that can be read, so it is none"
        return
    if manifest.get("id") != folder.name:
        yield f'its release.json is that of "{manifest.get("id")}"'
    try:
        yield from _files(folder / "files", manifest["files"], reader)
        parts = [("runtime", runtime(base, manifest["runtime"]))]
        if manifest["environment"]:
            parts.append(("env", environment(base, manifest["environment"])))
    except (KeyError, TypeError, ValueError):
        yield "its release.json is not as it was written"
        return
    for name, built in parts:
        if os.path.realpath(folder / name) != os.path.realpath(built):
            yield f'"{name}" does not lead to "{built}"'


def _files(root: Path, files: list[list[Any]], reader: Reader) -> Iterator[str]:
    for path, digest, _size, executable, target in files:
        here = root / path
        if target:
            if not here.is_symlink() or os.readlink(here) != target:
                yield f'"{path}" is no link to "{target}"'
        elif here.is_symlink() or not here.is_file():
            yield f'"{path}" is gone'
        elif reader.digest(here) != digest:
            yield f'"{path}" was changed'
        elif bool(here.stat().st_mode & 0o100) != bool(executable):
            yield f'"{path}" is {"not " if executable else ""}executable'
    yield from (f'"{path}" is extra' for path in _extra(root, {entry[0] for entry in files}))


def _extra(root: Path, listed: set[str]) -> list[str]:
    found = []
    for folder, folders, names in os.walk(root):
        links = [name for name in folders if os.path.islink(f"{folder}/{name}")]
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        for name in [*names, *links]:
            found.append(os.path.relpath(f"{folder}/{name}", root))
    return sorted(set(found) - listed)


def _made_of(agent: Agent, instance: Instance) -> dict[str, Any]:
    """An instance as it is meant: what renders its units, and which releases it has."""
    manager = supervisor(agent)
    current = instance.current()
    chosen = read_json(instance.release(current) / "release.json") if current else None
    keys = ("id", "model", "version", "digest")
    return {
        "name": instance.name,
        "port": instance.port(),
        "current": current,
        "scoring": (chosen or {}).get("scoring"),
        "mode": manager.mode,
        "releases": [{key: each.get(key) for key in keys} for each in instance.complete()],
    }
