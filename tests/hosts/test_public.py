"""Instances that everybody may reach, on a real server: a token, TLS, and the way back to loopback.

We ask from outside, over the guest's cable. `mode` is how we may install there.
"""

import http.client
import json
import shutil
import socket
import ssl

import pytest
from client import Client, Failed
from client import briefly_watched as write_model
from guests import USERS_BY_MODE, soon

BODY = b'{"inputs": [[1, 2, 3]]}'
ANSWER = {"predictions": [12.0]}


@pytest.fixture(scope="module", params=list(USERS_BY_MODE))
def mode(request):
    return request.param


@pytest.fixture
def client(client):
    yield client
    client.undeploy_all()


@pytest.fixture(scope="module")
def opened(home_of, mode, tmp_path_factory):
    """A public instance: who deployed it, its name, what the deployment gave, its token."""
    folder, name = tmp_path_factory.mktemp(mode), f"opened-{mode}"
    client = Client(shutil.copytree(home_of(USERS_BY_MODE[mode]), folder / "home"))
    client("add", str(model(folder / "model", name)))
    token = client("token", "add", name, "ci", "--to", "srv")["token"]
    yield client, name, client("deploy", name, "--to", "srv"), token
    client.undeploy_all()


def model(folder, name, expose="public", **more):
    write_model(folder, name, **more)
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write(f'[deploy]\nexpose = "{expose}"\n')
    return folder


class Outside:
    """Somebody on another machine who was told where to ask and what certificate to expect."""

    def __init__(self, guest, deployed):
        self.address = (guest.address, deployed["port"])
        pem = ssl.get_server_certificate(self.address)
        seen = ssl.PEM_cert_to_DER_cert(pem)
        expected = bytes.fromhex(deployed["certificate"]["fingerprint"].replace(":", ""))
        import hashlib

        assert hashlib.sha256(seen).digest() == expected
        self.trust = ssl.create_default_context(cadata=pem)

    def ask(self, token=None, path="/score"):
        """(status, what was answered), over TLS with the host's address checked."""
        line = http.client.HTTPSConnection(*self.address, timeout=20, context=self.trust)
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            line.request("POST", path, BODY, headers)
            answer = line.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            line.close()


def reachable(guest, port):
    try:
        socket.create_connection((guest.address, port), 5).close()
    except OSError:
        return False
    return True


def score(client, name):
    path = client.home / "data.json"
    path.write_bytes(BODY)
    return client("score", name, "--data", str(path))["answer"]


def test_public_instance_answers_who_has_a_token_and_nobody_else(client, guest, mode, tmp_path):
    name = f"open-{mode}"
    folder = model(tmp_path / "model", name)
    with pytest.raises(Failed) as refused:
        client("deploy", str(folder), "--to", "srv")
    assert f"rhythmicml token add {name} NAME --to srv" in refused.value.problem["remedy"]
    assert client("status") == []

    token = client("token", "add", name, "ci", "--to", "srv")["token"]
    deployed = client("deploy", name, "--to", "srv")
    assert deployed["url"] == f"https://{guest.address}:{deployed['port']}"
    assert (
        f"Open port {deployed['port']} to everyone (TLS; firewalls are not touched)"
        in (deployed["steps"])
    )
    outside = Outside(guest, deployed)
    assert outside.ask(token) == (200, ANSWER)
    assert outside.ask()[0] == 401
    assert outside.ask("rml_" + "x" * 43)[0] == 401
    assert score(client, name) == ANSWER, "our own way in needs no token"
    assert not client("deploy", name, "--to", "srv")["changed"]

    new = client("token", "rotate", name, "ci")["token"]
    assert outside.ask(token) == outside.ask(new) == (200, ANSWER)
    client("token", "remove", name, "ci")
    assert outside.ask(token)[0] == outside.ask(new)[0] == 401
    [row] = client("status")
    assert (row["exposure"], row["tokens"]) == ("public", 0)
    assert row["certificate"]["fingerprint"] == deployed["certificate"]["fingerprint"]


