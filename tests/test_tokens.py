"""Tokens and public instances on this machine, through the command line."""

import hashlib
import http.client
import json
import socket
import sqlite3
import ssl
import stat
import time
import urllib.error
import urllib.request

import pytest
from client import PREDICT, Client, Failed, own_port
from client import briefly_watched as write_model

from app.deployer import certificates
from app.deployer.road import open_local
from app.errors import Problem
from app.models import Location
from app.services import staging, tokens
from app.workspace import Workspace

BODY = b'{"inputs": [[1, 2, 3]]}'
ANSWER = {"predictions": [12.0]}


@pytest.fixture
def client(tmp_path):
    client = Client(tmp_path / "home").settled()
    yield client
    client.undeploy_all()


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "churn", "churn")


def make_public(folder, extra="", **model):
    write_model(folder, "churn", **model)
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write(f'[deploy]\nexpose = "public"\n{extra}')


def instance(client):
    return client.home / "local" / "instances" / "churn"


def kept(client):
    return json.loads((instance(client) / "tokens.json").read_text())


def score(client):
    path = client.home / "data.json"
    path.write_bytes(BODY)
    return client("score", "churn", "--data", str(path))["answer"]


def ask(port, token=None):
    """(status, answer) of the public port, in plain HTTP."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/score", BODY, headers)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def ask_tls(deployed, token=None, host="127.0.0.1"):
    """The same over TLS, believing the certificate of the deployment and no other."""
    pem = ssl.get_server_certificate((host, deployed["port"]))
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    assert deployed["certificate"]["fingerprint"].replace(":", "") == digest
    trust = ssl.create_default_context(cadata=pem)
    line = http.client.HTTPSConnection(host, deployed["port"], timeout=20, context=trust)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        line.request("POST", "/score", BODY, {"Content-Type": "application/json", **headers})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


# Tokens


def test_token_is_shown_once_and_the_host_has_its_hash_alone(client, folder):
    client("add", str(folder))
    made = client("token", "add", "churn", "ci")
    text = made["token"]
    assert text.startswith("rml_")
    assert len(text) == 47
    [entry] = kept(client)["tokens"]
    assert kept(client)["format"] == 1
    assert entry["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert (entry["name"], entry["scope"]) == ("ci", "score")
    assert stat.S_IMODE((instance(client) / "tokens.json").stat().st_mode) == 0o600
    everything = [path for path in client.home.rglob("*") if path.is_file()]
    assert [path for path in everything if text.encode() in path.read_bytes()] == []


def test_tokens_are_listed_without_text_or_hash(client, folder):
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    client("token", "add", "churn", "watch", "--scope", "admin")
    listed = client("token", "list", "churn")
    assert [(each["name"], each["scope"], each["until"]) for each in listed] == [
        ("ci", "score", None),
        ("watch", "admin", None),
    ]
    assert all(set(each) == {"name", "scope", "created", "until"} for each in listed)


def test_what_is_done_with_tokens_stands_in_both_histories_without_them(client, folder):
    client("add", str(folder))
    text = client("token", "add", "churn", "ci")["token"]
    client("token", "remove", "churn", "ci")
    ours = [(each["action"], each["detail"]) for each in client("history", "churn")]
    assert ours == [("token remove", "ci"), ("token add", "ci")]
    theirs = (instance(client) / "history.jsonl").read_text()
    assert [json.loads(line)["action"] for line in theirs.splitlines()] == [
        "token add",
        "token remove",
    ]
    assert text not in theirs


def test_taken_names_unknown_names_and_odd_names_are_refused(client, folder):
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    with pytest.raises(Failed, match="token rotate churn ci"):
        client("token", "add", "churn", "ci")
    with pytest.raises(Failed, match="no token cd"):
        client("token", "remove", "churn", "cd")
    with pytest.raises(Failed, match="cannot be the name"):
        client("token", "add", "churn", "a b")
    assert [each["name"] for each in kept(client)["tokens"]] == ["ci"]


def test_rotation_leaves_the_one_before_its_grace(client, folder):
    client("add", str(folder))
    client("token", "add", "churn", "ci", "--scope", "admin")
    [before] = kept(client)["tokens"]
    made = client("token", "rotate", "churn", "ci", "--grace", "30m")
    old, new = kept(client)["tokens"]
    assert old == {**before, "until": made["until"]}
    assert new["sha256"] == hashlib.sha256(made["token"].encode()).hexdigest()
    assert (new["name"], new["scope"], "until" in new) == ("ci", "admin", False)
    client("token", "rotate", "churn", "ci", "--grace", "0")
    assert len(kept(client)["tokens"]) == 1


def test_running_instance_heeds_its_tokens_at_once(client, folder):
    port = client("deploy", str(folder))["port"]
    assert ask(port) == (200, ANSWER)
    made = client("token", "add", "churn", "ci")
    assert made["not_told"] == []
    assert ask(port)[0] == 401
    assert ask(port, made["token"]) == (200, ANSWER)
    assert score(client) == ANSWER, "our own way in needs none"
    new = client("token", "rotate", "churn", "ci")["token"]
    assert ask(port, made["token"]) == ask(port, new) == (200, ANSWER)
    client("token", "rotate", "churn", "ci", "--grace", "0")
    assert ask(port, new)[0] == 401
    client("token", "remove", "churn", "ci")
    assert ask(port) == (200, ANSWER)


def test_token_that_was_rotated_ends_with_its_grace(client, folder):
    port = client("deploy", str(folder))["port"]
    old = client("token", "add", "churn", "ci")["token"]
    new = client("token", "rotate", "churn", "ci", "--grace", "2s")["token"]
    until(lambda: ask(port, old)[0] == 401)
    assert ask(port, new) == (200, ANSWER)
    assert len(client("token", "list", "churn")) == 1


def test_tokens_outlive_a_restart_and_a_new_version(client, folder):
    client("add", str(folder))
    token = client("token", "add", "churn", "ci")["token"]
    port = client("deploy", "churn")["port"]
    assert (ask(port)[0], ask(port, token)) == (401, (200, ANSWER))
    client("restart", "churn")
    assert (ask(port)[0], ask(port, token)) == (401, (200, ANSWER))
    write_model(folder, "churn", factor=3.0)
    client("deploy", "churn")
    assert (ask(port)[0], ask(port, token)[0]) == (401, 200)


def test_tokens_follow_the_model_to_its_new_name_and_end_with_it(client, folder):
    client("deploy", str(folder))
    token = client("token", "add", "churn", "ci")["token"]
    client("undeploy", "churn", "--yes")
    client("rename", "churn", "left")
    assert not (instance(client) / "tokens.json").exists()
    moved = client.home / "local" / "instances" / "left" / "tokens.json"
    assert stat.S_IMODE(moved.stat().st_mode) == 0o600
    port = client("deploy", "left")["port"]
    assert (ask(port)[0], ask(port, token)) == (401, (200, ANSWER))
    with pytest.raises(Failed, match="is deployed"):
        client("rename", "left", "churn")
    client("undeploy", "left", "--yes")
    client("remove", "left")
    assert not moved.exists()
    lines = moved.with_name("history.jsonl").read_text().splitlines()
    actions = [json.loads(line)["action"] for line in lines]
    assert [each for each in actions if "token" in each] == ["token move", "token end"]


def test_model_keeps_its_name_while_a_host_with_tokens_of_it_is_out_of_reach(client, folder):
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    with Workspace(client.home).open_store() as store:
        store.locations.add(Location("srv", url="ssh://nobody@127.0.0.1:9"))
        store.deployments.finish(store.deployments.start("churn", "srv", "token add"), "done")
    for done in (("rename", "churn", "left"), ("remove", "churn")):
        with pytest.raises(Failed, match="tokens of it on srv would stay good") as caught:
            client(*done)
        assert "127.0.0.1:9" in caught.value.problem["cause"]
    assert [each["name"] for each in kept(client)["tokens"]] == ["ci"], "nothing is half done"
    assert [each["name"] for each in client("list")] == ["churn"]
    client("remove", "churn", "--force")
    assert not (instance(client) / "tokens.json").exists()


def test_tokens_are_not_given_to_what_somebody_else_deployed(tmp_path):
    with open_local(tmp_path / "base") as road:
        made = [tokens.entry("ci", "score", tokens.new_text())]
        for name in ("churn", "left"):
            road.call("lock", name=name, who="ana")
            road.call("tokens", name=name, tokens=made, entry={"action": "token add"})
        facts = tmp_path / "base" / "instances" / "left" / "instance.json"
        facts.write_text('{"port": 8101}')
        order = {"entry": {"action": "token move"}}
        with pytest.raises(Problem, match="left is deployed on that host already"):
            road.call("hand_over", name="churn", new="left", **order)
        assert road.call("hand_over", name="left", new=None, **order) == []
        assert road.call("tokens", name="left", tokens=None)["tokens"] == made
        assert road.call("hand_over", name="churn", new=None, **order) == ["ci"]


def test_what_is_left_of_a_pipeline_s_token_is_told(client, folder, tmp_path):
    stage = '[[stage]]\nname = "far"\ninstance = "churn"\nlocation = "lab"\n'
    whole = write_model(tmp_path / "credit", "credit")
    (whole / "rhythmicml.toml").write_text(f'[model]\nname = "credit"\n{stage}')
    client("add", str(folder))
    client("add", str(whole))
    client("commit", "credit")
    work = Workspace(client.home)
    here = Location("srv", url="ssh://nobody@127.0.0.1:9")
    assert list(staging.end_tokens(work, "credit", here)) == [], "no such place"
    with work.open_store() as store:
        store.locations.add(Location("lab", url="ssh://nobody@127.0.0.1:9"))
    [note] = staging.end_tokens(work, "credit", here)
    assert note.text.startswith("churn still takes the token of credit on lab: ")
    assert note.text.endswith("rhythmicml token remove churn pipeline-credit-srv --to lab")


def test_purging_an_instance_takes_its_secrets_along(client, folder):
    make_public(folder)
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    client("deploy", "churn", "--plan")
    client("undeploy", "churn", "--purge", "--yes")
    assert not instance(client).exists()


# Public


def test_public_without_a_token_is_refused_and_nothing_is_changed(client, folder):
    make_public(folder)
    with pytest.raises(Failed) as refused:
        client("deploy", str(folder))
    assert refused.value.problem["what"] == "churn is to be public, and it has no token yet."
    assert "rhythmicml token add churn NAME" in refused.value.problem["remedy"]
    assert client("status") == []
    assert [each.name for each in instance(client).iterdir()] == ["lock"]


def test_plan_says_that_the_port_is_opened_to_everyone(client, folder):
    make_public(folder)
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    plan = client("deploy", "churn", "--plan")["plan"]
    assert any(each.startswith("Put a self-signed certificate (") for each in plan)
    assert any("to everyone (TLS; firewalls are not touched)" in each for each in plan)


def test_public_instance_wants_tls_and_a_token(client, folder):
    make_public(folder)
    client("add", str(folder))
    token = client("token", "add", "churn", "ci")["token"]
    deployed = client("deploy", "churn")
    assert deployed["url"].startswith("https://")
    assert ask_tls(deployed, token) == (200, ANSWER)
    assert ask_tls(deployed)[0] == 401
    with pytest.raises((urllib.error.URLError, ConnectionError, http.client.HTTPException)):
        ask(deployed["port"], token)
    assert score(client) == ANSWER
    assert client("deploy", "churn")["changed"] is False


def test_exposure_goes_with_the_release(client, folder):
    port = client("deploy", str(folder), "--port", str(own_port()))["port"]
    assert not open_to_all(port)
    client("token", "add", "churn", "ci")
    make_public(folder)
    opened = client("deploy", "churn")
    assert (opened["port"], opened["exposure"]) == (port, "public")
    assert open_to_all(port)
    assert score(client) == ANSWER
    assert client("deploy", "churn")["changed"] is False
    [row] = client("status")
    assert (row["exposure"], row["tokens"]) == ("public", 1)
    assert row["url"] == opened["url"]
    assert row["certificate"]["fingerprint"] == opened["certificate"]["fingerprint"]

    closed = client("rollback", "churn")
    assert closed["url"] == f"http://127.0.0.1:{port}"
    assert not open_to_all(port)
    assert score(client) == ANSWER
    client("switch", "churn@2")
    assert open_to_all(port)
    client("stop", "churn")
    client("start", "churn")
    assert open_to_all(port)


def test_stopped_loopback_release_is_never_started_on_a_public_port(client, folder):
    """Whoever came while it is made public would wake the release that is current."""
    port = client("deploy", str(folder), "--port", str(own_port()))["port"]
    client("token", "add", "churn", "ci")
    client("stop", "churn")
    make_public(folder)
    steps = client("deploy", "churn")["steps"]
    assert f"Listen on port {port}" in steps
    opened = f"Open port {port} to everyone (TLS; firewalls are not touched)"
    assert steps[-2:] == [opened, "Watch it for 0.2 s"]
    assert open_to_all(port)


FAILS_THE_SECOND_TIME = PREDICT.replace(
    "    return json",
    '    mark = Path("{mark}")\n'
    '    assert not mark.exists(), "cursed"\n'
    "    mark.touch()\n"
    "    return json",
)


def test_release_that_fails_behind_the_open_port_is_taken_back(client, folder, tmp_path):
    first = client("deploy", str(folder), "--port", str(own_port()))
    client("token", "add", "churn", "ci")
    script = FAILS_THE_SECOND_TIME.replace("{mark}", str(tmp_path / "mark"))
    make_public(folder, script=script)
    with pytest.raises(Failed) as failed:
        client("deploy", "churn")
    assert failed.value.problem["kind"] == "GateFailed"
    assert "cursed" in failed.value.problem["detail"]
    assert not open_to_all(first["port"])
    until(lambda: client("status")[0]["state"] == "serving")
    assert client("status")[0]["release"] == first["release"]
    assert score(client) == ANSWER


def open_to_all(port):
    """Whether an address other than loopback's usual one reaches it."""
    try:
        socket.create_connection(("127.0.0.2", port), 5).close()
    except OSError:
        return False
    return True


