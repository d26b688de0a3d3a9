"""From JSON to buffers: what types become, what is refused, that joining is exact."""

import math
import struct

import pytest

from app.scoring.errors import Refusal
from app.scoring.inputs import Reader, Tensor, flatten, join, pack
from app.scoring.protocols import read_json


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


def test_tensors_for_json_are_of_their_datatype_too():
    with pytest.raises(Refusal, match="not of its datatype"):
        Reader("json").tensors([Tensor("x", "?", (2,), [{}, False])])


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


# Declared columns


def declared(value, kind="dataframe", **said):
    """One column `a` of this declaration, with these values."""
    reader = Reader(kind, said={"a": said})
    reader.learn(None)
    return reader.table({"a": value}) if kind == "dataframe" else reader.rows(value)


@pytest.mark.parametrize(
    ("said", "values", "code", "data"),
    [
        ({"type": "int8"}, [1, 2.0], "b", struct.pack("2b", 1, 2)),
        ({"type": "uint64"}, [2**64 - 1], "Q", struct.pack("Q", 2**64 - 1)),
        ({"type": "float16"}, [1, None], "e", struct.pack("2e", 1, math.nan)),
        ({"type": "float32"}, [1, 2.5], "f", struct.pack("2f", 1, 2.5)),
        ({"type": "bool"}, [True, False], "?", b"\x01\x00"),
        ({"type": "int16", "nullable": True}, [1, None], "j:Int16", b"1,null"),
        ({"type": "uint16", "nullable": True}, [1], "j:UInt16", b"1"),
        ({"type": "bool", "nullable": True}, [True, None], "j:boolean", b"true,null"),
        ({"type": "string"}, ["x", None], "j", b'"x",null'),
        ({"type": "category"}, ["x"], "j:category", b'"x"'),
        (
            {"type": "category", "values": ["NL", "DE"]},
            ["DE", None],
            'i:["NL","DE"]',
            struct.pack("2i", 1, -1),
        ),
        ({"type": "bytes"}, ["aGk="], "j:base64", b'"aGk="'),
        ({"type": "json"}, [{"b": [1]}], "j", b'{"b":[1]}'),
        (
            {"type": "datetime"},
            ["1970-01-01", "1970-01-01T01:00:00.5+01:00", "1970-01-01T00:00:01Z", None],
            "M8[us]",
            struct.pack("4q", 0, 500_000, 1_000_000, -(2**63)),
        ),
    ],
)
def test_declared_types_decide_what_travels(said, values, code, data):
    inputs = declared(values, **said)
    assert (inputs.codes, inputs.parts) == ((code,), [data])


@pytest.mark.parametrize(
    ("said", "value", "words"),
    [
        ({"type": "int64"}, "x", "expected a whole number, got text."),
        ({"type": "int64"}, 1.5, "expected a whole number, got a fraction."),
        ({"type": "int64"}, True, "expected a whole number, got true or false."),
        ({"type": "int64"}, None, "expected a whole number, got null."),
        ({"type": "int8"}, 128, "expected at most 127, got a larger one."),
        ({"type": "int64"}, 10**30, "expected at most 9.22337e\\+18, got a larger one."),
        ({"type": "uint8"}, -1, "expected at least 0, got a smaller one."),
        ({"type": "int64", "max": 120}, 121, "expected at most 120, got a larger one."),
        ({"type": "float64", "min": 0}, -0.5, "expected at least 0, got a smaller one."),
        ({"type": "float32"}, 1e39, "expected at most 3.40282e\\+38, got a larger one."),
        ({"type": "float64"}, 10**400, "got a larger one."),
        ({"type": "float64", "nullable": False}, None, "expected a number, got null."),
        ({"type": "float64"}, [], "expected a number, got a list."),
        ({"type": "bool"}, 1, "expected true or false, got a number."),
        ({"type": "string"}, 1, "expected text, got a number."),
        ({"type": "string", "nullable": False}, None, "expected text, got null."),
        ({"type": "category", "values": ["NL", "BE"]}, "DE", 'one of "NL", "BE", got another'),
        ({"type": "int8", "values": [1, 2]}, 3, "one of 1, 2, got another"),
        ({"type": "int8", "values": [*range(11)]}, 12, "one of its allowed values, got another"),
        ({"type": "category", "values": ["NL"]}, {}, "expected text, got an object."),
        ({"type": "datetime"}, "2026-02-30", "expected a time such as .*, got other text."),
        ({"type": "datetime"}, "yesterday", "expected a time such as .*, got other text."),
        ({"type": "datetime"}, 5, "expected a time as text, got a number."),
        ({"type": "bytes"}, "a b", "expected base64 text, got other text."),
        ({"type": "json", "nullable": False}, None, "expected a value, got null."),
    ],
)
def test_what_is_not_as_declared_is_refused_by_column_and_row(said, value, words):
    good = {"string": "x", "category": "NL", "datetime": "2026-10-01", "bytes": "", "bool": True}
    with pytest.raises(Refusal, match=f'Column "a", row 1: .*{words}') as caught:
        declared([good.get(said["type"], 1), value], **said)
    assert caught.value.status == 400


