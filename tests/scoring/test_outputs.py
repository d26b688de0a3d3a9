"""What a worker gave back, split and written."""

import json
import struct

import pytest

from app.scoring.outputs import Outputs, read


def array(code, shape, *values):
    letters = {"?": "?"}.get(code, code)
    return read(
        {"kind": "array", "code": code, "shape": shape},
        struct.pack(f"={len(values)}{letters}", *values),
    )


def told(part):
    return part.name, part.code, part.shape, part.values()


def test_an_array_is_split_by_rows():
    parts = array("q", [3], 1, 2, 3).split([1, 2])
    assert [json.loads(part.json()) for part in parts] == [[1], [2, 3]]


def test_a_matrix_keeps_its_rows():
    assert json.loads(array("d", [2, 2], 1, 2, 3, 4).json()) == [[1, 2], [3, 4]]


def test_nan_and_infinity_become_null():
    assert array("d", [3], float("nan"), float("inf"), 1).json() == b"[null,null,1.0]"


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**63 - 1])
def test_large_integers_stay_exact(number):
    assert json.loads(array("q", [1], number).json()) == [number]


def test_an_array_of_no_columns_keeps_its_rows():
    assert json.loads(array("d", [2, 0]).json()) == [[], []]


def test_another_number_of_rows_is_not_split():
    assert array("q", [3], 1, 2, 3).split([1, 1]) is None
    assert Outputs("json", {"a": 1}).split([1, 1]) is None


def test_one_request_takes_what_there_is():
    assert Outputs("json", {"a": 1}).split([5])[0].values == {"a": 1}


def test_a_table_is_records_or_a_tensor_for_each_column():
    meta = {"kind": "table", "names": ["a", "b"], "codes": ["d", "j"], "sizes": [16, 9]}
    table = read(meta, struct.pack("2d", 1, 2) + b'["x","y"]')
    assert json.loads(table.json()) == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert list(map(told, table.split([1, 1])[1].tensors("predict"))) == [
        ("a", "d", [1], [2.0]),
        ("b", "j", [1], ["y"]),
    ]


@pytest.mark.parametrize(
    ("value", "tensor"),
    [
        ([1, 2], ("predict", "q", [2], [1, 2])),
        ([1, 2.5], ("predict", "d", [2], [1, 2.5])),
        ([1, None], ("predict", "d", [2], [1, None])),
        ([True], ("predict", "?", [1], [True])),
        (["x"], ("predict", "j", [1], ["x"])),
        ([[1], [2]], ("predict", "q", [2, 1], [1, 2])),
        ([{"a": 1}], ("predict", "j", [1], ['{"a":1}'])),
        ([[1], [2, 3]], ("predict", "j", [2], ["[1]", "[2,3]"])),
        (7, ("predict", "q", [1], [7])),
        ([], ("predict", "j", [0], [])),
    ],
)
def test_json_becomes_the_narrowest_tensor(value, tensor):
    assert list(map(told, Outputs("json", value).tensors("predict"))) == [tensor]


def test_an_object_is_a_tensor_for_each_key():
    named = Outputs("json", {"label": ["x"], "score": [0.5]}).tensors("predict")
    assert [part.name for part in named] == ["label", "score"]


# Buffers


def test_bytes_of_a_part_are_a_slice_of_the_workers_buffer():
    data = struct.pack("<6d", *range(6))
    whole = read({"kind": "array", "code": "d", "shape": [3, 2]}, data)
    first, second = (part.tensors("x")[0] for part in whole.split([1, 2]))
    assert (first.shape, bytes(first.raw())) == ([1, 2], data[:16])
    assert (second.shape, bytes(second.raw())) == ([2, 2], data[16:])
    assert second.raw().obj is data
    assert second.values() == [2.0, 3.0, 4.0, 5.0]


def test_a_tables_columns_are_split_as_bytes_too():
    meta = {"kind": "table", "names": ["a", "b"], "codes": ["f", "j"], "sizes": [8, 9]}
    table = read(meta, struct.pack("<2f", 0.5, 1) + b'["x","y"]')
    parts = table.split([1, 1])[1].tensors("x")
    assert [bytes(part.raw()) for part in parts] == [struct.pack("<f", 1), b"\x01\0\0\0y"]


@pytest.mark.parametrize("codes", [[], ["d", "j"]])
def test_a_table_of_no_columns_or_no_rows_stays_one(codes):
    meta = {"kind": "table", "rows": 2, "names": ["a", "b"][: len(codes)], "codes": codes}
    table = read({**meta, "sizes": [0, 2][: len(codes)]}, b"[]" if codes else b"")
    assert json.loads(table.json()) == ([] if codes else [{}, {}])
    assert [part.shape for part in table.tensors("x")] == [[0]] * len(codes)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, b"[0.1]"),
        (1 / 3, b"[0.33333334]"),
        (1.17549435e-38, b"[1.1754944e-38]"),
        (3.4028234663852886e38, b"[3.4028235e38]"),
        (16777216, b"[16777216.0]"),
        (0.0, b"[0.0]"),
        (-0.0, b"[-0.0]"),
        (float("nan"), b"[null]"),
        (float("-inf"), b"[null]"),
    ],
)
def test_a_float32_is_written_with_the_fewest_digits(number, text):
    assert array("f", [1], number).json() == text


def test_every_float16_is_written_so_that_it_can_be_read_again():
    finite = [number for number in range(65536) if number & 0x7C00 != 0x7C00]
    for start in range(0, len(finite), 1000):
        some = struct.pack(f"<{len(finite[start : start + 1000])}H", *finite[start : start + 1000])
        whole = read({"kind": "array", "code": "e", "shape": [len(some) // 2]}, some)
        assert struct.pack(f"<{len(some) // 2}e", *json.loads(whole.json())) == some


@pytest.mark.parametrize("code", ["f", "e"])
def test_long_answers_of_narrow_floats_have_all_digits(code):
    whole = array(code, [1001], *[0.1] * 1001)
    assert json.loads(whole.json())[0] == struct.unpack(code, struct.pack(code, 0.1))[0]


@pytest.mark.parametrize("shape", [[0, 3], [2, 0], [2, 0, 3], [0]])
def test_hollow_arrays_keep_their_shape(shape):
    whole = array("d", shape)
    assert whole.tensors("x")[0].shape == shape
    assert whole.tensors("x")[0].values() == []
    assert len(json.loads(whole.json())) == shape[0]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([2**63 - 1], "q"),
        ([2**64 - 1, 0], "Q"),
        ([2**63, -1], "j"),
        ([2**64], "j"),
        ([True, None], "j"),
        ([True, 1], "j"),
        ([None], "j"),
        ([], "j"),
    ],
)
def test_json_numbers_have_a_type_that_holds_them(values, code):
    assert Outputs("json", values).tensors("x")[0].code == code


def test_outputs_are_described_by_the_shape_of_a_row():
    assert array("f", [2, 3], *range(6)).described("x") == [("x", "f", (3,))]
    assert Outputs("bytes", b"x").described("x") == [("x", "j", ())]
    meta = {"kind": "table", "names": ["a"], "codes": ["q"], "sizes": [8]}
    assert read(meta, bytes(8)).described("x") == [("a", "q", ())]
