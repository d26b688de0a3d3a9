"""Large blobs: they grow from what is sent, and from what other blobs here hold already.

While it grows, a blob lies in `incoming/` under its digest, so that an upload that was cut goes on
from there. `chunks/` says of each large blob which chunks it is made of, so that the next one can
be made of them too: nothing is kept twice, and nothing is cut on the host. The whole is verified
before it appears; when it is not what it should be, so is every blob that it was made of.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import late
from .blobs import (
    chunks_of,
    full_disk_explained,
    place,
    room,
    start_writeback,
    sync_folder,
    write_all,
)
from .chunklists import KEY, Chunks, pack, unpack
from .failure import Failure
from .files import replace
from .layout import blob as blob_path
from .layout import chunk_list, incoming, make_base, make_folder
from .loop import CHUNK, Agent, ClientGone, Payload, op
from .packed import arriving

if TYPE_CHECKING:
    from concurrent.futures import Future

MOST_CHUNKS = 250_000
EARLY = 16 * CHUNK
DAY = 86_400.0


@op("offer")
def offer(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """What is here for `need` bytes that are to come, among them the `large` blobs (digests).

    begun: digest -> the bytes of it that came before. chunks: the first 8 bytes of the fingerprint
    of every chunk that is here, in hex. A Failure when the rest does not fit the disk.
    """
    sweep(agent.base)
    begun = {digest: size for digest in args["large"] if (size := grown(agent.base, digest))}
    room(agent, {"need": args["need"] - sum(begun.values())}, payload)
    if not args["large"]:
        return {"begun": {}, "chunks": ""}
    _sources[agent.base] = sources = Sources(agent.base)
    return {"begun": begun, "chunks": b"".join(sources.places).hex()}


@op("grow")
def grow(agent: Agent, args: dict[str, Any], payload: Payload) -> int:
    """Add to the blob `digest` of `whole` bytes, of which `at` are here; how many there are now.

    parts: [[bytes, ""], …] come with the payload, [[bytes, fingerprint], …] are here.
    Stale: what the client knew of this host is not so any more.
    """
    sources, sent = _sources[agent.base], arriving(args, payload)
    with growing(agent, args) as blob:
        for size, source, at in sources.runs(args["parts"]):
            blob.add(sources.read(source, at, size) if source else sent.chunks(size), source)
        return blob.done


@op("finish")
def finish(agent: Agent, args: dict[str, Any], payload: Payload) -> None:
    """Verify the blob `digest` and let it appear. The payload says which chunks it is made of."""
    chunks = unpack(arriving(args, payload).whole())
    with growing(agent, args) as blob:
        if not blob.verified():
            raise refused(_growing.pop(blob.temporary), _sources[agent.base])
        blob.appear()
    _growing.pop(blob.temporary).close()
    replace(chunk_list(agent.base, args["digest"]), pack(chunks), 0o600)
    _sources[agent.base].add(args["digest"], chunks)


_sources: dict[Path, Sources] = {}
_growing: dict[Path, Growing] = {}


@contextlib.contextmanager
def growing(agent: Agent, args: dict[str, Any]) -> Iterator[Growing]:
    """The blob at hand. What came of it stays for another time, unless it is of no use."""
    temporary = incoming(agent.base, args["digest"])
    if temporary not in _growing:
        _growing[temporary] = Growing(agent, args["digest"], args["whole"])
    blob = _growing[temporary]
    if blob.done != args["at"]:
        if not blob.done:
            _growing.pop(temporary).discard()
        raise stale(f'"{args["digest"]}" has grown to {blob.done} bytes, not {args["at"]}.')
    try:
        yield blob
    except ClientGone:
        raise
    except Failure as failure:
        if failure.kind != "Stale" and temporary in _growing:
            _growing.pop(temporary).discard()
        raise


def refused(blob: Growing, sources: Sources) -> Failure:
    """Throw away a blob that is not what its name says, and what made it so."""
    blob.discard()
    damaged = [each for each in blob.sources if not sources.sound(each)]
    if damaged:
        path = blob_path(sources.base, damaged[0])
        return stale(f'"{path}" on the host was damaged; it is out of use.', detail=damaged[0])
    if blob.came_before:
        return stale(f'What came of "{blob.digest}" before was damaged; it was thrown away.')
    return Failure(
        f'What arrived as "{blob.digest}" is something else; it was thrown away.',
        cause=f"its SHA-256 is {blob.sha256.hexdigest()}",
        remedy="Check the store: rhythmicml verify",
    )


class Growing:
    """A large blob on its way in. Who grows it holds a lock on its file; others wait.

    sources: digests of the blobs it is made of. came_before: bytes that an earlier upload brought.
    """

    def __init__(self, agent: Agent, digest: str, size: int) -> None:
        self.digest, self.size = digest, size
        self.path, self.temporary = place(agent, digest), incoming(agent.base, digest)
        self.sources: set[str] = set()
        make_base(agent)
        for folder in (self.temporary.parent, chunk_list(agent.base, digest).parent):
            make_folder(folder, 0o700)
        make_folder(self.path.parent)
        self.fd = os.open(self.temporary, os.O_RDWR | os.O_CREAT, 0o600)
        self._hasher = late.threads(1)
        self._hashing: Future[None] | None = None
        try:
            self._wait_for_lock(agent)
            self._read_what_came_before()
        except BaseException:
            self.close()
            raise

    def _wait_for_lock(self, agent: Agent) -> None:
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if agent.gone.wait(0.2):
                    raise ClientGone from None
        if self.path.exists():
            self.temporary.unlink(missing_ok=True)  # it may be our opening that made it
            raise stale(f'"{self.digest}" came from somebody else meanwhile.')

    def _read_what_came_before(self) -> None:
        if os.fstat(self.fd).st_size > self.size:
            os.ftruncate(self.fd, 0)
        self.sha256 = late.sha256()
        while piece := os.read(self.fd, CHUNK):
            self.sha256.update(piece)
        self.done = self.came_before = self._started = os.fstat(self.fd).st_size

    def add(self, pieces: Iterable[bytes], source: str) -> None:
        """Write pieces of the blob `source` ("": that were sent), each hashed meanwhile."""
        if source:
            self.sources.add(source)
        for piece in pieces:
            self._hash_is_done()
            self._hashing = self._hasher.submit(self.sha256.update, piece)
            with full_disk_explained(self.temporary.parent, self.size - self.done):
                write_all(self.fd, piece)
            self.done += len(piece)
            if self.done - self._started >= EARLY:
                start_writeback(self.fd, self._started, self.done - self._started)
                self._started = self.done

    def _hash_is_done(self) -> None:
        if self._hashing:
            self._hashing.result()

    def verified(self) -> bool:
        self._hash_is_done()
        return self.done == self.size and self.sha256.hexdigest() == self.digest

    def appear(self) -> None:
        """On the disk for good, and only then under its name."""
        with full_disk_explained(self.temporary.parent, 0):
            os.fchmod(self.fd, 0o444)
            os.fsync(self.fd)
        os.rename(self.temporary, self.path)
        sync_folder(self.path.parent)

    def close(self) -> None:
        self._hasher.shutdown()
        os.close(self.fd)

    def discard(self) -> None:
        self.close()
        self.temporary.unlink(missing_ok=True)


class Sources:
    """Where the chunks are that large blobs of this host are made of.

    places: the first bytes of a chunk's fingerprint -> the blob's digest, and where in it.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        self.places: dict[bytes, tuple[str, int]] = {}
        for path in newest_first(base / "chunks"):
            if len(self.places) < MOST_CHUNKS:
                self._add_if_whole(path)

    def _add_if_whole(self, path: Path) -> None:
        """A list whose blob is gone, or which does not fit it, goes too."""
        try:
            chunks = unpack(path.read_bytes())
            whole = blob_path(self.base, path.name).stat().st_size
        except (OSError, struct.error):
            chunks, whole = [], -1
        if sum(size for _, size in chunks) == whole:
            self.add(path.name, chunks)
        else:
            path.unlink(missing_ok=True)

    def add(self, digest: str, chunks: Chunks) -> None:
        at = 0
        for chunk, size in chunks:
            self.places.setdefault(chunk[:KEY], (digest, at))
            at += size

    def runs(self, parts: list[list[Any]]) -> Iterator[tuple[int, str, int]]:
        """Bytes, blob ("" for what is sent) and place of each part; those side by side joined."""
        run = (0, "", 0)
        for size, chunk in parts:
            blob, at = self._find(chunk) if chunk else ("", 0)
            if blob and (blob, at) == (run[1], run[2] + run[0]):
                run = (run[0] + size, blob, run[2])
                continue
            if run[0]:
                yield run
            run = (size, blob, at)
        yield run

    def _find(self, chunk: str) -> tuple[str, int]:
        try:
            return self.places[bytes.fromhex(chunk)[:KEY]]
        except KeyError:
            raise stale(f'No chunk "{chunk}" is here.') from None

    def read(self, blob: str, at: int, size: int) -> Iterator[bytes]:
        """A part of a blob, in pieces. Stale when there is no such part any more."""
        try:
            with blob_path(self.base, blob).open("rb", buffering=0) as file:
                while size and (piece := os.pread(file.fileno(), min(size, CHUNK), at)):
                    at, size = at + len(piece), size - len(piece)
                    yield piece
        except FileNotFoundError:
            pass
        if size:
            self.sound(blob)
            raise stale(f'"{blob_path(self.base, blob)}" on the host was cut off.', detail=blob)

    def sound(self, blob: str) -> bool:
        """Whether a blob is what its name says; else it is put out of use, and its list with it."""
        path = blob_path(self.base, blob)
        if sha256_of(path) == blob:
            return True
        path.unlink(missing_ok=True)
        chunk_list(self.base, blob).unlink(missing_ok=True)
        return False


def stale(what: str, detail: str = "") -> Failure:
    return Failure(what, kind="Stale", detail=detail, remedy="Run the same command again.")


def sha256_of(path: Path) -> str:
    """Of the file's content; empty when it cannot be read."""
    hashed = late.sha256()
    try:
        for piece in chunks_of(path):
            hashed.update(piece)
    except OSError:
        return ""
    return hashed.hexdigest()


def grown(base: Path, digest: str) -> int:
    """How many bytes of a blob came before its upload was cut."""
    try:
        return incoming(base, digest).stat().st_size
    except OSError:
        return 0


def sweep(base: Path) -> None:
    """Remove what nobody went on with for a day."""
    for path in (base / "incoming").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > DAY:
                path.unlink()


def newest_first(folder: Path) -> list[Path]:
    found = []
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found, reverse=True)]
