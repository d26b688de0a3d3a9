"""The binary tensor extension of the Open Inference Protocol, as Triton's clients speak it."""

import json
import struct

import pytest

INFER = "/v2/models/churn/infer"
SEEN = """
import numpy as np

def predict(model, inputs: np.ndarray):
    return {"dtype": [str(inputs.dtype)], "hex": [inputs.tobytes().hex()],
            "shape": list(inputs.shape)}
"""
SEEN_FRAME = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    return {"dtypes": [str(dtype) for dtype in inputs.dtypes],
            "rows": [str(row) for row in inputs.values.tolist()],
            "names": [str(name) for name in inputs.columns]}
"""
SAME = """
import numpy as np

def predict(model, inputs: np.ndarray):
    return inputs
"""
FRAME = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    return inputs
"""
ECHO = "def predict(model, inputs):\n    return inputs\n"
BYTES = "def predict(model, inputs: bytes):\n    return inputs[::-1]\n"
NUMBERS = {
    "BOOL": struct.pack("<4?", True, False, True, True),
    "INT8": struct.pack("<4b", -128, -1, 0, 127),
    "INT16": struct.pack("<4h", -(2**15), -1, 0, 2**15 - 1),
    "INT32": struct.pack("<4i", -(2**31), -1, 0, 2**31 - 1),
    "INT64": struct.pack("<4q", -(2**63), -1, 2**53 + 1, 2**63 - 1),
    "UINT8": struct.pack("<4B", 0, 1, 2, 255),
    "UINT16": struct.pack("<4H", 0, 1, 2, 2**16 - 1),
    "UINT32": struct.pack("<4I", 0, 1, 2, 2**32 - 1),
    "UINT64": struct.pack("<4Q", 0, 1, 2, 2**64 - 1),
    "FP16": struct.pack("<4e", 0.1, -1, 65504, float("inf")),
    "FP32": struct.pack("<4f", 0.1, -1, 3e38, float("nan")),
    "FP64": struct.pack("<4d", 0.1, -1, 5e-324, float("nan")),
}
DTYPES = {name: name.lower().replace("fp", "float") for name in NUMBERS}


def tensor(datatype, shape, data, name="x", **parameters):
    return {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(data), **parameters},
    }


def body(inputs, *data, **more):
    text = json.dumps({"inputs": inputs, **more}).encode()
    return text + b"".join(data), {"Inference-Header-Content-Length": str(len(text))}


def infer(front, inputs, *data, path=INFER, **more):
    content, headers = body(inputs, *data, **more)
    return front.post(path, content, **headers)


def tensors(answer):
    """The outputs of a binary answer: name, datatype, shape and bytes."""
    assert answer.status == 200, answer.body
    size = int(answer.headers["Inference-Header-Content-Length"])
    assert answer.headers["Content-Type"] == "application/octet-stream"
    said, start, found = json.loads(answer.body[:size]), size, []
    for one in said["outputs"]:
        end = start + one["parameters"]["binary_data_size"]
        assert "data" not in one
        found.append((one["name"], one["datatype"], one["shape"], answer.body[start:end]))
        start = end
    assert start == len(answer.body)
    return found


def elements(*values):
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_reach_an_array_model_as_they_are(shared, science, datatype):
    data = NUMBERS[datatype]
    answer = infer(shared(SEEN, python=science, batch=None), [tensor(datatype, [2, 2], data)], data)
    outputs = {one["name"]: one["data"] for one in answer.json["outputs"]}
    assert outputs == {"dtype": [DTYPES[datatype]], "hex": [data.hex()], "shape": [2, 2]}


@pytest.mark.parametrize("shape", [[4], [2, 2], [4, 1], [1, 2, 2]])
@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_come_back_as_they_were(shared, science, datatype, shape):
    data = NUMBERS[datatype]
    more = {"parameters": {"binary_data_output": True}}
    answer = infer(shared(SAME, python=science), [tensor(datatype, shape, data)], data, **more)
    assert tensors(answer) == [("predict", datatype, shape, data)]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_a_block_is_the_columns_of_a_data_frame(shared, science, datatype):
    data = NUMBERS[datatype]
    front = shared(SEEN_FRAME, python=science, batch=None)
    answer = infer(front, [tensor(datatype, [2, 2], data)], data).json["outputs"]
    dtypes, rows, names = (one["data"] for one in answer)
    assert (dtypes, names) == ([DTYPES[datatype]] * 2, ["0", "1"])
    plain = memoryview(data).cast({"BOOL": "?", "INT64": "q", "FP64": "d"}.get(datatype, "B"))
    if datatype in ("BOOL", "INT64", "FP64"):
        values = plain.tolist()
        assert rows == [str(values[:2]), str(values[2:])]