# Certificates


def write_own(tmp_path, name="own"):
    pair = certificates.make(name, certificates.names_of())
    for path, text in (("own.pem", pair.certificate), ("own.key", pair.key)):
        (tmp_path / path).write_text(text)
    return certificates.describe(pair.certificate).fingerprint


def own(tmp_path):
    return f'certificate = "{tmp_path}/own.pem"\ncertificate_key = "{tmp_path}/own.key"\n'


def test_own_certificate_is_put_there_and_nowhere_else(client, folder, tmp_path):
    fingerprint = write_own(tmp_path)
    make_public(folder, own(tmp_path))
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    deployed = client("deploy", "churn")
    assert deployed["certificate"]["fingerprint"] == fingerprint
    key = tmp_path / "own.key"
    there = instance(client) / "tls" / "certificate_key.pem"
    assert there.read_text() == key.read_text()
    assert stat.S_IMODE(there.stat().st_mode) == 0o600
    everything = [path for path in client.home.rglob("*") if path.is_file()]
    holding = [path for path in everything if key.read_bytes() in path.read_bytes()]
    assert {path.resolve() for path in holding} == {there.resolve()}
    with sqlite3.connect(client.home / "store.sqlite") as store:
        assert store.execute("SELECT fingerprint FROM instances").fetchall() == [(fingerprint,)]


