"""JSON Schemas of the bodies that this model takes and gives, as strict as they are read.

Where the lengths of several lists must agree, which JSON Schema cannot say, the shapes of one and
two rows are written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from .columns import TIME, Declared
from .inputs import Reader
from .protocols.mlflow import SHAPES, UNWRAPPED
from .schema import DATATYPES, FLOATS, Field, bounds, whole

Json = dict[str, Any]
MOST = FLOATS["float64"]
WRITTEN_OUT = (1, 2)  # numbers of rows
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
ANYTHING: Json = {}
PARAMS: Json = {"type": ["object", "null"]}


def obj(properties: Json, required: Iterable[str] = (), **more: Any) -> Json:
    return {"type": "object", "properties": properties, "required": list(required), **more}


def listed(items: Json, size: int | None = None, **more: Any) -> Json:
    sized = {} if size is None else {"minItems": size, "maxItems": size}
    return {"type": "array", "items": items, **sized, **more}


def any_of(*schemas: Json) -> Json:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


# One value


def learned_value(field: Field) -> Json:
    """What a column, or a matrix, takes that only the sample speaks of."""
    if field.type in DATATYPES:
        return {"type": ["number", "boolean", "null"]}
    return {"type": ["string", "null"]} if field.type == "string" else {}


def declared_value(field: Field) -> Json:
    """What `[schema]` lets a column, or a matrix, take."""
    if field.type == "json":
        return {} if field.nullable else {"not": {"type": "null"}}
    said: Json = {**_typed(field)}
    if field.nullable:
        said["type"] = [said["type"], "null"]
    if field.values is not None:
        said["enum"] = [*field.values, *([None] if field.nullable else [])]
    return said


def _typed(field: Field) -> Json:
    if field.type == "bool":
        return {"type": "boolean"}
    if field.type in DATATYPES:
        limits = dict(zip(("minimum", "maximum"), field.limits))
        held = {name: limit for name, limit in limits.items() if abs(limit) < MOST}
        return {"type": "integer" if whole(field.type) else "number", **held}
    if field.type == "datetime":
        return {"type": "string", "pattern": TIME}
    if field.type == "bytes":
        return {"type": "string", "pattern": BASE64, "contentEncoding": "base64"}
    return {"type": "string"}


def given_value(field: Field) -> Json:
    """What an output holds; null stands for NaN and the infinities."""
    if field.type in FLOATS:
        return {"type": ["number", "null"]}
    if whole(field.type):
        return {"type": ["integer", "null"]}
    if field.type == "bool":
        return {"type": ["boolean", "null"]}
    return {} if field.type == "json" else {"type": ["string", "null"]}


def nested(items: Json, shape: Sequence[int]) -> Json:
    """Lists in lists of this shape."""
    for size in reversed(shape):
        items = listed(items, None if size == -1 else size)
    return items


# What the model takes


class Bodies:
    """The bodies of one model, protocol by protocol."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.fields = reader.schema.inputs
        self.kind = reader.schema.kind
        self.known = bool(self.fields) and self.kind != "bytes"
        self.values = [
            declared_value(field) if isinstance(column, Declared) else learned_value(field)
            for field, column in zip(self.fields, reader.expected.columns)
        ]
        self.names = reader.expected.names
        if self.kind == "matrix" and self.known:
            self.shape = reader.expected.shape
            self.width = self.shape[0] if self.shape and len(self.shape) == 1 else 0
            if not self.names and self.width:
                self.values *= self.width

    def score(self) -> Json:
        """`POST /score`."""
        if not self.known:
            return ANYTHING
        native = [*self._rows(), *self._record(), *self._columns()]
        wrapped = obj({"inputs": any_of(*native)}, ["inputs"], additionalProperties=False)
        mlflow = [self._mlflow(shape, False) for shape in SHAPES[:3]]
        return any_of(wrapped, *native, *mlflow, self.infer())

    def invocations(self) -> Json:
        """`POST /invocations`."""
        known = [self._mlflow(shape, True) for shape in SHAPES]
        if self.kind == "json":
            others = dict.fromkeys(SHAPES, False)
            known += [obj({key: ANYTHING, **others}, [key]) for key in UNWRAPPED]
        return any_of(*known)

    def instances(self) -> Json:
        """`POST /v1/…:predict`."""
        if self.kind == "bytes":
            one = obj({"b64": {"type": "string", "pattern": BASE64}}, ["b64"])
            return obj({"instances": listed(one, 1), "inputs": False}, ["instances"])
        rows, columns = [listed(ANYTHING)], [{"type": "object"}]
        if self.known:
            rows, columns = self._rows(), [*self._record(), *self._columns()]
        return any_of(
            obj({"instances": any_of(*rows), "inputs": False}, ["instances"]),
            obj({"inputs": any_of(*rows, *columns), "instances": False}, ["inputs"]),
        )

    def infer(self) -> Json:
        """`POST /v2/…/infer`."""
        text = {"type": ["string", "null"]}
        more: Json = {"id": text, "parameters": {"type": ["object", "null"]}}
        if outputs := [field.name for field in self.reader.schema.outputs]:
            wanted = obj({"name": {"enum": outputs}, "parameters": more["parameters"]}, ["name"])
            more["outputs"] = {**listed(wanted), "type": ["array", "null"]}
        return obj({"inputs": self._tensors(), **more}, ["inputs"])

    def _row(self) -> Json | None:
        """A row without names; None where rows must be records."""
        if self.kind == "matrix":
            assert self.shape is not None or self.fields
            return nested(self.values[0], self.shape or ())
        if self.kind != "columns":
            return None
        return self._values_in_order()

    def _values_in_order(self) -> Json:
        size = len(self.values)
        return {"type": "array", "prefixItems": self.values, "minItems": size, "maxItems": size}

    def _rows(self) -> list[Json]:
        """Lists of rows."""
        row = self._row()
        plain = [listed(row)] if row is not None else []
        return plain + [self._records()] * bool(self.names)

    def _records(self) -> Json:
        if not self.names:
            return listed(ANYTHING, 0)
        return listed(self._record()[0])

    def _record(self) -> list[Json]:
        """One row as an object."""
        if self.names:
            return [obj(dict(zip(self.names, self._each())), self.names)]
        if not (self.kind == "matrix" and self.width):
            return []
        return [self._wide(self.values[0])]

    def _wide(self, value: Json) -> Json:
        """As many values as a row has, under any names."""
        size = {"minProperties": self.width, "maxProperties": self.width}
        return {"type": "object", **size, "additionalProperties": value}

    def _each(self) -> list[Json]:
        """What each column takes."""
        return self.values if self.kind != "matrix" else [self.values[0]] * len(self.names)

    def _columns(self, alone: bool = False) -> list[Json]:
        """Columns by name. alone: where one value may stand for a list of one."""
        named = self.names or (self.kind == "matrix" and self.width)
        if not named:
            return []
        written = [self._table(rows, alone and rows == 1) for rows in WRITTEN_OUT]
        if len(self.names) == 1:  # whose length has to agree with none
            many = listed(self.values[0])
            written.append(obj({self.names[0]: many}, self.names, additionalProperties=False))
        return written

    def _table(self, rows: int, alone: bool) -> Json:
        def column(value: Json) -> Json:
            many = listed(value, rows)
            scalar = {"allOf": [value, {"not": {"type": "array"}}]}
            return any_of(many, scalar) if alone else many

        if not self.names:
            return self._wide(column(self.values[0]))
        columns = {name: column(value) for name, value in zip(self.names, self._each())}
        return obj(columns, self.names, additionalProperties=column(ANYTHING))

    def _mlflow(self, shape: str, lenient: bool) -> Json:
        """An object with one of MLflow's keys. lenient: where other keys are passed over."""
        if not self.known:
            content = {"type": ["array", "object"]} if shape == "inputs" else listed(ANYTHING)
            content = self._split(listed(ANYTHING)) if shape == "dataframe_split" else content
        elif shape == "dataframe_split":
            content = self._split(self._rows()[0])
        elif shape == "dataframe_records":
            content = self._records()
        else:
            columns = self._columns(alone=True) if shape == "inputs" else []
            content = any_of(*self._rows(), *columns)
        held: Json = {shape: content}
        if lenient:
            held |= {other: False for other in SHAPES if other != shape}
            held["params"] = PARAMS
        else:
            held["params"] = PARAMS
        return obj(held, [shape], **({} if lenient else {"additionalProperties": False}))

    def _split(self, rows: Json) -> Json:
        held: Json = {"data": rows, "index": ANYTHING}
        required = ["data"]
        if self.known and self.kind == "json":
            named = {
                "columns": {"const": list(self.names)},
                "data": listed(self._values_in_order()),
            }
            return any_of(
                obj({**held, **named}, ["columns", "data"], additionalProperties=False),
                obj({**held, "columns": {"type": "null"}}, required, additionalProperties=False),
            )
        if self.known and self.names:
            held["columns"] = any_of({"const": list(self.names)}, {"type": "null"})
        elif self.known and self.kind == "matrix" and self.width:
            name = {"type": "string"}
            names = listed(name, self.width, uniqueItems=True)
            held["columns"] = any_of(names, {"type": "null"})
        return obj(held, required, additionalProperties=False)

    def _tensors(self) -> Json:
        if self.kind == "bytes":
            text = {"type": "string"}
            return listed(self._tensor({"type": "string"}, "BYTES", [1], [listed(text, 1)]), 1)
        if not self.known:
            return any_of(*(listed(self._unknown(rows), minItems=1) for rows in WRITTEN_OUT))
        if self.kind == "matrix":
            return any_of(*(listed(self._whole(rows), 1) for rows in WRITTEN_OUT))
        return any_of(*(self._named(rows) for rows in WRITTEN_OUT))

    def _unknown(self, rows: int) -> Json:
        """A column of a model that takes any JSON."""
        held: list[tuple[str, Json]] = [
            ("FP64", {"type": ["number", "boolean", "null"]}),
            ("BOOL", {"enum": [True, False, 0, 1]}),
            ("BYTES", {"type": ["string", "null"]}),
        ]
        name = {"type": "string"}
        return any_of(
            *(self._tensor(name, kind, [rows], [listed(value, rows)]) for kind, value in held)
        )

    def _whole(self, rows: int) -> Json:
        """The matrix as one tensor."""
        field, shape = self.fields[0], [rows, *(self.shape or ())]
        value = tensor_value(field, self.values[0])
        sizes = [1 if size == -1 else size for size in shape]
        data = [listed(value, prod(sizes)), nested(value, sizes)]
        return self._tensor({"type": "string"}, datatype(field), sizes, data)

    def _named(self, rows: int) -> Json:
        """Each column as one tensor."""
        tensors = [
            self._tensor(
                {"const": field.name},
                datatype(field),
                [rows],
                [listed(value if datatype(field) != "BYTES" else _text(value), rows)],
            )
            for field, value in zip(self.fields, self.values)
        ]
        size = len(tensors)
        return {"type": "array", "prefixItems": tensors, "minItems": size, "maxItems": size}

    def _tensor(self, name: Json, kind: str, shape: list[int], data: list[Json]) -> Json:
        held = {
            "name": name,
            "datatype": {"const": kind},
            "shape": {"const": shape},
            "data": any_of(*data) if len(shape) > 1 else data[0],
            "parameters": {"type": ["object", "null"]},
        }
        return obj(held, ["name", "datatype", "shape", "data"])


