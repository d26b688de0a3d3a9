"""Where old and new do not fit at once: the old one ends, and is back if the new one fails."""

import re

import pytest
from client import PREDICT, Client, Failed, write_model
from guests import soon


@pytest.fixture
def client(tmp_path, monkeypatch):
    client = Client(tmp_path / "home").settled()
    monkeypatch.chdir(write_model(tmp_path / "model", "tight"))
    yield client
    client.undeploy_all()


def test_old_one_ends_first_and_is_back_when_the_new_one_fails(client, tmp_path):
    def version():
        return client("score", "tight", "--data", "sample.json")["version"]

    assert not any("Stop" in each for each in client("deploy", ".", "--stop-first")["steps"])
    (tmp_path / "model/predict.py").write_text(PREDICT + "# another\n")
    steps = client("deploy", "tight", "--stop-first")["steps"]
    before = next(n for n, each in enumerate(steps) if "nobody is answered" in each)
    assert re.search(r"for about \d+\.\d s as at the last start$", steps[before])
    assert steps[before + 1].startswith("Start v2 ")
    assert version() == "2"
    (tmp_path / "model/predict.py").write_text(PREDICT + "raise ValueError('not today')\n")
    with pytest.raises(Failed) as failed:
        client("deploy", "tight", "--stop-first")
    assert "not today" in str(failed.value.problem)
    assert version() == "2"


@pytest.mark.parametrize("point", ["stop_first:after", "candidate-starting", "current-renamed"])
def test_old_one_is_back_when_the_agent_is_killed(client, tmp_path, point):
    client("deploy", ".")
    (tmp_path / "model/predict.py").write_text(PREDICT + "# another\n")
    client.environ["RHYTHMICML_CRASH_AT"] = f"agent:{point}"
    with pytest.raises(Failed, match="ended unexpectedly"):
        client("deploy", "tight", "--stop-first")
    del client.environ["RHYTHMICML_CRASH_AT"]
    soon("the old one", lambda: [row["state"] for row in client("status")] == ["serving"], 15)
    assert client("score", "tight", "--data", "sample.json")["version"] == "1"
    assert client("deploy", "tight")["changed"]
    assert client("score", "tight", "--data", "sample.json")["version"] == "2"
