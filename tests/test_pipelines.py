"""Pipelines on this machine, through the command line: real stages, real switches under load."""

import json
import shutil
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from client import Client, Failed, own_port
from client import briefly_watched as write_model

EXAMPLE = Path(__file__).parents[1] / "assets" / "examples" / "diabetes"
PORTS: dict[str, int] = {}
"""Each model has one of its own: it is closed and opened again, and others look for free ones."""
REQUEST = b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]'
FEATURES = (
    "def predict(model, inputs: list):\n    return [{'%s': r['a'] + r['b']} for r in inputs]\n"
)
TIMES = "def predict(model, inputs: list):\n    return [%s * r['total'] for r in inputs]\n"
STAGES = """
[[stage]]
name = "features"
instance = "features"
[[stage]]
name = "left"
instance = "left"
after = ["features"]
{left}
[[stage]]
name = "right"
instance = "right"
after = ["features"]
idempotent = true
[[stage]]
name = "blend"
combine = "mean"
after = ["left", "right"]
"""


def model(home: Path, name, script, *, taken="", given="") -> str:
    """A model without packages that says what it takes and gives."""
    folder = write_model(home / name, name, script=script)
    text = (folder / "rhythmicml.toml").read_text()
    text += f"[deploy]\nport = {PORTS.setdefault(name, own_port())}\n"
    for side, column in (("inputs", taken), ("outputs", given)):
        text += f'[schema.{side}]\n{column} = {{ type = "float64" }}\n' if column else ""
    (folder / "rhythmicml.toml").write_text(text)
    (folder / "sample.json").write_text('[{"total": 1.5}]' if taken else REQUEST.decode())
    return str(folder)


def features(home, gives="total"):
    return model(home, "features", FEATURES % gives, given=gives)


def times(home, name, factor):
    return model(home, name, TIMES % factor, taken="total")


def pipeline(home, name="credit", left=""):
    folder = home / name
    folder.mkdir(exist_ok=True)
    (folder / "sample.json").write_bytes(REQUEST)
    (folder / "rhythmicml.toml").write_text(f'[model]\nname = "{name}"\n{STAGES.format(left=left)}')
    return str(folder)


def track(client, *folders):
    for folder in folders:
        client("add", folder)
        client("commit", Path(folder).name)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("pipelines")


@pytest.fixture(scope="module")
def client(home):
    client = Client(home / "home").settled()
    yield client
    client.undeploy_all()


@pytest.fixture(scope="module")
def credit(client, home):
    """The pipeline, deployed with its stages after a first attempt that failed. Gives its port."""
    broken = times(home, "right", 4)
    (Path(broken) / "predict.py").write_text("def load(artifacts):\n    1 / 0\n" + TIMES % 4)
    track(client, features(home), times(home, "left", 2), broken)
    folder = pipeline(home)
    alone = refused(client, "deploy", folder)
    assert alone["what"] == (
        'credit cannot be deployed on local: stages "features", "left", "right" cannot be asked.'
    )
    assert "--with-stages" in alone["remedy"]
    whole = refused(client, "deploy", folder, "--with-stages")
    assert whole["cause"] == "ZeroDivisionError: division by zero"
    assert states(client) == {}, "what was deployed for it was taken back"
    times(home, "right", 4)
    client("commit", "right")
    return client("deploy", folder, "--with-stages")["port"]


def post(port, body=REQUEST):
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/score", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=20) as answer:
        return json.loads(answer.read())["predictions"], dict(answer.headers)


