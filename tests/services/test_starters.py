"""Models of the real libraries, in folders with nothing else, and what is drafted for each."""

import json
import pickle
import subprocess
from pathlib import Path

import pytest
from client import Client, own_port
from scoring.conftest import SCORING, environment

from app import config
from app.services import artifacts, models, onnx, pickled, predictors, scanning, starters
from app.store.folder import scan

LIBRARIES = ("lightgbm", "numpy", "onnxruntime", "pandas", "scikit-learn", "skl2onnx")
PACKAGES = (*LIBRARIES, "xgboost-cpu")
TRAIN = """
import pickle, sys
from pathlib import Path

import joblib, numpy as np, sklearn
from sklearn.linear_model import LogisticRegression

top = Path(sys.argv[1])
dice = np.random.default_rng(7)
X = dice.normal(size=(90, 4))
y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


def place(path):
    (top / path).parent.mkdir(parents=True)
    return top / path


linear = LogisticRegression().fit(X, y)
joblib.dump(linear, place("plain/model.joblib"))
print(sklearn.__version__, flush=True)  # while "plain" is deployed, the others are trained

import lightgbm, onnx, pandas as pd, xgboost
from skl2onnx import to_onnx
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

table = pd.DataFrame(X, columns=["Größe", "body mass", "age", "weight (kg)"])
joblib.dump(linear, place("packed/artifacts/model.joblib"), compress=3)
joblib.dump(linear, place("xz/model.pkl"), compress=("xz", 3))
joblib.dump(linear, place("joblib-as-pkl/model.pkl"))
joblib.dump(RandomForestClassifier(5).fit(X, y), place("forest/my models/the best one.joblib"))
for protocol in range(6):
    with place(f"pickle-{protocol}/model.pkl").open("wb") as file:
        pickle.dump(LogisticRegression().fit(table, y), file, protocol)
with place("shared/model.pkl").open("wb") as file:  # "C" is written once: its parameter, a column
    pickle.dump(LogisticRegression().fit(table.rename(columns={"age": "C"}), y), file)
steps = make_pipeline(StandardScaler(), PCA(2), LogisticRegression())
joblib.dump(steps.fit(table, y), place("steps/deep/er/model.joblib"))
search = GridSearchCV(clone(steps), {"pca__n_components": [1, 2]}, cv=2)
joblib.dump(search.fit(X, y), place("grid/a.joblib"))
joblib.dump(HistGradientBoostingClassifier(max_iter=3).fit(X, y), place("boosted/a.joblib"))
joblib.dump(StandardScaler().fit(X), place("scaler/scaler.joblib"))
words = make_pipeline(TfidfVectorizer(), LogisticRegression())
joblib.dump(words.fit(["good", "bad", "very good"], [1, 0, 1]), place("words/words.joblib"))

mixed = table.assign(city=["a", "b", "c"] * 30)
columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
joblib.dump(make_pipeline(columns, LogisticRegression()).fit(mixed, y), place("mixed/m.joblib"))
joblib.dump({"model": linear, "threshold": 0.5}, place("dict/model.joblib"))

for name, inputs in (("xgb", X), ("xgb-named", table)):
    trees = xgboost.XGBClassifier(n_estimators=3).fit(inputs, y)
    trees.save_model(place(f"{name}/model.ubj"))
    trees.save_model(place(f"{name}-json/model.json"))
    joblib.dump(trees, place(f"{name}-joblib/model.joblib"))
leaves = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(X, y)
leaves.booster_.save_model(place("lgb/model.txt"))
leaves.booster_.save_model(place("lgb-named/model.lgb"))
joblib.dump(leaves, place("lgb-joblib/model.joblib"))

for name, kind in (("onnx", np.float32), ("onnx-64", np.float64)):
    made = to_onnx(linear, X[:1].astype(kind), options={"zipmap": False})
    place(f"{name}/model.onnx").write_bytes(made.SerializeToString())
two = to_onnx(linear, X[:1].astype(np.float32))
two.graph.input.append(onnx.helper.make_tensor_value_info("more", 1, [None, 2]))
place("onnx-two/model.onnx").write_bytes(two.SerializeToString())
"""
RUN = """
import json

print("trained", flush=True)
sys.path.insert(0, sys.argv[2])
import worker

made = {}
for folder, place, kind in json.loads(sys.stdin.readline()):
    script = worker.load_script(folder + "/predict.py")
    predict, annotated = worker.load_model(script, Path(folder) / place)
    rows = json.loads((Path(folder) / "sample.json").read_text())
    taken = {"ndarray": np.array, "dataframe": pd.DataFrame, "json": list}[kind](rows)
    made[Path(folder).name] = [annotated, len(predict(taken))]
print(json.dumps(made))
"""
PICKLES = tuple(f"pickle-{protocol}" for protocol in range(6))
OF_FOUR = (
    *(
        "plain",
        "packed",
        "joblib-as-pkl",
        "forest",
        "grid",
        "boosted",
        "scaler",
        "xgb",
        "xgb-named",
    ),
    *("xgb-json", "xgb-named-json", "xgb-joblib", "xgb-named-joblib", "lgb", "lgb-named"),
    *("lgb-joblib", "onnx", "onnx-64"),
)
NAMED = (*PICKLES, "steps")
UNKNOWN_ROWS = ("xz", "shared")
BLANK_ROWS = ("mixed",)
NOT_SERVED = ("dict", "onnx-two")
NAMES = ("Größe", "body mass", "age", "weight (kg)")


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """A process that trains models into `top`, "plain" first, then runs the drafts for them."""
    python, top = environment(PACKAGES) / "bin" / "python", tmp_path_factory.mktemp("models")
    with subprocess.Popen(
        [python, "-W", "ignore", "-c", TRAIN + RUN, top, SCORING],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.top, process.version = top, process.stdout.readline().strip()
        assert process.version, "what went wrong is above"
        yield process


@pytest.fixture(scope="module")
def deploying(trainer, tmp_path_factory):
    """Who deploys "plain" as it was drafted, from now on: it takes as long as all the rest."""
    client = Client(tmp_path_factory.mktemp("home"))
    made = models.init(trainer.top / "plain")
    client.made = made
    client.process = client.start("deploy", str(made.folder), "--port", str(own_port()))
    try:
        yield client
    finally:
        client.process.communicate()
        client("undeploy", "plain", "--purge", "--yes")


@pytest.fixture(scope="module")
def trained(trainer, deploying):
    """Folder → what `init` made of it."""
    assert trainer.stdout.readline() == "trained\n"
    return {folder.name: models.init(folder) for folder in sorted(trainer.top.iterdir())}


def text(made, path="predict.py"):
    return (made.folder / path).read_text("utf-8")


def sample(made):
    return json.loads(text(made, "sample.json"))


def test_what_is_drafted_predicts_its_sample(trained, trainer):
    """By the worker's own loading, with what was trained."""
    served = [
        each
        for name, each in trained.items()
        if each.serves and name not in (*UNKNOWN_ROWS, *BLANK_ROWS)
    ]
    read = {each.name: config.read_configuration(each.folder) for each in served}
    asked = [
        (str(each.folder), read[each.name].artifacts, read[each.name].input) for each in served
    ]
    answers = json.loads(trainer.communicate(json.dumps(asked) + "\n", timeout=120)[0])
    assert set(answers) == {*OF_FOUR, *NAMED, "words"}
    for name, (annotated, rows) in answers.items():
        assert rows == 1
        assert annotated == read[name].input


def test_samples_have_the_shape_that_the_file_tells(trained):
    for name in OF_FOUR:
        assert sample(trained[name]) == [[1.0, 2.0, 3.0, 4.0]], name
    for name in NAMED:
        assert sample(trained[name]) == [dict(zip(NAMES, (1.0, 2.0, 3.0, 4.0), strict=True))], name
    assert sample(trained["words"]) == ["Some text"]


def test_a_row_that_may_hold_more_than_numbers_is_left_to_a_person(trained):
    for name in UNKNOWN_ROWS:
        assert text(trained[name], "sample.json") == starters.SAMPLE
        assert "put a real request" in text(trained[name])
    for name in BLANK_ROWS:
        assert sample(trained[name]) == [dict.fromkeys([*NAMES, "city"])]
        assert "has its columns" in text(trained[name])
    assert config.read_configuration(trained["mixed"].folder).input == "dataframe"


def test_every_drafted_sample_may_be_one_and_others_are_not(trained):
    for name, made in trained.items():
        assert predictors.may_be_drafted(text(made, "sample.json")), name
    for other in ("[[0.5, 2.0]]", "[]", "[[1, 2], [3, 4]]", "{", '{"inputs": [[1, 2]]}', "7"):
        assert not predictors.may_be_drafted(other), other


def test_scikit_learn_is_pinned_as_the_file_says(trained, trainer):
    for name in ("plain", "packed", "steps", "grid", "boosted", *PICKLES):
        wanted = f"\nscikit-learn=={trainer.version} "
        assert wanted in text(trained[name], "requirements.txt"), name
    assert "\nscikit-learn  # pin " in text(trained["xz"], "requirements.txt")
    assert "joblib" not in text(trained["pickle-5"], "requirements.txt")
    assert "scikit-learn" not in text(trained["xgb"], "requirements.txt")


def test_what_is_no_model_by_itself_is_named_and_left_to_a_person(trained):
    for name in NOT_SERVED:
        assert trained[name].serves == ""
        assert "return [sum(row) for row in inputs]" in text(trained[name])
    assert '# Found: artifacts / "model.joblib".' in text(trained["dict"])


def test_drafts_for_what_was_learned_are_known_as_drafts(work, trained):
    drafted = ("predict.py", "requirements.txt", "sample.json")
    for name, made in trained.items():
        found = scanning.scan(work, made.folder)
        assert (found.drafts, found.serves) == (drafted, made.serves), name
    (trained["dict"].folder / "more.pt").write_bytes(b"weights")
    assert scanning.scan(work, trained["dict"].folder).drafts == drafted


def test_nothing_of_the_pickle_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    for protocol in range(6):
        (tmp_path / "model.pkl").write_bytes(pickle.dumps(Trap(), protocol))
        models.init(tmp_path / str(protocol))
        starters.drafts(tmp_path, "trap")
    assert not (tmp_path / "sprung").exists()


def test_bytes_that_end_anywhere_are_read_without_an_error(trained):
    for name, path in (("pickle-5", "model.pkl"), ("packed", "artifacts/model.joblib")):
        whole = (trained[name].folder / path).read_bytes()
        for end in range(0, len(whole), 7):
            pickled.read(whole[:end])
    whole = (trained["onnx"].folder / "model.onnx").read_bytes()
    assert onnx.inputs(whole) == (onnx.Input("X", "float32", (0, 4)),)
    cut = [onnx.inputs(whole[:end]) for end in range(len(whole))]
    assert set(cut[: len(cut) // 2]) == {None}
    assert set(cut) <= {None, onnx.inputs(whole)}


def learned(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"what was learned")
    return folder


def test_several_and_unknown_ones_are_named_where_they_are(tmp_path):
    made = models.init(learned(tmp_path / "two", "nets/a.pt", "nets/b/c.onnx", "data.csv"))
    assert '# Found: artifacts / "a.pt", artifacts / "b/c.onnx".' in text(made)
    assert config.read_configuration(made.folder).artifacts == "nets"
    made = models.init(learned(tmp_path / "one", "artifacts/net.safetensors"))
    assert '# Found: artifacts / "net.safetensors".' in text(made)
    assert '\n# artifacts = "artifacts" ' in text(made, "rhythmicml.toml")


@pytest.mark.parametrize(
    ("place", "path", "expression"),
    [
        ("artifacts", "model.ubj", 'artifacts.parent / "model.ubj"'),
        ("artifacts", "artifacts/a b.ubj", 'artifacts / "a b.ubj"'),
        ("a/b", "c/m.ubj", 'artifacts.parent.parent / "c/m.ubj"'),
        (".", 'say "x".ubj', r'artifacts / "say \"x\".ubj"'),
        ("m.ubj", "m.ubj", "artifacts"),
    ],
)
def test_the_file_is_found_from_what_load_is_given(tmp_path, place, path, expression):
    folder = learned(tmp_path / "m", path)
    (folder / "rhythmicml.toml").write_text(f'[predict]\nartifacts = "{place}"\n')
    assert f"model_file={expression})" in text(models.init(folder))
    assert text(models.init(folder), "rhythmicml.toml").count("\n") == 2, "it stays as it was"


def test_who_wrote_a_script_is_not_given_other_inputs_by_a_drafted_configuration(tmp_path):
    folder = learned(tmp_path / "m", "model.ubj")
    (folder / "predict.py").write_text("def predict(model, inputs): ...\n")
    made = models.init(folder)
    assert made.serves == ""
    read = config.read_configuration(folder)
    assert (read.artifacts, read.input) == ("artifacts", "json")


def test_a_configuration_that_was_lost_is_drafted_again_for_the_drafted_script(tmp_path):
    made = models.init(learned(tmp_path / "m", "model.ubj"))
    first = text(made, "rhythmicml.toml")
    (made.folder / "rhythmicml.toml").unlink()
    assert models.init(made.folder).written == ("rhythmicml.toml",)
    assert text(made, "rhythmicml.toml") == first


def test_texts_that_only_speak_of_trees_and_learners_are_no_models(tmp_path):
    folder = learned(tmp_path / "m", "model.ubj")
    (folder / "requirements.txt").write_text("tree\n")
    (folder / "readme.txt").write_text("A pine is a tree\nversion=2\n")
    (folder / "sample.json").write_text('[{"learner": "tree"}]')
    assert models.init(folder).serves == "model.ubj"


def test_a_folder_is_read_once_for_all_the_drafts_it_is_held_against(tmp_path):
    folder = learned(tmp_path / "m", "model.ubj")
    found, looked = artifacts.among(folder, scan(folder)), starters.Looked(folder)
    drafted = starters.as_drafted(looked, found)
    (folder / "model.ubj").unlink()
    (folder / "rhythmicml.toml").write_text('[predict]\ninput = "bytes"\n')
    assert starters.as_drafted(looked, found) == drafted
    assert starters.as_drafted(starters.Looked(folder), found) != drafted


def test_inputs_that_are_configured_otherwise_are_not_guessed_at(tmp_path):
    folder = learned(tmp_path / "m", "model.ubj")
    (folder / "rhythmicml.toml").write_text('[predict]\ninput = "bytes"\n')
    assert models.init(folder).serves == ""


def test_a_folder_that_holds_only_a_model_is_served_without_an_edit(deploying, tmp_path):
    said, wrong = deploying.process.communicate(timeout=120)
    assert deploying.process.returncode == 0, said + wrong
    (tmp_path / "data.json").write_text(text(deploying.made, "sample.json"))
    answered = deploying("score", "plain", "--data", str(tmp_path / "data.json"))["answer"]
    [answer] = answered["predictions"]
    assert answer in (0, 1, 2)
