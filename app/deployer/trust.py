"""Whom we believe to be who: host keys, in our own known_hosts file and, read only, the user's.

Our file is written by `accept` alone, whole or not at all. A line we cannot read counts for
nothing; it never makes another line count for more.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app import portable
from app.errors import NotTrusted, Problem

LONGEST_PATTERN = 1022
MARKERS = ("@revoked", "@cert-authority")


@dataclass(frozen=True)
class HostKey:
    """A public key as SSH sends it: its type and its blob."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return "SHA256:" + digest.rstrip("=")

    def line(self, host: str) -> str:
        return f"{host} {self.kind} {base64.b64encode(self.blob).decode()}\n"


@dataclass(frozen=True)
class Known:
    """A line of a known_hosts file."""

    marker: str
    hosts: str
    key: HostKey

    def names(self, host: str) -> bool:
        if self.hosts.startswith("|"):
            return matches_hash(self.hosts, host)
        return matches_patterns(self.hosts, host)


class Trust:
    """The host keys we know. `own` is our file, `others` are only read."""

    def __init__(self, own: Path, others: tuple[Path, ...] = ()) -> None:
        self.own = own
        self.others = others
        self._accepted: set[str] = set()

    @classmethod
    def of(cls, home: Path) -> Trust:
        """With our file in the data folder `home`, and the files that ssh reads."""
        files = (Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts"))
        others = [path.with_name(path.name + end) for path in files for end in ("", "2")]
        return cls(home / "known_hosts", tuple(others))

    def accept(self, fingerprint: str) -> None:
        """From now on a new host that shows exactly this key is stored and believed."""
        if not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", fingerprint):
            raise Problem(
                f'"{fingerprint}" is not a fingerprint.',
                remedy="Give it as it was shown: SHA256: and 43 letters, digits, + or /.",
            )
        self._accepted.add(fingerprint)

    def keys(self, host: str) -> list[HostKey]:
        """The keys stored for a host (`name` or `[name]:port`), ours first."""
        return [known.key for known in self._lines(host) if not known.marker]

    def check(self, host: str, shown: HostKey, name: str = "") -> None:
        """Return when `host` is believed to have the key it has shown; store it when accepted."""
        lines = list(self._lines(host))
        if any(known.marker == "@revoked" and known.key == shown for known in lines):
            raise Problem(
                f"{host} shows a host key that is marked as revoked: {shown.fingerprint}.",
                remedy="Do not connect. Ask the server's administrator.",
            )
        stored = [known.key for known in lines if not known.marker]
        if shown in stored:
            return
        if stored:
            raise changed(host, shown, stored, self._how_to_forget(host, name))
        if shown.fingerprint not in self._accepted:
            raise unknown(host, shown)
        self._store(host, shown)

    def _how_to_forget(self, host: str, name: str) -> str:
        """Our file is for us to change, the others are for the person."""
        for path in self.others:
            if any(is_of(line, host) for line in lines_of(read(path))):
                return f'ssh-keygen -R "{host}" -f "{path}"'
        return f"rhythmicml location forget-key {name or 'NAME'}"

    def forget(self, host: str) -> int:
        """Remove a host's keys from our file; how many."""
        text = read(self.own)
        lines = lines_of(text)
        kept = [line for line in lines if not is_of(line, host)]
        if len(kept) < len(lines):
            write(self.own, "".join(f"{line}\n" for line in kept))
        return len(lines) - len(kept)

    def _store(self, host: str, key: HostKey) -> None:
        text = read(self.own)
        if text and not text.endswith("\n"):
            text += "\n"
        write(self.own, text + key.line(host))

    def _lines(self, host: str) -> Iterator[Known]:
        for path in (self.own, *self.others):
            for line in lines_of(read(path)):
                known = parse_line(line)
                if known and known.names(host):
                    yield known


def host_name(host: str, port: int) -> str:
    """How known_hosts files call a host."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def lines_of(text: str) -> list[str]:
    """The lines as OpenSSH sees them. Other ends of lines than its one could hide a line in one."""
    return text.removesuffix("\n").split("\n") if text else []


def parse_line(line: str) -> Known | None:
    """A known_hosts line; None for comments, and for what cannot be read."""
    fields = re.findall(r"[^ \t]+", line.partition("\0")[0])
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", *MARKERS):
        return None
    try:
        blob = base64.b64decode(fields[2].replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return None
    kind = fields[1]
    named = len(kind).to_bytes(4, "big") + kind.encode()
    return Known(marker, fields[0], HostKey(kind, blob)) if blob.startswith(named) else None


def matches_hash(hashed: str, host: str) -> bool:
    """Whether `|1|salt|hash` is the host."""
    try:
        _, version, salt, digest = hashed.split("|")
        expected = hmac.new(base64.b64decode(salt), host.lower().encode(), "sha1").digest()
        return version == "1" and hmac.compare_digest(expected, base64.b64decode(digest))
    except (binascii.Error, ValueError):
        return False


def matches_patterns(patterns: str, host: str) -> bool:
    """OpenSSH's rule: one pattern matches, and none with a ! does."""
    found = False
    for pattern in patterns.lower().split(","):
        if len(pattern) > LONGEST_PATTERN:
            return False
        if matches(pattern.removeprefix("!"), host.lower()):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def matches(pattern: str, host: str) -> bool:
    """Only * and ? are special."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, host, re.DOTALL) is not None


def is_of(line: str, host: str) -> bool:
    known = parse_line(line)
    return known is not None and known.names(host)


def unknown(host: str, shown: HostKey) -> NotTrusted:
    return NotTrusted(
        f"{host} is new to us. Its {shown.kind} host key is {shown.fingerprint}.",
        fingerprint=shown.fingerprint,
        remedy="Compare it with what the server's administrator says, then accept it: "
        f"--accept-key {shown.fingerprint} (of `location add`; of one that is known, `location "
        "set`)",
    )


def changed(host: str, shown: HostKey, stored: list[HostKey], forget: str) -> Problem:
    known = ", ".join(f"{key.fingerprint} ({key.kind})" for key in stored)
    return Problem(
        f"The host key of {host} has changed: it shows {shown.fingerprint} ({shown.kind}), "
        f"known is {known}.",
        cause="The server was set up anew, or someone stands between you and it.",
        remedy=f"If you are sure that the server was set up anew: {forget}",
    )


def read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Problem(
            f'The known host keys in "{path}" cannot be read.',
            remedy="Make the file readable for you.",
        ) from error


def write(path: Path, text: str) -> None:
    """Replace the file: 0600, whole, durable."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    fd = portable.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with open(fd, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
