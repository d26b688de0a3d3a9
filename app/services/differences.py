"""What is different between two versions, or a version and the folder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from app import dependencies
from app.config import read_configuration
from app.errors import NotFound, Problem
from app.models import Configuration, FileEntry, Model, Version
from app.services import checks, snapshot
from app.store import Store, manifest

LONGEST_TEXT = 256 * 1024
JUMP = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)")


@dataclass(frozen=True)
class FileChange:
    """One file that is different. kind: added, removed, changed. A size is None without a file."""

    path: str
    kind: str
    before: int | None
    after: int | None
    text: str = ""


@dataclass(frozen=True)
class Change:
    """One value that is different: a configuration key's, or a package's. None: not there."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Differences:
    """All that is different in `after` against `before`.

    packages is None when the folder's requirements changed and have not been resolved yet.
    broken: why settings and packages are not compared, when they cannot be read.
    """

    before: str
    after: str
    files: tuple[FileChange, ...]
    configuration: tuple[Change, ...]
    packages: tuple[Change, ...] | None
    broken: str = ""

    def __bool__(self) -> bool:
        settings = self.configuration or self.packages or self.packages is None
        return bool(self.files or settings or self.broken)


@dataclass(frozen=True)
class Side:
    """One of the two things compared. broken: why only its files can be."""

    name: str
    files: tuple[FileEntry, ...]
    configuration: Configuration
    packages: dict[str, str] | None
    read: Callable[[FileEntry], bytes]
    broken: str = ""


def of_version(store: Store, model: Model, version: Version) -> Side:
    return Side(
        f"{model.name}@{version.number}",
        tuple(manifest.parse(store.blobs.read(version.manifest))),
        version.configuration,
        dependencies.packages(store.blobs.read(version.lock)),
        lambda file: store.blobs.read(file.digest),
    )


def of_folder(store: Store, model: Model) -> Side:
    folder = Path(model.folder)
    taken = snapshot.look(store, model)
    snapshot.remember(store, model, taken)
    side = Side(
        str(folder), taken.files, Configuration(), None, lambda file: _read(folder / file.path)
    )
    try:
        configuration = checks.filled_in(folder, read_configuration(folder))
        if not configuration.runs_script:
            return replace(side, configuration=configuration, packages={})
        lock = store.locks.get(dependencies.key(folder, configuration))
    except Problem as problem:
        return replace(side, broken=problem.what)
    packages = dependencies.packages(store.blobs.read(lock)) if lock else None
    return replace(side, configuration=configuration, packages=packages)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def between(before: Side, after: Side) -> Differences:
    """Everything that is different, with the text of small text files."""
    files = file_changes(before.files, after.files, _texts(before, after))
    if broken := before.broken or after.broken:
        return Differences(before.name, after.name, files, (), None, broken)
    packages = None
    if before.packages is not None and after.packages is not None:
        packages = changes(before.packages, after.packages)
    return Differences(
        before.name,
        after.name,
        files,
        changes(_flat(before.configuration), _flat(after.configuration)),
        packages,
    )


class Pair(NamedTuple):
    """A line of a text beside the one it became. kind: same, changed, or at (a jump).

    Numbers count from 1; none: no line on that side.
    """

    kind: str
    number: int | None
    before: str
    new_number: int | None
    after: str


def side_by_side(unified: str) -> list[Pair]:
    """A unified difference with old and new beside each other."""
    pairs: list[Pair] = []
    old: list[str] = []
    new: list[str] = []
    at = then = 0

    def flush() -> None:
        nonlocal at, then
        for before, after in zip_longest(old, new):
            has_old, has_new = before is not None, after is not None
            pairs.append(
                Pair("changed", at if has_old else None, before or "",
                     then if has_new else None, after or "")
            )  # fmt: skip
            at, then = at + has_old, then + has_new
        old.clear()
        new.clear()

    for line in unified.splitlines()[2:]:
        if line.startswith("-"):
            old.append(line[1:])
        elif line.startswith("+"):
            new.append(line[1:])
        else:
            flush()
            if jump := JUMP.match(line):
                at, then = int(jump[1]), int(jump[2])
                pairs.append(Pair("at", None, "", None, ""))
            else:
                pairs.append(Pair("same", at, line[1:], then, line[1:]))
                at, then = at + 1, then + 1
    flush()
    return pairs[1:]


def changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[Change, ...]:
    names = sorted(before.keys() | after.keys())
    found = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in found if change.before != change.after)


def file_changes(
    before: Iterable[FileEntry],
    after: Iterable[FileEntry],
    text: Callable[[FileEntry | None, FileEntry | None], str] = lambda old, new: "",
) -> tuple[FileChange, ...]:
    """The files that are different, by path."""
    old, new = ({file.path: file for file in files} for files in (before, after))
    paths = [path for path in sorted(old | new) if old.get(path) != new.get(path)]
    return tuple(_file_change(path, old.get(path), new.get(path), text) for path in paths)


def _file_change(
    path: str,
    old: FileEntry | None,
    new: FileEntry | None,
    text: Callable[[FileEntry | None, FileEntry | None], str],
) -> FileChange:
    kind = "added" if old is None else "removed" if new is None else "changed"
    before, after = (file.size if file else None for file in (old, new))
    return FileChange(path, kind, before, after, text(old, new))


def _texts(before: Side, after: Side) -> Callable[[FileEntry | None, FileEntry | None], str]:
    """How the text of two files is compared: unified, empty when it is too long or no text."""

    def compare(old: FileEntry | None, new: FileEntry | None) -> str:
        old_text, new_text = _text(before, old), _text(after, new)
        if old_text is None or new_text is None:
            return ""
        path = (new or old or FileEntry("")).path
        lines = difflib.unified_diff(
            old_text.splitlines(), new_text.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
        )
        return "\n".join(lines)

    return compare


def _text(side: Side, file: FileEntry | None) -> str | None:
    """A file's text; of a link, where it leads; None when it is not to be compared as text."""
    if file is None or file.target:
        return file.target if file else ""
    if file.size > LONGEST_TEXT:
        return None
    try:
        content = side.read(file)
        return None if b"\0" in content else content.decode()
    except (NotFound, UnicodeDecodeError):  # of an adopted version not all files are here
        return None


def _flat(configuration: Configuration) -> dict[str, Any]:
    """Keys and values; what is in tables under names such as metadata.auc."""
    values = configuration.as_dict()
    for table in ("metadata", "env"):
        values |= {f"{table}.{name}": value for name, value in values.pop(table).items()}
    for stage in values.pop("stages"):
        values |= {f"stage.{stage['name']}.{key}": held for key, held in stage.items() if held}
    for side, columns in values.pop("schema").items():
        values |= {f"schema.{side}.{name}": value for name, value in columns.items()}
    return values
