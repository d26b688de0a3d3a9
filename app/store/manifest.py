"""What a version consists of, as one canonical JSON text: the same files give the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from app.errors import Problem
from app.models import FileEntry


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


def version_digest(manifest: str, lock: str, python: str) -> str:
    """What names a version: its files, its packages and its Python together."""
    return hashlib.sha256(f"{manifest}\n{lock}\n{python}\n".encode()).hexdigest()
