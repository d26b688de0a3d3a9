"""Compressed bodies: requests that come as gzip or deflate, answers that may go so."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from .errors import Refusal, bad_input

if TYPE_CHECKING:
    from .http import Request
    from .protocols import Answer

WORTH_IT = 1024
"""Bytes from which on an answer is compressed for a client that asks."""
MOST_MEMBERS = 10_000
_STEP = 1 << 16
_GZIP, _ZLIB, _RAW = zlib.MAX_WBITS | 16, zlib.MAX_WBITS, -zlib.MAX_WBITS
_QUICK = 1
ZERO = re.compile(rb"q=0(\.0*)?").fullmatch
_VARY = b"Vary: Accept-Encoding\r\n"


def open_body(request: Request, most: int) -> None:
    """Decompress the body in place, once. Raises a Refusal as `decompress` does."""
    encoding = request.headers.get(b"content-encoding")
    if encoding is not None:
        request.body = decompress(request.body, encoding, most)


def decompress(body: bytes, encoding: bytes, most: int) -> bytes:
    """The body as it was before. Raises a Refusal when it is broken, or larger than `most`."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    try:
        if name in (b"gzip", b"x-gzip"):
            return _gunzip(body, most)
        if name == b"deflate":
            return _inflate(body, most)
    except zlib.error:
        raise bad_input("The compressed body is damaged.") from None
    raise Refusal(
        415,
        "The body is compressed in a way that is not understood.",
        remedy="Use gzip, deflate or nothing.",
        reason="encoding",
    )


def _gunzip(body: bytes, most: int) -> bytes:
    """All members of a gzip file, one after the other."""
    whole = bytearray()
    rest = memoryview(body)
    for _ in range(MOST_MEMBERS):
        rest = rest[_stream(rest, _GZIP, most, whole) :]
        if not any(rest):  # some pad with zeros
            return bytes(whole)
    raise bad_input(f"The compressed body has more than {MOST_MEMBERS} parts.")


def _inflate(body: bytes, most: int) -> bytes:
    """A zlib stream, as the standard has it, or the bare one that some clients send."""
    if len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0:
        try:
            return _single(body, _ZLIB, most)
        except zlib.error:
            pass
    return _single(body, _RAW, most)


def _single(body: bytes, form: int, most: int) -> bytes:
    whole = bytearray()
    if _stream(memoryview(body), form, most, whole) != len(body):
        raise zlib.error
    return bytes(whole)


def _stream(body: memoryview, form: int, most: int, whole: bytearray) -> int:
    """Add what one stream holds to `whole`; how many bytes of the body it took."""
    stream = zlib.decompressobj(form)
    for start in range(0, len(body), _STEP):
        step: bytes | memoryview = body[start : start + _STEP]
        while step and not stream.eof:
            whole += stream.decompress(step, most - len(whole) + 1)
            if len(whole) > most:
                raise _too_large(most)
            step = stream.unconsumed_tail
        if stream.eof:
            return min(start + _STEP, len(body)) - len(stream.unused_data)
    raise bad_input("The compressed body ends too early.")


def _too_large(most: int) -> Refusal:
    return Refusal(
        413,
        f"The body is larger than max_body, {most} bytes, when it is decompressed.",
        remedy="Send fewer rows at a time, or raise `max_body`.",
    )


def shrunk(answer: Answer, accepted: bytes) -> Answer:
    """The answer as Accept-Encoding wants it, with the headers that say so."""
    if len(answer.body) <= WORTH_IT:
        return answer
    encoding = wanted(accepted)
    if not encoding:
        return answer._replace(extra=answer.extra + _VARY)
    about = b"Content-Encoding: %b\r\n%b" % (encoding, _VARY)
    return answer._replace(body=compress(answer.body, encoding), extra=answer.extra + about)


def wanted(accepted: bytes) -> bytes:
    """The encoding to answer in for an Accept-Encoding header: gzip, deflate or none."""
    weights: dict[bytes, bool] = {}
    for choice in accepted.lower().split(b","):
        name, _, weight = choice.replace(b" ", b"").partition(b";")
        weights[name] = not ZERO(weight)
    for name in (b"gzip", b"deflate"):
        if weights.get(name, weights.get(b"*")):
            return name
    return b""


def compress(body: bytes, encoding: bytes) -> bytes:
    """The body as gzip or deflate (zlib's form): quick rather than small."""
    stream = zlib.compressobj(_QUICK, zlib.DEFLATED, _GZIP if encoding == b"gzip" else _ZLIB)
    return stream.compress(body) + stream.flush()
