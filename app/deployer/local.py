"""The link to an agent on this machine: a subprocess, or (within.py) threads of ours."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from app import portable, scratch
from app.deployer.agent.fronts import dial
from app.deployer.link import PATIENCE, Address, Lost
from app.deployer.starting import compiled, local_command, start_agent
from app.errors import Problem, Unreachable


class Pipes:
    """The bytes to and from an agent on this machine."""

    def __init__(self, to: IO[bytes], from_: IO[bytes]) -> None:
        self.place = "This machine"
        self.patience = PATIENCE
        self._input, self._output = to, from_

    def read(self, size: int) -> bytes:
        try:
            if not portable.readable(self._output.fileno(), self.patience):
                raise TimeoutError
            return os.read(self._output.fileno(), size)
        except ValueError as error:
            raise Lost from error

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._input.write(view) or 0 :]
        except (OSError, ValueError) as error:
            raise Lost from error

    def end_input(self) -> None:
        with contextlib.suppress(OSError):
            self._input.close()

    def dial(self, address: Address) -> socket.socket:
        try:
            if isinstance(address, tuple):
                peer = socket.create_connection(address, 10)
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return peer
            return dial(Path(address))
        except OSError as error:
            raise Unreachable(f'"{address}" on this machine does not answer.') from error


class LocalLink(Pipes):
    """Runs the agent in a session of its own, so that Ctrl-C in the terminal reaches only us."""

    def __init__(self) -> None:
        refuse_windows()
        self._said = tempfile.TemporaryFile(dir=scratch.folder())  # noqa: SIM115
        self._process = subprocess.Popen(
            local_command("local"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        super().__init__(self._process.stdin, self._process.stdout)

    def start(self, base: str, silence: float, request: bytes) -> None:
        start_agent(self, base, silence, request, compiled())

    def close(self) -> None:
        """Wait for the agent's end; bring it about when it does not come."""
        self.end_input()
        self._end_process()
        self._output.close()
        self._said.close()

    def _end_process(self) -> int:
        try:
            return self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def ending(self) -> Problem:
        return Unreachable(
            "The agent on this machine ended unexpectedly.",
            cause=f"exit status {self._end_process()}",
            detail=self._last_words(),
        )

    def _last_words(self) -> str:
        if self._said.closed:
            return ""
        self._said.seek(0)
        return self._said.read()[-4096:].decode("utf-8", "replace").strip()


def refuse_windows() -> None:
    if sys.platform == "win32":
        raise Problem(
            "Nothing can be deployed to this machine: it runs Windows.",
            cause="The agent, the scoring program and who keeps it alive need Linux.",
            remedy="Deploy to a Linux server: rhythmicml location add NAME ssh://USER@HOST",
        )
