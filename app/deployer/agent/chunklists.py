"""What a large blob is made of, as both sides write it down: the client imports this too."""

from __future__ import annotations

import struct

ENTRY = struct.Struct("!32sI")
KEY = 8

Chunks = list[tuple[bytes, int]]
"""What a blob is made of, in order: fingerprint (chunking.py) and bytes of each chunk."""


def pack(chunks: Chunks) -> bytes:
    return b"".join(ENTRY.pack(digest, size) for digest, size in chunks)


def unpack(packed: bytes) -> Chunks:
    """Raises struct.error when it is no list of chunks."""
    return [(digest, size) for digest, size in ENTRY.iter_unpack(packed)]
