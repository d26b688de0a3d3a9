"""What numbers, times, categories and bytes become, in and out, by every protocol."""

import base64
import csv
import io
import json
import struct

import pytest

INFER = "/v2/models/churn/infer"
PREDICT = "/v1/models/churn:predict"
SAME = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    return inputs
"""
ECHO = "def predict(model, inputs):\n    return inputs\n"
SAMPLE = {"files": {"sample.json": b'[{"a": 1.5}]'}, "sample": "sample.json"}

CODES = {"INT64": "q", "FP64": "d", "FP32": "f", "UINT64": "Q", "FP16": "e", "BOOL": "?"}


def datatype_of(values):
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and None not in values:
        return "INT64"
    return {bool: "BOOL", str: "BYTES"}.get(*kinds, "FP64") if len(kinds) == 1 else "FP64"


def tensor(values, datatype=None):
    datatype = datatype or datatype_of(values)
    return {"name": "a", "datatype": datatype, "shape": [len(values)], "data": values}


# How each protocol carries one column `a` to the model, and what it says of the column it got


def native(front, values):
    return accepted(front.post("/score", [{"a": value} for value in values]))


def mlflow(front, values):
    body = {"dataframe_split": {"columns": ["a"], "data": [[value] for value in values]}}
    return accepted(front.post("/invocations", body))


def mlflow_csv(front, values):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["a", "row"], *([value, row] for row, value in enumerate(values))])
    return accepted(
        front.post("/invocations", text.getvalue().encode(), **{"Content-Type": "text/csv"})
    )


def oip(front, values):
    answer = front.post(INFER, {"inputs": [tensor(values)]})
    assert answer.status == 200, answer.body
    return answer.json["outputs"][0]["data"]


def oip_binary(front, values):
    one = tensor(values)
    del one["data"]
    data = packed(one["datatype"], values)
    one["parameters"] = {"binary_data_size": len(data)}
    request = {"inputs": [one], "parameters": {"binary_data_output": True}}
    text = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return unpacked(front.post(INFER, text + data, **headers))


def v1(front, values):
    return accepted(front.post(PREDICT, {"instances": [{"a": value} for value in values]}))


def accepted(answer):
    assert answer.status == 200, answer.body
    return [row["a"] if type(row) is dict else row for row in answer.json["predictions"]]


def packed(datatype, values):
    if datatype == "BYTES":
        texts = [(value or "").encode() for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    numbers = [float("nan") if value is None else value for value in values]
    return struct.pack(f"<{len(values)}{CODES[datatype]}", *numbers)


def unpacked(answer):
    assert answer.status == 200, answer.body
    size = int(answer.headers["Inference-Header-Content-Length"])
    first = json.loads(answer.body[:size])["outputs"][0]
    data = answer.body[size : size + first["parameters"]["binary_data_size"]]
    if first["datatype"] == "BYTES":
        return texts(data)
    count = len(data) // struct.calcsize(CODES[first["datatype"]])
    numbers = struct.unpack(f"<{count}{CODES[first['datatype']]}", data)
    finite = (
        None if number != number or abs(number) == float("inf") else number for number in numbers
    )
    return list(finite)


def texts(data):
    found = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return found


PROTOCOLS = [native, mlflow, mlflow_csv, oip, oip_binary, v1]
every = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.__name__)
in_json = pytest.mark.parametrize(
    "protocol", [native, mlflow, oip, v1], ids=lambda one: one.__name__
)


@every
@pytest.mark.parametrize(
    "values",
    [
        [2**53 + 1, -(2**53) - 1],
        [2**63 - 1, -(2**63)],
        [0, -1],
        [0.1, -1e-300, 1.7976931348623157e308],
        [5e-324, 123456789.123456789],
        [1.5, None],
        [None, None],
        [True, False],
        ["é", 'quo"te, comma\n', " "],
    ],
    ids=repr,
)
def test_a_column_goes_in_and_comes_out_exactly(shared, science, protocol, values):
    got = protocol(shared(SAME, python=science), values)
    assert got == values
    assert list(map(type, got)) == list(map(type, values))


@every
def test_integers_with_null_are_floats(shared, science, protocol):
    assert protocol(shared(SAME, python=science), [1, None]) == [1.0, None]


@every
def test_integers_become_what_the_sample_had(shared, science, protocol):
    got = protocol(shared(SAME, python=science, **SAMPLE), [1, 2])
    assert (got, set(map(type, got))) == ([1.0, 2.0], {float})


@every
def test_no_rows_are_answered_with_none(shared, science, protocol):
    assert protocol(shared(SAME, python=science, **SAMPLE), []) == []


class Token:
    """A front to whom the number 4321 is sent as this token."""

    def __init__(self, front, token):
        self.front, self.token = front, token

    def post(self, path, body, **headers):
        text = json.dumps(body).replace("4321", self.token)
        self.answer = self.front.post(path, text, **headers)
        return self.answer


NO_NUMBERS = ["nan", "1e999x", "01", "+1"]
PYTHON_ONLY = ["NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize(
    ("protocol", "token"),
    [
        *((one, token) for one in (native, mlflow, oip, v1) for token in NO_NUMBERS),
        *((one, token) for one in (native, v1) for token in PYTHON_ONLY),
    ],
)
def test_tokens_that_json_has_not_are_400(shared, science, protocol, token):
    sender = Token(shared(SAME, python=science), token)
    with pytest.raises(AssertionError):
        protocol(sender, [4321])
    assert sender.answer.status == 400
    assert sender.answer.json


@pytest.mark.parametrize("protocol", [mlflow, oip])
@pytest.mark.parametrize("token", PYTHON_ONLY)
def test_tokens_that_the_own_clients_of_a_protocol_send_are_taken(shared, science, protocol, token):
    front = Token(shared(SAME, python=science), token)
    assert protocol(front, [4321, 1.5]) == [None, 1.5]


RESULTS = """
import datetime
import numpy as np
import pandas as pd

