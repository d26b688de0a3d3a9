"""Secrets on a real server: the model has them, and a search of both sides finds no other."""

import hashlib

import pytest
from secrecy import SEARCH, places_here, set_secret, write_secretive_model

SECRET = "guest-0123456789-abcdefghijkl"
ROOTS = ("/etc", "/var", "/home", "/root", "/run", "/tmp")


def places_there(guest, secret):
    done = guest.run(["python3", "-c", SEARCH, *ROOTS], input=secret)
    return sorted(done.stdout.split())


@pytest.fixture(params=["root", "user"])
def mode(request):
    return request.param


@pytest.fixture
def vault(client, mode, tmp_path):
    name = f"vault-{mode}"
    client("add", str(write_secretive_model(tmp_path / "model", name)))
    assert set_secret(client, name, SECRET, "--file", "--to", "srv")[0] == 0
    return name


def test_secret_is_nowhere_but_with_the_model(client, guest, mode, vault, tmp_path):
    done = client("deploy", vault, "--to", "srv")
    assert "Put 1 secret there" in done["steps"]
    said = client("score", vault, "--data", str(tmp_path / "model/sample.json"))
    assert said["answer"]["predictions"] == [hashlib.sha256(SECRET.encode()).hexdigest()]

    home = "/var/lib" if mode != "user" else "/home/ds/.local/share"
    kept = f"{home}/rhythmicml/instances/{vault}/secrets.json"
    owner = "ds" if mode == "user" else "root"
    assert guest.run(["stat", "-c", "%a %U", kept]).stdout == f"600 {owner}\n"
    credential = f"/run/credentials/rhythmicml-{vault}@{done['release']}.service/secrets.json"
    allowed = {kept} if mode == "user" else {kept, credential}
    assert set(places_there(guest, SECRET)) == allowed
    assert places_here(SECRET, tmp_path) == [str(client.home / "secrets.json")]
    assert client("deploy", vault, "--to", "srv")["steps"] == []

    client("undeploy", vault, "--to", "srv", "--purge", "--yes")
    assert places_there(guest, SECRET) == []
