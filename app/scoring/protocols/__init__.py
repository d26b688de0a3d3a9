"""The formats spoken over HTTP, a module each, over one inner form.

Each module has a `dialect`, which reads requests and writes errors; how the answer is written is
part of what was read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ..errors import Refusal, bad_input
from ..http import JSON, Request
from ..inputs import Inputs, Reader
from ..outputs import Outputs

decode = msgspec.json.Decoder().decode
OCTETS = b"application/octet-stream"


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
        return decode(body)
    except RecursionError:
        raise bad_input("The JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise bad_input("The body is not UTF-8.") from None
    except msgspec.DecodeError as error:
        if python and (b"NaN" in body or b"Infinity" in body):
            with suppress(ValueError, RecursionError):
                return json.loads(body)
        raise bad_input(f"{error}." if body else "The body is empty.") from None
