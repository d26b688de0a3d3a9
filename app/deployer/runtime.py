"""What every release brings along besides the model: the scoring program, and uv to build with."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from app import frozen
from app.dependencies import find_uv


@dataclass(frozen=True)
class Part:
    """One file on this side: where it is, what it holds, how big it is [bytes]."""

    path: Path
    digest: str
    size: int


@lru_cache
def program() -> dict[str, Part]:
    """The scoring program's files, by their path on the host under `program/`."""
    root = frozen.folder("app/scoring")
    found = sorted([*root.rglob("*.py"), *root.rglob("*.html")])
    files = [path for path in found if path.name != "__main__.py"]
    return {f"scoring/{path.relative_to(root).as_posix()}": part(path) for path in files}


@lru_cache
def lock() -> Part:
    """The lock of the program's own environment."""
    return part(frozen.folder("app/scoring") / "runtime.lock")


def digest(python: str, arch: str) -> str:
    """Names the runtime as built on a host with that Python (major.minor) and machine."""
    named = [f"{path} {each.digest}" for path, each in program().items()]
    return sha256("\n".join([*named, lock().digest, python, arch]).encode()).hexdigest()[:16]


def tool(arch: str) -> tuple[str, Part] | None:
    """uv for a Linux host of that machine: its name there, and the file here; None if it is not."""
    if arch != platform.machine() or not sys.platform.startswith("linux"):
        return None
    return f"uv-{metadata.version('uv')}-{arch}", _uv()


@lru_cache
def _uv() -> Part:
    return part(find_uv())


def part(path: Path) -> Part:
    content = path.read_bytes()
    return Part(path, sha256(content).hexdigest(), len(content))