def test_renewed_certificate_is_the_only_change_of_a_second_deployment(client, folder, tmp_path):
    write_own(tmp_path)
    make_public(folder, own(tmp_path))
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    client("deploy", "churn")
    fingerprint = write_own(tmp_path)
    again = client("deploy", "churn")
    assert again["steps"] == [f"Put the certificate of {tmp_path}/own.pem there"]
    assert again["certificate"]["fingerprint"] == fingerprint
    tls = instance(client) / "tls"
    assert tls.is_symlink()
    assert len(list(instance(client).glob(".tls-*"))) == 1


def test_renewed_certificate_is_shown_at_once(client, folder, tmp_path):
    write_own(tmp_path)
    make_public(folder, own(tmp_path))
    client("add", str(folder))
    token = client("token", "add", "churn", "ci")["token"]
    assert ask_tls(client("deploy", "churn"), token) == (200, ANSWER)
    write_own(tmp_path)
    assert ask_tls(client("deploy", "churn"), token) == (200, ANSWER)


def test_certificate_without_its_key_is_refused_before_anything_is_changed(
    client, folder, tmp_path
):
    write_own(tmp_path)
    key = (tmp_path / "own.key").read_text()
    write_own(tmp_path)
    (tmp_path / "own.key").write_text(key)
    make_public(folder, own(tmp_path))
    client("add", str(folder))
    client("token", "add", "churn", "ci")
    with pytest.raises(Failed, match="is not the key of"):
        client("deploy", "churn")
    assert client("status") == []
