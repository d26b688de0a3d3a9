"""What takes long to import, imported when it is first needed.

An agent starts for each command, and every ten seconds for a window that is open: what stands here
was a fifth of what a start took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor
    from hashlib import _Hash
    from tempfile import TemporaryDirectory

T = TypeVar("T")


def sha256(data: bytes = b"") -> _Hash:
    """As hashlib's."""
    import hashlib

    return hashlib.sha256(data)


def threads(most: int) -> ThreadPoolExecutor:
    """A pool of them."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(most)


def scratch(folder: Path, prefix: str = "") -> TemporaryDirectory[str]:
    """A folder in this one, gone afterwards."""
    from tempfile import TemporaryDirectory

    return TemporaryDirectory(dir=folder, prefix=prefix)


def side_by_side(do: Callable[[T], Any], things: Iterable[T]) -> None:
    """Do that with each: they wait for the disk's journal, not for each other."""
    with threads(8) as pool:
        list(pool.map(do, things))
