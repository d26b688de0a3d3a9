"""A real sshd on a loopback port, with throwaway keys."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")
USER = pwd.getpwuid(os.getuid()).pw_name


def make_key(path: Path, kind: str = "ed25519", phrase: str = "", *options: str) -> Path:
    """A key pair at `path` and `path`.pub."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", str(path), *options]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def fingerprint(path: Path) -> str:
    command = ["ssh-keygen", "-l", "-E", "sha256", "-f", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Sshd:
    """One server. Options are lines of its configuration, put first so that they win."""

    def __init__(
        self, folder: Path, *options: str, host_key: Path | None = None, port: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.host_key = host_key or make_key(folder / "host")
        self.authorized = folder / "authorized_keys"
        self.authorized.touch()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"ssh://{USER}@127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        return f"[127.0.0.1]:{self.port}"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.host_key.with_suffix(".pub"))

    def admit(self, key: Path) -> None:
        with self.authorized.open("a") as file:
            file.write(key.with_name(key.name + ".pub").read_text())

    def start(self) -> Sshd:
        lines = [
            *self.options,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.host_key}",
            f"AuthorizedKeysFile {self.authorized}",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PidFile none",
            "LogLevel DEBUG1",
            "MaxStartups 100",
            "Subsystem sftp internal-sftp",
        ]
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        assert SSHD
        command = [SSHD, "-f", str(config), "-D", "-E", str(self.folder / "log")]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self._wait()
        return self

    def _wait(self) -> None:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def children(self) -> list[int]:
        """The processes of sshd that serve connections; one or two each."""
        assert self.process
        below = psutil.Process(self.process.pid).children(recursive=True)
        return [each.pid for each in below if each.name().startswith("sshd")]

    def cut(self) -> None:
        """End all connections at once; one that ends takes its helper along."""
        for pid in self.children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Sshd:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
