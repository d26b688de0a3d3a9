"""Where `ssh://user@host:port` leads, with what ~/.ssh/config says about it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from app.deployer.trust import host_name
from app.errors import Problem

if TYPE_CHECKING:
    from paramiko import SSHConfig

HOPS = 8
PASSWORD = re.compile(r"((?:^|//)[^/:@]*):[^@]*@")
HOST = re.compile(r"[A-Za-z0-9_.:%\-]{1,255}|[^\x00-\x7f]+")
USER_FORBIDS = re.compile(r"""['`"$\\;&<>|(){}\s\x00-\x1f\x7f]""")


@dataclass(frozen=True)
class Url:
    """What the person wrote. Empty or 0: not said."""

    host: str
    user: str = ""
    port: int = 0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            "ssh://"
            + (f"{self.user}@" if self.user else "")
            + host
            + (f":{self.port}" if self.port else "")
        )


@dataclass(frozen=True)
class Target:
    """One SSH server to connect to. alias: the name its host key is stored under, if another."""

    host: str
    port: int
    user: str
    identities: tuple[Path, ...] = ()
    only_identities: bool = False
    alias: str = ""

    @property
    def place(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"

    @property
    def known_as(self) -> str:
        return self.alias.lower() or host_name(self.host, self.port)


def parse_url(text: str) -> Url:
    """`ssh://user@host:port`, `user@host` or `host`, checked by OpenSSH's rules."""
    try:
        parts = urlsplit(text if "://" in text else f"ssh://{text}")
        host, port = parts.hostname or "", parts.port or 0
    except ValueError:
        raise bad_url(text, "host or port cannot be read") from None
    if parts.scheme != "ssh":
        raise bad_url(text, f'"{parts.scheme}" is not ssh')
    if parts.password is not None:
        raise bad_url(text, "a password has no place in an address")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise bad_url(text, "nothing may follow the port")
    user = unquote(parts.username or "")
    if not valid_host(host):
        raise bad_url(text, f'"{host}" is not a host name')
    if not valid_user(user):
        raise bad_url(text, f'"{user}" is not a user name')
    return Url(host, user, port)


def valid_host(host: str) -> bool:
    return not host.startswith("-") and HOST.fullmatch(host) is not None


def valid_user(user: str) -> bool:
    """Empty is valid: it was not said."""
    return not user.startswith("-") and USER_FORBIDS.search(user) is None


def bad_url(text: str, cause: str) -> Problem:
    shown = PASSWORD.sub(r"\1:…@", text)
    return Problem(
        f'"{shown}" is not an address of an SSH server.',
        cause=cause,
        remedy="Write it like ssh://ana@server.example.com:22.",
    )


def route(url: Url, identity: str = "", config: Path | None = None) -> list[Target]:
    """The servers to go through, the last one being the one that is meant."""
    rules = read_config(config or Path("~/.ssh/config").expanduser())
    path = [url]
    targets: list[Target] = []
    while path:
        target, jumps = resolve(path.pop(), rules, "" if targets else identity)
        targets.insert(0, target)
        path = path or jumps
        if len(targets) > HOPS:
            raise Problem(
                f'The way to "{url.host}" goes through more than {HOPS} servers.',
                remedy="Look for a circle of ProxyJump in ~/.ssh/config.",
            )
    return targets


def resolve(url: Url, rules: SSHConfig, identity: str) -> tuple[Target, list[Url]]:
    """One server with what the configuration says of it, and the jumps before it."""
    with configuration_problems(url.host):
        said = rules.lookup(url.host)
        port = url.port or int(said.get("port", 22))
    if said.get("proxycommand") and not said.get("proxyjump"):
        raise Problem(
            f'~/.ssh/config wants a ProxyCommand for "{url.host}", which we do not run.',
            remedy="Use ProxyJump there instead.",
        )
    files = [identity] if identity else said.get("identityfile", [])
    target = Target(
        host=said["hostname"],
        port=port,
        user=url.user or said.get("user") or getpass.getuser(),
        identities=tuple(Path(file).expanduser() for file in files),
        only_identities=bool(files) or said.get("identitiesonly", "").lower() == "yes",
        alias=said.get("hostkeyalias", ""),
    )
    if not valid_host(target.host) or not valid_user(target.user):
        raise bad_url(target.place, f'~/.ssh/config says so for "{url.host}"')
    return target, parse_jumps(said.get("proxyjump", ""))


def parse_jumps(text: str) -> list[Url]:
    if not text or text.lower() == "none":
        return []
    return [parse_url(jump.strip()) for jump in text.split(",")]


@contextmanager
def configuration_problems(host: str) -> Iterator[None]:
    """What is wrong in ~/.ssh/config becomes a Problem."""
    from paramiko.ssh_exception import SSHException

    try:
        yield
    except (SSHException, ValueError, LookupError) as error:
        raise Problem(
            f'What ~/.ssh/config says about "{host}" cannot be used.',
            remedy=f"Correct it; ssh -G {host} shows it.",
        ) from error


def read_config(path: Path) -> SSHConfig:
    from paramiko import SSHConfig
    from paramiko.ssh_exception import ConfigParseError

    try:
        return SSHConfig.from_text(path.read_text("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return SSHConfig()
    except (OSError, ConfigParseError) as error:
        raise Problem(
            f'The SSH configuration "{path}" cannot be read.',
            remedy="Correct it; ssh -G HOST tests it.",
        ) from error
