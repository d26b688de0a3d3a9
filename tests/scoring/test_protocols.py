"""Each protocol: its requests, its answers, its errors, for each kind of model."""

import json
import subprocess

import pytest

from app.scoring.errors import Refusal, nothing_here, too_many_rows
from app.scoring.protocols import mlflow

from .conftest import environment, wait_for

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
PREDICT = "/v1/models/churn:predict"


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
    here = 'model here is "churn"' if "other" in path else 'version of "churn" here is 1.'
    assert here in answer.json["error"]
    assert "other" not in answer.json["error"]


@pytest.mark.parametrize(
    "path", ["/v2/models/churn", "/v2/models/churn/versions/7", "/v1/models/churn:predict", "/v2/x"]
)
def test_an_address_of_the_right_model_is_just_unknown(path):
    refusal = nothing_here(path.encode() + b"/none", "churn", 7)
    assert (refusal.status, refusal.cause) == (404, "")
    assert "/docs" in refusal.remedy


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


# MLflow's content types


CSV = {"Content-Type": "text/csv"}


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
        "application/x-www-form-urlencoded",
    ],
)
def test_invocations_take_json_under_these_names(array, kind):
    answer = array.post("/invocations", {"inputs": ROWS}, **{"Content-Type": kind})
    assert (answer.status, answer.json) == (200, {"predictions": [3.0, 7.0]})


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "text/csv; header=absent",
        "application/json-but-not",
    ],
)
def test_other_content_types_are_415_in_mlflows_words(array, kind):
    answer = array.post("/invocations", {"inputs": ROWS}, **{"Content-Type": kind})
    assert answer.status == 415
    assert answer.json["error_code"] == "UNSUPPORTED_MEDIA_TYPE"
    assert "text/csv" in answer.json["message"]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (Refusal(400, "x"), "BAD_REQUEST"),
        (Refusal(401, "x"), "UNAUTHENTICATED"),
        (too_many_rows(1), "MAX_BLOCK_SIZE_EXCEEDED"),
        (Refusal(429, "x"), "REQUEST_LIMIT_EXCEEDED"),
        (Refusal(500, "x"), "INTERNAL_ERROR"),
        (Refusal(504, "x"), "DEADLINE_EXCEEDED"),
    ],
)
def test_error_codes_are_those_of_mlflow(refusal, code):
    assert json.loads(mlflow.error(refusal))["error_code"] == code


@pytest.mark.parametrize("kind", ["text/csv", "Text/CSV; charset=utf-8", "application/x-parquet"])
def test_a_table_at_score_is_sent_to_invocations(array, kind):
    refused = array.post("/score", "a,b\n1,2\n", **{"Content-Type": kind})
    assert refused.status == 400
    assert "/invocations" in refused.json["error"]["remedy"]
    assert not array.post("/score", "a,b\n1,2\n").json["error"]["remedy"]
    assert array.post("/score", ROWS, **{"Content-Type": kind}).status == 200


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1.0,2\n3.0,4\n",
        "a,b\r\n1,2.0\r\n3,4.0",
        "\ufeffa,b\n1,2\n\n3,4\n",
        '"a","b"\n"1","2.0"\n3,4\n',
    ],
)
def test_csv_rows_are_predicted(array, text):
    answer = array.post("/invocations", text.encode(), **CSV)
    assert (answer.status, answer.json) == (200, {"predictions": [3.0, 7.0]})


def test_csv_columns_are_the_narrowest_type_that_fits(shared, science):
    text = "i,f,n,t,b,e,z,u\n1,1,2,x,True,,1e3,1_0\n-2,2.5,,7,false,,2,1\n"
    answer = shared(SEEN, python=science, batch=None).post("/invocations", text, **CSV)
    assert answer.json["predictions"] == {
        "columns": list("ifntbezu"),
        "dtypes": ["int64", "float64", "float64", "object", "bool", "float64", "float64", "object"],
        "rows": [
            [1, 1.0, 2.0, "x", True, None, 1000.0, "1_0"],
            [-2, 2.5, None, "7", False, None, 2.0, "1"],
        ],
    }


def test_csv_columns_are_what_the_sample_had(shared, science):
    sample = {"sample.json": b'[{"code": "007", "x": 1.5}]'}
    front = shared(SEEN, python=science, batch=None, files=sample, sample="sample.json")
    answer = front.post("/invocations", "x,code,more\n1,010,?\n2,,?\n", **CSV)
    said = answer.json["predictions"]
    assert said["dtypes"] == ["object", "float64"]
    assert said["rows"] == [["010", 1.0], [None, 2.0]]
    assert front.post("/invocations", "x\n1\n", **CSV).status == 400
    assert front.post("/invocations", "x,code\ny,1\n", **CSV).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"\n\n", b"a,a\n1,2\n", b"a,b\n1\n", b"a\n1,2\n", b"a\n\xff\n", b'a\n"' + b"x" * 200000],
)
def test_malformed_csv_is_400(array, body):
    answer = array.post("/invocations", body, **CSV)
    assert answer.status == 400
    assert answer.json["error_code"] == "BAD_REQUEST"


