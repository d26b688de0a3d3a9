"""Does systemd's part where there is none to use: one small process per instance.

It holds the listening sockets, of the port and of `<base>/ask/<instance>.sock`, so that connections
wait while a front is replaced; starts fronts with LISTEN_FDS, restarts those that die, and takes
orders as JSON lines on `run/keeper.sock`:

    {"do": "start", "release": id}   {"do": "stop", "release": id, "after": seconds}
    {"do": "status"}                 {"do": "quit"}

"stop" and "quit" are answered when what they stop has drained and ended; a "start" of what is
still stopping waits for that. A stop "after" some seconds is answered at once; a "start" calls it
off.

Standard library only. Whoever starts it reads one line from its stdout: {"port", "pid"}, or
{"error"}, after which it exits with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from . import shadow_file
from .notify import ASK, FIRST_FD
from .sockets import listen_tcp, listen_unix, unlink_socket

FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0
STEADY = 30.0  # a front that ran this long starts over with the first delay
PATIENCE = 35.0  # for a front to drain before it is killed
LOG_SIZE = 10 * 1024 * 1024
LOOK = 0.05
TIDY = 60.0
FDS = (FIRST_FD, FIRST_FD + 1)
"""The port's socket, and the one that pipelines ask."""


def main(argv: Sequence[str]) -> int:
    """Keep the fronts of one instance until told to quit."""
    arguments = parse(argv)
    instance = Path(os.path.abspath(arguments.instance))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        reserve(FDS)
        lock = take_lock(instance / "run")
        sock = as_fd(FDS[0], listen_tcp(arguments.host, arguments.port))
        ask = as_fd(FDS[1], listen_unix(asked_at(instance)))
        orders = listen_unix(instance / "run" / "keeper.sock")
    except OSError as error:
        where = f"{arguments.host}:{arguments.port}"
        tell({"error": f"Cannot keep {instance.name} on {where}: {error.strerror or error}"})
        return 1
    port = sock.getsockname()[1]
    tell({"port": port, "pid": os.getpid()})
    leave_stdout()
    try:
        asyncio.run(Keeper(instance, port, orders, arguments.host).run())
    finally:
        unlink_socket(asked_at(instance))
        ask.close()
        os.close(lock)
    return 0


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="keeper", description=__doc__)
    parser.add_argument("--instance", type=Path, required=True, help="the instance's folder")
    parser.add_argument("--port", type=int, required=True, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1")
    return parser.parse_args(argv)


def take_lock(folder: Path) -> int:
    """Be the only keeper of this instance; raises OSError when there is another."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "keeper.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OSError("another keeper is running") from None
    return lock


def asked_at(instance: Path) -> Path:
    """Where pipelines of this base folder ask the instance."""
    return instance.parent.parent / "ask" / f"{instance.name}.sock"


def reserve(fds: Sequence[int]) -> None:
    """See that nothing of ours becomes a file that LISTEN_FDS says is a socket."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in set(fds) - {nothing}:
        os.dup2(nothing, fd, inheritable=False)
    if nothing not in fds:
        os.close(nothing)


def as_fd(fd: int, sock: socket.socket) -> socket.socket:
    """The same socket as that file."""
    os.dup2(sock.fileno(), fd, inheritable=False)
    sock.close()
    return socket.socket(fileno=fd)


def tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def leave_stdout() -> None:
    """Let go of what we were started with, so that nobody waits for our end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(nothing, fd)
    os.close(nothing)


class Front:
    """One front process, as its keeper knows it."""

    def __init__(self, instance: Path, release: str) -> None:
        self.instance = instance
        self.release = release
        self.process: subprocess.Popen[bytes] | None = None
        self.restarts = 0
        self.exit: int | None = None
        self.stopping = False
        self.delay = FIRST_DELAY
        self.due = 0.0  # when to start (again)
        self.started = 0.0
        self.killed_at = 0.0
        self.stop_at = math.inf

    @property
    def log(self) -> Path:
        return self.instance / "log" / f"{self.release}.log"

    def start(self) -> None:
        """Raises OSError when the release has no runtime to run."""
        runtime = self.instance / "releases" / self.release / "runtime"
        self.started = time.monotonic()
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        rotate(self.log)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self._command(runtime),
                env={**os.environ, "LISTEN_FDS": str(len(FDS)), "LISTEN_FDNAMES": f"port:{ASK}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=FDS,
                preexec_fn=end_with_parent,
            )

    def _command(self, runtime: Path) -> list[str]:
        private = self.instance / "run" / f"{self.release}.sock"
        return [
            *(str(runtime / "env" / "bin" / "python"), "-I", str(runtime / "program"), "front"),
            *("--instance", str(self.instance), "--release", self.release),
            *("--private", str(private)),
        ]

    def stop(self) -> None:
        """Ask it to drain and end; asking twice changes nothing."""
        if self.stopping:
            return
        self.stopping = True
        self.killed_at = time.monotonic() + PATIENCE
        if self.process is not None:
            self.process.terminate()

    def look(self, now: float) -> None:
        """Notice its end, start or stop it when that is due, kill it when it does not stop."""
        if now >= self.stop_at:
            self.stop()
        if self.process is not None:
            self._notice_end(now)
        elif not self.stopping and now >= self.due:
            self._start_or_wait(now)

    def _notice_end(self, now: float) -> None:
        assert self.process is not None
        code = self.process.poll()
        if code is None:
            if self.stopping and now > self.killed_at:
                self.process.kill()
            return
        self.process, self.exit = None, code
        if not self.stopping:
            self._wait(now)

    def _start_or_wait(self, now: float) -> None:
        try:
            self.start()
        except OSError as error:
            self.exit = 127
            with open(self.log, "a", encoding="utf-8") as log:
                print(f"keeper: cannot start the front: {error}", file=log)
            self._wait(now)

    def _wait(self, now: float) -> None:
        self.delay = FIRST_DELAY if now - self.started > STEADY else self.delay
        self.due = now + self.delay
        self.delay = min(self.delay * 2, LONGEST_DELAY)
        self.restarts += 1

    @property
    def gone(self) -> bool:
        return self.stopping and self.process is None

    def status(self) -> dict[str, Any]:
        pid = self.process.pid if self.process else None
        return {"pid": pid, "restarts": self.restarts, "exit": self.exit, "stopping": self.stopping}


class Keeper:
    """The fronts of one instance, and the orders about them."""

    def __init__(
        self, instance: Path, port: int, orders: socket.socket, host: str = "127.0.0.1"
    ) -> None:
        self.instance = instance
        self.port = port
        self.host = host
        self.orders = orders
        self.fronts: dict[str, Front] = {}
        self.quitting = False
        self._tidied = time.monotonic()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._quit)
        server = await asyncio.start_unix_server(self._talk, sock=self.orders)
        self._start_current()
        while not (self.quitting and not self.fronts):
            self._look()
            await asyncio.sleep(LOOK)
        await asyncio.sleep(2 * LOOK)  # for the answer to "quit" to leave
        server.close()
        unlink_socket(self.instance / "run" / "keeper.sock")

    def _start_current(self) -> None:
        """After a crash or a reboot: what was in production comes back."""
        try:
            name = Path(os.readlink(self.instance / "releases" / "current")).name
        except OSError:
            return
        self._start(name)
        if beside := shadow_file.read(self.instance):
            self._start(str(beside["release"]))

    def _look(self) -> None:
        now = time.monotonic()
        for front in self.fronts.values():
            front.look(now)
        self._forget_gone()
        if now - self._tidied > TIDY:
            self._tidied = now
            for front in self.fronts.values():
                rotate(front.log)

    def _forget_gone(self) -> None:
        self.fronts = {name: front for name, front in self.fronts.items() if not front.gone}

    # Orders

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer line for each order line."""
        try:
            while True:
                line = await reader.readline()
                if not line:
                    break
                writer.write(json.dumps(await self._obey(line)).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _obey(self, line: bytes) -> dict[str, Any]:
        """The answer to an order, once it has been carried out."""
        try:
            order = json.loads(line)
            do = self._order(str(order["do"]))
            return await do(order)
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"This order is not understood: {error}"}

    def _order(self, name: str) -> Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]:
        return {
            "start": self._on_start,
            "stop": self._on_stop,
            "status": self._on_status,
            "quit": self._on_quit,
        }[name]

    async def _on_start(self, order: dict[str, Any]) -> dict[str, Any]:
        release = str(order["release"])
        front = self.fronts.get(release)
        if front is not None and front.stopping:
            await self._gone(front)
        return self._start(release)

    async def _on_stop(self, order: dict[str, Any]) -> dict[str, Any]:
        front = self.fronts.get(str(order["release"]))
        if front is not None and order.get("after"):
            front.stop_at = time.monotonic() + float(order["after"])
        elif front is not None:
            front.stop()
            await self._gone(front)
        return {"ok": True}

    async def _on_status(self, order: dict[str, Any]) -> dict[str, Any]:
        fronts = {release: front.status() for release, front in self.fronts.items()}
        return {"port": self.port, "host": self.host, "pid": os.getpid(), "fronts": fronts}

    async def _on_quit(self, order: dict[str, Any]) -> dict[str, Any]:
        fronts = list(self.fronts.values())
        self._quit()
        for front in fronts:
            await self._gone(front)
        return {"ok": True}

    async def _gone(self, front: Front) -> None:
        while not front.gone:
            await asyncio.sleep(LOOK)
        self._forget_gone()

    def _start(self, release: str) -> dict[str, Any]:
        if self.quitting or Path(release).name != release:
            return {"error": f"{release} cannot be started."}
        front = self.fronts.get(release)
        if not (self.instance / "releases" / release / "release.json").is_file():
            return {"error": f"There is no release {release}."}
        if front is None:
            front = self.fronts[release] = Front(self.instance, release)
            front.look(time.monotonic())
        elif front.process is not None:
            front.restarts, front.exit = 0, None
        front.stop_at = math.inf
        return {"ok": True, **front.status()}

    def _quit(self) -> None:
        self.quitting = True
        for front in self.fronts.values():
            front.stop()


def rotate(log: Path) -> None:
    """Keep a log small: past 10 MB its end becomes `<name>.1` and it starts over.

    It is emptied in place, for the process that has it open for appending.
    """
    try:
        if log.stat().st_size <= LOG_SIZE:
            return
        with open(log, "rb+") as current:
            current.seek(-LOG_SIZE // 2, os.SEEK_END)
            log.with_name(log.name + ".1").write_bytes(current.read())
            current.truncate(0)
    except OSError:
        pass


def _libc() -> Any:
    try:
        import ctypes

        return ctypes.CDLL(None)
    except (ImportError, OSError):
        return None


LIBC = _libc() if sys.platform == "linux" else None


def end_with_parent() -> None:
    """In the child, before it runs: Linux shall have it drain when its keeper dies."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGTERM)
