"""What is in a model's folder: which files count, and what each one's digest is."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from app import portable
from app.errors import Problem
from app.store.blobs import Stat

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".rhythmicmlignore"
TEMPORARY = ".rhythmicml-writing-"
NEVER = frozenset(
    {
        *(".git", ".hg", ".svn", ".dvc", ".venv", "venv", ".tox", ".nox", "__pycache__", ".idea"),
        *(".ipynb_checkpoints", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
        *(".DS_Store", "Thumbs.db", "desktop.ini"),
    }
)


@dataclass(frozen=True, slots=True)
class Found:
    """One file or symbolic link. `path` is relative, with forward slashes."""

    path: str
    stat: Stat
    executable: bool = False
    target: str = ""


def scan(folder: Path) -> list[Found]:
    """Every file and link in `folder` that is not ignored, sorted by path.

    Links are kept as links. Raises Problem at what cannot be versioned: sockets, devices, links
    that lead outside, names that are not UTF-8.
    """
    if not folder.is_dir():
        raise Problem(
            f'The folder "{folder}" is not there.',
            remedy="Put it back, or add it at its new place.",
        )
    found = list(_walk(os.path.realpath(folder), "", ignored(folder)))
    return sorted(found, key=lambda one: one.path)


def left_out(folder: Path, most: int) -> list[str]:
    """The files and folders in `folder` that no version has, sorted; folders end with a slash.

    At most so many. What is in a folder that is left out is not looked at.
    """
    found = _left_out(os.path.realpath(folder), "", ignored(folder))
    return sorted(islice(found, most))


def _left_out(root: str, under: str, rules: GitIgnoreSpec | None) -> Iterator[str]:
    with _listing(f"{root}/{under}") as entries:
        for entry in entries:
            below = entry.is_dir(follow_symlinks=False)
            path = under + entry.name + ("/" if below else "")
            if entry.name in NEVER or (rules is not None and rules.match_file(path)):
                yield path
            elif below:
                yield from _left_out(root, path, rules)


def ignored(folder: Path) -> GitIgnoreSpec | None:
    """The rules of the folder's `.rhythmicmlignore`, by git's meaning; None when there are none."""
    try:
        lines = (folder / IGNORE_FILE).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f'"{folder / IGNORE_FILE}" cannot be read as text.') from error
    if not any(line.strip() and not line.startswith("#") for line in lines):
        return None
    return _rules(folder, lines)


def _rules(folder: Path, lines: list[str]) -> GitIgnoreSpec:
    import pathspec

    try:
        return pathspec.GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise Problem(
            f'"{folder / IGNORE_FILE}" holds a pattern that git would not know.',
            remedy="Write patterns as in .gitignore.",
        ) from error


def _walk(root: str, under: str, rules: GitIgnoreSpec | None) -> Iterator[Found]:
    with _listing(f"{root}/{under}") as entries:
        for entry in entries:
            if entry.name in NEVER or entry.name.startswith(TEMPORARY):
                continue
            path = under + entry.name
            if entry.is_dir(follow_symlinks=False):
                if rules is None or not rules.match_file(path + "/"):
                    yield from _walk(root, path + "/", rules)
            elif rules is None or not rules.match_file(path):
                yield _found(root, path, entry)


def _listing(folder: str) -> os._ScandirIterator[str]:
    try:
        return os.scandir(folder)
    except OSError as error:
        raise Problem(f'"{folder}" cannot be read.', cause=error.strerror or str(error)) from error


def _found(root: str, path: str, entry: os.DirEntry[str]) -> Found:
    try:
        status = portable.status_of(entry)
    except OSError as error:
        raise Problem(f'"{path}" went away while the folder was read.') from error
    if not path.isascii():
        _must_be_utf8(path)
    if stat.S_ISLNK(status.st_mode):
        return Found(path, Stat.of(status), target=_target_inside(root, path))
    if not stat.S_ISREG(status.st_mode):
        raise Problem(
            f'"{path}" is {_kind(status.st_mode)}, which cannot be versioned.',
            remedy=f"Remove it, or name it in {IGNORE_FILE}.",
        )
    return Found(path, Stat.of(status), executable=bool(status.st_mode & stat.S_IXUSR))


def _must_be_utf8(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise Problem(
            f"The name {os.fsencode(path)!r} is not UTF-8.",
            remedy="Rename the file.",
            cause="Names have to mean the same on every host.",
        ) from error


def _target_inside(root: str, path: str) -> str:
    """Where a link leads, as it is written; it must stay in the folder on any host."""
    target = portable.target_of(f"{root}/{path}")
    _must_be_utf8(target)
    led_to = posixpath.normpath(f"{posixpath.dirname(path) or '.'}/{target}")
    outside = os.path.isabs(target) or led_to.split("/")[0] == ".."
    if outside or not _within(root, os.path.realpath(f"{root}/{path}")):
        raise Problem(
            f'The symbolic link "{path}" leads outside the folder, to "{target}".',
            remedy=f"Put the file itself there, or name the link in {IGNORE_FILE}.",
        )
    return target


def _within(root: str, path: str) -> bool:
    return path == root or path.startswith(root + os.sep)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a device")