def test_inputs_are_the_columns_of_a_data_frame(shared, science):
    a, b = struct.pack("<2f", 0.1, 2), struct.pack("<2q", 2**53 + 1, -1)
    c = elements("é".encode(), b"")
    inputs = [
        tensor("FP32", [2], a, "a"),
        tensor("INT64", [2, 1], b, "b"),
        tensor("BYTES", [2], c, "c"),
        {"name": "d", "datatype": "FP64", "shape": [2], "data": [1.5, None]},
    ]
    more = {"parameters": {"binary_data_output": True}}
    answer = infer(shared(FRAME, python=science), inputs, a, b, c, **more)
    assert tensors(answer) == [
        ("a", "FP32", [2], a),
        ("b", "INT64", [2], b),
        ("c", "BYTES", [2], c),
        ("d", "FP64", [2], struct.pack("<2d", 1.5, float("nan"))),
    ]


def test_what_the_sample_had_decides_about_a_columns_type(shared, science):
    files = {"sample.json": b'[{"a": 1.5, "b": "x"}]'}
    front = shared(SEEN_FRAME, python=science, files=files, sample="sample.json", batch=None)
    a, b = struct.pack("<2i", 1, -2), elements(b"x", b"y")
    inputs = [tensor("BYTES", [2], b, "b"), tensor("INT32", [2], a, "a")]
    dtypes, rows, names = (one["data"] for one in infer(front, inputs, b, a).json["outputs"])
    assert (dtypes[0], names) == ("float64", ["a", "b"])
    assert rows == ["[1.0, 'x']", "[-2.0, 'y']"]
    wrong = [tensor("BYTES", [2], b, "b"), tensor("BYTES", [2], b, "a")]
    assert infer(front, wrong, b, b).status == 400


def test_a_json_model_gets_lists(shared):
    data = struct.pack("<4d", 1, 2, 3, float("nan"))
    answer = infer(shared(ECHO), [tensor("FP64", [2, 2], data)], data)
    assert answer.json["outputs"][0]["data"] == [1, 2, 3, None]


def test_a_bytes_model_gets_the_bytes(shared):
    data = elements(b"\x00\xff\x01")
    inputs = [tensor("BYTES", [1], data)]
    plain = infer(shared(BYTES), inputs, data).json["outputs"][0]
    assert plain["data"] == ["Af8A"]
    assert plain["parameters"] == {"content_type": "base64"}
    answer = infer(shared(BYTES), inputs, data, parameters={"binary_data_output": True})
    assert tensors(answer) == [("predict", "BYTES", [1], elements(b"\x01\xff\x00"))]


def test_each_output_may_be_asked_for_as_bytes(shared, science):
    a, b = struct.pack("<d", 1), struct.pack("<q", 2)
    inputs = [tensor("FP64", [1], a, "a"), tensor("INT64", [1], b, "b")]
    outputs = [{"name": "b", "parameters": {"binary_data": True}}, {"name": "a"}]
    answer = infer(shared(FRAME, python=science), inputs, a, b, outputs=outputs)
    size = int(answer.headers["Inference-Header-Content-Length"])
    said = json.loads(answer.body[:size])["outputs"]
    assert [one["name"] for one in said] == ["b", "a"]
    assert said[1]["data"] == [1.0]
    assert answer.body[size:] == b
    outputs = [{"name": "a", "parameters": {"binary_data": False}}]
    more = {"parameters": {"binary_data_output": True}, "outputs": outputs}
    answer = infer(shared(FRAME, python=science), inputs, a, b, **more)
    assert answer.json["outputs"][0]["data"] == [1.0]


