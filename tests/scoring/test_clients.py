"""Each client that people have, as it is, against an instance."""

import json
import subprocess
from pathlib import Path

import pytest

from .conftest import environment

CLIENTS = Path(__file__).parent / "clients"
PYTHON = "3.11"
TABLE = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    total = inputs["age"] * 2 + inputs["income"].fillna(0)
    return pd.DataFrame({"total": total, "label": inputs["country"] + "!"})
"""
MATRIX = """
import numpy as np

def predict(model, inputs: np.ndarray):
    return inputs * 2
"""
RECORDS = [{"total": 83.5, "label": "NL!"}, {"total": 60.0, "label": "DE!"}]


@pytest.fixture(scope="module")
def table(shared, science):
    sample = b'[{"age": 41, "income": 1.5, "country": "NL"}]'
    files = {"sample.json": sample}
    source = TABLE + "\ndef load(artifacts):\n    return None\n"
    return shared(source, python=science, files=files, sample="sample.json")


@pytest.fixture(scope="module")
def matrix(shared, science):
    files = {"sample.json": b'{"inputs": [[1.0, 2.0, 3.0]]}'}
    source = MATRIX + "\ndef load(artifacts):\n    return None\n"
    return shared(source, python=science, files=files, sample="sample.json")


def facts(script, packages, *words):
    python = environment(packages, PYTHON) / "bin" / "python"
    done = subprocess.run(
        [python, CLIENTS / script, *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def triton(table, matrix):
    packages = ("tritonclient[http]==2.73.0", "numpy==2.4.6")
    return facts("triton.py", packages, table.port, matrix.port)


def test_tritonclient_finds_server_and_model(triton):
    about = triton["table"]["about"]
    assert about["live"] is about["ready"] is about["model ready"] is about["version ready"] is True
    assert about["other version ready"] is False
    assert about["server"]["extensions"] == ["binary_tensor_data"]
    assert about["index"] == [{"name": "churn", "version": "1", "state": "READY", "reason": ""}]
    model = about["model"]
    assert [(one["name"], one["datatype"]) for one in model["inputs"]] == [
        ("age", "INT64"),
        ("income", "FP64"),
        ("country", "BYTES"),
    ]
    assert [(one["name"], one["datatype"]) for one in model["outputs"]] == [
        ("total", "FP64"),
        ("label", "BYTES"),
    ]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_tritonclient_scores_a_table(triton, binary, outputs):
    assert triton["table"][f"binary {binary}, outputs {outputs}"] == {
        "id": "r-1",
        "version": "1",
        "names": ["total", "label"],
        "total": ["83.5", "58.0"],
        "label": ["NL!", "Zürich!"],
    }


@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_tritonclient_scores_a_matrix(triton, coding):
    found = triton["matrix"]
    for datatype, kind in (("FP32", "float32"), ("FP64", "float64"), ("INT64", "int64")):
        assert found[f"{datatype} {coding}"] == {"dtype": kind, "right": True}
    assert found[f"many {coding}"] is True


def test_tritonclient_reads_what_was_wrong(triton):
    found = triton["matrix"]
    assert found["wide"]["status"] == "400"
    assert "3 values, got 4" in found["wide"]["message"]
    assert found["unknown model"]["status"] == found["unknown version"]["status"] == "404"
    assert found["version"] is None
    assert "predict" in found["unknown output"]["message"]


def test_mlflow_client_scores_a_frame(table):
    found = facts("mlflow_client.py", ("mlflow==3.17.2", "pandas"), table.port)
    assert found["version"]
    assert found["predictions"] == [RECORDS[0], {"total": 58.0, "label": "DE!"}]
    assert "country" in found["missing"]


def test_kserve_client_scores_with_both_protocols(matrix):
    found = facts("kserve_client.py", ("kserve==0.21.0",), matrix.port)
    doubled = [[2.0, 4.0, 6.0]]
    two = found["v2"]
    assert two["live"] is two["ready"] is two["model ready"] is True
    assert two["other model ready"] is False
    for binary in (True, False):
        assert two[f"binary {binary}"] == {"id": "r-2", "predict": doubled}
    assert "3 values, got 4" in two["wide"]
    assert found["v1"] == {
        "live": True,
        "model ready": True,
        "predict": {"predictions": doubled},
    }


@pytest.mark.parametrize("binary", [(), ("--binary-data",)])
def test_mlserver_infer_scores_a_file(matrix, tmp_path, binary):
    asked = [
        {"id": str(number), "inputs": [_tensor([[float(number), 2.0, 3.0]])]}
        for number in range(20)
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, asked)))
    python = environment(("mlserver==1.7.1",), PYTHON) / "bin" / "python"
    program = (python, "-c", "from mlserver.cli.main import main; main()")
    done = subprocess.run(
        [
            *(*program, "infer", "-u", f"127.0.0.1:{matrix.port}", "-m", "churn"),
            *("-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl"),
            *("-s", "3", "-w", "2", *binary),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(answers) == 20
    for answer in answers:
        assert answer["outputs"][0]["data"] == [2.0 * float(answer["id"]), 4.0, 6.0], answer


def _tensor(rows):
    return {
        "name": "inputs",
        "shape": [len(rows), len(rows[0])],
        "datatype": "FP64",
        "data": [value for row in rows for value in row],
    }


def test_plain_requests_score_in_every_shape(table):
    found = facts("plain_requests.py", ("requests==2.34.2",), table.port)
    for way in ("score", "records", "csv", "zipped", "kserve"):
        assert found[way] == {"predictions": RECORDS}, way
    assert found["refused"]["status"] == 400
    assert "income" in found["refused"]["error"]["what"]
    assert found["id"] == "mine"
    assert found["ping"] == 200
