"""Every example of docs/serving.md and docs/serving/, run as it stands there.

An HTML comment right above a block says what it needs ("; " between several), else it is run
against `churn`:

    model: NAME           another of the models below
    status: NUMBER        each `curl -i` of it is answered so
    script: JSON          the block is a prediction script; it is served, and asked this
    run: no, FILE does    it is run by another file of tests
"""

import json
import os
import re
import subprocess

import pytest

from app.config import read_configuration
from app.deployer import certificates

from .conftest import ROOT, Front, Instance, environment
from .test_auth import ADMIN, SCORE, tokens
from .test_tls import write

PAGES = [ROOT / "docs" / "serving.md", *sorted((ROOT / "docs" / "serving").glob("*.md"))]
PORT = "8101"
PACKAGES = ("numpy", "pandas", "scikit-learn", "joblib", "pyarrow")
SAMPLE = b'[{"age": 41, "country": "NL"}]'
CHURN = """
import pandas as pd

def load(artifacts):
    return None

def predict(model, inputs: pd.DataFrame):
    return pd.DataFrame(
        {"risk": inputs["age"] / 100, "label": inputs["country"].str.lower()}
    )
"""
STREAM = """
def predict(inputs):
    for word in ("Once", "upon", "a", "time"):
        yield word
"""
BYTES = """
def predict(inputs: bytes):
    return inputs[::-1]
"""
MATRIX = """
import numpy as np

def predict(inputs: np.ndarray):
    return inputs * 2
"""
SAMPLED = {"files": {"sample.json": SAMPLE}, "sample": "sample.json"}
DECLARED = {
    "inputs": {
        "age": {"type": "int64", "min": 0, "max": 120},
        "country": {"type": "category", "values": ["NL", "DE"], "nullable": False},
    }
}
MODELS = {
    "churn": (CHURN, SAMPLED),
    "declared": (CHURN, {**SAMPLED, "schema": DECLARED}),
    "matrix": (
        MATRIX,
        {"files": {"sample.json": b'{"inputs": [[1.0, 2.0, 3.0]]}'}, "sample": "sample.json"},
    ),
    "stream": (STREAM, {}),
    "bytes": (BYTES, {}),
    "tokens": (CHURN, SAMPLED),
    "public": (CHURN, {**SAMPLED, "expose": "public"}),
    "pages": (CHURN, {**SAMPLED, "cors": ["https://app.example"]}),
}
CLIENTS = {
    "tritonclient": ("tritonclient[http]==2.73.0", "numpy==2.4.6"),
    "mlflow": ("mlflow==3.17.2", "pandas"),
    "kserve": ("kserve==0.21.0",),
    "mlserver": ("mlserver==1.7.1",),
    "requests": ("requests==2.34.2",),
}
CURL = 'curl() { command curl -sS --fail-with-body --max-time 60 "$@"; }\n'
PLAIN_CURL = 'curl() { command curl -sS --max-time 60 "$@"; }\n'
MLSERVER = 'mlserver() { "$MLSERVER" -c "from mlserver.cli.main import main; main()" "$@"; }\n'
PARQUET = """
import pandas
pandas.DataFrame({"age": [41, 29], "country": ["NL", "DE"]}).to_parquet("rows.parquet")
"""
JOBLIB = """
import sys, joblib
from sklearn.dummy import DummyRegressor
joblib.dump(DummyRegressor().fit([[1], [2]], [1.0, 2.0]), sys.argv[1])
"""
BLOCK = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.M | re.S)
LANGUAGES = {"sh", "python", "toml", "json", ""}
NOTES = {"model", "status", "script", "run"}


def notes(comment):
    """What the comment above a block says, by key."""
    return dict(one.split(": ", 1) for one in comment.split("; ")) if comment else {}


def blocks(*languages):
    """Each fenced block of these languages: what is said of it, and its text."""
    for page in PAGES:
        text = page.read_text()
        for block in BLOCK.finditer(text):
            if block[2] in languages:
                line = text[: block.start()].count("\n") + 1
                yield pytest.param(notes(block[1]), block[3], id=f"{page.stem}-{line}")


@pytest.fixture(scope="module")
def python():
    return environment(PACKAGES)


@pytest.fixture(scope="module")
def pair():
    """As `deploy` makes it."""
    made = certificates.make("churn", certificates.EVERY_HOST)
    return made.certificate, made.key


