"""Drift of an instance's columns: against what the version was made from, and the week before."""

import random
import subprocess

import pytest
from client import Client, Failed, write_model
from recordings import NOW, keep, row

from app.errors import Problem
from app.scoring import summaries
from app.services import drift, models, moved, training, versions

DAY = 86_400
SCHEMA = """
[schema.inputs]
age = { type = "float64" }
land = { type = "string" }
"""


def summary(values):
    found = summaries.of(values)
    found.add(values)
    return found.as_json()


@pytest.fixture
def churn(work, tmp_path):
    """A version that takes two columns, and its training data."""
    folder = write_model(tmp_path / "churn", "churn")
    text = (folder / "rhythmicml.toml").read_text()
    (folder / "rhythmicml.toml").write_text(f'{text}[predict]\ninput = "dataframe"\n{SCHEMA}')
    (folder / "sample.json").write_text('{"inputs": [{"age": 41.0, "land": "NL"}]}')
    models.add(work, folder)
    versions.commit(work, "churn", "first")
    dice = random.Random(5)
    ages = [round(dice.gauss(50, 10), 2) for _ in range(2000)]
    lands = dice.choices(["NL", "BE", "DE"], [5, 3, 2], k=2000)
    lines = [f"{age},{land},{n % 2}" for n, (age, land) in enumerate(zip(ages, lands, strict=True))]
    (tmp_path / "train.csv").write_text("\n".join(["age,land,left", *lines, "too,few", ""]))
    return ages, lands


def recorded(work, at, sides):
    body = {side: {name: summary(held) for name, held in t.items()} for side, t in sides.items()}
    one = row(at, 900, seconds=0, requests={}, **body)
    keep(work, [replace_columns(one)])


def replace_columns(one):
    return one._replace(columns=True)


def said(work, what, *more):
    *_, last = training.record(work, what, *more)
    return last.data


def test_a_reference_is_a_summary_of_the_columns_the_model_takes(work, churn, tmp_path):
    ages, lands = churn
    found = said(work, "churn", tmp_path / "train.csv")
    assert (found["version"], found["rows"], found["bad"]) == (1, 2000, 1)
    assert list(found["columns"]) == ["age", "land"]
    assert found["columns"]["age"]["mean"] == pytest.approx(sum(ages) / 2000)
    assert dict(found["columns"]["land"]["top"])["NL"] == lands.count("NL")


def test_columns_are_held_against_it_and_against_the_week_before(work, churn, tmp_path):
    ages, lands = churn
    said(work, "churn", tmp_path / "train.csv")
    older = [age + 20 for age in ages]
    for days in (2, 3):
        sides = {"inputs": {"age": ages, "land": lands}, "outputs": {"predict": ages}}
        recorded(work, NOW - days * DAY, sides)
    recorded(
        work, NOW - 900, {"inputs": {"age": older, "land": lands}, "outputs": {"predict": ages}}
    )
    found = moved.overview(work, "churn", "local")
    assert found["reference"] == {
        **{"version": 1, "source": "train.csv", "rows": 2000, "made": found["reference"]["made"]}
    }
    assert (found["since"], found["until"]) == (NOW - DAY, NOW)
    age, *others = found["columns"]
    assert (age["side"], age["name"], age["moved"]) == ("inputs", "age", True)
    wanted = drift.compare(summary(ages), summary(older))
    assert age["reference"]["psi"] == pytest.approx(wanted["psi"], rel=0.02)
    assert age["reference"]["ks"] == pytest.approx(wanted["ks"], abs=0.02)
    assert age["week"]["psi"] == pytest.approx(wanted["psi"], rel=0.02)
    assert {each["name"]: (each["moved"], each["week"]["psi"]) for each in others} == {
        "land": (False, 0.0),
        "predict": (False, 0.0),
    }
    assert [each["reference"] is None for each in others if each["name"] == "predict"] == [True]


