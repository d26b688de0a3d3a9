"""Payloads that were compressed on their way, read as others are."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Union

from .failure import Failure
from .loop import CHUNK, Payload


class Packed:
    """What a payload of zlib's holds. It is never unpacked further than it is read."""

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self._zlib = zlib.decompressobj()

    def chunks(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in pieces."""
        while size:
            piece = self._next(min(size, CHUNK))
            size -= len(piece)
            if piece:
                yield piece

    def whole(self, limit: int = 64 * CHUNK) -> bytes:
        """All of it, when it is known to be small."""
        whole = self._zlib.decompress(self._payload.whole(limit), limit)
        if self._zlib.unconsumed_tail:
            raise Failure(f"What arrived unpacks to more than the {limit} bytes we hold.")
        return whole

    def _next(self, most: int) -> bytes:
        arrived = self._zlib.unconsumed_tail or self._payload.read()
        try:
            piece = self._zlib.decompress(arrived, most)
        except zlib.error as error:
            raise Failure("What arrived cannot be unpacked.", cause=str(error)) from error
        if not (piece or arrived):
            raise Failure("What arrived unpacks to less than was announced.")
        return piece


def arriving(args: dict[str, Any], payload: Payload) -> Union[Payload, Packed]:
    """The payload of a request as its operation wants to read it."""
    return Packed(payload) if args.get("packed") else payload
