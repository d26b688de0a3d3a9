"""Every command of docs/serving.md, run as it stands there against the model it speaks of."""

import os
import re
import subprocess

import pytest

from .conftest import ROOT, environment

PAGES = [ROOT / "docs" / "serving.md", *sorted((ROOT / "docs" / "serving").glob("*.md"))]
PORT = "8101"
MODEL = """
import pandas as pd

def load(artifacts):
    return None

def predict(model, inputs: pd.DataFrame):
    return pd.DataFrame(
        {"risk": inputs["age"] / 100, "label": inputs["country"].str.lower()}
    )
"""
SAMPLE = b'[{"age": 41, "country": "NL"}]'
CLIENTS = {
    "tritonclient": ("tritonclient[http]==2.73.0", "numpy==2.4.6"),
    "mlflow": ("mlflow==3.17.2", "pandas"),
    "kserve": ("kserve==0.21.0",),
    "requests": ("requests==2.34.2",),
}


def examples(language):
    """Each fenced block of that language, named by its page and line."""
    for page in PAGES:
        text = page.read_text()
        for block in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
            line = text[: block.start()].count("\n") + 1
            yield pytest.param(block[1], id=f"{page.stem}-{line}")


@pytest.fixture(scope="module")
def front(shared, science):
    files = {"sample.json": SAMPLE}
    return shared(MODEL, python=science, files=files, sample="sample.json", number=3)


@pytest.mark.parametrize("example", [*examples("sh")])
def test_commands_are_answered(front, tmp_path, example):
    if "curl" not in example:
        pytest.fail("An example that is no curl command needs a test of its own.")
    script = example.replace(PORT, str(front.port)).replace("curl ", "curl -sS --fail-with-body ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("example", [*examples("python")])
def test_programs_run(front, tmp_path, example):
    if PORT not in example:
        compile(example, "example", "exec")
        return
    packages = next((held for name, held in CLIENTS.items() if name in example), None)
    assert packages, "The example imports no client that is known here."
    python = environment(packages, "3.11") / "bin" / "python"
    done = subprocess.run(
        [python, "-c", example.replace(PORT, str(front.port))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