@pytest.fixture(scope="module")
def fronts(tmp_path_factory, python, pair):
    """The front of each model, started when it is first asked for."""
    running = {}

    def start(name):
        if name not in running:
            source, settings = MODELS[name]
            made = Instance(tmp_path_factory.mktemp(name) / "churn", python)
            if name in ("tokens", "public"):
                (made.folder / "tokens.json").write_text(tokens(ci_score=SCORE, ops_admin=ADMIN))
                write(made.folder / "tls", pair)
            release = made.release(source, number=3, **settings)
            running[name] = Front(made, release).wait_ready()
        return running[name]

    yield start
    for front in running.values():
        front.close()


def test_notes_are_understood():
    for page in PAGES:
        text = page.read_text()
        found = list(BLOCK.finditer(text))
        assert text.count("<!--") == sum(bool(block[1]) for block in found), page
        assert len(re.findall(r"^```", text, re.M)) == 2 * len(found), page
        for block in found:
            said = notes(block[1])
            assert block[2] in LANGUAGES, block[0]
            assert said.keys() <= NOTES, block[0]
            if "run" in said:
                other = re.fullmatch(r"no, (tests/[\w/]+\.py) does", said["run"])
                assert other, block[0]
                assert (ROOT / other[1]).is_file(), other[1]


def test_every_page_is_linked_from_the_first():
    first = PAGES[0].read_text()
    assert [page.name for page in PAGES[1:] if f"(serving/{page.name})" not in first] == []


@pytest.mark.parametrize(("note", "example"), [*blocks("sh")])
def test_commands_are_answered(fronts, python, pair, tmp_path, note, example):
    if "run" in note:
        assert example.startswith("rhythmicml "), "Only such commands are run elsewhere."
        return
    front = fronts(note.get("model", "churn"))
    if "rows.parquet" in example:
        subprocess.run([python / "bin" / "python", "-c", PARQUET], cwd=tmp_path, check=True)
    (tmp_path / "certificate.pem").write_text(pair[0])
    held = {"SOCKET": str(front.private), "TOKEN": SCORE, "ADMIN_TOKEN": ADMIN}
    if "mlserver " in example:
        held["MLSERVER"] = str(environment(CLIENTS["mlserver"], "3.11") / "bin" / "python")
    prelude = (PLAIN_CURL if "status" in note else CURL) + MLSERVER
    output = run(
        ["bash", "-euo", "pipefail", "-c", prelude + placed(example, front)], tmp_path, held
    )
    assert output.strip()
    if "status" in note:
        answered = re.findall(r"HTTP/1\.1 (\d+)", output)
        assert answered == [note["status"]] * example.count("curl -i "), output


@pytest.mark.parametrize(("note", "example"), [*blocks("python")])
def test_programs_run(fronts, serve_script, pair, tmp_path, note, example):
    if "script" in note:
        answer = serve_script(example).post("/score", note["script"])
        assert answer.status == 200, answer.body
        return
    assert PORT in example, "A block that asks nothing is a prediction script, and must say so."
    front = fronts(note.get("model", "churn"))
    client = next(name for name in CLIENTS if re.search(rf"^(import|from) {name}\b", example, re.M))
    program = environment(CLIENTS[client], "3.11") / "bin" / "python"
    (tmp_path / "rhythmicml.pem").write_text(pair[0])
    held = {"PYTHONWARNINGS": "ignore", "TOKEN": SCORE}
    output = run([program, "-c", placed(example, front)], tmp_path, held)
    assert output.strip()


@pytest.fixture
def serve_script(tmp_path, python):
    """Serve a prediction script with a model.joblib among its artifacts."""
    fronts = []

    def start(source):
        made = Instance(tmp_path / "churn", python)
        model = tmp_path / "model.joblib"
        subprocess.run([python / "bin" / "python", "-c", JOBLIB, model], check=True)
        files = {"artifacts/model.joblib": model.read_bytes()}
        fronts.append(Front(made, made.release(source, files=files)).wait_ready())
        return fronts[0]

    yield start
    for front in fronts:
        front.close()


@pytest.mark.parametrize(("note", "example"), [*blocks("toml")])
def test_settings_can_be_read(tmp_path, note, example):
    (tmp_path / "rhythmicml.toml").write_text(example)
    read_configuration(tmp_path)


@pytest.mark.parametrize(("note", "example"), [*blocks("json")])
def test_json_is_json(note, example):
    json.loads(example)


def placed(example, front):
    return example.replace(PORT, str(front.port))


def run(command, folder, more):
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **more},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
