"""What goes over the wire: `!IQ` (header length, payload length), JSON header, raw payload."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

LENGTHS = struct.Struct("!IQ")
MAX_HEADER = 64 * 1024 * 1024


class Ended(Exception):
    """The stream came to its end, possibly in the middle of a frame."""


def encode(header: dict[str, Any], size: int = 0) -> bytes:
    """The bytes that stand before a payload of `size` bytes."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return LENGTHS.pack(len(text), size) + text


def read_exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """`size` bytes from `read`, which may give fewer at a time and b"" at the end."""
    parts = []
    while size:
        part = read(size)
        if not part:
            raise Ended
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_header(read: Callable[[int], bytes]) -> tuple[dict[str, Any], int]:
    """The next header and the size of the payload that follows it."""
    length, size = LENGTHS.unpack(read_exactly(read, LENGTHS.size))
    if length > MAX_HEADER:
        raise Ended(f"a header of {length} bytes is no frame of ours")
    header: dict[str, Any] = json.loads(read_exactly(read, length))
    return header, size
