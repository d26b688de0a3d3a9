"""The front of an instance: listens, has rows predicted by workers, tells systemd, drains.

It never runs the model's code. See docs/design.md, "The scoring program".
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from time import monotonic
from typing import Any

import msgspec
import uvloop

from . import auth, jobs, metrics, shadow_file, tls
from . import release as releases
from .access import AccessLog
from .admin import Admin
from .batching import LoadFailed, Pool, Settings, processes
from .cors import Cors
from .early import allow_many_files, parse
from .errors import Refusal
from .http import Connection, Limits, Request, Site
from .inputs import Inputs, Reader
from .launch import Begun
from .metrics import Metrics
from .notify import handed_sockets, notify, watchdog_seconds
from .outputs import Outputs
from .pipeline.lane import Pipeline
from .protocols import decode, native
from .recorder import Now, Recorder
from .release import Release
from .routes import Routes
from .schema import outputs_of
from .shadow import Shadow
from .sockets import BACKLOG, listen_tcp, listen_unix, unlink_socket
from .workers import say

SWEEP = 0.25
SETTLE = 0.1
"""Seconds for connections that were accepted a moment before to be known to us."""
KEPT = 4 << 20
"""Bytes of freed memory that are not given back to the system, but used for the next large body."""
TOP_PAD = -2  # of glibc's mallopt
LONGEST_DRAIN = float(os.environ.get("RHYTHMICML_DRAIN_SECONDS", "30"))


def main(argv: Sequence[str], begun: Iterable[Begun] = ()) -> int:
    """Run until told to end: 0 after a drain, 1 when the release cannot be served.

    begun: worker processes that load already.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop takes it
    arguments = parse(argv)
    sockets, asks = handed_sockets()
    try:
        release = releases.read(arguments.instance, arguments.release)
        tokens = auth.load(release.home)
        context = tls.load(release.home) if release.public else None
        release.secrets()  # absent ones are told here
        if arguments.listen:
            sockets.append(listen_tcp(*address(arguments.listen)))
        private = listen_unix(arguments.private) if arguments.private else None
    except (OSError, ValueError, KeyError) as error:
        say(f"cannot start: {type(error).__name__}: {error}")
        return 1
    try:
        allow_many_files()
        keep_memory()
        return _serve(lambda: Front(release, sockets, private, tokens, context, begun, asks))
    finally:
        if arguments.private:
            unlink_socket(arguments.private)


def _serve(make: Callable[[], Front]) -> int:
    try:
        front = make()
    except ValueError as error:
        say(f"cannot start: {error}")
        return 1
    return run(front.run())


