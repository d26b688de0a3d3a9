"""What is declared over what the sample showed, and what a change of it breaks."""

import json

import pytest

from app.scoring.schema import Field, Schema, changes, declared, outputs_of, overlay, parse, tensors

AGE = Field("age", "int64")
SCORE = Field("score", "float64")


def columns(*inputs, outputs=()):
    return Schema("columns", inputs, outputs)


def test_a_schema_survives_json():
    said = {"type": "category", "values": ["NL", "DE"], "nullable": False}
    schema = Schema("columns", (AGE, declared("country", said)), (SCORE,))
    assert parse(json.loads(json.dumps(schema.as_json()))) == schema


def test_the_json_form_is_the_contract():
    said = {"type": "int64", "min": 0}
    assert columns(declared("age", said)).as_json() == {
        "format": 1,
        "kind": "columns",
        "inputs": [
            {"name": "age", "type": "int64", "shape": (), "nullable": False, "values": None,
             "min": 0, "max": None}
        ],
        "outputs": [],
    }  # fmt: skip


def test_declared_stands_over_learned_in_the_samples_order():
    fields = overlay((AGE, SCORE), {"score": {"type": "float32"}, "new": {"type": "bool"}})
    assert [(each.name, each.type) for each in fields] == [
        ("age", "int64"),
        ("score", "float32"),
        ("new", "bool"),
    ]


@pytest.mark.parametrize(("kind", "nullable"), [("int8", False), ("bool", False), ("string", True)])
def test_whole_numbers_take_null_only_where_that_is_declared(kind, nullable):
    assert declared("a", {"type": kind}).nullable is nullable
    assert declared("a", {"type": kind, "nullable": not nullable}).nullable is not nullable


@pytest.mark.parametrize(
    ("kind", "values"), [("int8", ["a"]), ("string", [1]), ("category", [True]), ("bool", [0])]
)
def test_allowed_values_must_be_of_the_type(kind, values):
    with pytest.raises(ValueError, match='values of "a"'):
        declared("a", {"type": kind, "values": values})


def test_outputs_are_text_only_when_all_of_it_is():
    found = [("label", "j", []), ("more", "j", []), ("score", "f", [3])]
    rows = [{"label": "yes", "more": {}, "score": 1}, {"label": None, "more": "x", "score": 2}]
    assert [(each.type, each.shape) for each in outputs_of(found, rows, {})] == [
        ("string", ()),
        ("json", ()),
        ("float32", (3,)),
    ]


def test_metadata_speaks_the_protocols_datatypes():
    fields = [Field("x", "float16", (3,)), Field("when", "datetime"), Field("n", "uint8")]
    assert [(each["datatype"], each["shape"]) for each in tensors(fields)] == [
        ("FP16", [-1, 3]),
        ("BYTES", [-1]),
        ("UINT8", [-1]),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (columns(AGE), columns(AGE, SCORE), ['column "score" is now required.']),
        (columns(AGE), columns(Field("age", "string")), ["is string now; it was int64"]),
        (columns(AGE), columns(AGE._replace(nullable=False)), ["no longer takes null"]),
        (columns(AGE), columns(AGE._replace(values=(1,))), ["takes fewer values now"]),
        (columns(AGE._replace(values=(1, 2))), columns(AGE._replace(values=(1,))), ["fewer"]),
        (columns(AGE), columns(AGE._replace(min=3)), ["at least 3 now"]),
        (columns(AGE._replace(max=9)), columns(AGE._replace(max=8)), ["at most 8 now"]),
        (Schema("json"), columns(AGE), ["it takes columns now, not any JSON"]),
        (
            Schema("matrix", (Field("inputs", "float64", (2,)),)),
            Schema("matrix", (Field("inputs", "float64", (3,)),)),
            ["the matrix has rows of shape [3] now; it was [2]"],
        ),
        (columns(outputs=(SCORE,)), columns(outputs=(AGE,)), ['output "score" is gone']),
        (
            columns(outputs=(SCORE,)),
            columns(outputs=(SCORE._replace(type="int8"),)),
            ['output "score" is int8 now'],
        ),
        (
            columns(outputs=(SCORE,)),
            columns(outputs=(SCORE._replace(shape=(2,)),)),
            ['output "score" has the shape [2] now'],
        ),
    ],
)  # fmt: skip
def test_a_breaking_change_is_named(old, new, said):
    found = changes(old, new)
    assert len(found) == len(said)
    assert all(words in line for words, line in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (columns(AGE, SCORE), columns(AGE)),
        (columns(AGE), columns(AGE._replace(type="float64"))),
        (columns(AGE._replace(type="uint8")), columns(AGE)),
        (columns(AGE._replace(nullable=False)), columns(AGE)),
        (columns(AGE._replace(min=3, values=(4,))), columns(AGE._replace(min=2, values=(4, 5)))),
        (columns(outputs=(SCORE,)), columns()),
        (
            Schema("matrix", (Field("inputs", "float64", (2,)),)),
            Schema("matrix", (Field("inputs", "float64", (-1,)),)),
        ),
    ],
)
def test_what_callers_can_live_with_is_not_breaking(old, new):
    assert changes(old, new) == []
