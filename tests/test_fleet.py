"""One order to several locations: bases of this machine, and servers that are out of reach."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from client import PREDICT, Client, settle
from client import briefly_watched as write_model

sys.path.insert(0, str(Path(__file__).parent / "deployer"))
from sshd import SSHD, Sshd, free_port, make_key

from app.errors import NotFound, Problem
from app.models import Location
from app.services import groups, locations, places
from app.workspace import Workspace

PLACES = ("ams", "ber", "cph")


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Three bases on this machine, each a location, and one server that is down."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    client = Client(tmp_path / "home").settled()
    with Workspace(client.home).open_store() as store:
        for name in PLACES:
            settle(tmp_path / name)
            store.locations.add(Location(name, kind="local", base=str(tmp_path / name)))
        store.locations.add(Location("down", url=f"ssh://ana@127.0.0.1:{free_port()}"))
    yield client
    client.undeploy_all()


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "churn", "churn")


def run(client, *words):
    """Exit code, and the row of each location."""
    done = subprocess.run(
        client.argv(*words, "--json"), env=client.environ, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert "locations" in said, done.stdout + done.stderr
    return done.returncode, {row["location"]: row for row in said["locations"]}


def results(rows):
    return {name: row["result"] for name, row in rows.items()}


def running(client):
    return {row["location"]: (row["state"], row["version"]) for row in client("status", "churn")}


def fails_at(place):
    """A script that loads everywhere but on one host, as the path of the base tells it."""
    check = f'assert "/{place}/" not in str(artifacts.resolve()), "not here"\n    '
    return PREDICT.replace("return json", f"{check}return json")


def test_first_that_answers_gates_and_the_rest_follow(client, folder):
    client("location", "group", "add", "eu", "down", *PLACES)
    code, rows = run(client, "deploy", str(folder), "--to", "eu", "--plan")
    assert code == 1
    assert results(rows) == {"down": "unreachable", **dict.fromkeys(PLACES, "planned")}
    assert rows["ams"]["plan"]
    assert client("status") == []

    code, rows = run(client, "deploy", "churn", "--to", "eu")
    assert code == 1, "one of them could not be reached"
    assert results(rows) == {"down": "unreachable", **dict.fromkeys(PLACES, "done")}
    assert len({rows[name]["release"] for name in PLACES}) == 1
    assert rows["down"]["problem"]["kind"] == "Unreachable"
    assert len(client("versions", "churn")) == 1, "it was committed once"

    code, rows = run(client, "deploy", "churn", "--to", "ams,ber")
    assert (code, results(rows)) == (0, {"ams": "unchanged", "ber": "unchanged"})

    write_model(folder, "churn", script=fails_at("ams"))
    code, rows = run(client, "deploy", "churn", "--to", "ams,ber,cph")
    assert code == 1
    assert results(rows) == {"ams": "failed", "ber": "untouched", "cph": "untouched"}
    assert set(running(client).values()) == {("serving", 1)}

    code, rows = run(client, "stop", "churn", "--to", "ams,ber")
    assert (code, results(rows)) == (0, {"ams": "done", "ber": "done"})
    assert running(client)["cph"] == ("serving", 1)
    assert {row["location"] for row in client("status", "--to", "ams,ber")} == {"ams", "ber"}


def test_all_go_back_when_one_fails(client, folder):
    run(client, "deploy", str(folder), "--to", "ber,cph")
    write_model(folder, "churn", script=fails_at("ber"))
    code, rows = run(client, "deploy", "churn", "--to", "ams,ber,cph", "--rollback-all")
    assert code == 1
    assert results(rows) == {"ams": "taken back", "ber": "failed", "cph": "taken back"}, rows
    assert running(client) == {"ber": ("serving", 1), "cph": ("serving", 1)}

    client("stop", "churn", "--to", "cph")
    code, rows = run(client, "deploy", "churn", "--to", "cph,ber", "--rollback-all")
    assert results(rows) == {"cph": "taken back", "ber": "failed"}, rows
    assert running(client) == {"ber": ("serving", 1), "cph": ("stopped", 1)}

    _, rows = run(client, "deploy", "churn", "--to", "down,ams", "--rollback-all")
    assert results(rows) == {"down": "unreachable", "ams": "untouched"}


@pytest.mark.faults
def test_interrupted_says_what_is_where(client, folder):
    """Ctrl-C while the rest load: they are taken back, and the first keeps what it has."""
    slow = PREDICT.replace("return json", "time.sleep(30) if '/ams/' not in str(artifacts."
                           "resolve()) else None\n    return json")  # fmt: skip
    write_model(folder, "churn", script=slow)
    command = client.start("deploy", str(folder), "--to", "ams,ber,cph")
    deadline = time.monotonic() + 60
    starting = [client.home.parent / n / "instances/churn/run" for n in ("ber", "cph")]
    while not all(path.is_dir() for path in starting) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130, out + err
    rows = {row["location"]: row for row in json.loads(out)["locations"]}
    assert results(rows) == {"ams": "done", "ber": "stopped", "cph": "stopped"}
    assert rows["ams"]["release"]
    assert rows["ber"]["release"] == rows["cph"]["release"] == ""
    assert rows["ber"]["error"] == rows["cph"]["error"] == ""
    told = {e["location"]: e["result"] for e in client("history", "churn") if e["location"]}
    assert told == {"ams": "done", "ber": "interrupted", "cph": "interrupted"}
    assert running(client)["ams"] == ("serving", 1)


@pytest.mark.skipif(SSHD is None, reason="there is no sshd here")
def test_server_with_another_key_is_not_touched(client, folder, tmp_path):
    make_key(tmp_path / "key")
    with Sshd(tmp_path / "sshd", f"SetEnv HOME={tmp_path}/sshd PATH=/usr/bin:/bin") as sshd:
        sshd.admit(tmp_path / "key")
        words = ("--identity", str(tmp_path / "key"), "--accept-key", sshd.fingerprint)
        client("location", "add", "spoofed", sshd.url, *words)
        port = sshd.port
    with Sshd(tmp_path / "other", port=port):
        code, rows = run(client, "deploy", str(folder), "--to", "spoofed,ams")
        assert (code, results(rows)) == (1, {"spoofed": "unreachable", "ams": "done"})
        assert "key" in rows["spoofed"]["error"]
        code, rows = run(client, "location", "check", "ams", "spoofed", "down")
    assert code == 1
    assert rows["ams"]["facts"]["pythons"]
    assert rows["spoofed"]["problem"]
    assert rows["down"]["problem"]["kind"] == "Unreachable"


def test_list_in_the_configuration_is_where_it_goes(client, folder):
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nlocation = ["ber", "cph"]\n')
    code, rows = run(client, "deploy", str(folder), "--plan")
    assert (code, results(rows)) == (0, {"ber": "planned", "cph": "planned"})


def test_groups(tmp_path):
    work = Workspace(tmp_path)
    with work.open_store() as store:
        for name in PLACES:
            store.locations.add(Location(name, url=f"ssh://ana@{name}"))
        store.models.add("churn", "/nowhere")
    assert groups.add(work, "eu", ["cph", "ams", "cph"]) == ["cph", "ams"]
    assert places.named(work, "eu, ber") == ["cph", "ams", "ber"]
    with pytest.raises(NotFound):
        groups.add(work, "us", ["nyc"])
    with pytest.raises(Problem, match="is a location"):
        groups.add(work, "ams", ["ber"])
    with pytest.raises(Problem, match="is a group"):
        locations.add(work, "eu", "ssh://ana@eu")
    with pytest.raises(Problem, match="one location at a time"):
        places.location_for(work, "churn", "eu", None)
    locations.remove(work, "cph")
    assert groups.all_groups(work) == {"eu": ["ams"]}
    groups.remove(work, "eu")
    with pytest.raises(NotFound):
        groups.remove(work, "eu")