PARQUET = {"Content-Type": "application/vnd.apache.parquet"}
WRITE = """
import sys
import pandas as pd

frame = pd.DataFrame({
    "i": [1, 2**53 + 1],
    "f": pd.Series([0.5, None], dtype="float32"),
    "t": ["é", None],
    "b": [True, False],
    "d": pd.to_datetime(["2026-11-23", None]),
})
frame.to_parquet(sys.argv[1])
"""


@pytest.fixture(scope="module")
def arrow():
    """An environment that can read Parquet."""
    return environment(("pandas", "pyarrow"))


@pytest.fixture(scope="module")
def parquet(arrow, tmp_path_factory):
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    subprocess.run([arrow / "bin" / "python", "-c", WRITE, path], check=True)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["application/vnd.apache.parquet", "application/x-parquet"])
def test_parquet_rows_are_predicted(shared, arrow, parquet, kind):
    front = shared(SEEN, python=arrow, batch=None)
    answer = front.post("/invocations", parquet, **{"Content-Type": kind})
    assert answer.status == 200, answer.body
    said = answer.json["predictions"]
    assert said["columns"] == ["i", "f", "t", "b", "d"]
    assert said["dtypes"] == ["int64", "float32", "object", "bool", "object"]
    first, second = said["rows"]
    assert (first[:4], first[4][:10]) == ([1, 0.5, "é", True], "2026-11-23")
    assert second == [2**53 + 1, None, None, False, None]


def test_parquet_is_held_to_the_sample(shared, arrow, parquet):
    sample = {"sample.json": b'[{"f": 1.5, "i": 2.5}]'}
    front = shared(SEEN, python=arrow, batch=None, files=sample, sample="sample.json")
    said = front.post("/invocations", parquet, **PARQUET).json["predictions"]
    assert (said["columns"], said["dtypes"]) == (["f", "i"], ["float64", "float64"])
    other = {"sample.json": b'[{"missing": 1.5}]'}
    front = shared(SEEN, python=arrow, batch=None, files=other, sample="sample.json")
    answer = front.post("/invocations", parquet, **PARQUET)
    assert (answer.status, answer.json["message"]) == (400, "Missing columns: missing.")


def test_what_is_no_parquet_is_400(shared, arrow):
    answer = shared(SEEN, python=arrow, batch=None).post("/invocations", b"PAR1", **PARQUET)
    assert answer.status == 400
    assert answer.json["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize("model", [SEEN, ECHO])
def test_parquet_without_pyarrow_is_415_in_words(shared, science, parquet, model):
    python = science if model == SEEN else None
    answer = shared(model, python=python).post("/invocations", parquet, **PARQUET)
    assert answer.status == 415
    assert "pyarrow in requirements.txt" in answer.json["message"]


# MLflow's other shapes


@pytest.mark.parametrize(
    "body", [{"messages": [{"role": "user"}]}, {"prompt": "x"}, {"input": "x"}]
)
def test_language_models_are_answered_without_a_wrapper(shared, body):
    answer = shared(ECHO).post("/invocations", body)
    assert (answer.status, answer.json) == (200, body)


def test_only_json_models_take_bodies_without_mlflows_keys(array):
    assert array.post("/invocations", {"prompt": "x"}).status == 400


@pytest.mark.parametrize("params", [{"temperature": 1}, {}, None])
def test_params_are_accepted(array, params):
    assert array.post("/invocations", {"inputs": ROWS, "params": params}).status == 200


@pytest.mark.parametrize("params", [[1], [], "", 0, False])
def test_params_are_an_object(array, params):
    assert array.post("/invocations", {"inputs": ROWS, "params": params}).status == 400


def test_version_is_not_mlflows(array):
    answer = array.get("/version")
    assert (answer.status, answer.body) == (200, b"rhythmicml")


# KServe, version 1


@pytest.mark.parametrize(
    "body",
    [
        {"instances": ROWS},
        {"instances": [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 4.0}]},
        {"inputs": ROWS},
        {"inputs": {"a": [1.0, 3.0], "b": [2.0, 4.0]}},
        {"instances": ROWS, "signature_name": "serving_default"},
    ],
)
def test_version_1_predicts(array, body):
    answer = array.post(PREDICT, body)
    assert (answer.status, answer.json) == (200, {"predictions": [3.0, 7.0]})


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"instances": 1},
        {"instances": ROWS, "inputs": ROWS},
        {"instances": [[1], [1, 2]]},
        "{",
    ],
)
def test_version_1_errors(array, body):
    answer = array.post(PREDICT, body)
    assert answer.status == 400
    assert answer.json.keys() == {"error"}


