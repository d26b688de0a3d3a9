"""A version's schema: read at commit, kept, compared with the one before."""

import json

import pytest
from click.testing import CliRunner

from app.cli.parts import root
from app.errors import Problem
from app.services import models, schemas, versions
from app.workspace import Workspace

FRAME = "import pandas as pd\ndef predict(model, inputs: pd.DataFrame):\n    return inputs\n"
LIST = "def predict(model, inputs):\n    return inputs\n"


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path / "home")


@pytest.fixture
def folder(tmp_path, work):
    made = tmp_path / "churn"
    made.mkdir()
    (made / "predict.py").write_text(FRAME)
    (made / "requirements.txt").write_text("")
    (made / "sample.json").write_text('[{"age": 41, "country": "NL"}]')
    models.add(work, made)
    return made


def declare(folder, text):
    (folder / "rhythmicml.toml").write_text(f"[schema]\n{text}\n")


def test_a_version_keeps_what_its_sample_showed(work, folder):
    schema = versions.commit(work, "churn").version.schema
    assert schema["kind"] == "columns"
    assert [(each["name"], each["type"]) for each in schema["inputs"]] == [
        ("age", "int64"),
        ("country", "string"),
    ]
    assert versions.show(work, "churn@1").version.schema == schema


def test_the_declaration_stands_over_the_sample(work, folder):
    declare(folder, 'inputs = { age = { type = "int8", max = 120 } }')
    age, country = versions.commit(work, "churn").version.schema["inputs"]
    assert (age["type"], age["max"], country["type"]) == ("int8", 120, "string")


def test_a_breaking_change_is_named_and_does_not_block(work, folder):
    versions.commit(work, "churn")
    (folder / "sample.json").write_text('[{"age": "x", "country": "NL", "city": "Ede"}]')
    made = versions.commit(work, "churn")
    assert made.version.number == 2
    assert made.breaking == (
        'column "age" is string now; it was int64.',
        'column "city" is now required.',
    )


def test_commit_says_what_breaks(work, folder, monkeypatch):
    monkeypatch.setenv("RHYTHMICML_HOME", str(work.home))
    versions.commit(work, "churn")
    (folder / "sample.json").write_text('[{"age": 41, "country": "NL", "city": "Ede"}]')
    said = CliRunner().invoke(root, ["commit", "churn"]).output
    assert 'Breaking: column "city" is now required.' in said.splitlines()
    (folder / "sample.json").write_text(
        '{"age": [41], "country": ["NL"], "zip": [1], "city": [""]}'
    )
    said = json.loads(CliRunner().invoke(root, ["commit", "churn", "--json"]).output)
    assert said["breaking"] == ['column "zip" is now required.']
    shown = CliRunner().invoke(root, ["show", "churn"]).output
    assert "zip      int64 or null" in shown


@pytest.mark.parametrize(
    ("sample", "script"), [('"just text"', FRAME), ("[[1], [1, 2]]", FRAME), ('{"any": 1}', LIST)]
)
def test_a_sample_that_says_nothing_is_no_problem(work, folder, sample, script):
    (folder / "predict.py").write_text(script)
    (folder / "sample.json").write_text(sample)
    assert versions.commit(work, "churn").version.schema["inputs"] == []


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ('inputs = { age = { type = "string" } }', "does not fit"),
        ('inputs = { gone = { type = "string" } }', "does not fit"),
        ('inputs = { age = { type = "int64", values = ["x"] } }', 'values of "age"'),
        ('inputs = { age = { type = "int64", shape = [2] } }', "has a shape"),
    ],
)
def test_a_declaration_that_cannot_be_met_is_refused(work, folder, declared, words):
    declare(folder, declared)
    with pytest.raises(Problem, match=words):
        versions.commit(work, "churn")


def test_an_array_is_declared_in_one_entry(work, folder):
    two = '{ a = { type = "int8" }, b = { type = "int8" } }'
    (folder / "rhythmicml.toml").write_text(
        f'[predict]\ninput = "ndarray"\n[schema]\ninputs = {two}\n'
    )
    with pytest.raises(Problem, match="several columns"):
        versions.commit(work, "churn")


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (FRAME, "dataframe"),
        (LIST, "json"),
        ("def predict(inputs: 'numpy.ndarray', more=1): ...", "ndarray"),
        ("def predict(model, inputs): ...\ndef preprocess(raw: bytes): ...", "bytes"),
        ("class Model:\n    def predict(self, inputs: pd.DataFrame): ...", "dataframe"),
        ("class ModelWrapper: ...", "json"),
        ("def predict(:", "json"),
    ],
)
def test_the_annotation_is_read_without_running_the_script(script, kind):
    assert schemas.annotated_kind(script.encode()) == kind


def test_a_deployment_teaches_a_version_its_outputs_once(work, folder):
    learned = versions.commit(work, "churn").version.schema
    output = dict(learned["inputs"][0], name="predict")
    with work.open_store() as store:
        model = store.models.get("churn")
        store.versions.learn(model, 1, learned | {"outputs": [output]})
        store.versions.learn(model, 1, learned | {"outputs": [output, output]})
        store.versions.learn(model, 9, learned | {"outputs": [output]})
        assert store.versions.get(model, 1).schema["outputs"] == [output]
