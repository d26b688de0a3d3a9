"""Decides whether to compress what is sent: where the link is slow, and a sample shrinks."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import TypeVar

SLOW = 60_000_000
"""Bytes a second: a link below it gains by zlib, which packs some 50 to 170 MB a second here."""

LEVEL = 1
SAMPLE = 64 * 1024
PAYS = 0.9
ENOUGH = 256 * 1024

Result = TypeVar("Result")


class Squeeze:
    """Watches how fast the link takes what is written to it."""

    def __init__(self) -> None:
        self._rate = float("inf")

    @property
    def wanted(self) -> bool:
        """Whether the link is so slow that packing may pay. What buffers take at once is fast."""
        return self._rate < SLOW

    def timed(self, size: int, write: Callable[[], Result]) -> Result:
        """Do the write of `size` bytes, and remember how long it took."""
        began = time.monotonic()
        result = write()
        if size >= ENOUGH:
            self._rate = size / max(time.monotonic() - began, 1e-6)
        return result

    def packed(self, content: bytes) -> bytes | None:
        """The content compressed; None when it does not pay."""
        at = max(0, len(content) - SAMPLE) // 2
        sample = content[at : at + SAMPLE]
        if not self.wanted or len(zlib.compress(sample, LEVEL)) > PAYS * len(sample):
            return None
        packed = zlib.compress(content, LEVEL)
        return packed if len(packed) < len(content) else None
