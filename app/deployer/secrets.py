"""Which secrets a host lacks, without either side saying a value aloud. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Known:
    """What a host says of the values it has.

    salt: random, made for this one answer. digests: name → HMAC-SHA-256 of its value, keyed with
    the salt; hashes: the same of its value's SHA-256, by which a token is known where it is taken.
    stale: a front runs that was started before they were written.
    """

    salt: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    stale: bool = False
    hashes: Mapping[str, str] = field(default_factory=dict)

    def has_token(self, name: str, sha256: str) -> bool:
        """Whether the value there is the token with this hash."""
        return bool(sha256) and self.hashes.get(name) == digest(self.salt, sha256)


NONE = Known()


def digest(salt: str, value: str) -> str:
    return hmac.new(salt.encode(), value.encode(), "sha256").hexdigest()


def changed(values: Mapping[str, str], names: Iterable[str], known: Known) -> dict[str, str]:
    """Of those wanted by name and known here, what the host lacks or has with another value."""
    wanted = {name: values[name] for name in names if name in values}
    return {
        name: value
        for name, value in wanted.items()
        if known.digests.get(name) != digest(known.salt, value)
    }
