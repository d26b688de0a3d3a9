"""What a model takes and gives: declared in `[schema]`, else learned from its sample.

JSON form: {"format": 1, "kind": …, "inputs": [field, …], "outputs": [field, …]}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

CODES = {
    "bool": "?", "int8": "b", "int16": "h", "int32": "i", "int64": "q",
    "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
TYPES = {code: name for name, code in CODES.items()}
DATATYPES = {
    name: name.upper().replace("FLOAT", "FP") for name in CODES
}  # as the Open Inference Protocol calls them; all other types are its BYTES
KINDS = {
    "dataframe": "columns",
    "ndarray": "matrix",
    "json": "json",
    "text": "json",
    "bytes": "bytes",
}
MATRIX = "inputs"  # the name of the one input of a model that takes a matrix
UNNAMED = "predict"  # the name of the one output of a model that names none
FLOATS = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


class Field(NamedTuple):
    """One column, one matrix or one output. shape: of a row's value; -1 is any size."""

    name: str
    type: str
    shape: tuple[int, ...] = ()
    nullable: bool = True
    values: tuple[Any, ...] | None = None
    min: float | None = None
    max: float | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest number it takes."""
        low, high = bounds(self.type)
        least = low if self.min is None else max(low, self.min)
        return least, high if self.max is None else min(high, self.max)


class Schema(NamedTuple):
    """kind: columns, matrix (one input), json or bytes (inputs only where declared)."""

    kind: str = "json"
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()

    def as_json(self) -> dict[str, Any]:
        sides = {"inputs": self.inputs, "outputs": self.outputs}
        fields = {side: [field._asdict() for field in held] for side, held in sides.items()}
        return {"format": 1, "kind": self.kind, **fields}


def parse(said: Mapping[str, Any]) -> Schema:
    """What `as_json` gave, after a journey through JSON."""
    return Schema(said["kind"], _parsed(said["inputs"]), _parsed(said["outputs"]))


def _parsed(fields: Iterable[dict[str, Any]]) -> tuple[Field, ...]:
    return tuple(
        Field(**{**field, "shape": tuple(field["shape"]), "values": _tuple(field["values"])})
        for field in fields
    )


def _tuple(values: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)


def whole(kind: str) -> bool:
    """Whether the type holds whole numbers."""
    return kind.startswith(("int", "uint"))


def bounds(kind: str) -> tuple[float, float]:
    """What a number type can hold; all for the others."""
    if kind in FLOATS:
        return -FLOATS[kind], FLOATS[kind]
    if not whole(kind):
        return float("-inf"), float("inf")
    bits = int(kind.partition("int")[2])
    return (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


# Declared over learned


def declared(name: str, said: Mapping[str, Any], shape: Sequence[int] = ()) -> Field:
    """A field as `[schema]` has it. Whole numbers and booleans take null only where it says so.

    shape: where it says none. Raises ValueError when its allowed values are not of its type.
    """
    kind = said["type"]
    field = Field(
        name,
        kind,
        tuple(said.get("shape", shape)),
        said.get("nullable", not (whole(kind) or kind == "bool")),
        _tuple(said.get("values")),
        said.get("min"),
        said.get("max"),
    )
    if not all(_may_be_listed(kind, value) for value in field.values or ()):
        raise ValueError(f'The values of "{name}" in [schema] cannot be of the type {kind}.')
    return field


def _may_be_listed(kind: str, value: Any) -> bool:
    if kind == "json":
        return True
    if kind == "bool":
        return type(value) is bool
    if whole(kind):
        return type(value) is int
    return type(value) in ((int, float) if kind in FLOATS else (str,))


def overlay(learned: Sequence[Field], said: Mapping[str, Any]) -> tuple[Field, ...]:
    """The learned fields with what is declared of them; then those that are only declared."""
    known = {field.name: field for field in learned}
    every = dict.fromkeys((*known, *said))
    return tuple(
        declared(name, said[name], known[name].shape if name in known else ())
        if name in said
        else known[name]
        for name in every
    )


def outputs_of(
    tensors: Iterable[tuple[str, str, Sequence[int]]], predictions: Any, said: Mapping[str, Any]
) -> tuple[Field, ...]:
    """Outputs, from those of the predicted sample: name, numpy's letter, shape of one row.

    predictions: the same as JSON, to tell text from other JSON.
    """
    learned = [
        Field(name, TYPES.get(code) or _kind_of(predictions, name), tuple(shape))
        for name, code, shape in tensors
    ]
    return overlay(learned, said)


def _kind_of(predictions: Any, name: str) -> str:
    held = predictions.get(name) if type(predictions) is dict else predictions
    rows = held if type(held) is list else [held]
    values = [row.get(name) if type(row) is dict else row for row in rows]
    kinds = set(map(type, values))
    return "string" if str in kinds and kinds <= {str, type(None)} else "json"


def tensors(fields: Iterable[Field]) -> list[dict[str, Any]]:
    """The fields as metadata of the Open Inference Protocol."""
    return [
        {
            "name": field.name,
            "datatype": DATATYPES.get(field.type, "BYTES"),
            "shape": [-1, *field.shape],
        }
        for field in fields
    ]


# One version's against the one before


def changes(old: Schema, new: Schema) -> list[str]:
    """What callers of the old one would stumble over, a sentence each.

    Unknown outputs (none) are not compared: they show when the version has been deployed.
    """
    if old.kind != new.kind:
        return [f"it takes {_KINDS[new.kind]} now, not {_KINDS[old.kind]}."]
    before = {field.name: field for field in old.inputs}
    said = []
    for field in new.inputs:
        if field.name in before:
            said += _narrowed(before[field.name], field)
        elif before or new.kind == "columns":
            said.append(f'column "{field.name}" is now required.')
    return said + (_outputs_changed(old, new) if new.outputs else [])


_KINDS = {"columns": "columns", "matrix": "a matrix", "json": "any JSON", "bytes": "bytes"}


def _narrowed(old: Field, new: Field) -> list[str]:
    name = f'column "{new.name}"' if new.name != MATRIX else "the matrix"
    said = []
    if not _holds(new.type, old.type):
        said.append(f"{name} is {new.type} now; it was {old.type}.")
    if old.shape != new.shape and not _fits(new.shape, old.shape):
        said.append(f"{name} has rows of shape {[*new.shape]} now; it was {[*old.shape]}.")
    if old.nullable and not new.nullable:
        said.append(f"{name} no longer takes null.")
    if new.values is not None and (old.values is None or not set(old.values) <= set(new.values)):
        said.append(f"{name} takes fewer values now.")
    if new.min is not None and (old.min is None or old.min < new.min):
        said.append(f"{name} must be at least {new.min:g} now.")
    if new.max is not None and (old.max is None or old.max > new.max):
        said.append(f"{name} must be at most {new.max:g} now.")
    return said


def _holds(new: str, old: str) -> bool:
    """Whether what was written as the old type can be read as the new one."""
    if new in (old, "json"):
        return True
    if new == "string":
        return old in ("category", "datetime", "bytes")
    (low, high), (least, greatest) = bounds(new), bounds(old)
    numbers = new in FLOATS if old in FLOATS else whole(old) and (whole(new) or new in FLOATS)
    return numbers and low <= least and greatest <= high


def _fits(new: tuple[int, ...], old: tuple[int, ...]) -> bool:
    return len(new) == len(old) and all(n in (-1, o) for n, o in zip(new, old))


def _outputs_changed(old: Schema, new: Schema) -> list[str]:
    now = {field.name: field for field in new.outputs}
    said = []
    for field in old.outputs:
        if field.name not in now:
            said.append(f'output "{field.name}" is gone.')
        elif (kind := now[field.name].type) != field.type:
            said.append(f'output "{field.name}" is {kind} now; it was {field.type}.')
        elif (shape := now[field.name].shape) != field.shape:
            said.append(
                f'output "{field.name}" has the shape {[*shape]} now; it was {[*field.shape]}.'
            )
    return said