def test_a_later_version_without_one_has_that_of_the_version_before(work, churn, tmp_path):
    said(work, "churn@1", tmp_path / "train.csv")
    (tmp_path / "churn" / "predict.py").write_text("def predict(model, inputs): return inputs\n")
    versions.commit(work, "churn", "second")
    with work.open_store() as store:
        model = store.models.get("churn")
        assert store.training.of(model, 2).version == 1
        assert store.training.of(model, None).version == 1
        versions_of = store.versions.all(model)
    assert [each.number for each in versions_of] == [2, 1]


def test_without_a_reference_there_is_the_week_alone(work, churn):
    ages, _ = churn
    recorded(work, NOW - 900, {"inputs": {"age": ages}})
    (age,) = moved.overview(work, "churn", "local")["columns"]
    assert (age["reference"], age["week"], age["score"], age["moved"]) == (None, None, None, False)
    assert moved.overview(work, "nobody", "local")["columns"] == []


def test_summaries_that_are_none_are_left_out(work, churn):
    ages, _ = churn
    hostile = row(NOW - 900, 900, seconds=0, requests={}, inputs={"age": {"sketch": 5}, "x": "y"})
    keep(work, [replace_columns(hostile)])
    recorded(work, NOW - 1800, {"inputs": {"age": ages}})
    names = [each["name"] for each in moved.overview(work, "churn", "local")["columns"]]
    assert names == ["age"]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("age,left\n1,2\n", "has no column land"),
        ("age,land\n", "has no rows"),
        ("", "has no header row"),
    ],
)
def test_another_table_is_refused(work, churn, tmp_path, text, what):
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(Problem, match=what):
        said(work, "churn", tmp_path / "other.csv")
    with work.open_store() as store:
        assert store.training.of(store.models.get("churn"), None) is None


def test_columns_of_a_matrix_go_by_their_place(work, tmp_path):
    folder = write_model(tmp_path / "sums", "sums")
    text = (folder / "rhythmicml.toml").read_text()
    (folder / "rhythmicml.toml").write_text(f'{text}[predict]\ninput = "ndarray"\n')
    models.add(work, folder)
    versions.commit(work, "sums", "first")
    (tmp_path / "train.csv").write_text("a,b,c,y\n" + "1,20,300,0\n2,30,400,1\n" * 50)
    with pytest.raises(Problem, match="has 4 columns, and the model takes 3") as refused:
        said(work, "sums", tmp_path / "train.csv")
    assert "--target" in refused.value.remedy
    found = said(work, "sums", tmp_path / "train.csv", ("y",))
    assert list(found["columns"]) == ["a", "b", "c"]
    with work.open_store() as store:
        reference = store.training.of(store.models.get("sums"), None)
    assert reference.columns["b"]["mean"] == 25
    assert [moved.title_of(reference, name) for name in ("1", "c", "7")] == ["b", "c", None]


def test_the_command_keeps_one_and_says_so(work, churn, tmp_path):
    client = Client(work.home)
    done = client("record", "churn@1", "--reference", str(tmp_path / "train.csv"))
    assert (done["model"], done["version"], done["rows"]) == ("churn", 1, 2000)
    with pytest.raises(Failed) as refused:
        client("record", "churn@7", "--reference", str(tmp_path / "train.csv"))
    assert refused.value.problem["kind"] == "NotFound"
    with pytest.raises(Failed) as refused:
        client("record", "churn", "--reference", str(tmp_path / "none.csv"))
    assert "none.csv" in refused.value.problem["what"]
    ages, _ = churn
    recorded(work, NOW - 900, {"inputs": {"age": ages}})
    shown = client("monitor", "churn", "--offline")["drift"]
    assert shown["columns"][0]["reference"]["ks"] == pytest.approx(0, abs=0.01)
    done = subprocess.run(
        client.argv("monitor", "churn", "--offline"), env=client.environ, capture_output=True
    )
    assert b"The last day against v1's train.csv and the week before it" in done.stdout
