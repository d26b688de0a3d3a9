"""The front of an instance: listens, has rows predicted by workers, tells systemd, drains.

It never runs the model's code. See docs/design.md, "The scoring program".
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from . import release as releases
from .batching import LoadFailed, Pool, say
from .errors import Refusal
from .http import Connection, Limits, Request, Site
from .inputs import Reader
from .metrics import Metrics
from .notify import handed_sockets, notify, watchdog_seconds
from .outputs import Outputs
from .protocols import decode, native, oip
from .release import Release
from .routes import Admin, Routes
from .schema import outputs_of
from .sockets import BACKLOG, listen_tcp, listen_unix, unlink_socket

SWEEP = 0.25
SETTLE = 0.1
"""Seconds for connections that were accepted a moment before to be known to us."""
LONGEST_DRAIN = 30.0


def main(argv: Sequence[str]) -> int:
    """Run until told to end: 0 after a drain, 1 when the release cannot be served."""
    arguments = parse(argv)
    sockets = handed_sockets()
    try:
        release = releases.read(arguments.instance, arguments.release)
        if arguments.listen:
            sockets.append(listen_tcp(*address(arguments.listen)))
        private = listen_unix(arguments.private) if arguments.private else None
    except (OSError, ValueError, KeyError) as error:
        say(f"cannot start: {type(error).__name__}: {error}")
        return 1
    allow_many_files()
    try:
        return run(Front(release, sockets, private).run())
    finally:
        if arguments.private:
            unlink_socket(arguments.private)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="front", description=__doc__)
    parser.add_argument("--instance", type=Path, required=True, help="the instance's folder")
    parser.add_argument("--release", default="current", help="its id, or current")
    parser.add_argument("--private", type=Path, help="path of the private socket")
    parser.add_argument("--listen", help="host:port, when no socket is handed over")
    return parser.parse_args(argv)


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


def allow_many_files() -> None:
    """Take as many open connections as the system lets us."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):
        pass


