"""A request as a form: what it is filled in with, and what becomes of what is typed."""

import json

import pytest

from app.scoring.schema import Field, Schema
from app.services import filling

COLUMNS = Schema(
    "columns",
    (
        Field("age", "int64", nullable=False, min=0, max=120),
        Field("country", "category", values=("NL", "DE")),
        Field("member", "bool", nullable=False),
        Field("note", "string"),
        Field("income", "float64"),
    ),
).as_json()
ROW = {"age": 41, "country": "DE", "member": True, "note": "new", "income": None}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [ROW, {}]},
        [ROW],
        ROW,
        {"inputs": {name: [value] for name, value in ROW.items()}},
        {"dataframe_records": [ROW]},
    ],
)
def test_first_row_is_filled_in_and_becomes_the_same_request(body):
    entries = filling.entries(COLUMNS, json.dumps(body))
    assert [each.value for each in entries] == ["41", "DE", "true", "new", ""]
    assert entries[0].hint == "int64 from 0 to 120"
    assert entries[1].choices == ("NL", "DE")
    assert entries[2].choices == ("true", "false")
    made = filling.body_of(COLUMNS, [each.value for each in entries])
    assert json.loads(made) == {"inputs": [ROW]}


@pytest.mark.parametrize("body", ["", "nonsense", "[]", "{}", '{"inputs": "x"}', "1", "[[1, 2]]"])
def test_what_has_another_form_leaves_fields_empty_or_filled_by_place(body):
    values = [each.value for each in filling.entries(COLUMNS, body)]
    assert values == (["1", "2", "", "", ""] if body == "[[1, 2]]" else [""] * 5)


def test_what_is_no_number_is_sent_as_it_was_typed_for_the_instance_to_refuse():
    made = json.loads(filling.body_of(COLUMNS, ["old", "FR", "maybe", "", "NaN"]))
    assert made["inputs"] == [
        {"age": "old", "country": "FR", "member": "maybe", "note": None, "income": "NaN"}
    ]


def test_short_matrix_has_a_field_for_each_place():
    schema = Schema("matrix", (Field("inputs", "float64", (3,), nullable=False),)).as_json()
    entries = filling.entries(schema, '{"inputs": [[1, 2.5, 3]]}')
    assert [(each.name, each.value) for each in entries] == [("1", "1"), ("2", "2.5"), ("3", "3")]
    assert json.loads(filling.body_of(schema, ["1", "2", "4"])) == {"inputs": [[1, 2, 4]]}


@pytest.mark.parametrize(
    "schema",
    [
        None,
        Schema("json").as_json(),
        Schema("bytes").as_json(),
        Schema("matrix", (Field("inputs", "float64", (3, 224, 224)),)).as_json(),
        Schema("matrix", (Field("inputs", "float64", (784,)),)).as_json(),
    ],
)
def test_what_nobody_fills_in_by_hand_has_no_form(schema):
    assert filling.entries(schema, "[[1]]") == []
