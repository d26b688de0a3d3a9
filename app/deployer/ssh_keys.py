"""What a private key's file tells without its passphrase."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"openssh-key-v1\0"
KINDS = {"RSA": "ssh-rsa", "EC": "ecdsa"}


@dataclass(frozen=True)
class KeyFile:
    """kind: as SSH calls it (`ssh-ed25519`). public: the public key's blob, b"" when not told."""

    kind: str
    encrypted: bool
    public: bytes = b""


def read_key_file(path: Path) -> KeyFile:
    """Raises OSError, and ValueError when it is no private key that we know."""
    text = path.read_text("utf-8", "replace")
    found = re.search(r"-----BEGIN (\w+) PRIVATE KEY-----(.*?)-----END", text, re.DOTALL)
    if found is None:
        raise ValueError("it is not a private key that we can read")
    label, body = found.groups()
    if label == "OPENSSH":
        return parse_openssh(body)
    if label not in KINDS:
        raise ValueError(f"keys of the kind {label} are not supported")
    return KeyFile(KINDS[label], "ENCRYPTED" in body, public_beside(path))


def parse_openssh(body: str) -> KeyFile:
    """The head of OpenSSH's format: cipher, key derivation, how many keys, the public key."""
    data = base64.b64decode(body)
    if not data.startswith(MAGIC):
        raise ValueError("it is not a private key that we can read")
    cipher, rest = take_string(data[len(MAGIC) :])
    _, rest = take_string(rest)
    _, rest = take_string(rest)
    public, _ = take_string(rest[4:])
    kind, _ = take_string(public)
    return KeyFile(kind.decode("ascii", "replace"), cipher != b"none", public)


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """SSH's string: a length of four bytes, then as many."""
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length], data[4 + length :]


def public_beside(path: Path) -> bytes:
    """The blob in the `.pub` file beside a private key."""
    try:
        fields = path.with_name(path.name + ".pub").read_text("utf-8", "replace").split()
        return base64.b64decode(fields[1])
    except (OSError, IndexError, ValueError):
        return b""
