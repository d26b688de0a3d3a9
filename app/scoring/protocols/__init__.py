"""The formats spoken over HTTP, a module each, over one inner form.

Each module has a `dialect`, which reads requests and writes errors; how the answer is written is
part of what was read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from ..errors import Refusal, bad_input, too_many_rows
from ..http import JSON, Request
from ..inputs import Inputs, Reader
from ..outputs import Outputs

decode = msgspec.json.Decoder().decode
OCTETS = b"application/octet-stream"
DEEPEST = 64
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


class Answer(NamedTuple):
    """What goes back for one request. extra: whole header lines."""

    body: bytes
    kind: bytes = JSON
    extra: bytes = b""


class Asked(NamedTuple):
    """One request, read: what to predict on, and how to write the answer.

    extra: header lines of the answer, whatever it is. then: the inputs are only converted by the
    worker; this makes what is asked of the model from them.
    """

    inputs: Inputs
    write: Callable[[Outputs], Answer]
    extra: bytes = b""
    then: Callable[[Outputs], Asked] | None = None


@dataclass(frozen=True)
class Dialect:
    """One protocol: how it reads requests and writes errors."""

    name: str
    read: Callable[[Request, Reader], Asked]
    error: Callable[[Refusal], bytes]


def take(read: Callable[[], Asked], reader: Reader, most_rows: int) -> Asked:
    """What `read` gives, if it has no more rows than it may; its unused columns are named."""
    reader.ignored = []
    asked = read()
    if asked.inputs.rows > most_rows:
        raise too_many_rows(most_rows)
    if reader.ignored:
        return asked._replace(extra=asked.extra + ignored_header(reader.ignored))
    return asked


def ignored_header(names: Sequence[str]) -> bytes:
    """Which columns were not used: at most ten by name, then how many more."""
    shown = [quote(name, safe="") for name in names[:10]]
    if len(names) > 10:
        shown.append(f"{len(names) - 10} more")
    return f"X-Ignored-Columns: {', '.join(shown)}\r\n".encode()


def predictions(outputs: Outputs) -> Answer:
    """`{"predictions": …}`, or the bytes of a model that gives bytes."""
    if outputs.kind == "bytes":
        return Answer(outputs.values, OCTETS)
    return Answer(b'{"predictions":%b}' % outputs.json())


def read_json(body: bytes, *, python: bool = False) -> Any:
    """The JSON in a body. Raises a Refusal that says where it is malformed.

    python: also NaN and the infinities as Python's own writer puts them, though JSON has none:
    MLflow's and Triton's clients send them.
    """
    try:
        value = decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise bad_input("The body is not UTF-8.") from None
    except msgspec.DecodeError as error:
        if b"NaN" in body or b"Infinity" in body:
            with suppress(ValueError, RecursionError):
                value = json.loads(body)
                if python:
                    return value
                raise _no_json() from None
        raise bad_input(_malformed(error) if body else "The body is empty.") from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and deeper(body, value):
        raise _too_deep()
    return value


def _no_json() -> Refusal:
    return bad_input("NaN and Infinity are not JSON.", remedy="Send null where there is no number.")


def _malformed(error: msgspec.DecodeError) -> str:
    """Where the JSON is, in msgspec's words, which for a body that ends early are others."""
    said = str(error)
    if said.startswith("Input data was truncated"):
        said = "JSON is malformed: it ends too early"
    return f"{said}."


def deeper(body: bytes, value: Any) -> bool:
    """Whether lists and objects stand in each other more than DEEPEST deep.

    The brackets alone say so nearly always: what pairs up in so many rounds is not deeper.
    """
    brackets = body.translate(None, _OTHERS)
    for _ in range(DEEPEST):
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if fewer == brackets:
            break
        brackets = fewer
    return bool(brackets) and _depth(value) > DEEPEST


def _depth(value: Any) -> int:
    """How deep it is, looked at layer by layer."""
    layer, depth = [value], 0
    while layer := [one for one in layer if type(one) in (list, dict)]:
        depth += 1
        inner = (one.values() if type(one) is dict else one for one in layer)
        layer = [each for held in inner for each in held]
    return depth


def _too_deep() -> Refusal:
    return bad_input(f"The JSON is nested more than {DEEPEST} deep.")