def test_version_1_lists_its_model_and_says_it_is_ready(array):
    assert array.get("/").json == {"status": "alive"}
    assert array.get("/v1/models").json == {"models": ["churn"]}
    assert array.get("/v1/models/churn").json == {"name": "churn", "ready": True}


def test_version_1_says_what_it_cannot_do(array):
    answer = array.post("/v1/models/churn:explain", {"instances": ROWS})
    assert (answer.status, answer.json.keys()) == (404, {"error"})
    assert array.post("/v1/models/other:predict", {"instances": ROWS}).status == 404
    assert array.get("/v1/models/churn:predict").status == 405


def test_a_model_that_is_not_ready_says_so_in_every_protocol(serve):
    front = serve("import time\ntime.sleep(600)\ndef predict(m, i): ...\n", ready=False)
    wait_for(front.listens)
    paths = ("/v1/models/churn", "/v2/models/churn/ready", "/v2/health/ready", "/ping")
    assert [front.admin("GET", path).status for path in paths] == [503] * 4
    assert front.admin("GET", "/").json == {"status": "alive"}
    assert front.admin("POST", "/v2/repository/index").json[0]["state"] == "UNAVAILABLE"


# Metadata of the Open Inference Protocol


def test_the_repository_holds_one_model(array):
    assert array.get("/v2/models").json == {"models": ["churn"]}
    for body in (None, b"{}"):
        assert array.post("/v2/repository/index", body).json == [
            {"name": "churn", "version": "1", "state": "READY", "reason": ""}
        ]


@pytest.mark.parametrize(
    ("script", "sample", "inputs", "outputs"),
    [
        (ARRAY, b"[[1.5, 2]]", [("inputs", "FP64", [-1, 2])], [("predict", "FP64", [-1])]),
        (
            FRAME,
            b'[{"a": 1, "b": "x"}]',
            [("a", "INT64", [-1]), ("b", "BYTES", [-1])],
            [("b", "BYTES", [-1]), ("total", "INT64", [-1])],
        ),
    ],
)
def test_metadata_tells_inputs_and_outputs(shared, science, script, sample, inputs, outputs):
    front = shared(script, python=science, files={"s.json": sample}, sample="s.json")
    said = front.get("/v2/models/churn").json
    told = [
        [(one["name"], one["datatype"], one["shape"]) for one in said[side]]
        for side in ("inputs", "outputs")
    ]
    assert told == [inputs, outputs]


def test_no_rows_have_outputs_of_the_samples_types(shared, science):
    front = shared(ARRAY, python=science, files={"s.json": b"[[1.5, 2]]"}, sample="s.json")
    answer = front.post(INFER, {"inputs": [tensor(shape=[0, 2], data=[])]})
    assert answer.json["outputs"] == [
        {"name": "predict", "datatype": "FP64", "shape": [0], "data": []}
    ]


@pytest.mark.parametrize("kind", ["np", "pd", "str", "datetime"])
def test_content_types_of_mlserver_are_accepted(array, kind):
    said = {"parameters": {"content_type": kind}}
    body = {"id": "9", "inputs": [tensor(**said)], **said, "outputs": [{"name": "predict", **said}]}
    answer = array.post(INFER, body)
    assert (answer.status, answer.json["id"]) == (200, "9")
    assert answer.json["outputs"][0]["data"] == [3.0, 7.0]


def test_whole_numbers_may_be_written_with_a_point(array):
    answer = array.post(INFER, {"inputs": [tensor(datatype="INT64", data=[1.0, 2, -3.0, 4e0])]})
    (given,) = answer.json["outputs"]
    assert (given["datatype"], given["data"]) == ("INT64", [3, 1])


@pytest.mark.parametrize("wrong", [1.5, True, "1", None, 1e300])
def test_whole_numbers_are_nothing_else(array, wrong):
    body = {"inputs": [tensor(datatype="INT64", data=[1, 2, 3, wrong])]}
    assert array.post(INFER, body).status == 400


def test_unknown_outputs_are_refused_before_a_job_is_made(shared, science):
    files = {"sample.json": b'{"inputs": [[1, 2]]}'}
    front = shared(ARRAY, python=science, sample="sample.json", files=files)
    body = {"inputs": [tensor()], "outputs": [{"name": "other"}]}
    answer = front.post(INFER, body, Prefer="respond-async")
    assert answer.status == 400
    assert "The outputs are predict; others were asked for." in answer.json["error"]
    known = {**body, "outputs": [{"name": "predict"}]}
    assert front.post(INFER, known).json["outputs"][0]["data"] == [3, 7]