def test_exposure_goes_with_the_release_both_ways(client, guest, mode, tmp_path):
    name = f"turn-{mode}"
    folder = model(tmp_path / "model", name, "loopback")
    port = client("deploy", str(folder), "--to", "srv")["port"]
    assert not reachable(guest, port)

    token = client("token", "add", name, "ci")["token"]
    model(folder, name, "public")
    opened = client("deploy", name, "--to", "srv")
    assert opened["port"] == port
    assert opened["steps"][-2].startswith(f"Open port {port} to everyone")
    assert Outside(guest, opened).ask(token) == (200, ANSWER)

    closed = client("rollback", name)
    assert closed["steps"][-1].startswith(f"Close port {port} to all but the host itself")
    assert closed["url"] == f"http://127.0.0.1:{port}"
    assert not reachable(guest, port)
    assert score(client, name) == ANSWER
    assert client("status")[0]["exposure"] == "loopback"

    again = client("switch", f"{name}@2")
    assert Outside(guest, again).ask(token) == (200, ANSWER)
    assert not client("deploy", name, "--to", "srv")["changed"]


def test_secrets_are_closed_to_all_but_the_service(opened, guest, mode):
    client, name, deployed, token = opened
    home = "/var/lib" if mode != "user" else "/home/ds/.local/share"
    instance = f"{home}/rhythmicml/instances/{name}"
    files = [
        f"{instance}/{each}"
        for each in ("tokens.json", "tls/certificate.pem", "tls/certificate_key.pem")
    ]
    owner = "ds" if mode == "user" else "root"
    said = guest.run(["stat", "-L", "-c", "%a %U", *files]).stdout.split("\n")
    assert said[:3] == [f"600 {owner}"] * 3
    assert guest.run(["grep", "-rlF", token, instance], check=False).stdout == ""
    if mode != "user":
        unit = f"rhythmicml-{name}@{deployed['release']}.service"
        there = guest.run(["ls", f"/run/credentials/{unit}"]).stdout.split()
        assert there == ["certificate.pem", "certificate_key.pem", "tokens.json"]
    store = (client.home / "store.sqlite").read_bytes()
    key = guest.run(["cat", files[2]]).stdout.split("\n")[1]
    assert token.encode() not in store
    assert key.encode() not in store


def test_stopped_instance_is_public_again_once_it_is_started(opened, guest):
    client, name, deployed, token = opened
    client("stop", name)
    assert not reachable(guest, deployed["port"])
    client("start", name)
    assert Outside(guest, deployed).ask(token) == (200, ANSWER)
    client("restart", name)
    assert Outside(guest, deployed).ask(token) == (200, ANSWER)


def test_reboot_leaves_it_public_and_its_tokens_good(tmp_path, fresh_guest):
    client = Client(tmp_path / "home")
    client.add_location(fresh_guest, "root")
    client("add", str(model(tmp_path / "model", "boot")))
    token = client("token", "add", "boot", "ci", "--to", "srv")["token"]
    deployed = client("deploy", "boot", "--to", "srv")
    fresh_guest.reboot()
    soon("serving after the boot", lambda: client("status")[0]["state"] == "serving")
    assert Outside(fresh_guest, deployed).ask(token) == (200, ANSWER)


def test_certificate_of_ones_own_is_put_there_and_renewed_without_a_restart(tmp_path, guest):
    from app.deployer import certificates

    def write(number):
        pair = certificates.make(f"own-{number}", certificates.names_of(guest.address))
        (tmp_path / "own.pem").write_text(pair.certificate)
        (tmp_path / "own.key").write_text(pair.key)
        return certificates.describe(pair.certificate).fingerprint

    client = Client(tmp_path / "home")
    client.add_location(guest, "root")
    folder = model(tmp_path / "model", "own")
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write(f'certificate = "{tmp_path}/own.pem"\ncertificate_key = "{tmp_path}/own.key"\n')
    client("add", str(folder))
    token = client("token", "add", "own", "ci", "--to", "srv")["token"]
    first = write(1)
    deployed = client("deploy", "own", "--to", "srv")
    assert deployed["certificate"]["fingerprint"] == first
    assert Outside(guest, deployed).ask(token) == (200, ANSWER)
    second = write(2)
    renewed = client("deploy", "own", "--to", "srv")
    assert renewed["steps"] == [f"Put the certificate of {tmp_path}/own.pem there"]
    assert renewed["certificate"]["fingerprint"] == second
    assert Outside(guest, renewed).ask(token) == (200, ANSWER)
    client("undeploy", "own", "--purge", "--yes")
