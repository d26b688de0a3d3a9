"""A request that is kept whole: its rows and predictions as JSON, without what is redacted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from .columns import is_text
from .inputs import Inputs, nested
from .outputs import Outputs, unpack
from .taking import Piece, values
from .tap import Sampled

HIDDEN = "•"
MOST_ROWS = 100
MOST_TEXT = 65_536  # characters of either side
TOO_LARGE = ""

encode = msgspec.json.encode
Row = tuple[float, str, str, int, float, str, str, str]


def row(said: Sampled, release: str, redact: Collection[str]) -> Row:
    """For the table `requests`."""
    inputs = _text(_without(rows_of(said.inputs), said.inputs.names, redact), redact)
    outputs = _text(predictions_of(said.result), redact)
    return said.at, said.id, release, said.status, said.seconds, said.endpoint, inputs, outputs


def _without(rows: Any, names: Sequence[str], redact: Collection[str]) -> Any:
    """Rows that are lists, without the places that are redacted: by name, or by their number."""
    if not redact or not isinstance(rows, list):
        return rows
    places = {place for place, name in enumerate(names) if name in redact}
    places |= {int(name) for name in redact if name.isdecimal()}
    return [_hidden(each, places) if isinstance(each, list) else each for each in rows]


def _hidden(row: Sequence[Any], places: Collection[int]) -> list[Any]:
    return [HIDDEN if place in places else value for place, value in enumerate(row)]


def _text(value: Any, redact: Collection[str]) -> str:
    """As JSON; empty when there is nothing, or too much."""
    if value is None:
        return ""
    text = encode(redacted(value, redact)).decode()
    return text if len(text) <= MOST_TEXT else TOO_LARGE


def redacted(value: Any, redact: Collection[str]) -> Any:
    """A value with a dot in the place of what stands under such a name, however deep."""
    if not redact:
        return value
    if isinstance(value, dict):
        return {
            key: HIDDEN if key in redact else redacted(held, redact) for key, held in value.items()
        }
    return [redacted(each, redact) for each in value] if isinstance(value, list) else value


def rows_of(inputs: Inputs) -> Any:
    """What native requests have as "inputs": records, or the rows of a matrix; None of bytes."""
    if inputs.kind == "columns" and inputs.rows <= MOST_ROWS:
        return _records(inputs)
    if inputs.kind == "matrix" and inputs.rows <= MOST_ROWS:
        return _matrix(inputs)
    if inputs.kind == "rows" and len(inputs.parts[0]) <= MOST_TEXT:
        return msgspec.json.decode(b"[" + inputs.parts[0] + b"]")
    if inputs.kind == "value" and len(inputs.parts[0]) <= MOST_TEXT:
        return msgspec.json.decode(inputs.parts[0])
    return None


def _records(inputs: Inputs) -> list[dict[str, Any]]:
    names = inputs.names or tuple(map(str, range(len(inputs.codes))))
    pieces = map(Piece, names, inputs.codes, inputs.parts)
    return [
        dict(zip(names, each)) for each in zip(*(values(piece, whole=True) for piece in pieces))
    ]


def _matrix(inputs: Inputs) -> list[Any]:
    code, part = inputs.codes[0], inputs.parts[0]
    shape = (inputs.rows, *inputs.shape)
    if is_text(code):
        return nested(msgspec.json.decode(b"[" + part + b"]"), shape)
    return unpack(code, part, shape)


def predictions_of(result: Any) -> Any:
    """What was answered, where that is rows that JSON holds; None of an error or a stream."""
    if not isinstance(result, Outputs) or result.kind == "bytes":
        return None
    if (result.rows or 0) > MOST_ROWS:
        return None
    return msgspec.json.decode(result.json())
