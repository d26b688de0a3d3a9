"""Cuts large files where their content says so, so that a change moves only the cuts near it.

A chunk is known by a fingerprint, which has to be quick, not strong: what a false one puts together
does not pass the SHA-256 of the whole, which the host checks. So it is AES-GCM's tag (GMAC) under a
key that everybody knows, at the speed of memory, beside 1.3 GB/s of SHA-256.

Each file is cut once: what it is made of is remembered by its digest.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from app.deployer.agent.chunklists import Chunks, pack, unpack

LARGE = 8 * 1000 * 1000
"""Files of more bytes than this are cut."""

LEAST, AVERAGE, MOST = 64 * 1024, 256 * 1024, 1024 * 1024
READ = 4 * 1024 * 1024
AHEAD = 64
KEPT_FOR = 90 * 86_400.0

Item = TypeVar("Item")


def fingerprint(chunk: bytes | memoryview) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(bytes(16)).encrypt(bytes(12), b"", chunk).ljust(32, b"\0")


def cut(path: Path) -> Iterator[tuple[bytes, int]]:
    """Fingerprint and bytes of each chunk of the file. Raises OSError."""
    from pyfastcdc import FastCDC

    cutter = FastCDC(avg_size=AVERAGE, min_size=LEAST, max_size=MOST)
    buffer = memoryview(bytearray(READ + MOST))  # one for all: fresh memory costs half the time
    rest = 0
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(buffer[rest : rest + READ]):
            end = rest + read
            at = 0
            for chunk in cutter.cut_buf(buffer[:end]):
                if (stop := chunk.offset + chunk.length) == end:
                    break  # it may go on in what is read next
                yield fingerprint(buffer[at:stop]), stop - at
                at = stop
            rest = end - at
            buffer[:rest] = buffer[at:end]
    if rest:
        yield fingerprint(buffer[:rest]), rest


class Lists:
    """What large files are made of, kept in a folder by the files' digests; None: not kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def of(self, digest: str, size: int, path: Path) -> Iterator[tuple[bytes, int]]:
        """The chunks of a file: those that are known, else found by cutting it a little ahead."""
        if known := self._known(digest, size):
            yield from known
            return
        found: Chunks = []
        for chunk in ahead(cut(path)):
            found.append(chunk)
            yield chunk
        self._keep(digest, found)

    def _known(self, digest: str, size: int) -> Chunks:
        if not self.folder:
            return []
        path = self.folder / digest
        with contextlib.suppress(OSError, struct.error):
            chunks = unpack(path.read_bytes())
            if sum(bytes_ for _, bytes_ in chunks) == size:
                os.utime(path)
                return chunks
        return []

    def _keep(self, digest: str, chunks: Chunks) -> None:
        """A cache: no matter when it cannot be written."""
        if not self.folder:
            return
        with contextlib.suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_old(self.folder)
            temporary = self.folder / f".{secrets.token_hex(8)}"
            temporary.write_bytes(pack(chunks))
            temporary.replace(self.folder / digest)

    def _forget_old(self, folder: Path) -> None:
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > KEPT_FOR:
                path.unlink()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, made in a thread up to AHEAD of them before they are asked for."""
    made: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(AHEAD)
    left = threading.Event()

    def put(item: Item | None, error: BaseException | None) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                made.put((item, error), timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item, None):
                    return
            put(None, StopIteration())
        except BaseException as error:
            put(None, error)

    thread = threading.Thread(target=make, daemon=True, name="cutting ahead")
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error:
                raise error
            yield item  # type: ignore[misc]
    finally:
        left.set()
        thread.join()
