"""A served schema: metadata, the OpenAPI document, the page, and requests held to it."""

import json
import re
from base64 import b64encode
from hashlib import sha256

import pytest

from app.scoring.bodies import Bodies
from app.scoring.inputs import Reader
from app.scoring.release import read
from app.scoring.routes import Routes

from .conftest import wait_for
from .test_auth import SCORE, bearer, tokens

ECHO = """
def predict(model, inputs):
    return [str(inputs) for _ in range(len(inputs))]
"""
SLOW = """
import time

def load(artifacts):
    time.sleep(2)

def predict(model, inputs):
    return inputs
"""
MATRIX = """
import numpy
def predict(model, inputs: numpy.ndarray):
    return inputs.sum(axis=1)
"""
DTYPES = """
import pandas
def predict(model, inputs: pandas.DataFrame):
    kinds = ",".join(str(kind) for kind in inputs.dtypes)
    return [kinds + "|" + "|".join(map(str, row)) for row in inputs.itertuples(index=False)]
"""
SAMPLE = [
    {
        "n": 1, "m": None, "ok": None, "level": "low", "kind": "x", "at": "2026-10-01T02:00+02:00",
        "photo": "aGk=", "x": 1,
    }
]  # fmt: skip
DECLARED = {
    "n": {"type": "int8", "min": 0},
    "m": {"type": "int64", "nullable": True},
    "ok": {"type": "bool", "nullable": True},
    "level": {"type": "category", "values": ["low", "high"]},
    "kind": {"type": "category"},
    "at": {"type": "datetime"},
    "photo": {"type": "bytes"},
    "x": {"type": "float32"},
}


@pytest.fixture
def matrix(shared, science):
    sample = b'{"inputs": [[1.5, 2, 3]]}'
    return shared(MATRIX, python=science, sample="s.json", files={"s.json": sample})


@pytest.fixture
def table(shared, science):
    files = {"s.json": json.dumps(SAMPLE).encode()}
    schema = {"inputs": DECLARED, "outputs": {"predict": {"type": "string"}}}
    return shared(DTYPES, python=science, sample="s.json", files=files, schema=schema)


def document(front):
    answer = front.get("/openapi.json")
    assert answer.status == 200
    return answer.json


def test_declared_types_reach_the_data_frame(table):
    (said,) = table.score(SAMPLE)
    dtypes, *values = said.split("|")
    assert dtypes.startswith("int8,Int64,boolean,category,category,datetime64[")
    assert dtypes.endswith(",object,float32")
    assert values[:4] == ["1", "<NA>", "<NA>", "low"]
    assert values[4:] == ["x", "2026-10-01 00:00:00", "b'hi'", "1.0"]


def test_a_time_reaches_an_array_as_one(shared, science):
    source = (
        "import numpy\ndef predict(model, inputs: numpy.ndarray):\n    return inputs.astype(str)\n"
    )
    schema = {"inputs": {"at": {"type": "datetime", "shape": [1]}}}
    front = shared(source, python=science, schema=schema)
    assert front.score([["2026-10-01T12:00:00Z"], [None]]) == [
        ["2026-10-01T12:00:00.000000"],
        ["NaT"],
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/score", [{**SAMPLE[0], "n": "one"}]),
        ("/score", {name: [held] for name, held in {**SAMPLE[0], "n": "one"}.items()}),
        ("/invocations", {"dataframe_records": [{**SAMPLE[0], "n": "one"}]}),
        (
            "/v2/models/churn/infer",
            {
                "inputs": [
                    {"name": name, "datatype": "BYTES", "shape": [1], "data": ["one"]}
                    for name in SAMPLE[0]
                ]
            },
        ),
    ],
)
def test_every_protocol_is_held_to_the_declaration(table, path, body):
    answer = table.post(path, body)
    assert answer.status == 400
    assert 'Column "n", row 0: expected a whole number, got text.' in answer.body.decode().replace(
        "\\", ""
    )


def test_columns_that_were_not_used_are_named_in_a_header(table):
    more = {f"extra {n}": n for n in range(12)}
    answer = table.post("/score", [{**SAMPLE[0], **more}])
    names = ", ".join(f"extra%20{n}" for n in range(10))
    assert answer.headers["X-Ignored-Columns"] == f"{names}, 2 more"
    assert table.post("/score", SAMPLE).headers["X-Ignored-Columns"] is None


