"""Secrets on this machine: asked for where they lack, found nowhere but where they are kept."""

import hashlib
import json
import shutil

import pytest
from client import Client, Failed
from secrecy import places_here, set_secret, write_secretive_model

from app.deployer import keychain
from app.services import secrets

FIRST, SECOND = "first-0123456789-abcdefghij", "second-9876543210-jihgfedcba"


def answer(client):
    return client("score", "vault", "--data", "sample.json")["answer"]


@pytest.fixture
def client(tmp_path, monkeypatch):
    client = Client(tmp_path / "home").settled()
    monkeypatch.chdir(write_secretive_model(tmp_path / "vault", "vault"))
    yield client
    client.undeploy_all()


def hashed(value):
    return [hashlib.sha256(value.encode()).hexdigest()]


def test_secret_reaches_the_model_and_nothing_else(client, tmp_path):
    """F07: without a keyring nothing is kept in plain text that nobody agreed to."""
    with pytest.raises(Failed) as failed:
        client("deploy", ".")
    assert "rhythmicml secret set vault DB_PASSWORD" in failed.value.problem["remedy"]

    code, said = set_secret(client, "vault", FIRST)
    assert code == 1
    assert "--file" in said
    assert places_here(FIRST, tmp_path) == []

    assert set_secret(client, "vault", FIRST, "--file")[0] == 0
    kept = tmp_path / "home/secrets.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    done = client("deploy", "vault")
    assert "Put 1 secret there" in done["steps"]
    assert answer(client)["predictions"] == hashed(FIRST)
    there = tmp_path / "home/local/instances/vault/secrets.json"
    assert there.stat().st_mode & 0o777 == 0o600
    assert places_here(FIRST, tmp_path) == sorted(map(str, (kept, there)))
    assert client("deploy", "vault")["steps"] == []

    set_secret(client, "vault", SECOND, "--file")
    client("restart", "vault")
    assert answer(client)["predictions"] == hashed(SECOND)
    assert client("deploy", "vault")["steps"] == []
    set_secret(client, "vault", FIRST, "--file")
    done = client("deploy", "vault")
    assert done["steps"][0] == "Put 1 secret there"
    assert "new secrets" in done["steps"][1]
    assert answer(client)["predictions"] == hashed(FIRST)
    assert places_here(SECOND, tmp_path) == []

    client("secret", "remove", "vault", "DB_PASSWORD")
    assert client("secret", "list", "vault") == [
        {"name": "DB_PASSWORD", "location": None, "kept": None}
    ]
    assert client("deploy", "vault")["steps"] == []  # the host has it
    client("undeploy", "vault", "--purge", "--yes")
    assert places_here(FIRST, tmp_path) == []


def test_values_follow_the_model_to_its_new_name_and_go_with_it(client, tmp_path):
    kept = tmp_path / "home/secrets.json"
    client("add", ".")
    assert set_secret(client, "vault", FIRST, "--file")[0] == 0
    assert set_secret(client, "vault", SECOND, "--file", "--to", "local")[0] == 0
    client("rename", "vault", "safe")
    where = {each["location"]: each["kept"] for each in client("secret", "list", "safe")}
    assert where == {None: "file", "local": "file"}
    assert "of vault" not in kept.read_text()
    client("remove", "safe")
    assert kept.read_text() == "{}"
    client("add", ".")


def test_value_that_no_release_names_leaves_the_host(client, tmp_path):
    client("add", ".")
    assert set_secret(client, "vault", FIRST, "--file")[0] == 0
    client("deploy", "vault")
    there = tmp_path / "home/local/instances/vault/secrets.json"
    toml = tmp_path / "vault/rhythmicml.toml"
    toml.write_text(toml.read_text().replace("DB_PASSWORD", "OTHER"))
    script = tmp_path / "vault/predict.py"
    script.write_text(script.read_text().replace("DB_PASSWORD", "OTHER"))
    assert set_secret(client, "vault", SECOND, "--file", name="OTHER")[0] == 0
    client("deploy", "vault")
    client("secret", "remove", "vault", "DB_PASSWORD")
    assert {*json.loads(there.read_text())} == {"DB_PASSWORD", "OTHER"}, "the way back needs it"
    for each in (tmp_path / "home/local/instances/vault/releases").glob("v1-*"):
        shutil.rmtree(each)
    runs = client("status", "vault")[0]["since"]
    assert client("deploy", "vault")["steps"] == ["Remove 1 secret that no release names"]
    assert client("status", "vault")[0]["since"] == runs
    assert {*json.loads(there.read_text())} == {"OTHER"}
    assert client("deploy", "vault")["changed"] is False


def test_one_for_a_location_comes_first(monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(keychain, "fetch", lambda prompt: None)
    secrets._write(
        tmp_path / "home",
        {"secret K of vault": "all", "secret K of vault on srv": "srv's"},
    )
    assert secrets._value(tmp_path / "home", "vault", "K", "srv") == "srv's"
    assert secrets._value(tmp_path / "home", "vault", "K", "other") == "all"


def test_name_that_is_not_in_the_configuration_is_refused(client):
    client("add", ".")
    with pytest.raises(Failed) as failed:
        client("secret", "set", "vault", "DB_PASWORD", "--stdin")
    assert "DB_PASSWORD" in failed.value.problem["cause"]
