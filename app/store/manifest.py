"""What a version consists of, as one canonical JSON text: the same files give the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.errors import Problem
from app.models import FileEntry
from app.store.blobs import is_digest

MOST_LINKS = 64
"""What leads through more links than this can be opened on no system."""


def render(files: Sequence[FileEntry]) -> bytes:
    """`{"files": [[path, digest, size, executable, target], …]}`, sorted by path."""
    listed = rows(sorted(files, key=lambda file: file.path))
    return json.dumps({"files": listed}, ensure_ascii=False, separators=(",", ":")).encode()


def rows(files: Iterable[FileEntry]) -> list[list[Any]]:
    """Each as it stands in a manifest and in release.json."""
    return [[file.path, file.digest, file.size, file.executable, file.target] for file in files]


def parse(content: bytes) -> list[FileEntry]:
    try:
        return [FileEntry(*row) for row in json.loads(content)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise damaged() from error


def damaged() -> Problem:
    return Problem(
        "The list of files of a version is damaged in the store.",
        remedy="See which one: rhythmicml verify",
    )


def checked(files: Sequence[FileEntry]) -> Sequence[FileEntry]:
    """The same files, when a folder can hold them and they stay within it.

    For what a server or a backup says: a commit makes no others. Raises Problem.
    """
    same = str.casefold if sys.platform == "win32" else str
    links: dict[str, str] = {}
    folders: dict[str, str] = {}
    for file in files:
        if fault := _fault(file):
            raise _unfit(file.path, fault)
        if file.target:
            links[same(file.path)] = same(file.target.replace(os.sep, "/"))
        folder = same(file.path).rpartition("/")[0]
        while folder and folder not in folders:
            folders[folder] = file.path
            folder = folder.rpartition("/")[0]
    for file in files:
        if below := folders.get(same(file.path)):
            raise _unfit(below, f'"{file.path}" is a file or a link, not a folder.')
    for path in links:
        if _leads_outside(path, links):
            raise _unfit(path, f'It is a link that leads outside, to "{links[path]}".')
    return files


def _fault(file: FileEntry) -> str:
    """Why this can be no file of a folder, whatever else is in it; "" when it can."""
    if {type(file.path), type(file.digest), type(file.target)} != {str}:
        return "Its path, its digest or its link is no text."
    whole = f"/{file.path}/"
    if "//" in whole or "/./" in whole or "/../" in whole or "\0" in whole:
        return "It is no path within a folder."
    if os.path.isabs(file.target) or os.path.splitdrive(file.target)[0] or "\0" in file.target:
        return f'It is a link that leads outside, to "{file.target}".'
    if not (file.digest == "" if file.target else is_digest(file.digest)):
        return f'"{file.digest}" is no SHA-256 of what it holds.'
    return ""


def _leads_outside(path: str, links: Mapping[str, str]) -> bool:
    """Whether a link does, followed as a system would: also through the others."""
    at, ahead, followed = path.split("/")[:-1], links[path].split("/")[::-1], 0
    while ahead and followed < MOST_LINKS:
        part = ahead.pop()
        if part == ".." and not at:
            return True
        if part == "..":
            at.pop()
        elif part not in ("", "."):
            at.append(part)
        if further := links.get("/".join(at)):
            followed += 1
            at.pop()
            ahead += further.split("/")[::-1]
    return False


def _unfit(path: str, cause: str) -> Problem:
    return Problem(
        f'A version lists "{path}", which no folder of a model can hold.',
        cause=cause,
        remedy="Find out who changed the server or the backup that it came from.",
    )


def version_digest(manifest: str, lock: str, python: str) -> str:
    """What names a version: its files, its packages and its Python together."""
    return hashlib.sha256(f"{manifest}\n{lock}\n{python}\n".encode()).hexdigest()