def keep_memory() -> None:
    """Have glibc keep what a large body took: giving that back and taking it again cost 200 of
    360 microseconds a request of 240 kB. Other C libraries have no such setting."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(TOP_PAD, KEPT)


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def run(main: Any) -> int:
    """Like asyncio.run, on uvloop."""
    loop = uvloop.new_event_loop()
    try:
        code: int = loop.run_until_complete(main)
        return code
    finally:
        loop.close()


class Front:
    """One release being served."""

    def __init__(
        self,
        release: Release,
        public: list[socket.socket],
        private: socket.socket | None,
        tokens: tuple[auth.Token, ...] = (),
        context: ssl.SSLContext | None = None,
        begun: Iterable[Begun] = (),
        asks: Sequence[socket.socket] = (),
    ) -> None:
        scoring = release.scoring
        self.release = release
        self.public = public
        self.private = private
        self.asks = asks
        self.counts = Metrics(*labels(release))
        self.pipeline = Pipeline(release, self.counts, begun) if release.is_pipeline else None
        self.pool = self._pool(begun)
        self.reader = Reader(
            "json",
            model=release.model,
            version=str(release.version),
            said=declared(release, "inputs"),
        )
        self.access = AccessLog(str(scoring.get("access_log") or "errors"), about_us(release))
        cors = Cors(scoring.get("cors") or ())
        self.routes = Routes(release, self.pool, self.reader, self.counts, self.access, cors)
        self.routes.gauges, self.routes.counters = self.gauges, self.counters
        self.recorder = Recorder(release, self.counts, self.recorded)
        self.recorder.event("started", pid=os.getpid())
        if self.pipeline is not None:
            self.routes.check = self.pipeline.check
        admin = Admin(self.routes, self.serve, self.rest, self.state)
        admin.replace_tokens = self.replace_tokens
        admin.replace_certificate = self.replace_certificate
        self.shadow = Shadow(jobs.folder_of(release.instance_folder).parent, lambda: self.pool.held)
        admin.shadow, admin.shadowed = self.copy_to, self.shadow.report
        limits = Limits.read(int(scoring.get("max_body") or Limits().max_body))
        headers = fixed_headers(release)
        public_limits = for_public(limits, scoring)
        self.site = Site(self.routes.handle, self.routes.refuse, public_limits, headers)
        self.admin = Site(admin.handle, self.routes.refuse, limits, headers)
        every_peer = public_limits._replace(per_peer=0)
        self.asked = Site(self.routes.handle, self.routes.refuse, every_peer, headers)
        self.site.mark = self.admin.mark = self.asked.mark = self.routes.mark
        self.site.headers += cors.fixed
        self.guard = auth.Guard(
            self.site, tokens, self.routes.endpoint, cors.preflight, required=release.public
        )
        auth.Guard(self.asked, (), self.routes.endpoint, cors.preflight, required=False)
        self.routes.documents.secured = lambda: self.site.guarded
        self.context = context
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.accepting = False
        self.draining = False
        self._servers: list[asyncio.AbstractServer | tls.Door] = []

    def _pool(self, begun: Iterable[Begun]) -> Pool:
        """Whoever predicts: lanes of a pipeline, or processes that run the model."""
        if self.pipeline is not None:
            return self.pipeline.pool(self.counts)
        release = self.release
        return processes(release.launch(), Settings.read(release.scoring), self.counts, begun)

    async def run(self) -> int:
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stop.set)
        self._sweep()
        private = await self._listen_privately()
        stopping = self.loop.create_task(self.stop.wait())
        starting = self.loop.create_task(self._start())
        await asyncio.wait((stopping, starting), return_when=asyncio.FIRST_COMPLETED)
        code = await self._serve_until(stopping, starting)
        await self._end(private)
        return code

    async def _serve_until(self, stopping: asyncio.Task[Any], starting: asyncio.Task[None]) -> int:
        if not starting.done():  # told to end while the model is still loading
            starting.cancel()
            await asyncio.wait((starting,))
            return 0
        error = starting.exception()
        if error is not None:
            stopping.cancel()
            say(f"release {self.release.id} cannot be served: {error}")
            self.recorder.event("failed", error=str(error), traceback=self.pool.traceback[-4000:])
            return 1
        await stopping
        await self._drain()
        return 0

    # Starting

    async def _start(self) -> None:
        """Load the model, predict the sample, become ready."""
        if self.pipeline is not None:
            await self.pipeline.open(self.pool)
            self.routes.depth = self.pipeline.depth
        self.reader.take(await self.pool.start())
        await self._predict_sample()
        await self.pool.warm()
        self.routes.proven = True
        say(f"release {self.release.id} is ready")
        self.recorder.event("ready")
        if releases.is_current(self.release):
            await self._accept()
            self._go_on_copying()
        notify(f"READY=1\nSTATUS=Serving {self.release.model} version {self.release.version}")
        self._feed_watchdog()
        self.recorder.start()

    async def _predict_sample(self) -> None:
        """Score the sample as a request would be, and hold later requests to its shape."""
        body = self.release.sample
        if body is None:
            self.reader.learn(None)
            self._know_outputs([], None)
            return
        request = Request(b"POST", b"/score", {}, body)
        request.endpoint = "sample"
        answered: asyncio.Future[tuple[int, bytes]] = self.loop.create_future()
        request.connection = Capture(answered)
        try:
            seen: list[Outputs] = []
            asked = native.read(request, self.reader)
            self.reader.learn(asked.inputs)
            self.pool.sample = asked.inputs
            self.routes.predict_sample(asked, request, seen.append)
        except Refusal as refusal:
            raise LoadFailed(f"The sample is not usable: {refusal.sentence}") from refusal
        status, said = await answered
        if status != 200:
            raise LoadFailed(f"The sample was not predicted: {sentence(said)}")
        for outputs in seen:
            if self.pool.max_rows and not self.pool.solo:
                check_rows(asked.inputs, outputs)
            self._know_outputs(self.routes.outputs, outputs.json())

    def _know_outputs(
        self, tensors: Sequence[tuple[str, str, Sequence[int]]], predictions: Any
    ) -> None:
        """Complete the schema with what the sample gave and what is declared."""
        said = declared(self.release, "outputs")
        shown = decode(predictions) if predictions else None
        known = outputs_of(tensors, shown, said)
        self.reader.schema = self.reader.schema._replace(outputs=known)

    async def _listen_privately(self) -> asyncio.AbstractServer | None:
        if self.private is None:
            return None
        return await self.loop.create_unix_server(
            lambda: Connection(self.admin), sock=self.private, backlog=BACKLOG
        )

    async def _accept(self) -> None:
        if self.accepting or self.draining or not self.public:
            return
        self.accepting = True
        self.site.draining = self.asked.draining = False
        for sock in self.public:
            self._servers.append(await self._open(sock.dup()))
        for sock in self.asks:
            server = self.loop.create_unix_server(
                lambda: Connection(self.asked), sock=sock.dup(), backlog=BACKLOG
            )
            self._servers.append(await server)
        say("accepting")
        self.recorder.live(True)

    async def _open(self, sock: socket.socket) -> asyncio.AbstractServer | tls.Door:
        if self.context is not None:
            limits = self.site.limits
            seconds, closing = limits.header_seconds, limits.write_seconds
            return tls.Door(sock, self.context, self._connection, seconds, closing)
        return await self.loop.create_server(self._connection, sock=sock, backlog=BACKLOG)

    def _connection(self) -> Connection:
        return Connection(self.site)

    def serve(self) -> None:
        """Begin to answer the public: the order of `POST /admin/serve`."""
        self._accepting = self.loop.create_task(self._accept())

    # Orders

    def rest(self) -> None:
        """Accept no more and let go of who is here, ready to go on: `POST /admin/rest`."""
        self._close_doors()
        say("resting")
        self.recorder.live(False)

    def _close_doors(self) -> None:
        self.accepting = False
        self.routes.offer = None
        for server in self._servers:
            server.close()
        self._servers.clear()
        self.site.draining = self.asked.draining = True

    def copy_to(self, body: bytes) -> None:
        """The order of `POST /admin/shadow`: a release to send copies to, or {} for no more."""
        if body.strip() in (b"", b"{}"):
            self.routes.offer = None
            self.shadow.end()
            return
        self.shadow.begin(body)
        self.routes.offer = self.shadow.offer
        order = self.shadow.order
        assert order
        say(f"copies of {order.percent:g} % of the requests go to {order.release}")

    def _go_on_copying(self) -> None:
        """As it was before this front was started."""
        said = shadow_file.read(self.release.home)
        if said and said["release"] != self.release.id:
            with suppress(ValueError):
                self.copy_to(msgspec.json.encode(said))

    def replace_tokens(self, body: bytes) -> None:
        """The order of `POST /admin/tokens`. Raises ValueError and changes nothing."""
        tokens = auth.parse(body)
        self.guard.replace(tokens)
        say(f"{len(tokens)} tokens are valid now")

    def replace_certificate(self, body: bytes) -> None:
        """The order of `POST /admin/certificate`: for connections from now on."""
        if self.context is None:
            raise ValueError("This instance does not serve TLS.")
        self.context = tls.given(body) if body else tls.load(self.release.home)
        for server in self._servers:
            if isinstance(server, tls.Door):
                server.context = self.context
        say("the certificate was replaced")

    # While it runs

    def _sweep(self) -> None:
        for site in (self.site, self.asked, self.admin):
            site.sweep()
        self.access.flush()
        self.routes.readers.check(monotonic())
        self.loop.call_later(SWEEP, self._sweep)

    def _feed_watchdog(self) -> None:
        seconds = watchdog_seconds()
        if seconds is not None:
            notify("WATCHDOG=1")
            self.loop.call_later(seconds, self._feed_watchdog)

    def gauges(self) -> dict[str, int]:
        return {
            "connections": len(self._held()),
            "receiving_bytes": self.site.receiving + self.asked.receiving,
            "front_memory_bytes": metrics.resident(),
        }

    def counters(self) -> dict[str, int]:
        workers = {"worker_restarts": self.pool.restarts, "worker_recycles": self.pool.recycles}
        return {**workers, **self.shadow.counters()}

    def recorded(self) -> Now:
        """What the recorder asks for every ten seconds."""
        pids = (worker.pid for worker in self.pool.all_workers())
        waiting = len(self.pool.line)
        processes = (os.getpid(), *filter(None, pids))
        return Now(processes, waiting, self.pool.restarts, self.pool.recycles)

    def state(self) -> dict[str, Any]:
        pool = self.pool
        return {
            "release": self.release.id,
            "version": self.release.version,
            "model": self.release.model,
            "ready": self.routes.ready,
            "accepting": self.accepting,
            "asked": bool(self.asks),
            "draining": self.draining,
            "pid": os.getpid(),
            "workers": [
                {"pid": one.pid, "state": one.state, "restarts": one.restarts}
                for one in pool.workers
            ],
            "started": self.started,
            "requests": self.counts.answered,
            "takes": round(max(self.recorder.takes, pool.line.waited), 3),
            "error": pool.error,
            "traceback": pool.traceback,
            "schema": self.reader.schema.as_json(),
        }

    # Ending

    async def _drain(self) -> None:
        """Stop accepting, answer what is held, wait for the connections to end."""
        notify("STOPPING=1")
        self.draining = True
        say("draining")
        self.recorder.event("draining")
        doors = [server for server in self._servers if isinstance(server, tls.Door)]
        self._close_doors()
        limit = self.loop.time() + LONGEST_DRAIN
        await asyncio.sleep(SETTLE)
        await self._let_in(doors)
        while (self._held() or self.routes.jobs.busy) and self.loop.time() < limit:
            await asyncio.sleep(0.02)
        if held := self._held():
            say(f"{len(held)} connections were cut after {LONGEST_DRAIN:g} s")

    def _held(self) -> list[Connection]:
        """The connections of the port and of pipelines."""
        return [*self.site.connections, *self.asked.connections]

    async def _let_in(self, doors: Sequence[tls.Door]) -> None:
        """Give TLS handshakes that were begun a moment to become connections."""
        limit = self.loop.time() + self.site.limits.drain_first_seconds
        while any(door.shaking for door in doors) and self.loop.time() < limit:
            await asyncio.sleep(0.02)

    async def _end(self, private: asyncio.AbstractServer | None) -> None:
        if private is not None:
            private.close()
        for connection in (*self._held(), *self.admin.connections):
            connection.transport.abort()
        self.routes.readers.close()
        await self.routes.jobs.close()
        await self.shadow.close()
        await self.recorder.close()  # while there are workers to look at
        await self.pool.close()
        if self.pipeline is not None:
            await self.pipeline.close()
        self.access.flush()
        say("ended")


def check_rows(inputs: Inputs, outputs: Outputs) -> None:
    """Raise LoadFailed when requests that are joined could not be told apart again."""
    if inputs.signature is None or outputs.rows in (None, inputs.rows):
        return
    raise LoadFailed(
        f"The sample has {counted(inputs.rows, 'row')}, but its answer has "
        f"{counted(outputs.rows or 0, 'row')}. Requests are joined into batches, so predict must "
        "give one for each. Correct it, or set batch = false under [predict]."
    )


def counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def sentence(body: bytes) -> str:
    """A native error in one line."""
    return " ".join(filter(None, decode(body)["error"].values()))


class Capture:
    """Stands in for a connection when we ask ourselves."""

    def __init__(self, answered: asyncio.Future[tuple[int, bytes]]) -> None:
        self.answered = answered

    def send(self, request: Request, status: int, body: bytes, kind: bytes, extra: bytes) -> None:
        self.answered.set_result((status, body))


def declared(release: Release, side: str) -> dict[str, Any]:
    """What `[schema]` says of the inputs or the outputs."""
    said = (release.scoring.get("schema") or {}).get(side)
    return dict(said or {})


def fixed_headers(release: Release) -> bytes:
    """What every answer says about who gave it."""
    name = release.id.encode("ascii", "replace")
    return b"X-Model-Version: %d\r\nX-Release: %b\r\n" % (release.version, name)


def for_public(limits: Limits, scoring: dict[str, Any]) -> Limits:
    """Those of the public socket: how many may come, and how many from one place."""
    most = int(scoring.get("max_connections") or 1000)
    each = max(20, most // 4) if scoring.get("expose") == "public" else 0
    return limits._replace(connections=most, per_peer=each)


def about_us(release: Release) -> dict[str, Any]:
    """What every line of the access log says about who answered."""
    return {"release": release.id, "model": release.model, "version": release.version}


def labels(release: Release) -> tuple[dict[str, str], dict[str, str]]:
    """The labels of every metric, and those of `rhythmicml_model_info`."""
    model = {"model": release.model, "version": str(release.version)}
    every = {"instance": release.instance, **model}
    about = {**model, "sha256": release.digest}
    return every, {**about, "lock_sha256": release.environment, "python": release.python}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
