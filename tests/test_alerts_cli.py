"""The command `alerts`, as a person and as a script use it."""

import subprocess
import time

import pytest
from client import Client, Failed

from app.models import Instance
from app.services import alerts, notices
from app.workspace import Workspace


@pytest.fixture
def client(tmp_path):
    one = Client(tmp_path / "home")
    one.environ["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={tmp_path}/no-bus"
    return one


def told(client, *words, said=""):
    done = subprocess.run(
        client.argv(*words), env=client.environ, input=said, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def fails(home):
    """An instance that fails for longer than it may."""
    work = Workspace(home)
    notices.want(work, False)
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "ams", 8100, "v1-a", 1, "failing"))
    row = {"model": "churn", "location": "ams", "state": "failing", "error": "", "version": None}
    for ago in (90, 75, 60, 45, 30, 15, 0):
        alerts.evaluate(work, [row], time.time() - ago)


def test_alerts_are_listed_acknowledged_and_said_to_be_seen(client):
    assert client("alerts") == []
    fails(client.home)
    (alert,) = client("alerts")
    assert (alert["rule"], alert["about"], alert["acknowledged"]) == ("down", "churn on ams", None)
    client("alerts", "ack", str(alert["id"]))
    code, text = told(client, "alerts")
    assert code == 0
    assert "does not answer" in text
    assert f"by {client('alerts')[0]['who']}" in text
    with pytest.raises(Failed) as failed:
        client("alerts", "ack", "99")
    assert failed.value.problem["kind"] == "NotFound"


def test_limits_are_changed_and_put_back(client):
    assert client("alerts", "limit", "errors", "1%") == {"errors": 0.01}
    assert client("alerts", "limit", "drift", "off") == {"drift": None}
    assert client("alerts", "limit", "errors", "default") == {"errors": 0.05}
    code, text = told(client, "alerts", "limit")
    assert code == 0
    assert "off" in text
    for wrong in (["errors", "90"], ["errors", "x"], ["speed"], ["p95", "1", "--model", "nobody"]):
        with pytest.raises(Failed):
            client("alerts", "limit", *wrong)


def test_ways_are_set_up_without_a_secret_among_the_arguments(client):
    url = "https://hooks.example.com/secret-part"
    assert told(client, "alerts", "webhook", "--stdin", said=url)[0] == 1  # no keyring, no consent
    code, text = told(client, "alerts", "webhook", "--stdin", "--file", said=url)
    assert code == 0
    assert "https://hooks.example.com/…" in text
    assert "secret-part" not in text
    words = ("--server", "mail.example.com", "--to", "ana@example.com", "--user", "ana")
    code, text = told(client, "alerts", "email", *words, "--stdin", "--file", said="pw\n")
    assert code == 0
    assert "mail.example.com:587" in text
    assert told(client, "alerts", "email", "--to", "ana@example.com")[0] == 2
    assert told(client, "alerts", "email", "--off")[0] == 0
    assert client("alerts", "notices", "off")[0]["to"] == ""
    client("alerts", "webhook", "--off")
    assert {each["to"] for each in client("alerts", "ways")} == {""}


def test_a_test_that_nobody_took_is_told_and_exits_with_1(client):
    code, text = told(client, "alerts", "test")
    assert code == 1
    assert text.startswith("notice: This desktop shows no notices")
    client("alerts", "notices", "off")
    assert told(client, "alerts", "test")[0] == 0