def test_json_inputs_may_have_binary_answers(shared, science):
    one = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.1, None]}
    request = {"id": "7", "inputs": [one], "parameters": {"binary_data_output": True}}
    answer = shared(SAME, python=science).post(INFER, request)
    size = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.body[:size])["id"] == "7"
    assert tensors(answer) == [
        ("predict", "FP32", [1, 2], struct.pack("<2f", 0.1, float("nan"))),
    ]


def test_joined_requests_each_get_their_own_bytes(shared, science):
    data = NUMBERS["INT64"]
    content, headers = body(
        [tensor("INT64", [2, 2], data)], data, parameters={"binary_data_output": True}
    )
    front = shared(SAME, python=science)
    clients = [front.client() for _ in range(20)]
    for client in clients:
        client.request("POST", INFER, content, headers)
    for client in clients:
        answer = client.getresponse().read()
        assert answer.endswith(data)
        client.close()


def test_no_rows_have_no_bytes(shared, science):
    answer = infer(
        shared(SAME, python=science, files={"s.json": b"[[1.5, 2.5]]"}, sample="s.json"),
        [tensor("FP64", [0, 2], b"")],
        parameters={"binary_data_output": True},
    )
    assert tensors(answer) == [("predict", "FP64", [0, 2], b"")]


HALF = struct.pack("<2d", 1, 2)
ONE = [tensor("FP64", [2], HALF)]
MALFORMED = {
    "too few bytes": body(ONE, HALF[:-1]),
    "too many bytes": body(ONE, HALF, b"x"),
    "size is not the shape's": body([tensor("FP64", [3], HALF)], HALF),
    "size is negative": body([tensor("FP64", [2], HALF, binary_data_size=-16)], HALF),
    "size is text": body([tensor("FP64", [2], HALF, binary_data_size="16")], HALF),
    "size is true": body([tensor("FP64", [2], HALF, binary_data_size=True)], HALF),
    "size is huge": body([tensor("FP64", [2], HALF, binary_data_size=2**70)], HALF),
    "data as well": body([{**ONE[0], "data": [1, 2]}], HALF),
    "no header": (body(ONE, HALF)[0], {}),
    "no header and no bytes": (body(ONE)[0], {}),
    "header too large": (body(ONE, HALF)[0], {"Inference-Header-Content-Length": "99999"}),
    "header too small": (body(ONE, HALF)[0], {"Inference-Header-Content-Length": "5"}),
    "header negative": (body(ONE, HALF)[0], {"Inference-Header-Content-Length": "-1"}),
    "header no number": (body(ONE, HALF)[0], {"Inference-Header-Content-Length": "x"}),
    "header endless": (body(ONE, HALF)[0], {"Inference-Header-Content-Length": "1" * 5000}),
    "unknown datatype": body([tensor("BF16", [8], HALF)], HALF),
    "negative shape": body([tensor("FP64", [-1, -2], HALF)], HALF),
    "endless rows of nothing": body([tensor("FP64", [10**12, 0], b"")]),
    "endless nothing in a row": body([tensor("FP64", [1, 10**6, 10**6, 0], b"")]),
    "a row of endless nothing": body([tensor("FP64", [0, 10**12], b"")]),
    "boolean of two": body([tensor("BOOL", [1, 2], b"\x01\x02")], b"\x01\x02"),
    "length beyond the end": body([tensor("BYTES", [1], b"\xff\0\0\0x")], b"\xff\0\0\0x"),
    "length cut": body([tensor("BYTES", [1], b"\x01\0")], b"\x01\0"),
    "fewer elements": body([tensor("BYTES", [2], elements(b"a"))], elements(b"a")),
    "not UTF-8": body([tensor("BYTES", [1], elements(b"\xff"))], elements(b"\xff")),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_sizes_are_400(shared, case):
    content, headers = MALFORMED[case]
    answer = shared(ECHO).post(INFER, content, **headers)
    assert answer.status == 400, answer.body
    assert answer.json.keys() == {"error"}


def test_more_columns_than_a_data_frame_can_have_are_400(shared, science):
    data = bytes(200_000)
    answer = infer(shared(FRAME, python=science), [tensor("INT8", [1, 200_000], data)], data)
    assert answer.status == 400


def test_the_server_says_that_it_speaks_the_extension(shared):
    assert shared(ECHO).get("/v2").json["extensions"] == ["binary_tensor_data"]
