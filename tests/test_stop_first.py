"""Where old and new do not fit at once: the old one ends, and is back if the new one fails."""

import re

import pytest
from client import PREDICT, Client, Failed, write_model


@pytest.fixture
def client(tmp_path, monkeypatch):
    client = Client(tmp_path / "home")
    monkeypatch.chdir(write_model(tmp_path / "model", "tight"))
    yield client
    client("undeploy", "tight", "--purge", "--yes")


def test_old_one_ends_first_and_is_back_when_the_new_one_fails(client, tmp_path):
    def version():
        return client("score", "tight", "--data", "sample.json")["version"]

    assert not any("Stop" in each for each in client("deploy", ".", "--stop-first")["steps"])
    (tmp_path / "model/predict.py").write_text(PREDICT + "# another\n")
    steps = client("deploy", "tight", "--stop-first")["steps"]
    before = next(n for n, each in enumerate(steps) if "nobody is answered" in each)
    assert re.search(r"for about \d+\.\d s as at the last start$", steps[before])
    assert steps[before + 1].startswith("Start v2-")
    assert version() == "2"
    (tmp_path / "model/predict.py").write_text(PREDICT + "raise ValueError('not today')\n")
    with pytest.raises(Failed) as failed:
        client("deploy", "tight", "--stop-first")
    assert "not today" in str(failed.value.problem)
    assert version() == "2"