def test_more_rows_than_configured_are_refused_naming_the_key(shared):
    front = shared(ECHO, max_request_rows=2)
    assert front.post("/score", [1, 2]).status == 200
    answer = front.post("/score", [1, 2, 3])
    assert answer.status == 413
    assert "max_request_rows, 2" in answer.json["error"]["what"]


def test_too_deep_json_is_refused(shared):
    answer = shared(ECHO, max_request_rows=2).post("/score", "[" * 65 + "]" * 65)
    assert answer.status == 400
    assert "more than 64 deep" in answer.json["error"]["what"]


def test_metadata_and_state_have_the_schema(table):
    metadata = table.get("/v2/models/churn").json
    found = {each["name"]: each["datatype"] for each in metadata["inputs"]}
    assert found == {
        "n": "INT8", "m": "INT64", "ok": "BOOL", "level": "BYTES", "kind": "BYTES", "at": "BYTES",
        "photo": "BYTES", "x": "FP32",
    }  # fmt: skip
    assert metadata["outputs"] == [{"name": "predict", "datatype": "BYTES", "shape": [-1]}]
    schema = table.admin("GET", "/admin/state").json["schema"]
    assert schema["kind"] == "columns"
    assert [each["name"] for each in schema["inputs"]] == list(DECLARED)
    assert [each["type"] for each in schema["outputs"]] == ["string"]


def test_outputs_are_learned_from_the_predicted_sample(matrix):
    schema = matrix.admin("GET", "/admin/state").json["schema"]
    (taken,), (given,) = schema["inputs"], schema["outputs"]
    assert (taken["name"], taken["type"], taken["shape"]) == ("inputs", "float64", [3])
    assert (given["name"], given["type"], given["shape"]) == ("predict", "float64", [])


def test_a_sample_unlike_the_declaration_keeps_the_front_from_starting(serve):
    files = {"s.json": b'[{"a": "x"}]'}
    schema = {"inputs": {"a": {"type": "int8"}}}
    front = serve(ECHO, ready=False, sample="s.json", files=files, schema=schema)
    assert front.process.wait(30) == 1
    assert 'Column "a", row 0: expected a whole number, got text.' in front.log


# The document


def references(held):
    if isinstance(held, dict):
        yield from ([held["$ref"]] if "$ref" in held else [])
        held = held.values()
    if not isinstance(held, (dict, str, int, float, bool, type(None))):
        for each in held:
            yield from references(each)


def test_the_document_is_whole(table):
    said = document(table)
    assert said["openapi"] == "3.1.0"
    for reference in references(said):
        kind, _, name = reference.removeprefix("#/components/").partition("/")
        assert name in said["components"][kind]
    for path, item in said["paths"].items():
        operations = {
            method: item[method] for method in ("get", "post", "delete") if method in item
        }
        assert operations
        for method, asked in operations.items():
            assert {"summary", "responses"} <= asked.keys(), (method, path)
            assert {"400", "405", "413", "503"} <= asked["responses"].keys()
            open_to_all = asked.get("security") == []
            assert ("401" in asked["responses"]) is not open_to_all, path
    score = said["paths"]["/score"]["post"]["responses"].keys()
    assert {"200", "202", "401", "415", "429", "500", "503", "504"} <= score


def test_every_documented_path_answers_and_every_path_is_documented(table):
    said = document(table)["paths"]
    for path, item in said.items():
        if "{" not in path:
            assert table.get(path).status == (200 if "get" in item else 405), path
    release = read(table.log_path.parent, "current")
    reader = Reader()
    routes = Routes(release, None, reader, None)
    explain = "/v1/models/churn:explain"  # which is there to say that there is nothing
    assert {path.decode() for path in routes.table} - {explain} == said.keys() - {"/jobs/{id}"}


def test_what_a_stream_and_a_job_answer_is_described(table):
    said = document(table)["paths"]
    content = said["/score"]["post"]["responses"]["200"]["content"]
    assert {"application/json", "text/event-stream", "application/x-ndjson"} <= content.keys()
    (streamed,) = said["/v2/models/churn/infer_stream"]["post"]["responses"]["200"]["content"]
    assert streamed == "text/event-stream"
    (prefer,) = said["/score"]["post"]["parameters"]
    assert (prefer["name"], prefer["in"]) == ("Prefer", "header")
    job = said["/jobs/{id}"]
    assert {"200", "202", "404", "410"} <= job["get"]["responses"].keys()
    assert {"204", "404"} <= job["delete"]["responses"].keys()