def test_one_of_the_allowed_times_is_taken():
    days = ["2026-10-01", "2026-10-02"]
    assert declared(days, type="datetime", values=days).codes == ("M8[us]",)
    with pytest.raises(Refusal, match='one of "2026-10-01", "2026-10-02", got another'):
        declared(["2026-10-03"], type="datetime", values=days)


def test_a_declared_matrix_has_its_type_and_shape():
    inputs = declared([[1, 2], [3, 4]], "ndarray", type="float32", shape=[-1])
    assert (inputs.codes, inputs.shape) == (("f",), (2,))
    with pytest.raises(Refusal, match="Row 1: expected a number, got text"):
        declared([[1, 2], [3, "x"]], "ndarray", type="float32")
    with pytest.raises(Refusal, match="must have 3 values, got 2"):
        declared([[1, 2]], "ndarray", type="float32", shape=[3])


def test_a_tensor_becomes_the_declared_type():
    reader = Reader("ndarray", said={"x": {"type": "float32", "max": 3}})
    reader.learn(None)
    assert reader.tensors([Tensor("x", "d", (1, 2), [1.0, 2.0])]).codes == ("f",)
    with pytest.raises(Refusal, match="at most 3"):
        reader.tensors([Tensor("x", "d", (1, 2), [1.0, 4.0])])


def test_text_in_a_tensor_is_no_number():
    reader = Reader("ndarray")
    reader.learn(reader.rows([[1.5, 2.5]]))
    with pytest.raises(Refusal, match="expected a number, got text"):
        reader.tensors([Tensor("x", "j", (1, 2), ["a", "b"])])


def test_the_sample_fills_in_what_is_not_declared():
    reader = Reader("dataframe", said={"b": {"type": "int8"}})
    reader.learn(reader.records([{"a": 1.5, "b": 2, "c": "x"}]))
    assert [(each.name, each.type) for each in reader.schema.inputs] == [
        ("a", "float64"),
        ("b", "int8"),
        ("c", "string"),
    ]
    assert reader.rows([[1, 2, "x"]]).codes == ("d", "b", "j")


def test_a_sample_without_a_declared_column_is_refused():
    reader = Reader("dataframe", said={"b": {"type": "int8"}})
    with pytest.raises(Refusal, match="Missing columns"):
        reader.records([{"a": 1.5}])


def test_columns_that_are_not_taken_are_remembered():
    reader = Reader("dataframe")
    reader.learn(reader.records([{"a": 1.5}]))
    reader.records([{"a": 1, "b": 2}, {"c": 3, "a": 4}])
    assert reader.ignored == ["b", "c"]


def test_declared_columns_of_json_are_checked_and_passed_on():
    reader = Reader("json", said={"a": {"type": "int8"}})
    reader.learn(None)
    assert reader.value([{"a": 1, "b": []}]).parts == [b'{"a":1,"b":[]}']
    assert reader.value({"a": [1, 2]}).parts == [b'{"a":[1,2]}']
    for wrong in ([{"a": "x"}], {"a": "x"}, {"a": ["x"]}, [[1]], [{"b": 1}], "x"):
        with pytest.raises(Refusal):
            reader.value(wrong)


def test_null_among_booleans_is_a_number_where_the_sample_had_numbers():
    reader = Reader("ndarray")
    reader.learn(reader.rows([[1.5, 2.5]]))
    first, second = doubles(reader.rows([[True, None]]).parts[0])
    assert first == 1
    assert math.isnan(second)


def test_only_what_is_nested_too_deeply_is_refused():
    for body in (b"[" * 64 + b"]" * 64, b'["' + b"[" * 100 + b'"]', b"[" + b"[],{}," * 99 + b"[]]"):
        read_json(body)
    for body in (b"[" * 65 + b"]" * 65, b'{"a":' * 65 + b'"]"' + b"}" * 65, b"[" * 10**5):
        with pytest.raises(Refusal, match=r"nested|malformed"):
            read_json(body)
