"""What flows between stages: rows taken, columns joined, branches combined, tensors and back."""

import json
import struct

import pytest

from app.scoring.inputs import Inputs, Reader
from app.scoring.outputs import Column, Outputs
from app.scoring.pipeline import combine, graph, table, wire
from app.scoring.pipeline.ask import Response
from app.scoring.pipeline.table import Held, Unfit
from app.scoring.pipeline.wire import Known, Output

NAN = float("nan")


def numbers(*values, code="d"):
    return Column(code, struct.pack(f"<{len(values)}{code}", *values), (len(values),))


def block(rows, code="d"):
    flat = [value for row in rows for value in row]
    data = struct.pack(f"<{len(flat)}{code}", *flat)
    return table.array_of(Column(code, data, (len(rows), len(rows[0]))))


def one(*values, code="d"):
    return table.array_of(numbers(*values, code=code))


def frame(**columns):
    made = {
        name: table.packed(list(values)) if type(values) is list else values
        for name, values in columns.items()
    }
    return table.table_of(made, next(iter(made.values())).shape[0])


def lists(values):
    return Outputs("json", values)


# From requests and to workers


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("dataframe", [{"a": 1.5, "b": "x"}, {"a": None, "b": None}]),
        ("ndarray", [[1, 2], [3, 4]]),
        ("json", [{"any": [1, {}]}, "x"]),
        ("json", {"one": "value"}),
    ],
)
def test_a_request_is_the_output_of_input_and_fits_a_worker_again(kind, body):
    inputs = Reader(kind).value(body)
    outputs = table.of_inputs(inputs)
    assert json.loads(outputs.json()) == body
    again = table.to_inputs(outputs, kind)
    assert json.loads(table.of_inputs(again).json()) == body


def test_times_and_categories_of_a_declared_schema_become_text_again():
    said = {"t": {"type": "datetime"}, "c": {"type": "category", "values": ["x", "y"]}}
    rows = [{"t": "2026-10-01T12:00:00Z", "c": "y"}, {"t": None, "c": None}]
    outputs = table.of_inputs(Reader("dataframe", said=said).value(rows))
    assert outputs.records() == [
        {"t": "2026-10-01T12:00:00+00:00", "c": "y"},
        {"t": None, "c": None},
    ]


def test_columns_without_names_become_a_block():
    inputs = Inputs("columns", 2, [numbers(1, 2).data, numbers(3, 4, code="q").data], ("d", "q"))
    assert json.loads(table.of_inputs(inputs).json()) == [[1.0, 3.0], [2.0, 4.0]]


# Rows


@pytest.mark.parametrize(
    "outputs",
    [
        one(1, 2, 3),
        one(1, 2, 3, code="b"),
        one(1, 2, 3, code="f"),
        block([[1, 2], [3, 4], [5, 6]]),
        frame(a=[1.0, 2.0, 3.0], b=["x", None, "z"]),
        lists(["a", {"b": 1}, None]),
    ],
)
def test_some_rows_are_taken_and_put_back(outputs):
    whole = json.loads(outputs.json())
    some = table.take(outputs, [2, 0])
    assert json.loads(some.json()) == [whole[2], whole[0]]
    assert some.rows == 2
    back = json.loads(table.spread(table.take(outputs, [0, 2]), [0, 2], 3).json())
    assert [back[0], back[2]] == [whole[0], whole[2]]
    assert json.loads(table.take(outputs, []).json()) == []


def test_rows_that_all_have():
    every = [Held(one(1), None), Held(one(1), [0, 2, 4]), Held(one(1), [2, 3, 4])]
    assert table.common(every) == [2, 4]
    assert table.common(every[:1]) is None


# Columns


def given(held, **said):
    stages = [{"name": name, "instance": name} for name in held if name != "input"]
    stages.append({"name": "last", "instance": "last", **said})
    stage = graph._stage(stages[-1], "input")
    return table.given(stage, {name: Held(one) for name, one in held.items()}, 2)


def test_outputs_without_names_are_called_after_their_stage():
    held = {"a": one(1, 2), "b": block([[3, 4], [5, 6]]), "input": frame(x=["p", "q"])}
    made = given(held, after=["a", "b", "input"])
    assert made.outputs.records() == [
        {"a": 1.0, "b_0": 3.0, "b_1": 4.0, "x": "p"},
        {"a": 2.0, "b_0": 5.0, "b_1": 6.0, "x": "q"},
    ]
    columns = [["", "b.1"], ["first", "b_0" and "b.0"], ["", "a"]]
    made = given(held, columns=columns)
    assert made.outputs.names == ("b_1", "first", "a")


