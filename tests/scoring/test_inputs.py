"""From JSON to buffers: what types become, what is refused, that joining is exact."""

import math
import struct

import pytest

from app.scoring.errors import Refusal
from app.scoring.inputs import Reader, Tensor, flatten, join, pack


def doubles(data):
    return list(struct.unpack(f"{len(data) // 8}d", data))


@pytest.mark.parametrize(
    ("values", "wanted", "code", "data"),
    [
        ([1.5, 2.5], "", "d", struct.pack("2d", 1.5, 2.5)),
        ([1, 2], "", "q", struct.pack("2q", 1, 2)),
        ([1, 2], "d", "d", struct.pack("2d", 1, 2)),
        ([1, 2.5], "", "d", struct.pack("2d", 1, 2.5)),
        ([1, 2.5], "q", "d", struct.pack("2d", 1, 2.5)),
        ([True, False], "", "?", b"\x01\x00"),
        ([True, 2], "", "q", struct.pack("2q", 1, 2)),
        (["a", None], "", "j", b'"a",null'),
        (["a", 1], "", "j", b'"a",1'),
        ([2**63], "", "d", struct.pack("d", 2.0**63)),
        ([1.5], "j", "d", struct.pack("d", 1.5)),
        ([], "", "d", b""),
    ],
)
def test_values_are_packed_in_the_narrowest_buffer(values, wanted, code, data):
    assert pack(values, wanted) == (code, data)


def test_null_among_numbers_is_nan():
    code, data = pack([1, None, 2.5])
    first, second, third = doubles(data)
    assert (code, first, third) == ("d", 1.0, 2.5)
    assert math.isnan(second)


def test_a_number_too_large_for_a_double_stays_text():
    assert pack([10**400]).code == "j"


def test_flatten_gives_shape():
    assert flatten([[[1, 2]], [[3, 4]]]) == ([1, 2, 3, 4], (2, 1, 2))


@pytest.mark.parametrize("rows", [[[1], [1, 2]], [[1], 2], [1, [2]], [[[1]], [2]]])
def test_ragged_rows_are_refused(rows):
    with pytest.raises(Refusal, match="same length"):
        flatten(rows)


def test_joining_keeps_every_row_in_order():
    reader = Reader("ndarray")
    one, two = reader.rows([[1.0, 2.0]]), reader.rows([[3.0, 4.0], [5.0, 6.0]])
    both = join([one, two])
    assert one.signature == two.signature
    assert (both.rows, both.shape, doubles(both.parts[0])) == (3, (2,), [1, 2, 3, 4, 5, 6])


def test_joining_columns_joins_each_column():
    reader = Reader("dataframe")
    one = reader.records([{"a": 1, "b": "x"}])
    two = reader.records([{"a": 2, "b": "y"}, {"a": 3, "b": None}])
    assert join([one, two]).parts == [struct.pack("3q", 1, 2, 3), b'"x","y",null']


def test_different_types_have_different_signatures():
    reader = Reader("dataframe")
    assert reader.records([{"a": 1}]).signature != reader.records([{"a": 1.5}]).signature
    assert reader.records([{"a": 1}]).signature != reader.records([{"b": 1}]).signature


def test_the_sample_makes_integers_floats_and_orders_columns():
    reader = Reader("dataframe")
    reader.learn(reader.records([{"a": 1.5, "b": "x"}]))
    inputs = reader.records([{"b": "y", "extra": 0, "a": 2}])
    assert (inputs.names, inputs.codes) == (("a", "b"), ("d", "j"))
    assert inputs.parts == [struct.pack("d", 2), b'"y"']


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([{"a": 1.0}], "Missing columns: b"),
        ([{"a": 1.0, "b": "x"}, {"a": 2.0}], "Missing columns in row 1: b"),
        ([{"a": 1.0, "b": "x"}, {"b": "y", "c": 1}], "Missing columns in row 1: a"),
        ([{"a": "x", "b": "y"}], 'Column "a", row 0: expected a number, got text'),
        ([{"a": 1.0, "b": 2}], 'Column "b", row 0: expected text, got a number'),
        ([[1.0]], "must have 2 values, got 1"),
        ([1.0], "neither lists nor objects"),
        ("text", "no rows"),
        ([{"a": 1.0, "b": "x"}, [1]], "Some rows are objects"),
        ({"a": [1.0], "b": []}, "same length"),
    ],
)
def test_what_does_not_fit_the_sample_is_refused(value, says):
    reader = Reader("dataframe")
    reader.learn(reader.records([{"a": 1.5, "b": "x"}]))
    with pytest.raises(Refusal, match=says) as caught:
        reader.value(value)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([[1.0, 2.0, 3.0]], "must have 2 values, got 3"),
        ([["x", 2.0]], "Row 0: expected a number, got text"),
        ([1.0, 2.0], "must have 2 values, got 1"),
        ([[[1.0], [2.0]]], "must have 2 values, got 2 × 1"),
        ([[1.0, {}]], "Row 0: expected a number, got an object"),
    ],
)
def test_a_matrix_must_be_like_the_samples(value, says):
    reader = Reader("ndarray")
    reader.learn(reader.rows([[1.5, 2.5]]))
    with pytest.raises(Refusal, match=says):
        reader.value(value)


def test_records_become_a_matrix_in_the_samples_order():
    reader = Reader("ndarray")
    reader.learn(reader.records([{"a": 1.5, "b": 2.5}]))
    assert doubles(reader.records([{"b": 4, "a": 3}]).parts[0]) == [3, 4]
    assert doubles(reader.rows([[3, 4]]).parts[0]) == [3, 4]


def test_json_is_passed_on_as_it_is():
    reader = Reader("json")
    assert reader.value([1, {"a": [2]}]).parts == [b'1,{"a":[2]}']
    assert reader.value({"a": 1}).parts == [b'{"a":1}']
    assert reader.value({"a": 1}).signature is None


def test_one_tensor_keeps_its_datatype_for_an_array():
    inputs = Reader("ndarray").tensors([Tensor("x", "f", (1, 2), [1, 2.5])])
    assert (inputs.codes, inputs.shape) == (("f",), (2,))
    assert inputs.parts == [struct.pack("2f", 1, 2.5)]


def test_several_tensors_are_columns():
    tensors = [Tensor("a", "d", (2,), [1.5, 2.5]), Tensor("b", "j", (2, 1), ["x", "y"])]
    inputs = Reader("dataframe").tensors(tensors)
    assert (inputs.names, inputs.rows) == (("a", "b"), 2)


@pytest.mark.parametrize(
    ("code", "values"), [("d", ["x"]), ("q", [1.5]), ("b", [300]), ("?", [2]), ("I", [-1])]
)
def test_values_outside_their_datatype_are_refused(code, values):
    with pytest.raises(Refusal, match="not of its datatype"):
        Reader("ndarray").tensors([Tensor("x", code, (1,), values)])


def test_no_message_repeats_the_input():
    reader = Reader("ndarray")
    reader.learn(reader.rows([[1.5]]))
    with pytest.raises(Refusal) as caught:
        reader.rows([["a secret"]])
    assert "secret" not in caught.value.sentence
