"""Requests made up from our own OpenAPI document, right and wrong ones, with every check on.

RHYTHMICML_CASES: how many of the random ones for each operation (`make faults` runs many more).
RHYTHMICML_SLOWEST: seconds that an answer may take; a loaded machine may need many.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from .conftest import environment
from .test_auth import SCORE, tokens

TWIN_PATHS = "/versions/|/generate_stream"
CASES = int(os.environ.get("RHYTHMICML_CASES", "10"))
# Without RHYTHMICML_CASES these are left out: they have the same handlers as their twins.
TWINS = () if "RHYTHMICML_CASES" in os.environ else ("--exclude-path-regex", TWIN_PATHS)
# A job that was cancelled is 410, which by default does not count as taking a valid request.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "410", "429", "5xx"]
"""
SLOWEST = os.environ.get("RHYTHMICML_SLOWEST", "10")
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
BYTES = """
def predict(model, inputs: bytes):
    return inputs[::-1]

def load(artifacts):
    return None
"""
GENERATOR = """
def predict(model, inputs):
    for number in range(3):
        yield {"number": number}
"""
DECLARED = {
    "inputs": {
        "age": {"type": "int64", "min": 0, "max": 150},
        "income": {"type": "float64", "nullable": True},
        "country": {"type": "category", "values": ["NL", "DE"]},
    }
}
ROW = b'[{"age": 41, "income": 1.5, "country": "NL"}]'
PEOPLE = {
    "age": "st.integers(0, 150)",
    "income": "st.one_of(st.just(''), st.floats(allow_nan=False, allow_infinity=False))",
    "country": "st.sampled_from(['NL', 'DE'])",
}
NUMBERS = dict.fromkeys("abc", "st.integers(-9, 9)")
MODELS = {  # script, sample, settings, columns of its CSV
    "table": (TABLE, ROW, {}, PEOPLE),
    "declared": (TABLE, ROW, {"schema": DECLARED}, PEOPLE),
    "matrix": (MATRIX, b'{"inputs": [[1.0, 2.0, 3.0]]}', {}, NUMBERS),
    "json": (JSON, b'[{"any": [1, "x"]}]', {}, NUMBERS),
    "bytes": (BYTES, b"any", {}, NUMBERS),
    "generator": (GENERATOR, b"[1]", {}, NUMBERS),
}
OPTIONS = {
    "table": (),
    "declared": (),
    "matrix": (),
    "json": (),
    "bytes": (),
    "generator": ("-H", "Accept: text/event-stream"),
}
HOOKS = """
import schemathesis
from hypothesis import strategies as st

def table(rows):
    lines = [names, *(",".join(map(str, row)) for row in rows)]
    return "\\r\\n".join(lines).encode()

names = {names!r}
rows = st.lists(st.tuples({columns}), max_size=9)
schemathesis.openapi.media_type("text/csv", rows.map(table))
"""


@pytest.mark.parametrize("name", MODELS)
def test_no_made_up_request_finds_a_fault(serve, instance, science, tmp_path, name):
    front = started(serve, instance, science, name)
    check(front, tmp_path, name, *OPTIONS[name])


def test_no_made_up_request_gets_past_the_tokens(serve, instance, science, tmp_path):
    path = instance.folder / "tokens.json"
    path.write_text(tokens(ci_score=SCORE))
    path.chmod(0o600)
    # It tries a wrong token at every address, which are more than a peer may try in a minute.
    front = started(serve, instance, science, "table", RHYTHMICML_MOST_FAILURES="1000")
    check(front, tmp_path, "table", "-H", f"Authorization: Bearer {SCORE}")
    assert SCORE not in front.log


def started(serve, instance, science, name, **environment):
    source, sample, settings, _ = MODELS[name]
    instance.python = science
    files = {"sample.json": sample}
    return serve(source, environment=environment, files=files, sample="sample.json", **settings)


def check(front, folder, name, *options):
    columns = MODELS[name][3]
    hooks = HOOKS.format(names=",".join(columns), columns=", ".join(columns.values()))
    (folder / "hooks.py").write_text(hooks)
    (folder / "schemathesis.toml").write_text(CONFIG)
    done = run(front.port, folder, *options)
    assert done.returncode == 0, report(done.stdout + done.stderr)
    assert front.process.poll() is None
    assert "Traceback" not in front.log
    print(name, *re.findall(r"\d+ generated.*", done.stdout))


def run(port, folder, *options):
    python = environment(("schemathesis==4.32.5",), "3.11") / "bin" / "python"
    return subprocess.run(
        [
            *(python, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"),
            *(f"http://127.0.0.1:{port}/openapi.json", "--checks", "all"),
            *("--max-examples", str(CASES), "--seed", "7", "--no-shrink"),
            *("--max-response-time", SLOWEST, "--request-timeout", "30", "--continue-on-failure"),
            *("--suppress-health-check", "all", *TWINS, *options),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60 + 60 * CASES,
        env={
            **os.environ,
            "NO_COLOR": "1",
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(folder),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(Path(folder) / "h"),
        },
    )


def report(said):
    """From where the failures begin."""
    start = said.find("= FAILURES")
    return said[max(0, start) :][:20_000]
