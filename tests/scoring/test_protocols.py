"""Each protocol: its requests, its answers, its errors, for each kind of model."""

import json

import pytest

ARRAY = """
import numpy as np

def predict(model, inputs: np.ndarray):
    return inputs.sum(axis=1)
"""
FRAME = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    return inputs.assign(total=inputs["a"] * 2)[["b", "total"]]
"""
SEEN = """
def predict(model, inputs: "pandas.DataFrame"):
    return {"columns": [str(c) for c in inputs.columns], "dtypes": [str(d) for d in inputs.dtypes],
            "rows": inputs.astype(object).where(inputs.notna(), None).values.tolist()}
"""
SHAPE = """
import numpy as np

def predict(model, inputs: np.ndarray):
    writable = bool(inputs.flags.writeable)
    return {"shape": list(inputs.shape), "dtype": str(inputs.dtype), "writable": writable}
"""
ECHO = "def predict(model, inputs):\n    return inputs\n"
BYTES = "def predict(model, inputs: bytes):\n    return inputs[::-1]\n"
INFER = "/v2/models/churn/infer"


@pytest.fixture
def array(shared, science):
    return shared(ARRAY, python=science)


@pytest.fixture
def frame(shared, science):
    return shared(FRAME, python=science)


def tensor(name="x", shape=(2, 2), datatype="FP64", data=(1, 2, 3, 4), **more):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


# Native

ROWS = [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ROWS},
        ROWS,
        [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}],
        {"inputs": {"a": [1.0, 3.0], "b": [2.0, 4.0]}},
        {"a": [1.0, 3.0], "b": [2.0, 4.0]},
        {"dataframe_split": {"columns": ["a", "b"], "data": ROWS}},
        {"dataframe_records": [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]},
        {"instances": ROWS},
    ],
)
def test_native_takes_rows_in_many_shapes(array, body):
    assert array.score(body) == [3.0, 7.0]


def test_native_sniffs_the_open_inference_protocol(array):
    answer = array.post("/score", {"inputs": [tensor()]}).json
    assert answer["outputs"] == [
        {"name": "predict", "shape": [2], "datatype": "FP64", "data": [3.0, 7.0]}
    ]


def test_native_answers_no_rows_with_none(array):
    assert array.score({"inputs": []}) == []


@pytest.mark.parametrize("body", [{}, "x", 1, None, {"inputs": 1}, {"inputs": "x"}, [[]], [[1], 2]])
def test_native_refuses_what_is_no_rows(array, body):
    answer = array.post("/score", body)
    assert answer.status in (400, 200), answer.body
    if answer.status == 400:
        assert answer.json["error"].keys() == {"what", "cause", "remedy"}


@pytest.mark.parametrize("body", [{"a": [1, {"b": None}]}, [1, "x"], "x", 7, None, {"inputs": [1]}])
def test_a_json_model_gets_any_json(shared, body):
    wanted = body["inputs"] if body == {"inputs": [1]} else body
    assert shared(ECHO).score(json.dumps(body)) == wanted


@pytest.mark.parametrize(
    "number", [2**53 + 1, 2**70, -1, 0.1, 1e300, 5e-324, 123456789012345678901234567890]
)
def test_numbers_pass_through_json_exactly(shared, number):
    assert shared(ECHO).score(json.dumps([number])) == [number]


def test_text_passes_through_json_exactly(shared):
    text = ['é"\\\n\u2028😀', ""]
    assert shared(ECHO).score(json.dumps(text)) == text


@pytest.mark.parametrize("path", ["/score", "/invocations"])
def test_bytes_go_in_and_come_out(shared, path):
    answer = shared(BYTES).post(path, b"\x00\x01\xff")
    assert (answer.status, answer.body) == (200, b"\xff\x01\x00")
    assert answer.headers["Content-Type"] == "application/octet-stream"


def test_a_bytes_model_takes_one_text_by_the_open_inference_protocol(shared):
    one = tensor(shape=[1], datatype="BYTES", data=["abc"])
    answer = shared(BYTES).post(INFER, {"inputs": [one]})
    assert answer.json["outputs"][0]["data"] == ["cba"]
    assert shared(BYTES).post(INFER, {"inputs": [tensor()]}).status == 400


# Arrays


@pytest.mark.parametrize(
    ("rows", "shape", "dtype"),
    [
        ([[1.0, 2]], [1, 2], "float64"),
        ([[1, 2]], [1, 2], "int64"),
        ([[True, False]], [1, 2], "bool"),
        ([[1, None]], [1, 2], "float64"),
        ([["a", 1.5]], [1, 2], "object"),
        ([1.0, 2.0, 3.0], [3], "float64"),
        ([[[1.0, 2.0], [3.0, 4.0]]], [1, 2, 2], "float64"),
    ],
)
def test_arrays_have_the_shape_and_type_of_the_json(shared, science, rows, shape, dtype):
    answer = shared(SHAPE, python=science, batch=None).score(rows)
    assert answer == {"shape": shape, "dtype": dtype, "writable": True}


@pytest.mark.parametrize(
    ("datatype", "dtype", "data"),
    [
        ("BOOL", "bool", [True, False]),
        *((f"INT{bits}", f"int{bits}", [1, -2]) for bits in (8, 16, 32, 64)),
        *((f"UINT{bits}", f"uint{bits}", [1, 2]) for bits in (8, 16, 32, 64)),
        *((f"FP{bits}", f"float{bits}", [1.5, None]) for bits in (16, 32, 64)),
        ("BYTES", "object", ["a", "b"]),
    ],
)
def test_tensors_have_their_datatype(shared, science, datatype, dtype, data):
    front = shared(SHAPE, python=science, batch=None)
    answer = front.post(INFER, {"inputs": [tensor("x", [1, 2], datatype, data)]}).json
    shape, found, _ = answer["outputs"]
    assert (shape["data"], found["data"]) == ([1, 2], [dtype])


# Data frames


def test_frames_go_in_and_come_out_as_records(frame):
    body = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert frame.score(body) == [{"b": "x", "total": 2}, {"b": "y", "total": 4}]


def test_frames_come_out_as_a_tensor_for_each_column(frame):
    inputs = [tensor("a", [2], "INT64", [1, 2]), tensor("b", [2, 1], "BYTES", ["x", "y"])]
    assert frame.post(INFER, {"inputs": inputs}).json["outputs"] == [
        {"name": "b", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]},
        {"name": "total", "shape": [2], "datatype": "INT64", "data": [2, 4]},
    ]


def test_frames_have_the_types_of_the_json(shared, science):
    rows = [
        {"i": 1, "f": 1.5, "n": 2, "t": "x", "b": True},
        {"i": 2, "f": 2, "t": None, "b": False},
    ]
    assert shared(SEEN, python=science, batch=None).score(rows) == {
        "columns": ["i", "f", "n", "t", "b"],
        "dtypes": ["int64", "float64", "float64", "object", "bool"],
        "rows": [[1, 1.5, 2.0, "x", True], [2, 2.0, None, None, False]],
    }


def test_frames_without_names_are_numbered(shared, science):
    answer = shared(SEEN, python=science, batch=None).score([[1, "x"]])
    assert answer["columns"] == ["0", "1"]


# MLflow


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a", "b"], "index": [0, 1], "data": ROWS}},
        {"dataframe_records": [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]},
        {"instances": [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]},
        {"inputs": ROWS},
        {"inputs": {"a": [1.0, 3.0], "b": [2.0, 4.0]}, "params": {}},
    ],
)
def test_mlflow_shapes(array, body):
    answer = array.post("/invocations", body)
    assert (answer.status, answer.json) == (200, {"predictions": [3.0, 7.0]})


@pytest.mark.parametrize(
    "body",
    [
        [[1.0]],
        {},
        {"inputs": [[1.0]], "instances": [[1.0]]},
        {"dataframe_split": {"data": 1}},
        {"dataframe_split": {"rows": []}},
        {"dataframe_split": {"columns": "ab", "data": ROWS}},
        {"dataframe_split": {"columns": ["a"], "data": ROWS}},
        {"dataframe_split": {"columns": ["a", "a"], "data": ROWS}},
        {"dataframe_records": {"a": 1}},
        {"dataframe_records": [1]},
        {"inputs": "x"},
        {"inputs": {"a": [1], "b": []}},
    ],
)
def test_mlflow_errors(array, body):
    answer = array.post("/invocations", body)
    assert answer.status == 400
    assert answer.json["error_code"] == "BAD_REQUEST"
    assert answer.json["message"]


def test_ping_and_health_are_mlflows(array):
    assert [(array.get(path).status, array.get(path).body) for path in ("/ping", "/health")] == [
        (200, b"\n"),
        (200, b"\n"),
    ]


# Open Inference Protocol


@pytest.mark.parametrize("data", [[1, 2, 3, 4], ROWS])
@pytest.mark.parametrize("path", [INFER, "/v2/models/churn/versions/1/infer"])
def test_infer(array, path, data):
    answer = array.post(path, {"id": "42", "inputs": [tensor(data=data)]})
    assert answer.json == {
        "model_name": "churn",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "predict", "shape": [2], "datatype": "FP64", "data": [3.0, 7.0]}],
    }


def test_infer_gives_the_outputs_asked_for(frame):
    inputs = [tensor("a", [1], "INT64", [1]), tensor("b", [1], "BYTES", ["x"])]
    answer = frame.post(INFER, {"inputs": inputs, "outputs": [{"name": "total"}]}).json
    assert [output["name"] for output in answer["outputs"]] == ["total"]
    assert frame.post(INFER, {"inputs": inputs, "outputs": [{"name": "z"}]}).status == 400


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"inputs": []},
        {"inputs": {}},
        {"inputs": [{"name": "x"}]},
        {"inputs": [tensor(datatype="FP65")]},
        {"inputs": [tensor(shape=[3, 2])]},
        {"inputs": [tensor(shape=[-1, 2])]},
        {"inputs": [tensor(shape=[])]},
        {"inputs": [tensor(data=["a", "b", "c", "d"])]},
        {"inputs": [tensor(data=None)]},
        {"inputs": [tensor(data=[[1, 2], [3]])]},
        {"inputs": [tensor(datatype="INT8", data=[1, 2, 3, 400])]},
        {"inputs": [tensor(datatype="BYTES")]},
        {"inputs": [tensor(), tensor("y", [3], "FP64", [1, 2, 3])]},
        {"inputs": [tensor("a", [2], "FP64", [1, 2]), tensor("y", [3], "FP64", [1, 2, 3])]},
        {"inputs": [tensor()], "id": 42},
    ],
)
def test_infer_errors(array, body):
    answer = array.post(INFER, body)
    assert answer.status == 400
    assert answer.json.keys() == {"error"}


def test_infer_needs_no_content_type_and_200_is_exact(array):
    raw = array.raw(
        b"POST /v2/models/churn/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Content-Length: 77\r\n\r\n"
        b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP64","data":[1.00,2.000]}]}'
    )
    assert raw.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/churn/versions/2/infer"])
def test_another_model_or_version_is_404(array, path):
    answer = array.post(path, {"inputs": [tensor()]})
    assert answer.status == 404
    assert answer.json.keys() == {"error"}


def test_health_bodies_are_what_clients_read(array):
    for path in ("/v2/health/live", "/v2/health/ready", "/livez", "/readyz"):
        assert array.get(path).json == {"live": True, "ready": True}
    assert array.get("/v2/models/churn/ready").json == {"name": "churn", "ready": True}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_server_metadata(array, path):
    assert {"name", "version", "extensions"} <= array.get(path).json.keys()


def test_model_metadata_comes_from_the_sample(shared, science):
    sample = {"sample.json": b'[{"a": 1.5, "b": "x"}]'}
    front = shared(FRAME, python=science, files=sample, sample="sample.json")
    assert front.get("/v2/models/churn/versions/1").json["inputs"] == [
        {"name": "a", "datatype": "FP64", "shape": [-1]},
        {"name": "b", "datatype": "BYTES", "shape": [-1]},
    ]


def test_a_sample_makes_wrong_columns_the_callers_fault(shared, science):
    sample = {"sample.json": b'[{"a": 1.5, "b": "x"}]'}
    front = shared(FRAME, python=science, files=sample, sample="sample.json")
    for body in ([{"b": "x"}], [{"a": "x", "b": "x"}], [[1]], [{"a": 1, "b": 2}]):
        assert front.post("/score", body).status == 400
    assert front.score([{"b": "z", "a": 1, "more": 2}]) == [{"b": "z", "total": 2.0}]


def test_odd_model_names_have_an_address(shared):
    front = shared(ECHO, model="my model é/1")
    path = "/v2/models/my%20model%20%C3%A9%2F1/infer"
    assert front.post(path, {"inputs": [tensor(shape=[1], data=[1])]}).status == 200


# Results

RESULTS = """
import numpy as np, pandas as pd, datetime

