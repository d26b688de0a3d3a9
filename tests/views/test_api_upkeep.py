"""What the API does about hosts and the whole store: logs, tokens, groups, backups, adoption."""

import json
import time
import urllib.error
import urllib.request

import pytest
from client import Client, write_model
from screen import until
from test_api import Script

from app.models import Location
from app.services import ui_token
from app.store import copies

REFUSED = 2
"""How often the instance refuses `test_who_may_ask`: its front writes of each a moment later."""


@pytest.fixture
def script(work, server):
    return Script(server, ui_token.get(work.home))


@pytest.fixture
def served(script, work, tmp_path):
    client = Client(work.home).settled()
    client("deploy", str(write_model(tmp_path / "churn", "churn")))
    yield client
    client.undeploy_all()


def status_of(port, token):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        b'{"inputs": [[1, 2, 3]]}',
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_who_may_ask_an_instance_and_what_it_said(script, served, work):
    port = script.done("/instances")[0]["port"]
    made = script.done("/models/churn/tokens", {"name": "ci"})
    assert (made["scope"], made["location"], made["left"]) == ("score", "local", 1)
    assert script.done("/models/churn/tokens") == served("token", "list", "churn")
    assert script("POST", "/models/churn/tokens", {"name": "ci"})[0] == 400
    assert script("POST", "/models/churn/tokens", {"name": "x", "scope": "all"})[0] == 422
    assert (status_of(port, made["token"]), status_of(port, "rml_wrong")) == (200, 401)
    turned = script.done("/models/churn/tokens/ci/rotate", {"grace": 0})
    assert (status_of(port, turned["token"]), status_of(port, made["token"])) == (200, 401)
    kept = b"".join(path.read_bytes() for path in work.home.glob("*.sqlite*"))
    kept += json.dumps(script.done("/jobs")).encode()
    assert not any(each["token"].encode() in kept for each in (made, turned))
    assert script("DELETE", "/models/churn/tokens/ci")[1]["left"] == 0
    assert script("DELETE", "/models/churn/tokens/ci")[0] == 404

    lines = "/models/churn/logs?lines=20&to=local"
    until(lambda: sum('"status":401' in line for line in script.done(lines)) == REFUSED)
    said = script.done(lines)
    assert said == served("logs", "churn", "--lines", "20")
    assert 0 < len(said) <= 20
    assert script("GET", "/models/churn/logs?lines=0")[0] == 422
    assert script("GET", "/models/none/logs")[0] == 404


def test_a_model_goes_with_what_runs_of_it_and_one_is_taken_over_from_its_host(
    script, served, work, tmp_path
):
    assert script("DELETE", "/models/churn")[0] == 400
    assert script("DELETE", "/models/churn?force=true")[0] == 200
    began = script.done("/locations/local/adopt", {"into": str(tmp_path / "into")})
    job = script.ended(began)
    assert (job["state"], job["command"]) == (
        "done",
        f"rhythmicml adopt local --into {tmp_path}/into",
    )
    assert [each["name"] for each in job["outcome"]["models"]] == ["churn"]
    assert (tmp_path / "into" / "churn" / "predict.py").exists()
    assert script("POST", "/locations/nowhere/adopt", {})[0] == 404

    gone = script.ended(script.done("/models/churn/undeploy-and-remove", {}))
    assert (gone["state"], gone["command"]) == ("done", "rhythmicml remove churn --undeploy")
    assert served("status") == served("list") == []
    assert script("POST", "/models/churn/undeploy-and-remove")[0] == 404


def test_the_store_is_put_back_and_that_is_taken_back(script, work, tmp_path):
    client = Client(work.home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn")
    folder = {"folder": str(tmp_path / "kept")}
    assert script.ended(script.done("/backup", folder))["state"] == "done"
    client("remove", "churn")
    began = script.done("/restore-store", folder)
    deadline = time.monotonic() + 30
    while not [each["name"] for each in script.done("/models")]:
        assert time.monotonic() < deadline, began
        time.sleep(0.1)
    script.done("/restore-store", {"undo": True})
    while [each["name"] for each in script.done("/models")]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for wrong in ({}, {"undo": False}, {**folder, "undo": True}):
        assert script("POST", "/restore-store", wrong)[0] == 400


def test_a_copy_takes_the_place_of_no_store_that_is_open(script, work, tmp_path):
    Client(work.home)("add", str(write_model(tmp_path / "churn", "churn")))
    copies.keep_daily(work.home)
    copy = work.home / copies.DAILY
    before = (work.home / copies.FILE).stat().st_ino
    job = script.ended(script.done("/restore-store", {"folder": str(copy)}))
    assert job["state"] == "failed"
    words = f'Close RhythmicML, then: rhythmicml restore-store "{copy}"'
    assert job["outcome"]["remedy"] == words
    assert (work.home / copies.FILE).stat().st_ino == before
    assert not list(work.home.glob("aside-*"))


def test_groups_and_how_many_releases_stay(script, work):
    with work.open_store() as store:
        store.locations.add(Location("lab", url="ssh://ana@127.0.0.1:1"))
    status, made, _ = script("PUT", "/groups/all", {"locations": ["lab", "local", "lab"]})
    assert (status, made) == (200, {"name": "all", "locations": ["lab", "local"]})
    assert script.done("/groups") == Client(work.home)("location", "group", "list")
    assert script("PUT", "/groups/local", {"locations": ["lab"]})[0] == 400
    assert script("PUT", "/groups/other", {"locations": ["nowhere"]})[0] == 404
    assert script("PUT", "/groups/other", {"locations": "lab"})[0] == 422
    assert script("PUT", "/groups/other", {"locations": []})[0] == 400
    assert script("DELETE", "/groups/all")[1] == {"removed": "all"}
    assert (script.done("/groups"), script("DELETE", "/groups/all")[0]) == ({}, 404)

    assert script.done("/keep") == {"keep": 5}
    assert script("PUT", "/keep", {"keep": 2})[1] == {"keep": 2} == Client(work.home)("keep")
    assert script("PUT", "/keep", {"keep": 0})[0] == 422