TIMES = pd.to_datetime(["2026-11-23T10:00:00", None])

def column(case):
    return {
        "infinite": [1.5, float("inf"), float("-inf"), float("nan")],
        "float32": np.array([0.1, 1 / 3, 16777216], dtype=np.float32),
        "float16": np.array([0.1, 65504, 1 / 3], dtype=np.float16),
        "uint64": np.array([2**64 - 1], dtype=np.uint64),
        "int64": np.array([2**53 + 1, -(2**63)]),
        "int8": np.array([-128, 127], dtype=np.int8),
        "nullable": pd.array([1, None, 2**53 + 1], dtype="Int64"),
        "times": TIMES,
        "zoned": TIMES.tz_localize("Europe/Amsterdam"),
        "days": [datetime.date(2026, 11, 23)],
        "categories": pd.Categorical(["b", "a", "b"]),
        "numbered": pd.Categorical([3, 1]),
        "bytes": [b"\\x00\\xff"],
        "nested": [{"a": [1, {"b": None}]}, [float("nan")]],
    }[case]

def predict(model, inputs):
    case = inputs[0]["x"] if isinstance(inputs[0], dict) else inputs[0]
    values = column(case)
    return values if FORM == "list" else pd.Series(values).to_frame("a")
"""
WANTED = {
    "infinite": [1.5, None, None, None],
    "float32": [0.1, 0.33333334, 16777216],
    "float16": [0.1, 65500, 0.3333],
    "uint64": [2**64 - 1],
    "int64": [2**53 + 1, -(2**63)],
    "int8": [-128, 127],
    "nullable": [1, None, 2**53 + 1],
    "times": ["2026-11-23T10:00:00", None],
    "zoned": ["2026-11-23T10:00:00+01:00", None],
    "days": ["2026-11-23"],
    "categories": ["b", "a", "b"],
    "numbered": [3, 1],
    "bytes": ["AP8="],
    "nested": [{"a": [1, {"b": None}]}, [None]],
}


def ask(front, protocol, case):
    """The column that a model gives back when it is told a case."""
    if protocol is mlflow:
        return accepted(front.post("/invocations", {"instances": [case]}))
    one = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [case]}
    if protocol is oip:
        return front.post(INFER, {"inputs": [one]}).json["outputs"][0]
    if protocol is oip_binary:
        request = {"inputs": [one], "parameters": {"binary_data_output": True}}
        return unpacked(front.post(INFER, request))
    if protocol is v1:
        return accepted(front.post(PREDICT, {"instances": [case]}))
    return accepted(front.post("/score", [case]))


def short(values):
    """Times without the zeros that their finer units have."""
    return [one[:19] if type(one) is str and one.endswith("0" * 6) else one for one in values]


@pytest.mark.parametrize("protocol", [native, mlflow, v1], ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("case", "form"),
    [
        (case, form)
        for case in WANTED
        for form in ("list", "frame")
        if case != "nested" or form == "frame"
    ],
)
def test_results_in_json(shared, science, protocol, form, case):
    front = shared(RESULTS.replace("FORM", repr(form)), python=science)
    assert short(ask(front, protocol, case)) == WANTED[case]


DATATYPES = {
    "infinite": "FP64", "float32": "FP32", "float16": "FP16", "uint64": "UINT64",
    "int64": "INT64", "int8": "INT8", "nullable": "FP64", "numbered": "INT64",
}  # fmt: skip


@pytest.mark.parametrize("case", WANTED)
def test_results_as_tensors(shared, science, case):
    got = ask(shared(RESULTS.replace("FORM", "'frame'"), python=science), oip, case)
    assert got["datatype"] == DATATYPES.get(case, "BYTES")
    values = [json.loads(one) for one in got["data"]] if case == "nested" else got["data"]
    assert short(values) == WANTED[case]


@pytest.mark.parametrize("case", ["infinite", "float32", "float16", "times", "categories", "bytes"])
def test_results_as_bytes(shared, science, case):
    got = ask(shared(RESULTS.replace("FORM", "'frame'"), python=science), oip_binary, case)
    if case in ("float32", "float16"):
        code = CODES[DATATYPES[case]]
        assert struct.pack(f"3{code}", *got) == struct.pack(f"3{code}", *WANTED[case])
    else:
        assert [value or None for value in short(got)] == WANTED[case]


@pytest.mark.parametrize("count", [10, 5000])
def test_float32_in_json_is_the_same_float32(shared, science, count):
    numbers = [0.1 * number**2 for number in range(count)]
    data = struct.pack(f"<{count}f", *numbers)
    one = {"name": "a", "datatype": "FP32", "shape": [count]}
    text = json.dumps({"inputs": [{**one, "parameters": {"binary_data_size": len(data)}}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = shared(SAME, python=science).post(INFER, text + data, **headers).json["outputs"][0]
    assert answer["datatype"] == "FP32"
    assert struct.pack(f"<{count}f", *answer["data"]) == data


ROWS_OF_NOTHING = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    assert inputs.shape[1] == 0, inputs.shape
    return inputs
"""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/score", [{}, {}]),
        ("/score", [[], []]),
        ("/invocations", {"dataframe_records": [{}, {}]}),
        ("/invocations", {"dataframe_split": {"columns": [], "data": [[], []]}}),
        (PREDICT, {"instances": [{}, {}]}),
    ],
)
def test_rows_without_columns_stay_rows(shared, science, path, body):
    answer = shared(ROWS_OF_NOTHING, python=science).post(path, body)
    assert (answer.status, answer.json) == (200, {"predictions": [{}, {}]})


