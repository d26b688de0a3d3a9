"""The formats spoken over HTTP, a module each, over one inner form.

Each module has `read(body, reader) -> Asked`, `write(asked, outputs) -> bytes` and
`error(refusal) -> bytes`; `Dialect` names the three together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ..errors import Refusal, bad_input
from ..inputs import Inputs
from ..outputs import Outputs

decode = msgspec.json.Decoder().decode
DEEPEST = 64
_OTHERS = bytes(set(range(256)) - set(b"[]{}"))


class Asked(NamedTuple):
    """One request, read: what to predict on, how to write the answer, headers it shall have."""

    inputs: Inputs
    write: Callable[[Outputs], bytes]
    extra: bytes = b""


@dataclass(frozen=True)
class Dialect:
    """One protocol: how it reads requests and writes errors."""

    name: str
    read: Callable[..., Asked]
    error: Callable[[Refusal], bytes]


def read_json(body: bytes) -> Any:
    """The JSON in a body. Raises a Refusal that says where it is malformed."""
    try:
        value = decode(body)
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError:
        raise bad_input("The body is not UTF-8.") from None
    except msgspec.DecodeError as error:
        raise bad_input(f"{error}." if body else "The body is empty.") from None
    if body.count(b"[") + body.count(b"{") > DEEPEST and deeper(body, value):
        raise _too_deep()
    return value


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
