"""Whole files scored by an instance on a server: through SSH, on the socket that wants no token."""

import http.client
import json
import os

import pytest
from client import write_model
from guests import soon

SCRIPT = """
def load(artifacts):
    return 2.0

def predict(model, inputs: list):
    return [{"score": model * row["x"], "odd": row["x"] % 2 == 1} for row in inputs]
"""
ROWS = 60_000
pytestmark = pytest.mark.parametrize("mode", ["root", "user"], indirect=True)


@pytest.fixture
def client(client):
    yield client
    client.undeploy_all()


def deploy_with_token(client, folder, name, expose):
    write_model(folder, name, script=SCRIPT)
    (folder / "sample.json").write_text('[{"x": 1}]')
    with (folder / "rhythmicml.toml").open("a") as settings:
        settings.write(f'[deploy]\nexpose = "{expose}"\n')
    client("add", str(folder))
    client("token", "add", name, "ci", "--to", "srv")
    return client("deploy", name, "--to", "srv")


def begin(client, name, tmp_path, rows):
    """A run over that many rows, for whoever wants to disturb it."""
    data = tmp_path / "data.csv"
    data.write_text("id,x\n" + "".join(f"k{number},{number}\n" for number in range(rows)))
    words = ("--data", str(data), "--out", str(tmp_path / "out.csv"), "--keep", "id")
    return client.start("score", name, *words)


def finish(running, tmp_path, rows):
    """Its summary, once every row has turned out to have its own prediction, in order."""
    said, errors = running.communicate(timeout=300)
    assert running.returncode == 0, said + errors
    lines = (f"k{n},{2.0 * n},{'true' if n % 2 else 'false'}\n" for n in range(rows))
    assert (tmp_path / "out.csv").read_text() == "id,score,odd\n" + "".join(lines)
    return json.loads(said)


def status_without_token(guest, port):
    ask = (
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', %d, timeout=20);"
        "c.request('POST', '/score', '[{\"x\": 1}]', {'Content-Type': 'application/json'});"
        "print(c.getresponse().status)"
    )
    return int(guest.run(["python3", "-c", ask % port]).stdout)


@pytest.mark.parametrize("expose", ["loopback", "public"])
def test_whole_file_is_scored_without_a_token_of_ours(client, guest, mode, expose, tmp_path):
    name = f"files-{expose}-{mode}"
    deployed = deploy_with_token(client, tmp_path / "model", name, expose)
    if expose == "loopback":
        assert status_without_token(guest, deployed["port"]) == http.client.UNAUTHORIZED
    done = finish(begin(client, name, tmp_path, ROWS), tmp_path, ROWS)
    assert (done["rows"], done["bad"], done["release"]) == (ROWS, 0, deployed["release"])


def test_restart_of_the_instance_meanwhile_is_not_noticed(client, mode, tmp_path):
    name = f"files-restart-{mode}"
    deploy_with_token(client, tmp_path / "model", name, "loopback")
    running = begin(client, name, tmp_path, 3 * ROWS)
    journal = tmp_path / "out.csv.part/journal.json"
    soon("writing the first rows", lambda: os.path.exists(journal) or running.poll() is not None)
    assert running.poll() is None, running.communicate()
    client("restart", name)
    assert finish(running, tmp_path, 3 * ROWS)["bad"] == 0
