"""Sends blobs to a host: small ones together, of large ones only the chunks that are not there.

What is read, cut, hashed, packed, sent, and written there overlaps; nothing waits for an answer but
the end. What a connection had brought when it was cut stays there, and the next goes on from it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import portable, words
from app.deployer.agent.chunklists import KEY, pack
from app.deployer.chunking import LARGE, Lists
from app.deployer.squeeze import Squeeze
from app.errors import Problem, Stale, Unreachable

if TYPE_CHECKING:
    from app.deployer.road import Pending, Road

CHUNK = 1024 * 1024
BATCH_FILES = 256
BATCH_BYTES = 16 * CHUNK
GROUP_SENT = 4 * CHUNK
GROUP_SIZE = 32 * CHUNK
AHEAD = 8
TRIES = 5
"""How often in a row an upload may fail without having come further."""

COMES_BACK = 12.0
"""For how many seconds a host that was lost is looked for again."""

Blob = tuple[str, int, Path]
Tell = Callable[[int, int], None]


class Progress:
    """Counts the bytes of an upload.

    done: that are there, or on their way. sent: that were sent for it. there: that were there when
    it last began. damaged: digests of blobs of the host that were found damaged meanwhile.
    """

    def __init__(self, total: int, tell: Tell | None = None) -> None:
        self.total = total
        self.done = self.sent = 0
        self.there = -1
        self.damaged: list[str] = []
        self._tell = tell

    def begin(self, there: int) -> None:
        self.done = self.there = there

    def add(self, size: int) -> None:
        self.done += size
        if self._tell and size:
            self._tell(self.done, self.total)

    def count(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            yield piece
            self.sent += len(piece)
            self.add(len(piece))


def persist(road: Road, blobs: list[Blob], tell: Tell | None = None) -> Progress:
    """Upload, over new connections when one is lost, and by other chunks when some are damaged.

    Gives up when it has failed TRIES times without coming further, or the host stays away.
    """
    progress = Progress(sum(size for _, size, _ in blobs), tell)
    missing, furthest, left = blobs, -1, TRIES
    while True:
        try:
            upload(road, missing, progress)
            return progress
        except Stale as problem:
            if problem.detail:
                progress.damaged.append(problem.detail)
            else:
                left -= 1
            if not left:
                raise
        except Unreachable as problem:
            left = TRIES if progress.there > furthest else left - 1
            furthest = max(furthest, progress.there)
            if not left:
                raise lost(road.place, progress) from problem
            _go_again(road, progress)
        digests = [digest for digest, _, _ in blobs]
        there = set(road.call("missing", digests=digests))
        missing = [blob for blob in blobs if blob[0] in there]


def _go_again(road: Road, progress: Progress) -> None:
    """A new connection, tried for as long as a person waits."""
    end, pause = time.monotonic() + COMES_BACK, 0.2
    while True:
        try:
            return road.reopen()
        except Unreachable as problem:
            if time.monotonic() + pause > end:
                raise lost(road.place, progress) from problem
        time.sleep(pause)
        pause *= 2


def lost(place: str, progress: Progress) -> Unreachable:
    return Unreachable(
        f"The connection to {place} was lost during the upload, "
        f"after some {words.size(progress.done)} of {words.size(progress.total)}.",
        remedy="Check the network, then run the same command again: it goes on where it was.",
    )


def upload(road: Road, blobs: list[Blob], progress: Progress) -> None:
    """Put blobs into the host's store. Raises its Problem; Stale when trying again may do."""
    large = [blob for blob in blobs if blob[1] > LARGE]
    need = sum(size for _, size, _ in blobs)
    offer = road.call("offer", need=need, large=[digest for digest, _, _ in large])
    progress.begin(progress.total - need + sum(offer["begun"].values()))
    one = Upload(road, offer, progress)
    for batch in batches(blob for blob in blobs if blob[1] <= LARGE):
        one.put(batch)
    for blob in large:
        one.grow(blob)
    one.settle(0)