@contextmanager
def load(port, threads=4):
    """Ask all the time; gives what was answered and what went wrong."""
    answers, failures, stop = [], [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                answers.append(post(port)[1]["X-Pipeline"])
            except urllib.error.HTTPError as error:
                failures.append(error.read())
            except OSError as error:
                failures.append(repr(error))
            time.sleep(0.01)

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield answers, failures
    finally:
        stop.set()
        for thread in running:
            thread.join()


def refused(client, *words):
    with pytest.raises(Failed) as failed:
        client(*words)
    return failed.value.problem


def states(client):
    return {row["model"]: (row["state"], row["version"]) for row in client("status")}


STRICT = """
def predict(model, inputs: list):
    if inputs[0]["total"] > 2:
        raise ValueError("that is too much")
    return [r["total"] for r in inputs]
"""


def test_last_words_of_a_stage_that_is_taken_back_stay_with_the_failure(client, home):
    track(client, model(home, "strict", STRICT, taken="total", given="total"))
    folder = home / "firm"
    folder.mkdir()
    (folder / "sample.json").write_text('[{"total": 3}]')
    (folder / "rhythmicml.toml").write_text(
        '[model]\nname = "firm"\n[[stage]]\nname = "only"\ninstance = "strict"\n'
    )
    failed = refused(client, "deploy", str(folder), "--with-stages")
    assert failed["what"].startswith("firm v1 failed")
    own, _, stage = failed["detail"].partition("\n\nstrict on local said:\n")
    assert "front: ended" in own
    assert "ValueError: that is too much" in stage
    assert "strict" not in states(client)


def test_a_second_deployment_changes_nothing(client, home, credit):
    assert client("deploy", pipeline(home), "--with-stages")["changed"] is False


def test_it_is_scored_and_shown_like_a_model(client, home, credit, tmp_path):
    data = tmp_path / "data.json"
    data.write_bytes(REQUEST)
    assert client("score", "credit", "--data", str(data))["answer"] == {"predictions": [9.0, 21.0]}
    rows = {row["model"]: row for row in client("status")}
    assert rows["left"]["stages"] is None
    asked = {each["name"]: each for each in rows["credit"]["stages"]}
    assert [asked[name]["state"] for name in ("features", "left", "right")] == ["serving"] * 3
    shown = client("pipeline", "show", "credit")
    assert [each["level"] for each in shown["stages"]] == [1, 2, 2, 3]
    assert shown["output"] == "blend"
    assert shown["stages"][1]["version"] == rows["left"]["version"]
    assert shown["stages"][0]["location"] == "local"
    headers = post(credit)[1]
    assert headers["X-Pipeline"].startswith("features=")


def test_a_stage_is_switched_and_rolled_back_under_load(client, home, credit):
    before = states(client)["left"][1]
    with load(credit) as (answers, failures):
        after = client("deploy", times(home, "left", 10))["version"]
        time.sleep(0.3)
        client("rollback", "left")
        time.sleep(0.3)
    assert failures == []
    seen = [next(part for part in each.split(", ") if part.startswith("left=")) for each in answers]
    assert {f"left={before}", f"left={after}"} == set(seen)
    assert seen[-1] == f"left={before}"


def test_a_switch_that_breaks_a_pipeline_is_refused_naming_it(client, home, credit):
    before = states(client)["features"]
    problem = refused(client, "deploy", features(home, "sum"))
    assert "would break the pipeline credit on local" in problem["what"]
    assert 'left takes the column "total" (float64), which it is not given' in problem["cause"]
    assert "it is given sum" in problem["cause"]
    assert states(client)["features"] == before
    assert post(credit)[0] == [9.0, 21.0]
    for action in ("stop", "undeploy"):
        problem = refused(client, action, "features")
        assert 'stage "features"' in problem["cause"]
        assert "rhythmicml undeploy credit" in problem["remedy"]
    assert post(credit)[0] == [9.0, 21.0]


@pytest.mark.faults
def test_a_pinned_stage_stays_until_it_is_forced(client, home, credit):
    pinned = states(client)["left"][1]
    client("deploy", pipeline(home, left=f"version = {pinned}"))
    problem = refused(client, "deploy", times(home, "left", 100))
    assert f"a pipeline is pinned to v{pinned}" in problem["what"]
    assert "credit v" in problem["cause"]
    assert '(stage "left")' in problem["cause"]
    assert states(client)["left"][1] == pinned

    forced = client("deploy", times(home, "left", 100), "--force")["version"]
    with pytest.raises(urllib.error.HTTPError) as raised:
        post(credit)
    assert raised.value.code == 502
    said = raised.value.read().decode()
    assert "left" in said
    assert f"{forced}" in said
    assert f"{pinned}" in said
    wrong = refused(client, "deploy", pipeline(home, name="other", left=f"version = {pinned}"))
    assert f"left is wanted as v{pinned}, and v{forced} is production" in wrong["cause"]
    client("switch", f"left@{pinned}")
    assert post(credit)[0] == [9.0, 21.0]

    before = states(client)["credit"][1]
    client("rollback", "credit")
    assert states(client)["credit"][1] < before
    assert client("deploy", times(home, "left", 100))["version"] == forced
    assert post(credit)[0] == [156.0, 364.0]


def test_a_pipeline_is_tried_with_its_stages_before_any_deploy(client, home, credit):
    folder = home / "first"
    made = client("pipeline", "init", str(folder), "features", "left,right")
    assert made["written"] == ["rhythmicml.toml", "sample.json"]
    said = client("pipeline", "test", str(folder))
    given = {each["name"]: each["output"] for each in said["stages"]}
    assert given["features"] == [{"total": 3}, {"total": 7}]
    assert given["right"] == [12, 28]
    assert given["mean"] == said["answer"]["predictions"]
    assert [each["instance"] for each in said["stages"]] == ["features", "left", "right", ""]
    assert "first" not in states(client)
    assert list((client.home / "local" / "tmp").iterdir()) == [], "nothing of it stays"


def test_a_stage_that_does_not_come_up_is_named(client, home, credit):
    broken = model(home, "ruined", "def load(artifacts):\n    1 / 0\n" + TIMES % 1, taken="total")
    track(client, broken)
    client("pipeline", "init", str(home / "third"), "ruined")
    problem = refused(client, "pipeline", "test", str(home / "third"))
    assert problem["what"].startswith("ruined v1 ")
    assert "ZeroDivisionError" in problem["detail"]
    assert client("pipeline", "init", str(home / "third"), "features")["written"] == []
    unknown = refused(client, "pipeline", "init", str(home / "fourth"), "nobody")
    assert unknown["what"] == 'No model "nobody" is known.'
    assert not (home / "fourth").exists()
    none = refused(client, "pipeline", "test", broken)
    assert none["remedy"] == "Try a model with: rhythmicml test ruined"


@pytest.mark.faults
def test_the_example_with_its_three_models(tmp_path):
    """Their outputs are not declared: they are learned when they are deployed."""
    client, folder = Client(tmp_path / "home"), tmp_path / "diabetes"
    shutil.copytree(EXAMPLE, folder)
    for name in ("features", "ridge", "trees"):
        client("add", str(folder / name))
        client("commit", f"diabetes-{name}")
    tried = client("pipeline", "test", str(folder / "pipeline"), timeout=300)
    try:
        done = client("deploy", str(folder / "pipeline"), "--with-stages", timeout=300)
        sample = (folder / "pipeline" / "sample.json").read_bytes()
        predictions, headers = post(done["port"], sample)
        assert predictions == tried["answer"]["predictions"]
        assert [round(each, 2) for each in predictions] == [96.05, 149.39]
        assert headers["X-Pipeline"] == "features=1, ridge=1, trees=1"

        script = folder / "features" / "predict.py"
        script.write_text(script.read_text().replace('"hdl"', '"HDL"'))
        problem = refused(client, "deploy", str(folder / "features"))
        assert "would break the pipeline diabetes on local" in problem["what"]
        assert 'takes the column "hdl" (float64), which it is not given' in problem["cause"]
        assert states(client)["diabetes-features"] == ("serving", 1)
        assert post(done["port"], sample)[0] == predictions
        assert client("deploy", "diabetes-features", "--force")["version"] == 2
    finally:
        client.undeploy_all()