def test_a_tensor_without_columns_has_none(shared, science):
    one = {"name": "x", "datatype": "FP64", "shape": [2, 0], "data": []}
    answer = shared(ROWS_OF_NOTHING, python=science).post(INFER, {"inputs": [one]})
    assert (answer.status, answer.json["outputs"]) == (200, [])


BYTES = "def predict(model, inputs: bytes):\n    return inputs[::-1]\n"
RAW = b"\x00\x01\xff"


def base64_of(data):
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("path", ["/score", "/invocations"])
def test_bytes_are_the_body(shared, path):
    answer = shared(BYTES).post(path, RAW, **{"Content-Type": "application/octet-stream"})
    assert (answer.status, answer.body) == (200, RAW[::-1])
    assert answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize("place", ["request", "tensor"])
def test_bytes_are_base64_in_a_tensor_of_json(shared, place):
    said = {"parameters": {"content_type": "base64"}}
    one = {"name": "x", "datatype": "BYTES", "shape": [1], "data": [base64_of(RAW)]}
    body = {"inputs": [one], **said} if place == "request" else {"inputs": [{**one, **said}]}
    assert shared(BYTES).post(INFER, body).json["outputs"] == [
        {
            "name": "predict",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"content_type": "base64"},
            "data": [base64_of(RAW[::-1])],
        }
    ]


def test_bytes_are_base64_in_an_instance(shared):
    answer = shared(BYTES).post(PREDICT, {"instances": [{"b64": base64_of(RAW)}]})
    assert answer.json == {"predictions": [{"b64": base64_of(RAW[::-1])}]}


@pytest.mark.parametrize(
    "instances", [[], [1], ["x"], [{"b64": "?"}], [{"b64": 1}], [{"b64": "eA=="}] * 2, "x"]
)
def test_other_instances_are_no_bytes(shared, instances):
    answer = shared(BYTES).post(PREDICT, {"instances": instances})
    assert answer.status == 400
    assert answer.json.keys() == {"error"}
