"""Requests that are answered later: taken with 202, done when there is time, kept for a while.

Several fronts of one instance share the folder: the one that served before drains and finishes
its jobs while the next one already answers for them. A job is a file named by its id:

    <id>.open   it is not finished; holds the name of the front that has it
    <id>.part   the answer as it is being written
    <id>.done   the answer: a line of JSON with its status and headers, then the body
    <id>.gone   there will be no answer, or no more; holds why

`<front>.front` is locked for as long as that front lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Union

import msgspec

from .errors import Refusal
from .http import JSON, Request

MOST_JOBS = int(os.environ.get("RHYTHMICML_MOST_JOBS", "1000"))
MOST_BYTES = 256 * 1024 * 1024
KEPT = 3600.0
TIDY = 60.0
DROPPED = "Its answer was dropped: at most 1,000 jobs, 256 MiB and an hour of them are kept."
CANCELLED = "It was cancelled."
STOPPED = "The instance was stopped before it was finished."
DIED = "The process that ran it has ended."
TOO_LARGE = "Its answer is larger than 256 MiB."
NOT_KEPT = "Its answer could not be written to the disk."

Told = Union[Refusal, "tuple[int, bytes, bytes, bytes]"]
_ENDINGS = (".open", ".part", ".done", ".gone", ".front")
_ID = re.compile(r"[0-9a-f]{32}").fullmatch
_encode, _decode = msgspec.json.encode, msgspec.json.decode


class Head(NamedTuple):
    """The first line of an answer that is kept."""

    status: int
    kind: str
    extra: str


def folder_of(instance: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """Where jobs are kept: in the state folder systemd gives us, else with the instance."""
    state = environment.get("STATE_DIRECTORY")
    return (Path(state) if state else instance / "run") / "jobs"


def wants_job(request: Request) -> bool:
    """Whether a request says `Prefer: respond-async`."""
    said = request.headers.get(b"prefer")
    if said is None:
        return False
    said = said.lower()
    return any(part.partition(b";")[0].strip() == b"respond-async" for part in said.split(b","))


class Entry:
    """One job of this front, and in place of a connection for its request."""

    blocked_since = 0.0

    def __init__(self, jobs: Jobs, name: str, asked: Request) -> None:
        self.jobs = jobs
        self.name = name
        self.job: Any = None
        self.request = Request(asked.method, asked.path, asked.headers, b"")
        self.request.id = asked.id
        self.request.peer, self.request.token = asked.peer, asked.token
        self.request.trace, self.request.received = asked.trace, asked.received
        self.request.endpoint = asked.endpoint
        self.request.context = self
        self.request.connection = self
        self._part: BinaryIO | None = None

    @property
    def state(self) -> str:
        return "running" if self.job is not None and self.job.taken else "waiting"

    @property
    def headers(self) -> bytes:
        return b"Location: /jobs/%b\r\nPreference-Applied: respond-async\r\n" % self.name.encode()

    def said(self) -> bytes:
        said = {"job": self.name, "state": self.state, "url": f"/jobs/{self.name}"}
        stream = self.job.stream if self.job is not None else None
        return _encode({**said, "items": stream.count} if stream and stream.count else said)

    # What a connection does

    def send(self, request: Request, status: int, body: bytes, kind: bytes, extra: bytes) -> None:
        self.jobs.keep(self, _line(status, kind, extra) + body)

    def open(self, request: Request, status: int, kind: bytes, extra: bytes) -> None:
        try:
            self._part = _create(self.jobs.path(self.name, "part"))
        except OSError:
            self.lose(NOT_KEPT)
        else:
            self.write(request, _line(status, kind, extra))

    def write(self, request: Request, data: bytes) -> None:
        if self._part is None:
            return
        try:
            self._part.write(data)
            if self._part.tell() > MOST_BYTES:
                self.lose(TOO_LARGE)
        except OSError:
            self.lose(NOT_KEPT)

    def close_stream(self, request: Request, whole: bool) -> None:
        part, self._part = self._part, None
        if part is not None:
            self.jobs.keep_part(self, part)

    def lose(self, why: str) -> None:
        """Leave it: whoever works on it finds that nobody waits."""
        self.request.connection = None
        if self._part is not None:
            self._part.close()
            self._part = None
        self.jobs.leave(self, why)


class Jobs:
    """The jobs of an instance: those this front has, and what the folder says of the others."""

    def __init__(self, instance: Path) -> None:
        self.folder = folder_of(instance)
        self.front = secrets.token_hex(8)
        self.unfinished: dict[str, Entry] = {}
        self._lock: int | None = None
        self._keeping: set[asyncio.Future[Any]] = set()

    def path(self, name: str, ending: str) -> Path:
        return self.folder / f"{name}.{ending}"

    # Taking

    def take(self, request: Request) -> Entry:
        """Note a new job. Raises a Refusal when there are too many, or nowhere to keep it."""
        if len(self.unfinished) >= MOST_JOBS:
            raise Refusal(
                503, "Too many jobs wait.", remedy="Try again later.", reason="overloaded"
            )
        name = secrets.token_hex(16)
        try:
            self._prepare()
            _write(self.path(name, "open"), self.front.encode())
        except OSError as error:
            raise Refusal(
                503, "Jobs cannot be kept on this host.", cause=f"{error.strerror}."
            ) from error
        entry = self.unfinished[name] = Entry(self, name, request)
        return entry

    def _prepare(self) -> None:
        """Make the folder, show that we live, and begin to tidy."""
        if self._lock is not None:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{self.front}.front.new"
        self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        path.rename(path.with_suffix(""))  # only now, or we would be taken for dead
        self._tidy_now_and_then()

    def _tidy_now_and_then(self) -> None:
        loop = asyncio.get_running_loop()
        self._later(self._tidy)
        loop.call_later(TIDY, self._tidy_now_and_then)

    # Keeping. What takes long is done in a thread

    def _later(self, work: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().run_in_executor(None, work, *arguments)
        self._keeping.add(future)
        future.add_done_callback(self._keeping.discard)
        return future

    def keep(self, entry: Entry, answer: bytes) -> None:
        self._kept(entry, self._later(self._keep, entry.name, answer))

    def keep_part(self, entry: Entry, part: BinaryIO) -> None:
        self._kept(entry, self._later(self._keep_part, entry.name, part))

    def _kept(self, entry: Entry, keeping: asyncio.Future[Any]) -> None:
        keeping.add_done_callback(lambda done: self.unfinished.pop(entry.name, None))

    def _keep(self, name: str, answer: bytes) -> None:
        try:
            if len(answer) > MOST_BYTES:
                self._mark(name, TOO_LARGE)
                return
            _write(self.path(name, "part"), answer)
            self._finish(name)
        except OSError:
            self._mark(name, NOT_KEPT)

    def _keep_part(self, name: str, part: BinaryIO) -> None:
        try:
            part.close()
            self._finish(name)
        except OSError:
            self._mark(name, NOT_KEPT)

    def _finish(self, name: str) -> None:
        if self.path(name, "gone").exists():  # dropped meanwhile, perhaps through another front
            self._mark(name, CANCELLED)
            return
        self.path(name, "part").rename(self.path(name, "done"))
        self.path(name, "open").unlink(missing_ok=True)
        self._tidy()

    def leave(self, entry: Entry, why: str) -> None:
        """There will be no answer."""
        self.unfinished.pop(entry.name, None)
        self._mark(entry.name, why)

    def _mark(self, name: str, why: str) -> None:
        try:
            _write(self.path(name, "gone"), why.encode())
            for ending in ("open", "part", "done"):
                self.path(name, ending).unlink(missing_ok=True)
        except OSError:
            pass

    # Asking

    def show(self, request: Request, tell: Callable[[Told], None]) -> None:
        """Tell how a job stands; what it says comes from a thread when it is on the disk."""
        name = _name(request)
        entry = self.unfinished.get(name)
        if entry is not None:
            tell((202, entry.said(), JSON, _AGAIN))
            return
        self._later(self._look, name).add_done_callback(lambda done: tell(done.result()))

    def _look(self, name: str) -> Told:
        held = _read(self.path(name, "open"))  # first: a job that is finished meanwhile is there
        done = _read(self.path(name, "done"))
        if done is not None:
            line, _, body = done.partition(b"\n")
            head = msgspec.convert(_decode(line), Head)
            return head.status, body, head.kind.encode(), head.extra.encode()
        gone = _read(self.path(name, "gone"))
        if gone is not None:
            return Refusal(410, "There is no answer to this job.", cause=gone.decode())
        if held is None:
            return _unknown()
        if self._lives(held.decode()):
            said = {"job": name, "state": "running", "url": f"/jobs/{name}"}
            return 202, _encode(said), JSON, _AGAIN
        self._mark(name, DIED)
        return Refusal(410, "There is no answer to this job.", cause=DIED)

    def _lives(self, front: str) -> bool:
        """Whether that front still runs; we ourselves are asked only about jobs we have left."""
        if front == self.front:
            return False
        try:
            lock = os.open(self.folder / f"{front}.front", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(lock)
        return False

    def drop(self, request: Request) -> None:
        """Cancel a job, or forget its answer. Raises a Refusal when there is none."""
        name = _name(request)
        entry = self.unfinished.get(name)
        if entry is not None:
            entry.lose(CANCELLED)
        elif any(self.path(name, ending).exists() for ending in ("open", "done")):
            self._mark(name, CANCELLED)
        else:
            raise _unknown()

    # Forgetting

    def _tidy(self) -> None:
        """Keep the folder within its limits. What another front removes meanwhile is no matter."""
        now = time.time()
        for work in (self._drop_old, self._bury, self._sweep):
            with contextlib.suppress(OSError):
                work(now)

    def _drop_old(self, now: float) -> None:
        """The oldest answers go first."""
        done = sorted(self._files("done"), reverse=True)
        size = 0
        for count, (changed, length, name) in enumerate(done):
            size += length
            if count >= MOST_JOBS or size > MOST_BYTES or now - changed > KEPT:
                self._mark(name, DROPPED)
        gone = sorted(self._files("gone"), reverse=True)
        for count, (changed, _, name) in enumerate(gone):
            if count >= MOST_JOBS or now - changed > KEPT:
                self.path(name, "gone").unlink(missing_ok=True)

    def _sweep(self, now: float) -> None:
        """Remove what was half written when its front ended."""
        for path in self.folder.iterdir():
            if path.suffix not in _ENDINGS and now - path.stat().st_mtime > KEPT:
                path.unlink(missing_ok=True)

    def _bury(self, now: float) -> None:
        """Say of what fronts that are no more have left that it will not be finished."""
        for _, _, name in self._files("open"):
            front = (_read(self.path(name, "open")) or b"").decode()
            if front and front != self.front and not self._lives(front):
                self._mark(name, DIED)
        for _, _, front in self._files("front"):
            if front != self.front and not self._lives(front):
                (self.folder / f"{front}.front").unlink(missing_ok=True)

    def _files(self, ending: str) -> list[tuple[float, int, str]]:
        """Time of change, size and name of each such file."""
        found = []
        for path in self.folder.glob(f"*.{ending}"):
            try:
                facts = path.stat()
            except OSError:
                continue
            found.append((facts.st_mtime, facts.st_size, path.stem))
        return found

    # The end

    @property
    def busy(self) -> bool:
        return bool(self.unfinished or self._keeping)

    async def close(self) -> None:
        """What is not finished now will not be."""
        if self._keeping:
            await asyncio.wait(tuple(self._keeping))
        for entry in tuple(self.unfinished.values()):
            entry.lose(STOPPED)
        if self._lock is not None:
            (self.folder / f"{self.front}.front").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None


_AGAIN = b"Retry-After: 1\r\n"


def _name(request: Request) -> str:
    name = request.path[len(b"/jobs/") :].decode("ascii", "replace")
    if not _ID(name):
        raise _unknown()
    return name


def _unknown() -> Refusal:
    return Refusal(404, "There is no such job.")


def _line(status: int, kind: bytes, extra: bytes) -> bytes:
    return _encode(Head(status, kind.decode(), extra.decode())) + b"\n"


def _write(path: Path, content: bytes) -> None:
    """A file of ours alone, there as a whole or not at all."""
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with _create(fresh) as file:
        file.write(content)
    fresh.rename(path)


def _create(path: Path) -> BinaryIO:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