def _text(value: Json) -> Json:
    return value if "type" in value else {"type": ["string", "null"]}


def datatype(field: Field) -> str:
    return DATATYPES.get(field.type, "BYTES")


def tensor_value(field: Field, value: Json) -> Json:
    """What stands in a tensor of the field's own datatype: what both of them allow."""
    if whole(field.type):
        low, high = bounds(field.type)
        return {"allOf": [value, {"type": "integer", "minimum": low, "maximum": high}]}
    if field.type == "bool":
        return {"type": "boolean"}
    return value


# What comes back


def predictions(fields: Sequence[Field], known: bool) -> Json:
    """`{"predictions": …}`: a list where one output has no name of its own, else records."""
    if not known or not fields:
        content = ANYTHING
    elif len(fields) == 1 and fields[0].name == "predict":
        content = listed(nested(given_value(fields[0]), fields[0].shape))
    else:
        content = ANYTHING
    return obj({"predictions": content}, ["predictions"])


def inferred() -> Json:
    """The answer of the Open Inference Protocol."""
    tensor = obj(
        {
            "name": {"type": "string"},
            "datatype": {"enum": [*DATATYPES.values(), "BYTES"]},
            "shape": listed({"type": "integer", "minimum": 0}),
            "data": {"type": "array"},
        },
        ["name", "datatype", "shape", "data"],
    )
    held = {"model_name": {"type": "string"}, "model_version": {"type": "string"}}
    more = {"id": {"type": "string"}, "outputs": listed(tensor)}
    return obj({**held, **more}, ["model_name", "model_version", "outputs"])