def test_every_answer_has_the_headers_it_is_said_to_have(table):
    said = document(table)
    asks = [("GET", "/v2", 200), ("PUT", "/v2", 405), ("GET", "/jobs/" + "0" * 32, 404)]
    for method, path, status in asks:
        answer = table.call(method, path)
        described = said["components"]["responses"].get(f"any_{status}")
        described = described or said["paths"]["/v2"]["get"]["responses"]["200"]
        assert answer.status == status
        for name in described["headers"]:
            assert answer.headers[name], (path, name)


def test_other_content_types_than_those_described_are_415(table):
    content = document(table)["paths"]["/invocations"]["post"]["requestBody"]["content"]
    assert {"application/json", "text/csv", "application/vnd.apache.parquet"} <= content.keys()
    for kind, status in (("text/csv", 400), ("application/json", 400), ("text/plain", 415)):
        assert table.call("POST", "/invocations", b"x", {"Content-Type": kind}).status == status


def test_the_document_follows_the_tokens(serve):
    front = serve(ECHO)
    assert document(front)["security"] == [{}, {"token": []}]
    assert front.admin("POST", "/admin/tokens", tokens(ci_score=SCORE)).status == 200
    assert front.get("/openapi.json").status == 401
    answer = front.get("/openapi.json", **bearer(SCORE))
    assert answer.json["security"] == [{"token": []}]
    assert answer.json["paths"]["/readyz"]["get"]["security"] == []
    front.admin("POST", "/admin/tokens", tokens())
    assert document(front)["security"] == [{}, {"token": []}]


def test_the_document_is_of_the_model_however_early_it_is_asked_for(serve):
    front = serve(SLOW, sample="s.json", files={"s.json": b"[1]"}, ready=False)
    wait_for(front.listens)
    early = front.admin("GET", "/openapi.json").json
    assert early["x-schema"]["outputs"] == []
    front.wait_ready()
    assert document(front)["x-schema"]["outputs"] != []


def test_the_sample_is_the_example(table):
    content = document(table)["paths"]["/score"]["post"]["requestBody"]["content"]
    assert content["application/json"]["example"] == SAMPLE


def test_a_record_is_described_as_strictly_as_it_is_read():
    reader = Reader("dataframe", said={"n": {"type": "int8", "min": 0, "values": [1, 2]}})
    reader.learn(reader.records([{"n": 1, "x": 1.5}]))
    (record,) = Bodies(reader)._record()
    assert record == {
        "type": "object",
        "properties": {
            "n": {"type": "integer", "minimum": 0, "maximum": 127, "enum": [1, 2]},
            "x": {"type": ["number", "boolean", "null"]},
        },
        "required": ["n", "x"],
    }


def test_described_times_are_those_that_are_read():
    reader = Reader("dataframe", said={"at": {"type": "datetime", "nullable": False}})
    reader.learn(None)
    (record,) = Bodies(reader)._record()
    matches = re.compile(record["properties"]["at"]["pattern"]).search
    for good in ("2024-02-29", "2000-02-29T23:59", "2026-10-01 12:00:00.123456789Z"):
        assert matches(good)
        assert reader.records([{"at": good}]).rows == 1
    for bad in ("2023-02-29", "1900-02-29", "2026-13-01", "2026-10-01T24:00", "0000-01-01", "2026"):
        assert not matches(bad)


def test_a_body_of_bytes_is_described_as_such(shared):
    front = shared("def predict(model, inputs: bytes):\n    return inputs\n")
    content = document(front)["paths"]["/score"]["post"]["requestBody"]["content"]
    assert content == {"application/octet-stream": {}}


# The page


def test_the_page_needs_no_token_and_shows_nothing_of_the_model(serve, instance):
    (instance.folder / "tokens.json").write_text(tokens(ci_score=SCORE))
    front = serve(ECHO)
    for method in ("GET", "HEAD"):
        assert front.call(method, "/docs").status == 200
    assert b"churn" not in front.get("/docs").body
    assert front.get("/openapi.json").status == 401
    assert front.get("/openapi.json", **bearer(SCORE)).status == 200


def test_the_page_may_run_its_own_script_and_nothing_else(matrix):
    answer = matrix.get("/docs")
    page, policy = answer.body.decode(), answer.headers["Content-Security-Policy"]
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    (script,) = re.findall("<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy


def test_the_page_loads_nothing_from_elsewhere(matrix):
    page = matrix.get("/docs").body.decode()
    assert "Accept: text/event-stream" in page
    assert not re.search(r"https?://|<link|src=|@import|url\(", page)


def test_the_page_is_shipped_with_the_program():
    from app.deployer import runtime

    assert "scoring/docs.html" in runtime.program()