CASES = {
    "float32": np.array([0.1], dtype=np.float32),
    "float16": np.array([0.5], dtype=np.float16),
    "longdouble": np.array([0.5], dtype=np.longdouble),
    "big-endian": np.array([1.5], dtype=">f8"),
    "uint8": np.array([255], dtype=np.uint8),
    "int64": np.array([2**53 + 1]),
    "uint64": np.array([2**64 - 1], dtype=np.uint64),
    "bool": np.array([True]),
    "text": np.array(["é"]),
    "object": np.array(["x", 1, None], dtype=object),
    "date": np.array(["2026-11-23", "NaT"], dtype="datetime64[D]"),
    "nan": np.array([np.nan, np.inf, 1.0]),
    "nan in list": [float("nan"), {"a": float("inf")}],
    "scalar": np.float64(1.5),
    "0-d": np.array(2),
    "numpy in dict": {"a": np.int64(1), "b": np.array([1.5, 2.5]), np.int64(3): 1},
    "series": pd.Series([1, 2]),
    "categories": pd.Series(["a", "b"], dtype="category"),
    "frame": pd.DataFrame({"a": [1, 2], "t": pd.to_datetime(["2026-11-23", None])}),
    "columns": np.asfortranarray([[1, 2], [3, 4]]),
    "tuple": (1, "a"),
    "set": {1},
    "none": None,
    "time": [datetime.date(2026, 11, 23)],
    "cyclic": [],
    "impossible": [object()],
}
CASES["cyclic"].append(CASES["cyclic"])

