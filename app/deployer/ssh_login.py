"""Log in to an SSH server: which keys are tried, in which order, and what is asked for.

The server counts our tries (MaxAuthTries, 6 by default), so with a chosen identity only that one is
tried. What was tried, and why it did not do, is in the Refused that is raised in the end.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
from paramiko.ssh_exception import (
    AuthenticationException,
    BadAuthenticationType,
    PasswordRequiredException,
    SSHException,
)

from app.deployer.keychain import Ask
from app.deployer.ssh_config import Target
from app.deployer.ssh_keys import KeyFile, read_key_file
from app.errors import Refused

DEAD_AFTER = 20.0
"""Seconds of silence after which the system gives a connection up; it looks closed then."""

DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")
MOST_KEYS = 4
MOST_PHRASES = 3
KEY_CLASSES: dict[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": paramiko.RSAKey,
}


class Unfit(Exception):
    """A key that cannot be used; the text says why."""


class Login:
    """One login; `tried` tells what was attempted and how it went."""

    def __init__(self, transport: paramiko.Transport, target: Target, ask: Ask | None) -> None:
        self.transport = transport
        self.target = target
        self.ask = ask
        self.tried: list[str] = []
        self.allowed = ["publickey", "password"]
        self.offered = 0

    def run(self) -> None:
        """Return when we are in. Raises Refused."""
        if self._without_any() or self._with_keys() or self._with_password():
            return
        raise self._refused()

    def _refused(self) -> Refused:
        wrong = "password: not accepted" in self.tried
        check = "Check the user's name and the password. Or add" if wrong else "Add"
        return Refused(
            f"{self.target.place} did not let us in.",
            cause="; ".join(self.tried) or "there was no key to try",
            detail=f"The server allows: {', '.join(self.allowed)}.",
            remedy=f"{check} your public key there (ssh-copy-id -p {self.target.port} "
            f"{self.target.user}@{self.target.host}), or choose another private key (--identity).",
        )

    def _without_any(self) -> bool:
        """Some servers want nothing; all others say what they allow."""
        try:
            self.transport.auth_none(self.target.user)
        except BadAuthenticationType as error:
            self.allowed = error.allowed_types
            return False
        return True

    # Keys

    def _with_keys(self) -> bool:
        if "publickey" not in self.allowed:
            return False
        with agent_keys() as held:
            for name, load in self._candidates(held):
                if "publickey" not in self.allowed:
                    break
                if self.offered == MOST_KEYS:
                    self.tried.append("no more keys were tried, the server counts them")
                    break
                if self._with_key(name, load):
                    return True
        return False

    def _candidates(
        self, held: dict[bytes, paramiko.AgentKey]
    ) -> Iterator[tuple[str, Callable[[], paramiko.PKey]]]:
        """Names of keys and how to load them: the chosen ones, else agent and default files."""
        files = self.target.identities or default_files()
        if not self.target.only_identities:
            for key in held.values():
                yield f"agent key {key.fingerprint}", lambda key=key: key  # type: ignore[misc]
        for path in files:
            yield f'key "{path}"', lambda path=path: self._load(path, held)  # type: ignore[misc]

    def _with_key(self, name: str, load: Callable[[], paramiko.PKey]) -> bool:
        try:
            key = load()
        except Unfit as why:
            self.tried.append(f"{name}: {why}")
            return False
        self.offered += 1
        return self._accepts(name, lambda: self.transport.auth_publickey(self.target.user, key))

    def _accepts(self, name: str, attempt: Callable[[], list[str]]) -> bool:
        began = time.monotonic()
        try:
            wanted_too = attempt()
        except (AuthenticationException, SSHException) as error:
            silent = min(self.transport.auth_timeout, DEAD_AFTER - 1)
            if time.monotonic() - began >= silent:
                raise TimeoutError from error  # silence is no refusal
            if not self.transport.is_active():
                self.tried.append(f"{name}: the server closed the connection")
                raise self._refused() from error
            self.tried.append(f"{name}: not accepted")
            return False
        if wanted_too:
            self.tried.append(f"{name}: accepted, but {', '.join(wanted_too)} is wanted too")
            self.allowed = wanted_too
        return not wanted_too

    def _load(self, path: Path, held: dict[bytes, paramiko.AgentKey]) -> paramiko.PKey:
        file = read_file(path)
        if file.public in held:
            return held[file.public]
        if not file.encrypted:
            return parse(path, file, None)
        for _ in range(MOST_PHRASES):
            phrase = self.ask(f"Passphrase of {path}") if self.ask else None
            if phrase is None:
                raise Unfit("its passphrase was not given")
            with contextlib.suppress(SSHException, ValueError):
                return parse(path, file, phrase)
        raise Unfit("the passphrase is wrong")

    # Passwords

    def _with_password(self) -> bool:
        ways = {"password": self._password, "keyboard-interactive": self._interactive}
        way = next((way for name, way in ways.items() if name in self.allowed), None)
        if way is None:
            return False
        password = self.ask(f"Password of {self.target.place}") if self.ask else None
        if password is None:
            self.tried.append("password: none was given")
            return False
        return self._accepts("password", lambda: way(password))

    def _password(self, password: str) -> list[str]:
        return self.transport.auth_password(self.target.user, password, fallback=False)

    def _interactive(self, password: str) -> list[str]:
        """Servers that ask through PAM ask one hidden question: the password."""

        def answers(title: str, text: str, prompts: list[tuple[str, bool]]) -> list[str]:
            return ["" if shown else password for _, shown in prompts]

        return self.transport.auth_interactive(self.target.user, answers)


@contextlib.contextmanager
def agent_keys() -> Iterator[dict[bytes, paramiko.AgentKey]]:
    """The keys of the SSH agent by their public blobs; none when its socket is not there."""
    if os.name == "posix" and not Path(os.environ.get("SSH_AUTH_SOCK", "")).is_socket():
        yield {}
        return
    with contextlib.closing(paramiko.Agent()) as agent:
        yield {key.asbytes(): key for key in agent.get_keys()}


def default_files() -> list[Path]:
    folder = Path("~/.ssh").expanduser()
    return [folder / name for name in DEFAULTS if (folder / name).is_file()]


def read_file(path: Path) -> KeyFile:
    try:
        return read_key_file(path)
    except OSError as error:
        raise Unfit(os.strerror(error.errno or 0)) from error
    except ValueError as error:
        raise Unfit(str(error)) from error


def with_certificate(key: paramiko.PKey, path: Path) -> paramiko.PKey:
    """The key, with the certificate that lies beside it, if one does."""
    certificate = path.with_name(path.name + "-cert.pub")
    if certificate.is_file():
        key.load_certificate(str(certificate))
    return key


def parse(path: Path, file: KeyFile, phrase: str | None) -> paramiko.PKey:
    """The private key. Wrong phrases raise SSHException or ValueError, as do broken files."""
    kind = KEY_CLASSES.get(file.kind, paramiko.ECDSAKey)
    try:
        return with_certificate(kind.from_private_key_file(str(path), phrase), path)
    except PasswordRequiredException as error:
        raise Unfit("its passphrase was not given") from error
    except (SSHException, ValueError, TypeError) as error:
        if phrase is not None:
            raise SSHException("wrong passphrase") from error
        raise Unfit("it cannot be read") from error
