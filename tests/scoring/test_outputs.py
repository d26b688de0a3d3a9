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
