"""The files of a version, a folder or a page at a time, read where they stand in its manifest.

The manifest of a million files has 120 MB. It is sorted by path, so a folder's files stand
together and are found by halving; no more of it is understood than what is asked for.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from app.models import FileEntry
from app.store import manifest

HEAD, TAIL = b'{"files":[', b"]}"
FIRST = len(HEAD)
BETWEEN = b'],["'
"""It stands in a text only at its end: before any other quotation mark there is a backslash."""
ROW = re.compile(rb'\["[^"\\]*(?:\\.[^"\\]*)*","[0-9a-f]*",\d+,(?:true|false),"')
"""What begins a row, and nothing else."""
SIZE = re.compile(rb',"[0-9a-f]*",(\d+),(?:true|false),"')
PATH = re.compile(rb'\["([^"\\]*(?:\\.[^"\\]*)*)","[0-9a-f]*",(\d+),')
LAST = "\U0010ffff"
UNREADABLE = (ValueError, KeyError, TypeError, IndexError)


@dataclass(frozen=True)
class Folder:
    """A folder of a version. path: ends with a slash. files, size [bytes]: all below it."""

    path: str
    files: int
    size: int


@dataclass(frozen=True)
class Page:
    """Some entries, by path. more: whether others come after them.

    files, size [bytes]: of all that was asked for; None where that was not counted.
    """

    entries: tuple[Folder | FileEntry, ...]
    more: bool
    files: int | None = None
    size: int | None = None


class Listing:
    """held: a manifest, open as long as this is used."""

    def __init__(self, held: mmap.mmap) -> None:
        self._held = held
        self._end = len(held) - len(TAIL)
        if held[:FIRST] != HEAD or held[self._end :] != TAIL:
            raise ValueError("this is no manifest")

    def under(self, folder: str, after: str, most: int) -> Page:
        """What is in a folder ("" or ending with a slash), after the entry of that path."""
        entries: list[Folder | FileEntry] = []
        at, end = self._at(_past(after) if after else folder), self._at(_past(folder))
        while at < end and len(entries) < most:
            file = self._file(at)
            name, *below = file.path.removeprefix(folder).split("/", 1)
            if below:
                path = f"{folder}{name}/"
                then = self._at(_past(path))
                entries.append(Folder(path, *self._sum(at, then)))
            else:
                then = self._next(at)
                entries.append(file)
            at = then
        return Page(tuple(entries), at < end)

    def having(self, text: str, most: int) -> Page:
        """The files whose path has this text in it, whichever way it is capitalised."""
        wanted, entries, files, size = text.casefold(), list[FileEntry](), 0, 0
        for row in PATH.finditer(self._held, FIRST, self._end):
            if wanted in _text(row[1]).casefold():
                files, size = files + 1, size + int(row[2])
                if files <= most:
                    entries.append(self._file(row.start()))
        return Page(tuple(entries), files > most, files, size)

    def _at(self, path: str) -> int:
        """Where the first row begins whose path is not before this one."""
        low, high = FIRST, self._end
        while low < high:
            middle = self._begin((low + high) // 2, low)
            if self._file(middle).path < path:
                low = self._next(middle)
            else:
                high = middle
        return low

    def _begin(self, within: int, low: int) -> int:
        """Where the row begins that has this place; the one at `low`, if none does after it."""
        before = within + len('["')
        while (before := self._held.rfind(BETWEEN, low, before)) >= 0:
            if ROW.match(self._held, before + len("],")):
                return before + len("],")
        return low

    def _next(self, at: int) -> int:
        while (at := self._held.find(BETWEEN, at)) >= 0:
            at += len("],")
            if ROW.match(self._held, at):
                return at
        return self._end

    def _file(self, at: int) -> FileEntry:
        then = self._next(at)
        return FileEntry(*json.loads(self._held[at : then - (then < self._end)]))

    def _sum(self, at: int, end: int) -> tuple[int, int]:
        """How many files begin from here to there, and their size together."""
        sizes = [int(row[1]) for row in SIZE.finditer(self._held, at, end)]
        return len(sizes), sum(sizes)


@contextmanager
def opened(blob: BinaryIO) -> Iterator[Listing]:
    """Of a manifest's blob. Raises Problem where it is damaged."""
    try:
        with blob, mmap.mmap(blob.fileno(), 0, access=mmap.ACCESS_READ) as held:
            yield Listing(held)
    except UNREADABLE as error:
        raise manifest.damaged() from error


def _past(path: str) -> str:
    """What comes after this, and after all below it where it is a folder."""
    if not path:
        return LAST
    return path[:-1] + chr(ord("/") + 1) if path.endswith("/") else path + "\0"


def _text(written: bytes) -> str:
    """What stands between quotation marks."""
    return json.loads(b'"%b"' % written) if b"\\" in written else written.decode()
