"""Requests made up from our own OpenAPI document, right and wrong ones, with every check on.

RHYTHMICML_CASES: how many for each operation (30; `make faults` runs many more).
"""

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import environment

CASES = int(os.environ.get("RHYTHMICML_CASES", "30"))
TABLE = """
import pandas as pd

def predict(model, inputs: pd.DataFrame):
    return pd.DataFrame({"total": inputs["age"] * 2.0, "label": inputs["country"]})

def load(artifacts):
    return None
"""
MATRIX = """
import numpy as np

def predict(model, inputs: np.ndarray):
    return inputs.sum(axis=1)

def load(artifacts):
    return None
"""
JSON = """
def predict(model, inputs: list):
    return [str(type(one).__name__) for one in inputs] if isinstance(inputs, list) else "one"

def load(artifacts):
    return None
"""
DECLARED = {
    "inputs": {
        "age": {"type": "int64", "min": 0, "max": 150},
        "income": {"type": "float64", "nullable": True},
        "country": {"type": "category", "values": ["NL", "DE"]},
    }
}
MODELS = {
    "table": (TABLE, b'[{"age": 41, "income": 1.5, "country": "NL"}]', {}),
    "declared": (TABLE, b'[{"age": 41, "income": 1.5, "country": "NL"}]', {"schema": DECLARED}),
    "matrix": (MATRIX, b'{"inputs": [[1.0, 2.0, 3.0]]}', {}),
    "json": (JSON, b'[{"any": [1, "x"]}]', {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_no_made_up_request_finds_a_fault(shared, science, tmp_path, name):
    source, sample, settings = MODELS[name]
    front = shared(
        source,
        python=science,
        files={"sample.json": sample},
        sample="sample.json",
        **settings,
    )
    done = run(front.port, tmp_path)
    assert done.returncode == 0, report(done.stdout)
    assert front.process.poll() is None
    assert "Traceback" not in front.log


def run(port, folder, *options):
    python = environment(("schemathesis==4.32.5",), "3.11") / "bin" / "python"
    return subprocess.run(
        [
            *(python, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"),
            *(f"http://127.0.0.1:{port}/openapi.json", "--checks", "all"),
            *("--max-examples", str(CASES), "--seed", "7", "--no-shrink"),
            *("--max-response-time", "5", "--request-timeout", "20", "--continue-on-failure"),
            *("--suppress-health-check", "all", *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60 + 60 * CASES,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(Path(folder) / "h"),
        },
    )


def report(said):
    """From where the failures begin."""
    start = said.find("= FAILURES")
    return said[max(0, start) :][:20_000]