def predict(model, inputs):
    return CASES[inputs["case"]]
"""


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        ("float32", [0.1]),
        ("float16", [0.5]),
        ("longdouble", [0.5]),
        ("big-endian", [1.5]),
        ("uint8", [255]),
        ("int64", [2**53 + 1]),
        ("uint64", [2**64 - 1]),
        ("bool", [True]),
        ("text", ["é"]),
        ("object", ["x", 1, None]),
        ("date", ["2026-11-23", None]),
        ("nan", [None, None, 1.0]),
        ("nan in list", [None, {"a": None}]),
        ("scalar", 1.5),
        ("0-d", 2),
        ("numpy in dict", {"a": 1, "b": [1.5, 2.5], "3": 1}),
        ("series", [1, 2]),
        ("categories", ["a", "b"]),
        ("columns", [[1, 2], [3, 4]]),
        ("tuple", [1, "a"]),
        ("set", [1]),
        ("none", None),
        ("time", ["2026-11-23"]),
    ],
)
def test_results_become_json(shared, science, case, wanted):
    assert shared(RESULTS, python=science).score({"case": case}) == wanted


def test_a_frame_of_dates_becomes_records(shared, science):
    first, second = shared(RESULTS, python=science).score({"case": "frame"})
    assert (first["a"], first["t"][:10], second["t"]) == (1, "2026-11-23", None)


@pytest.mark.parametrize("case", ["cyclic", "impossible", "unknown"])
def test_results_that_are_no_json_are_the_models_fault(shared, science, case):
    answer = shared(RESULTS, python=science).post("/score", {"case": case})
    assert answer.status == 500
    assert b"Traceback" not in answer.body
    assert b"/" not in answer.body