class Front:
    """One release being served."""

    def __init__(
        self, release: Release, public: list[socket.socket], private: socket.socket | None
    ) -> None:
        scoring = release.scoring
        self.release = release
        self.public = public
        self.private = private
        self.counts = Metrics(*labels(release))
        self.pool = Pool(
            release.launch(),
            workers=max(1, int(scoring.get("workers") or 1)),
            max_rows=release.max_rows,
            timeout=float(scoring.get("timeout") or 30.0),
            metrics=self.counts,
        )
        self.reader = Reader(
            "json",
            model=release.model,
            version=str(release.version),
            said=declared(release, "inputs"),
        )
        self.routes = Routes(release, self.pool, self.reader, self.counts)
        admin = Admin(self.routes, self.serve, self.state)
        limits = Limits.read(int(scoring.get("max_body") or Limits().max_body))
        headers = fixed_headers(release)
        self.site = Site(self.routes.handle, self.routes.refuse, limits, headers)
        self.admin = Site(admin.handle, self.routes.refuse, limits, headers)
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.accepting = False
        self.draining = False
        self._servers: list[asyncio.AbstractServer] = []

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
            return 1
        await stopping
        await self._drain()
        return 0

    # Starting

    async def _start(self) -> None:
        """Load the model, predict the sample, become ready."""
        workers = self.pool.workers
        kind = await self.pool.start(workers[0])
        self.reader.take(kind)
        await self._predict_sample()
        await asyncio.gather(*(self.pool.start(worker) for worker in workers[1:]))
        self.routes.proven = True
        say(f"release {self.release.id} is ready")
        if releases.is_current(self.release):
            await self._accept()
        notify(f"READY=1\nSTATUS=Serving {self.release.model} version {self.release.version}")
        self._feed_watchdog()

    async def _predict_sample(self) -> None:
        """Score the sample as a request would be, and hold later requests to its shape."""
        body = self.release.sample
        if body is None:
            self.reader.learn(None)
            self._know_outputs([], None)
            return
        request = Request(b"POST", b"/score", {}, body)
        answered: asyncio.Future[tuple[int, bytes]] = self.loop.create_future()
        request.connection = Capture(answered)
        try:
            asked = native.read(body, self.reader)
            self.reader.learn(asked.inputs)
            seen: list[Outputs] = []
            self.routes.predict(asked._replace(write=partial(keep, seen, asked.write)), request)
        except Refusal as refusal:
            raise LoadFailed(f"The sample is not usable: {refusal.sentence}") from refusal
        status, said = await answered
        if status != 200:
            raise LoadFailed(f"The sample was not predicted: {said.decode()}")
        for outputs in seen:
            tensors = [
                (name, code, shape[1:]) for name, code, shape, _ in outputs.tensors(oip.NAME)
            ]
            self._know_outputs(tensors, outputs.json())

    def _know_outputs(self, tensors: list[tuple[str, str, list[int]]], predictions: Any) -> None:
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
        for sock in self.public:
            server = await self.loop.create_server(
                lambda: Connection(self.site), sock=sock, backlog=BACKLOG
            )
            self._servers.append(server)
        say("accepting")

    def serve(self) -> None:
        """Begin to answer the public: the order of `POST /admin/serve`."""
        self._accepting = self.loop.create_task(self._accept())

    # While it runs

    def _sweep(self) -> None:
        self.site.sweep()
        self.admin.sweep()
        self.loop.call_later(SWEEP, self._sweep)

    def _feed_watchdog(self) -> None:
        seconds = watchdog_seconds()
        if seconds is not None:
            notify("WATCHDOG=1")
            self.loop.call_later(seconds, self._feed_watchdog)

    def state(self) -> dict[str, Any]:
        pool = self.pool
        return {
            "release": self.release.id,
            "version": self.release.version,
            "model": self.release.model,
            "ready": self.routes.ready,
            "accepting": self.accepting,
            "draining": self.draining,
            "pid": os.getpid(),
            "workers": [
                {"pid": one.pid, "state": one.state, "restarts": one.restarts}
                for one in pool.workers
            ],
            "started": self.started,
            "requests": self.counts.answered,
            "error": "" if self.routes.ready else pool.error,
            "schema": self.reader.schema.as_json(),
        }

    # Ending

    async def _drain(self) -> None:
        """Stop accepting, answer what is held, wait for the connections to end."""
        notify("STOPPING=1")
        self.draining = True
        self.accepting = False
        say("draining")
        for server in self._servers:
            server.close()
        self.site.draining = True
        limit = self.loop.time() + LONGEST_DRAIN
        await asyncio.sleep(SETTLE)
        while self.site.connections and self.loop.time() < limit:
            await asyncio.sleep(0.02)
        if self.site.connections:
            say(f"{len(self.site.connections)} connections were cut after {LONGEST_DRAIN:g} s")

    async def _end(self, private: asyncio.AbstractServer | None) -> None:
        if private is not None:
            private.close()
        for connection in (*self.site.connections, *self.admin.connections):
            connection.transport.abort()
        await self.pool.close()
        say("ended")


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


def keep(seen: list[Outputs], write: Callable[[Outputs], bytes], outputs: Outputs) -> bytes:
    """Write an answer, and keep what it was made of."""
    seen.append(outputs)
    return write(outputs)


def fixed_headers(release: Release) -> bytes:
    """What every answer says about who gave it."""
    name = release.id.encode("ascii", "replace")
    return b"X-Model-Version: %d\r\nX-Release: %b\r\n" % (release.version, name)


def labels(release: Release) -> tuple[dict[str, str], dict[str, str]]:
    """The labels of every metric, and those of `rhythmicml_model_info`."""
    model = {"model": release.model, "version": str(release.version)}
    every = {"instance": release.instance, **model}
    about = {**model, "sha256": release.digest}
    return every, {**about, "lock_sha256": release.environment, "python": release.python}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