class Upload:
    """One upload over one connection."""

    def __init__(self, road: Road, offer: dict[str, Any], progress: Progress) -> None:
        self._road = road
        self._progress = progress
        self._squeeze = Squeeze()
        self._lists = Lists(road.lists)
        self._begun: dict[str, int] = offer["begun"]
        keys = bytes.fromhex(offer["chunks"])
        self._here = {keys[at : at + KEY] for at in range(0, len(keys), KEY)}
        self._awaited: deque[tuple[Pending, int]] = deque()

    def put(self, batch: list[Blob]) -> None:
        """Send small blobs together."""
        sizes = [(digest, size) for digest, size, _ in batch]
        if self._squeeze.wanted:
            content = b"".join(file_pieces(batch))
            self._send("put", content, len(content), blobs=sizes)
        else:
            self._stream(batch, sizes)

    def grow(self, blob: Blob) -> None:
        """Send of a large blob what is not there, and name what is."""
        digest, size, path = blob
        begun, at, chunks = self._begun.get(digest, 0), 0, []
        with reading(path) as file:
            group = Group(begun)
            for chunk in self._lists.of(digest, size, path):
                chunks.append(chunk)
                start, at = max(at, begun), at + chunk[1]
                if start < at:
                    whole = at - start == chunk[1]
                    group.add(at - start, chunk[0], whole and chunk[0][:KEY] in self._here)
                if group.full:
                    self._send_group(blob, group, file)
                    group = Group(at)
            if group.parts:
                self._send_group(blob, group, file)
        self._send("finish", pack(chunks), 0, digest=digest, whole=size, at=at)
        self._here |= {each[:KEY] for each, _ in chunks}

    def settle(self, most: int) -> None:
        """Hear answers until at most so many are awaited. Raises what the host refused."""
        while len(self._awaited) > most:
            pending, bytes_there = self._awaited.popleft()
            pending.result()
            self._progress.add(bytes_there)

    def _send_group(self, blob: Blob, group: Group, file: int) -> None:
        args = {"digest": blob[0], "whole": blob[1], "at": group.begun, "parts": group.parts}
        self._send("grow", group.content(file), group.size, **args)

    def _send(self, do: str, content: bytes, there: int, /, **args: Any) -> None:
        """Send a request, packed if that pays. there: the bytes of blobs that it brings about."""
        if self._refused():
            self.settle(0)
        if packed := self._squeeze.packed(content):
            content, args = packed, {**args, "packed": True}
        pending = self._squeeze.timed(
            len(content), lambda: self._road.send(do, payload=content, **args)
        )
        self._progress.sent += len(content)
        self._await(pending, there)

    def _stream(self, batch: list[Blob], sizes: list[tuple[str, int]]) -> None:
        """As `_send`, without holding it all. Broken off, it takes the connection with it."""
        size = sum(size for _, size in sizes)
        pieces = self._progress.count(self._while_welcome(file_pieces(batch)))
        try:
            pending = self._squeeze.timed(
                size, lambda: self._road.send("put", payload=pieces, size=size, blobs=sizes)
            )
        except Unwelcome:
            self.settle(0)
            raise
        self._await(pending, 0)

    def _await(self, pending: Pending, size: int) -> None:
        self._awaited.append((pending, size))
        self.settle(AHEAD)

    def _refused(self) -> bool:
        return any(pending.failed for pending, _ in self._awaited)

    def _while_welcome(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """The pieces, until the host refuses one of the earlier requests."""
        for piece in pieces:
            if self._refused():
                raise Unwelcome
            yield piece


class Unwelcome(Exception):
    """An earlier request was refused, so sending on is of no use."""


class Group:
    """Chunks of a blob, one after the other from `begun`: some to be sent, some there already.

    parts: [[bytes, "" or the chunk's fingerprint], …]. size: bytes in all.
    """

    def __init__(self, begun: int) -> None:
        self.begun = begun
        self.size = self.sent = 0
        self.parts: list[tuple[int, str]] = []

    @property
    def full(self) -> bool:
        return self.sent >= GROUP_SENT or self.size >= GROUP_SIZE

    def add(self, size: int, digest: bytes, there: bool) -> None:
        self.size += size
        if there:
            self.parts.append((size, digest.hex()))
            return
        self.sent += size
        before = self.parts.pop()[0] if self.parts and not self.parts[-1][1] else 0
        self.parts.append((before + size, ""))

    def content(self, file: int) -> bytes:
        """What has to be sent of the open file."""
        at, pieces = self.begun, []
        for size, digest in self.parts:
            if not digest:
                pieces.append(portable.read_at(file, size, at))
            at += size
        content = b"".join(pieces)
        if len(content) != self.sent:
            raise changed()
        return content


@contextlib.contextmanager
def reading(path: Path) -> Iterator[int]:
    """The open file; what the system says about it meanwhile, as a Problem."""
    try:
        with path.open("rb", buffering=0) as file:
            yield file.fileno()
    except OSError as error:
        raise Problem(
            f'"{path}" cannot be read.', remedy="Check the store: rhythmicml verify"
        ) from error


def batches(blobs: Iterable[Blob]) -> Iterator[list[Blob]]:
    """Small files together, so that they cost neither a round trip nor a wait for the disk each."""
    batch: list[Blob] = []
    size = 0
    for blob in blobs:
        if batch and (len(batch) == BATCH_FILES or size + blob[1] > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(blob)
        size += blob[1]
    if batch:
        yield batch


def file_pieces(batch: list[Blob]) -> Iterator[bytes]:
    for _, size, path in batch:
        with reading(path) as file:
            left = size
            while left and (piece := os.read(file, min(left, CHUNK))):
                left -= len(piece)
                yield piece
            if left or os.read(file, 1):
                raise changed()


def changed() -> Problem:
    return Problem("What was to be sent changed its size meanwhile.")
