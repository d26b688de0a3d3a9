"""Text that somebody is about to show to others, without what is nobody else's business."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

HIDDEN = "•••"
SHORTEST = 4
"""Characters of a secret that is looked for: a shorter one would be found everywhere."""
PATTERNS = (
    (re.compile(r"-----BEGIN [^-]*-----.*?(-----END [^-]*-----|\Z)", re.S), HIDDEN),
    (re.compile(r"(://[^\s/:@]*):[^\s/@]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"""(?ix)\b((?:[\w-]*(?:password|passphrase|passwd|secret|token|api[_-]?key|cookie)|code)
            ["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&]+)"""
        ),
        rf"\1{HIDDEN}",
    ),
)
"""What looks like a secret, and what stands there instead."""


def redacted(text: str, secrets: Iterable[str] = (), names: Mapping[str, str] | None = None) -> str:
    """The text without these secrets and what looks like one.

    names: what stands in the text → what is to stand there instead: addresses, folders.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= SHORTEST:
            text = text.replace(secret, HIDDEN)
    for pattern, instead in PATTERNS:
        text = pattern.sub(instead, text)
    for name, instead in sorted((names or {}).items(), key=lambda pair: -len(pair[0])):
        if len(name) > 1:
            text = text.replace(name, instead)
    return text