@pytest.mark.parametrize(
    ("reference", "said", "culprit"),
    [
        ("a.x", '"a" gave no column "x".', "a"),
        ("b", '"b" has 2 columns; say which.', "b"),
        ("input.y", "Missing columns: y.", "input"),
        ("c.x", 'Of "c" no column can be taken: it gave no rows.', "c"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_who_should_have_given_it(
    reference, said, culprit
):
    held = {"a": one(1, 2), "b": block([[3, 4], [5, 6]]), "c": lists({"x": 1})}
    held["input"] = frame(x=["p", "q"])
    with pytest.raises(Unfit) as caught:
        given(held, columns=[["", reference]])
    assert (str(caught.value), caught.value.culprit) == (said, culprit)


def test_conditions_choose_rows():
    held = {"a": one(0.2, 0.7)}
    assert given(held, when="a > 0.5").rows == [1]
    assert given(held, when="a > 0").rows is None
    assert given(held, when="a > 1").rows == []
    assert given(held, when="1 > 2").rows == []


# Combining


def combined(how, count=3, weights=None, **held):
    stage = graph.Stage("c", after=tuple(held), combine=how, weights=weights)
    held = {name: one if isinstance(one, Held) else Held(one) for name, one in held.items()}
    return combine.combine(stage, held, count)


def values(held):
    return json.loads(held.outputs.json())


def test_means_are_of_what_is_there():
    a, b = one(1, 2, 3), one(3, 4, 5, code="f")
    assert values(combined("mean", a=a, b=b)) == [2, 3, 4]
    assert values(combined("weighted", weights=(3, 1), a=a, b=b)) == [1.5, 2.5, 3.5]
    some = Held(one(5, 7), [0, 2])
    assert values(combined("mean", a=a, b=some)) == [3, 2, 5]
    assert values(combined("weighted", weights=(1, 3), a=a, b=some)) == [4, 2, 6]
    assert values(combined("mean", a=lists([1, None, 3]), b=a)) == [1, 2, 3]
    assert values(combined("mean", a=one(NAN, 1, 1), b=a)) == [None, 1.5, 2]
    assert values(combined("mean", a=block([[1, 2]] * 3), b=block([[3, 4]] * 3))) == [[2, 3]] * 3
    halves = one(1, 2, 3, code="e")
    assert values(combined("mean", a=halves, b=one(1, 2, 3, code="B"))) == [1, 2, 3]


def test_a_row_that_nobody_has_is_in_no_mean():
    made = combined("mean", a=Held(one(1), [0]), b=Held(one(3), [0]))
    assert (values(made), made.rows) == ([2], [0])
    assert combined("mean", a=Held(one(), []), b=Held(one(), [])).rows == ()


def test_tables_are_combined_by_name():
    a, b = frame(x=[1.0, 2.0], y=[1.0, 1.0]), frame(y=[3.0, 3.0], x=[3.0, 4.0])
    assert values(combined("mean", 2, a=a, b=b)) == [{"x": 2, "y": 2}, {"x": 3, "y": 2}]


def test_votes_go_to_the_most_frequent_and_then_the_earliest():
    a, b, c = lists(["x", "y", "z"]), lists(["y", "y", None]), lists(["y", "z", "q"])
    assert values(combined("vote", a=a, b=b, c=c)) == ["y", "y", "z"]
    assert values(combined("vote", a=one(1, 2, 3), b=one(2, 2, 2))) == [1, 2, 3]


def test_the_first_that_has_a_row_gives_it():
    a = Held(frame(x=[1]), [2])
    made = combined("first", a=a, b=frame(x=["p", "q", "r"]))
    assert values(made) == [{"x": "p"}, {"x": "q"}, {"x": 1}]


def test_columns_stand_side_by_side():
    made = combined("concat", a=frame(x=[1, 2, 3]), b=Held(one(5.0), [1]), c=frame(x=[7, 8, 9]))
    assert values(made) == [
        {"a_x": 1, "b": None, "c_x": 7},
        {"a_x": 2, "b": 5.0, "c_x": 8},
        {"a_x": 3, "b": None, "c_x": 9},
    ]


@pytest.mark.parametrize(
    ("how", "a", "b", "said"),
    [
        ("mean", one(1), block([[1, 2]]), '"a" gave 1 value a row, "b" 2 values.'),
        ("mean", frame(x=[1]), one(1), '"a" gave the columns x, "b" no names.'),
        ("mean", one(1), lists(["x"]), '"b" gave values that are no numbers.'),
        ("vote", block([[1, 2]]), block([[1, 2]]), "A vote is about one value a row"),
        ("vote", lists([[1]]), lists([[1]]), "these are lists or objects"),
        ("mean", lists({"a": 1}), one(1), "it gave no rows"),
    ],
)
def test_what_cannot_be_combined_is_named(how, a, b, said):
    with pytest.raises(Unfit, match=said.replace("(", r"\(")):
        combined(how, 1, a=a, b=b)


# To a stage and back


def known(kind="dataframe", outputs=(("y", "float64"),)):
    return Known("m odel", 1, "r", kind, tuple(Output(*each) for each in outputs))


def sent(outputs, stage):
    asking = wire.asking(outputs, stage)
    text, *rest = asking.parts
    return asking.path, json.loads(text), [bytes(one) for one in rest]


def test_numbers_go_as_bytes_and_text_as_json():
    table_ = frame(a=[1.5, 2.5], b=["x", None], c=numbers(1, 2, code="b"))
    path, said, data = sent(table_, known(outputs=(("y", "float64"), ("z", "string"))))
    assert path == "/v2/models/m%20odel/infer"
    assert [one["datatype"] for one in said["inputs"]] == ["FP64", "BYTES", "INT8"]
    assert said["inputs"][1]["data"] == ["x", None]
    assert data == [numbers(1.5, 2.5).data, b"\1\2"]
    assert [one["parameters"]["binary_data"] for one in said["outputs"]] == [True, False]


def test_a_table_goes_to_a_model_of_matrices_as_one():
    _, said, data = sent(frame(a=[1.0, 2.0], b=[3, 4]), known("ndarray"))
    assert said["inputs"][0]["shape"] == [2, 2]
    assert data == [struct.pack("<4d", 1, 3, 2, 4)]


@pytest.mark.parametrize(
    ("outputs", "stage", "body"),
    [
        (frame(a=[[1], {}]), known(), {"inputs": {"a": [[1], {}]}}),
        (frame(a=[1.0]), known(outputs=()), {"inputs": {"a": [1.0]}}),
        (frame(a=[1.0]), known(outputs=(("y", "json"),)), {"inputs": {"a": [1.0]}}),
        (frame(a=["x"]), known("ndarray"), {"inputs": {"a": ["x"]}}),
        (one(1, 2), known("json"), {"inputs": [1.0, 2.0]}),
        (lists({"a": 1}), known("json"), {"inputs": {"a": 1}}),
        (lists("hello"), known("text"), "hello"),
    ],
)
def test_what_tensors_cannot_hold_goes_as_json(outputs, stage, body):
    assert sent(outputs, stage) == ("/score", body, [])


def test_bytes_only_go_to_who_takes_them():
    assert wire.asking(Outputs("bytes", b"\0\1"), known("bytes")).parts == [b"\0\1"]
    for outputs, kind in ((Outputs("bytes", b""), "json"), (one(1), "bytes")):
        with pytest.raises(Unfit):
            wire.asking(outputs, known(kind))


def back(body, **headers):
    said = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return wire.answered(Response(200, said, body))


def test_answers_are_read_whatever_they_are():
    assert back(b'{"predictions":[1,"x"]}').values == [1, "x"]
    assert back(b"\0", content_type=b"application/octet-stream").values == b"\0"
    said = [
        {"name": "x", "shape": [2], "datatype": "INT64", "data": [1, 2]},
        {"name": "y", "shape": [2], "datatype": "BYTES", "data": ["a", None]},
    ]
    assert back(json.dumps({"outputs": said}).encode()).records() == [
        {"x": 1, "y": "a"},
        {"x": 2, "y": None},
    ]
    texts = {"name": "predict", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "b"]}
    assert back(json.dumps({"outputs": [texts]}).encode()).values == [["a", "b"]]


def test_no_rows_have_the_columns_that_are_known():
    assert known(outputs=(("y", "float64"), ("z", "string"))).nothing().names == ("y", "z")
    assert known(outputs=(("predict", "float64", (2,)),)).nothing().kind == "array"
    assert known(outputs=(("predict", "string"),)).nothing().kind == "json"


def test_a_model_that_takes_json_as_it_is_is_given_records():
    """It would go through the names of columns, where it was written for rows."""
    asked = wire.asking(frame(a=numbers(1.5, 2.5), b=["x", None]), Known("m", 1, "v1", "json", ()))
    assert json.loads(asked.parts[0]) == {"inputs": [{"a": 1.5, "b": "x"}, {"a": 2.5, "b": None}]}
