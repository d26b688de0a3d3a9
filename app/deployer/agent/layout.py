"""Where things are under the base folder, and how files are written there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import late
from .blobs import sync_folder
from .failure import Failure

if TYPE_CHECKING:
    from .loop import Agent

CURRENT = "current"
DAMAGED = ".damaged"
"""In a release that was found to be so."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Instance:
    """The folder of one instance."""

    def __init__(self, base: Path, name: str) -> None:
        if not NAME.fullmatch(name):
            raise Failure(f'"{name}" is not the name of an instance.', kind="NotFound")
        self.base = base
        self.name = name
        self.folder = base / "instances" / name
        self.releases = self.folder / "releases"
        self.facts_file = self.folder / "instance.json"
        self.port_file = self.folder / "port"
        self.history_file = self.folder / "history.jsonl"
        self.lock_file = self.folder / "lock"
        self.unconfirmed_file = self.folder / "unconfirmed.json"
        self.warm_file = self.folder / "warm.json"
        self.shadow_file = self.folder / "shadow.json"
        self.tokens_file = self.folder / "tokens.json"
        self.secrets_file = self.folder / "secrets.json"
        self.tls = self.folder / "tls"
        self.tunnel = self.folder / "tunnel"
        self.asked_at = base / "ask" / f"{name}.sock"

    def release(self, release: str) -> Path:
        return self.releases / release

    def log(self, release: str) -> Path:
        return self.folder / "log" / f"{release}.log"

    def current(self) -> str | None:
        """The production release, by name; None when there is none or its link leads nowhere."""
        try:
            target = os.readlink(self.releases / CURRENT)
        except OSError:
            return None
        return target if (self.releases / target / "release.json").is_file() else None

    def complete(self) -> list[dict[str, Any]]:
        """The manifests of all releases that are whole, oldest first."""
        found = [read_json(path) for path in self.releases.glob("v*/release.json")]
        return sorted((each for each in found if each), key=lambda each: str(each["created"]))

    def make_current(self, release: str | None) -> None:
        """One rename; None takes production away."""
        if release == self.current():
            return
        if release is None:
            (self.releases / CURRENT).unlink(missing_ok=True)
        else:
            point(self.releases / CURRENT, release)

    def facts(self) -> dict[str, Any]:
        return read_json(self.facts_file) or {}

    def port(self) -> int | None:
        """Its port, or the one that is kept for it."""
        try:
            return int(self.facts().get("port") or self.port_file.read_text())
        except (OSError, ValueError):
            return None

    def history(self, last: int) -> list[dict[str, Any]]:
        try:
            lines = self.history_file.read_text("utf-8").splitlines()[-last:]
        except OSError:
            return []
        return [entry for entry in map(_entry, lines) if entry]

    def remember(self, **entry: Any) -> None:
        """Append one line to the history, durably; not to what is left of a torn one."""
        line = json.dumps(entry, ensure_ascii=False, sort_keys=True) + "\n"
        with self.history_file.open("ab+") as file:
            if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                file.write(b"\n")
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())


def _entry(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def instances(base: Path) -> list[Instance]:
    """Every instance that has a folder here."""
    try:
        names = sorted(entry.name for entry in os.scandir(base / "instances") if entry.is_dir())
    except OSError:
        return []
    return [Instance(base, name) for name in names if NAME.fullmatch(name)]


def make_base(agent: Agent) -> None:
    """For services to enter when it is the system's (`prepare` closes it to others), else ours."""
    make_folder(agent.base, 0o755 if agent.system_wide else 0o700)


def whole_release(folder: Path) -> bool:
    """Placed to its end, not found damaged, and every file still there with its size."""
    manifest = read_json(folder / "release.json")
    if not manifest or (folder / DAMAGED).exists():
        return False
    try:
        return all(
            os.lstat(folder / "files" / path).st_size == size
            for path, _digest, size, _executable, target in manifest["files"]
            if not target
        )
    except (OSError, KeyError, ValueError):
        return False


def blob(base: Path, digest: str) -> Path:
    return base / "blobs" / digest[:2] / digest


def incoming(base: Path, digest: str) -> Path:
    """Where a large blob lies while it grows."""
    return base / "incoming" / digest


def chunk_list(base: Path, digest: str) -> Path:
    """What says which chunks a large blob is made of."""
    return base / "chunks" / digest


def environment(base: Path, key: str) -> Path:
    return base / "envs" / key


def runtime(base: Path, digest: str) -> Path:
    return base / "runtime" / digest


def read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def point(link: Path, target: str) -> None:
    """Make link lead to target by one rename, whatever was there before."""
    temporary = link.with_name(f".{link.name}.{os.urandom(6).hex()}")
    if link.is_dir() and not link.is_symlink():  # somebody copied the link by hand
        link.rename(link.with_name(f".{link.name}.{os.urandom(6).hex()}"))
    temporary.symlink_to(target)
    try:
        os.replace(temporary, link)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)


def put_files(base: Path, root: Path, files: list[list[Any]]) -> None:
    """Put a release's files together from blobs: path, digest, size, executable, link target."""
    folders = {parent for path, *_ in files for parent in (root / path).parents}
    folders = {root, *(folder for folder in folders if root in folder.parents)}
    for folder in folders:
        make_folder(folder)
    for path, digest, size, executable, target in files:
        if target:
            (root / path).symlink_to(target)
        else:
            _refuse_cut_off(blob(base, digest), size, path)
            _link(blob(base, digest), root / path, executable)
    late.side_by_side(sync_folder, folders)


def _refuse_cut_off(source: Path, size: int, path: str) -> None:
    """A blob of another size than it was put with goes, so that it is sent again."""
    there = source.stat().st_size
    if there != size:
        source.unlink()
        raise Failure(
            f'"{path}" was damaged on the host: {there} bytes are left of {size}.',
            remedy="Run the same command again: it is sent anew.",
            detail=str(source),
        )


def _link(source: Path, path: Path, executable: bool) -> None:
    """A hard link to the blob; a copy where the mode differs or links are not possible."""
    if not executable:
        try:
            os.link(source, path)
            return
        except OSError:
            pass
    shutil.copyfile(source, path)
    path.chmod(0o555 if executable else 0o444)


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """With its parents, and with that mode whatever the umask."""
    for part in reversed([folder, *folder.parents]):
        if part.exists():
            continue
        with contextlib.suppress(FileExistsError):  # somebody was faster
            part.mkdir(mode)
            part.chmod(mode)
