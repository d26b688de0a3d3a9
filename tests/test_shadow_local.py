"""A version tried on copies of what production is asked, on this machine, from end to end."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

import pytest
from client import PREDICT, Client, Failed, write_model

BODY, JSON = b'{"inputs": [[1, 2, 3]]}', {"Content-Type": "application/json"}


@pytest.fixture
def client(tmp_path, monkeypatch):
    client = Client(tmp_path / "home").settled()
    monkeypatch.chdir(write_model(tmp_path / "model", "twin"))
    yield client
    client.undeploy_all()


def folder(tmp_path):
    return tmp_path / "home/local/instances/twin"


def until(condition, seconds=30):
    limit = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.1)
    return found


def compared(client, port, count):
    """The report once so many requests have been compared; each try asks for one more."""

    def enough():
        for _ in range(3):
            asked = urllib.request.Request(f"http://127.0.0.1:{port}/score", BODY, JSON)
            urllib.request.urlopen(asked, timeout=20).read()
        said = client("shadow", "twin")
        return said if said["compared"] >= count else None

    return until(enough)


def test_version_runs_beside_production_until_a_switch(client, tmp_path):
    port = client("deploy", ".")["port"]
    (tmp_path / "model/predict.py").write_text(PREDICT + "# the same\n")
    assert client("commit", "twin")["version"]["number"] == 2
    refused(client)

    planned = client("shadow", "twin@2", "--percent", "100", "--plan")
    assert "send it 100 % in copies" in planned["plan"][-1]
    assert not (folder(tmp_path) / "shadow.json").exists()

    begun = client("shadow", "twin@2", "--percent", "100")
    assert (begun["version"], begun["percent"]) == (2, 100)
    assert client("score", "twin", "--data", "sample.json")["version"] == "1"
    said = compared(client, port, 2)
    assert (said["version"], said["differ"], said["failed"]) == (2, 0, 0)
    assert said["candidate"]["ready"]
    assert said["latency"]["candidate"]["p50"] > 0

    # The keeper dies; the next one starts both again, and they go on.
    os.kill(keeper(tmp_path)["pid"], signal.SIGKILL)
    client("start", "twin")
    again = compared(client, port, said["compared"] + 1)
    assert again["since"] == said["since"]

    switched = client("deploy", "twin@2")
    assert "End the shadow v2" in switched["steps"]
    assert client("score", "twin", "--data", "sample.json")["version"] == "2"
    assert not (folder(tmp_path) / "shadow.json").exists()
    assert os.getpriority(os.PRIO_PROCESS, production(tmp_path)) == 0

    client("shadow", "twin@1", "--percent", "100")
    ended = client("shadow", "twin", "--end")
    assert ended["version"] == 1
    with pytest.raises(Failed):
        client("shadow", "twin", "--end")
    client("shadow", "twin@1")
    rolled = client("rollback", "twin")
    assert rolled["version"] == 1
    assert "End the shadow v1" in rolled["steps"]
    assert not (folder(tmp_path) / "shadow.json").exists()

    # Rolled back by hand on the host, it ends as well.
    (tmp_path / "model/predict.py").write_text(PREDICT + "# the third\n")
    client("commit", "twin")
    client("switch", "twin@2")
    shadowed = client("shadow", "twin@3")["release"]
    assert shadowed in keeper(tmp_path)["fronts"]
    said = by_hand(tmp_path, "rollback", "twin")
    assert said == ["twin v3 gets no more copies of the requests.", "twin v1 is serving."]
    assert not (folder(tmp_path) / "shadow.json").exists()
    assert [*keeper(tmp_path)["fronts"]] == [os.readlink(folder(tmp_path) / "releases/current")]
    actions = [each["action"] for each in client("history", "twin")]
    assert actions.count("shadow") == 4
    assert actions.count("unshadow") == 1


def by_hand(tmp_path, *words):
    """The lines that `rhythmicml-host` prints."""
    script = tmp_path / "home/local/rhythmicml-host"
    return subprocess.run(
        [script, *words], capture_output=True, text=True, check=True
    ).stdout.splitlines()


def keeper(tmp_path):
    """What the keeper says of itself."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(folder(tmp_path) / "run/keeper.sock"))
        line.sendall(b'{"do": "status"}\n')
        return json.loads(line.makefile().readline())


def production(tmp_path):
    """Its process."""
    return keeper(tmp_path)["fronts"][os.readlink(folder(tmp_path) / "releases/current")]["pid"]


def refused(client):
    """What makes no sense is said, and changes nothing."""
    for words, what in (
        (("twin@1",), "production on local already"),
        (("twin@7",), "version 7"),
        (("twin@2", "--percent", "101"), "cannot be copied"),
        (("twin", "--end"), "gets copies"),
        (("twin",), "gets copies"),
    ):
        with pytest.raises(Failed) as failed:
            client("shadow", *words)
        assert what in str(failed.value.problem), words
