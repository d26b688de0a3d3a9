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


class Asked(NamedTuple):
    """One request, read: what to predict on, and how to write the answer."""

    inputs: Inputs
    write: Callable[[Outputs], bytes]


@dataclass(frozen=True)
class Dialect:
    """One protocol: how it reads requests and writes errors."""

    name: str
    read: Callable[..., Asked]
    error: Callable[[Refusal], bytes]


def read_json(body: bytes) -> Any:
    """The JSON in a body. Raises a Refusal that says where it is malformed."""
    try:
        return decode(body)
    except RecursionError:
        raise bad_input("The JSON is nested too deeply.") from None
    except UnicodeDecodeError:
        raise bad_input("The body is not UTF-8.") from None
    except msgspec.DecodeError as error:
        raise bad_input(f"{error}." if body else "The body is empty.") from None
