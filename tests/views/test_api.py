"""The pages' actions as JSON: as a script asks them, by the token of the store."""

import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from client import ROOT, Client, write_model

from app.models import Instance
from app.services import alerts, notices, ui_token
from app.views import api
from app.views.answers import Answers


class Script:
    """A program with the token."""

    def __init__(self, server, token):
        self.server, self.token = server, token

    def __call__(self, method, path, body=None, **headers):
        """(status, the answer's value, headers)"""
        given = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent = b""
        if body is not None:
            given["Content-Type"] = "application/json"
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        given = {name: value for name, value in given.items() if value is not None}
        address = path if path.startswith("/api/") else f"{api.PREFIX}{path}"
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)) as link:
            link.request(method, address, sent, given)
            answer = link.getresponse()
            return answer.status, json.loads(answer.read()), answer.headers

    def done(self, path, body=None):
        """The value, when all is well."""
        method = "GET" if body is None else "POST"
        status, value, _ = self(method, path, body)
        assert status in (200, 202), value
        return value

    def ended(self, job):
        while job["state"] == "running":
            threading.Event().wait(0.1)
            job = self.done(f"/jobs/{job['id']}")
        return job


@pytest.fixture
def script(work, server):
    return Script(server, ui_token.get(work.home))


def test_models_and_versions_answer_as_the_command_line_does(script, work, tmp_path):
    folder = write_model(tmp_path / "churn", "churn")
    added = script.done("/models", {"folder": str(folder)})
    assert added["new"]
    assert added["model"]["name"] == "churn"
    committed = script.done("/models/churn/versions", {"message": "first"})
    assert committed["new"]
    (folder / "artifacts" / "weights.json").write_text('{"factor": 3.0}')
    command = Client(work.home)
    assert script.done("/models/churn/diff") == command("diff", "churn")
    script.done("/models/churn/versions", {})
    assert script.done("/models") == command("list")
    assert script.done("/models/churn/versions") == command("versions", "churn")
    assert script.done("/models/churn/versions/1") == command("show", "churn@1")
    between = script.done("/models/churn/diff?before=1&after=2")
    assert between == command("diff", "churn@1", "churn@2")
    assert script.done("/locations") == command("location", "list")
    assert (
        script.done("/locations/local/check").keys() == command("location", "check", "local").keys()
    )
    status, renamed, _ = script("PATCH", "/models/churn", {"name": "leavers"})
    assert (status, renamed["name"]) == (200, "leavers")
    assert script.done("/models/leavers") == command("list")[0]
    assert script("DELETE", "/models/leavers")[0] == 200
    assert script.done("/models") == []
    assert folder.exists()


def test_deployment_from_plan_to_undeploy(script, work, tmp_path):
    script.done("/models", {"folder": str(write_model(tmp_path / "churn", "churn"))})
    status, problem, _ = script("POST", "/models/churn/plan", {})
    assert (status, problem["error"]["what"]) == (400, "churn has no version yet.")
    script.done("/models/churn/versions", {})
    plan = script.done("/models/churn/plan", {"to": "local"})
    assert any("Start v1" in step for step in plan["plan"])
    assert script.done("/instances") == []
    status, job, headers = script("POST", "/models/churn/deploy", {"version": 1, "to": "local"})
    assert (status, headers["Location"]) == (202, f"{api.PREFIX}/jobs/{job['id']}")
    assert job["command"] == "rhythmicml deploy churn@1 --to local"
    try:
        ended = script.ended(job)
        assert ended["state"] == "done", ended
        assert ended["outcome"]["release"].startswith("v1-")
        later = script.done(f"/jobs/{job['id']}?after={ended['events'][-2]['n']}")
        assert [each["kind"] for each in later["events"]] == ["result"]
        (instance,) = script.done("/instances?model=churn")
        assert (instance["state"], instance["version"]) == ("serving", 1)
        said = script.done("/models/churn/ask", {"request": {"inputs": [[1, 2, 3]]}})
        assert (said["answer"]["predictions"], said["version"]) == ([12.0], "1")
        status, problem, _ = script("POST", "/models/churn/ask", {"request": {"in": 1}})
        assert (status, "churn" in problem["error"]["what"]) == (400, True)
        pinned = script.ended(script.done("/models/churn/pin", {"version": 1}))
        assert pinned["outcome"]["pinned"] == [1]
        unpinned = script.ended(script.done("/models/churn/unpin", {"version": 1}))
        assert unpinned["outcome"]["pinned"] == []
    finally:
        gone = script.ended(script.done("/models/churn/undeploy", {"purge": True}))
    assert gone["state"] == "done"
    assert [each["kind"] for each in script.done("/jobs?limit=4")] == [
        *("undeploy", "unpin", "pin", "deploy")
    ]
    assert script.done(f"/jobs/{job['id']}/cancel", {})["state"] == "done"


@pytest.fixture
def churn(script, tmp_path):
    """The folder of a model with one version, that names a secret."""
    folder = write_model(tmp_path / "churn", "churn")
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nsecrets = ["API_KEY"]\n')
    script.done("/models", {"folder": str(folder)})
    script.done("/models/churn/versions", {"message": "first"})
    return folder


def test_version_is_put_back_and_another_forgotten(script, churn):
    weights = churn / "artifacts" / "weights.json"
    first = weights.read_text()
    weights.write_text('{"factor": 3.0}')
    status, said, _ = script("POST", "/models/churn/versions/1/restore")
    assert (status, "in no version" in said["error"]["what"]) == (400, True)
    restored = script.done("/models/churn/versions/1/restore", {"commit_first": True})
    assert (restored["committed"]["number"], weights.read_text()) == (2, first)
    script.done("/models/churn/versions/2/restore", {})
    (churn / "more.txt").write_text("x")
    script.done("/models/churn/versions", {})
    status, gone, _ = script("DELETE", "/models/churn/versions/2")
    assert (status, gone["number"]) == (200, 2)
    assert [each["number"] for each in script.done("/models/churn/versions")] == [3, 1]
    status, said, _ = script("DELETE", "/models/churn/versions/3")
    assert (status, "it is the newest" in said["error"]["what"]) == (400, True)


def test_what_a_model_says_of_itself_is_changed(script, work, churn):
    status, said, _ = script(
        "PATCH", "/models/churn/description",
        {"description": "Who *leaves*", "set": {"auc": 0.91, "by": "Ana"}, "tag": ["q3", "q4"]},
    )  # fmt: skip
    assert (status, said["tags"], said["values"]) == (200, ["q3", "q4"], {"auc": 0.91, "by": "Ana"})
    script("PATCH", "/models/churn/description", {"unset": ["by"], "untag": ["q3"]})
    now = script.done("/models/churn/description")
    assert now == {"description": "Who *leaves*", "tags": ["q4"], "values": {"auc": 0.91}}
    assert now == Client(work.home)("describe", "churn")
    for unfit in ({"auc": None}, {"auc": {}}, {"a\0": 1}, {"auc": ["x", 1]}, {"auc": float("inf")}):
        body = {"set": unfit}
        assert script("PATCH", "/models/churn/description", body)[0] == 422, unfit
    assert script("PATCH", "/models/churn/description", {"tag": "q3"})[0] == 422
    toml = churn / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace('"q4"]', '"q4"], on = 2026-10-01'))
    assert script.done("/models/churn/description")["values"]["on"] == "2026-10-01"


def test_of_two_edits_of_a_configuration_the_second_is_told(script, churn):
    toml = churn / "rhythmicml.toml"
    source = script.done("/models/churn/configuration")
    assert source["text"] == toml.read_text()
    longer = source["text"] + "# a comment\n" * 2_000
    status, saved, _ = script("PUT", "/models/churn/configuration", {**source, "text": longer})
    assert (status, toml.read_text()) == (200, longer)
    status, said, _ = script("PUT", "/models/churn/configuration", source)
    assert (status, said["error"]["kind"], toml.read_text()) == (409, "Stale", longer)
    wrong = {**saved, "text": "[deploy]\nkeep = 0\n"}
    status, said, _ = script("PUT", "/models/churn/configuration", wrong)
    assert (status, "keep" in said["error"]["what"], toml.read_text()) == (400, True, longer)
    assert script("PUT", "/models/churn/configuration", {"text": ""})[0] == 422


VALUE = "hunter2-and-more"


def test_secret_is_set_listed_and_forgotten_and_never_told(script, work, churn):
    one = "/models/churn/secrets/API_KEY"
    answers = [script("PUT", one, {"value": VALUE})]
    assert (answers[0][0], "no keyring" in answers[0][1]["error"]["what"]) == (400, True)
    answers.append(script("PUT", one, {"value": VALUE, "file": True}))
    assert answers[-1][1] == {"model": "churn", "name": "API_KEY", "location": None, "kept": "file"}
    answers.append(script("GET", "/models/churn/secrets"))
    assert answers[-1][1] == Client(work.home)("secret", "list", "churn")
    for unfit in ({"value": [VALUE]}, {"value": VALUE + "\0"}, {"value": VALUE * 9_999}):
        answers.append(script("PUT", one, unfit))
        assert (answers[-1][0], answers[-1][1]["error"]["what"]) == (
            422,
            '"value" does not fit.',
        )
    answers.append(script("PUT", "/models/churn/secrets/OTHER", {"value": VALUE}))
    assert answers[-1][0] == 404
    assert script("DELETE", one)[0] == 200
    assert script("DELETE", one)[0] == 404
    assert VALUE not in str([said for _, said, _ in answers])
    log = work.home / "log" / "ui.log"
    assert not log.exists() or VALUE not in log.read_text()


def test_location_is_added_by_its_fingerprint_changed_and_forgotten(script, work, host, tmp_path):
    asked = {"name": "srv", "url": host.url, "identity": str(tmp_path / "key")}
    asked["base"] = str(tmp_path / "sshd" / "base")
    status, said, _ = script("POST", "/locations", asked)
    assert (status, said["error"]["kind"]) == (400, "NotTrusted")
    wrong = {**asked, "accept_key": "SHA256:" + "A" * 43}
    assert script("POST", "/locations", wrong)[1]["error"]["kind"] == "NotTrusted"
    added = script.done("/locations", {**asked, "accept_key": said["error"]["fingerprint"]})
    assert (added["name"], added["url"], added["default"]) == ("srv", host.url, False)
    assert 0 < script.done("/locations/srv/check")["latency"] < 5
    status, changed, _ = script("PATCH", "/locations/srv", {"internet": "never"})
    assert (status, changed["internet"]) == (200, "never")
    assert script("PATCH", "/locations/srv", {"internet": "perhaps"})[0] == 422
    back = script("PATCH", "/locations/srv", {"base": ""})[1]
    assert (back["base"], back["internet"]) == ("", "never")
    assert script("PATCH", "/locations/srv", {"base": "relative"})[0] == 400
    assert script.done("/locations/srv/default", {})["default"]
    assert script.done("/locations") == Client(work.home)("location", "list")
    assert script.done("/locations/srv/forget-key", {})["forgotten"] >= 1
    assert script("GET", "/locations/srv/check")[1]["error"]["kind"] == "NotTrusted"
    assert script("DELETE", "/locations/srv")[1] == {"removed": "srv"}
    assert [each["name"] for each in script.done("/locations")] == ["local"]
    assert script("DELETE", "/locations/local")[0] == 400
    assert script("DELETE", "/locations/srv")[0] == 404


def test_store_is_verified_and_kept_by_jobs_and_a_job_is_tried_again(script, churn, tmp_path):
    verified = script.ended(script.done("/verify", {}))
    assert (verified["state"], verified["outcome"]["findings"]) == ("done", [])
    assert script("POST", "/verify", {"location": "nowhere"})[0] == 404
    kept = script.ended(script.done("/backup", {"folder": str(tmp_path / "kept")}))
    assert (kept["state"], kept["outcome"]["versions"]) == ("done", 1)
    (tmp_path / "kept" / "backup.json").unlink()
    status, job, headers = script("POST", f"/jobs/{kept['id']}/retry")
    assert (status, headers["Location"]) == (202, f"{api.PREFIX}/jobs/{job['id']}")
    assert script.ended(job)["state"] == "done"
    assert (tmp_path / "kept" / "backup.json").exists()
    assert script("POST", "/jobs/99/retry")[0] == 404


def test_alerts_are_listed_and_acknowledged(script, work):
    notices.want(work, False)
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "ams", 8100, "v1-a", 1, "failing"))
    row = {"model": "churn", "location": "ams", "state": "failing", "error": "", "version": None}
    for second in range(0, 120, 20):
        alerts.evaluate(work, [row], time.time() + second)
    (alert,) = script.done("/alerts")
    number = alert["id"]
    assert (alert["rule"], alert["acknowledged"]) == ("down", None)
    assert script.done(f"/alerts/{number}/acknowledge", {})["who"]
    assert script.done("/alerts?all=true&limit=1")[0]["acknowledged"]
    status, told, _ = script("POST", f"/alerts/{number + 1}/acknowledge")
    assert (status, told["error"]["kind"]) == (404, "NotFound")


def test_what_does_not_fit_is_refused_by_name(script, tmp_path):
    for method, path, body, status, words in (
        ("POST", "/models", b"{", 422, "not JSON"),
        ("POST", "/models", b"[" * 100_000, 422, "not JSON"),
        ("POST", "/models", [], 422, "not an object"),
        ("POST", "/models", {}, 422, '"folder" is missing'),
        ("POST", "/models", {"folder": 1}, 422, '"folder" does not fit'),
        ("POST", "/models", {"folder": "here"}, 422, '"folder" does not fit'),
        ("POST", "/models", {"folder": "/a\0b"}, 422, '"folder" does not fit'),
        ("POST", "/models", b'{"folder": "/\\ud800"}', 422, '"folder" does not fit'),
        ("POST", "/models", {"folder": "/" + "n" * 9_999}, 400, "cannot be a folder"),
        ("POST", "/models", {"folder": "/", "nme": "x"}, 422, '"nme" is not known'),
        ("POST", "/models", {"folder": str(tmp_path / "none")}, 400, "is not there"),
        ("POST", "/models", b"x" * (api.MOST_BODY + 1), 413, ""),
        ("GET", "/jobs?limit=0", None, 422, '"limit" does not fit'),
        ("GET", "/jobs?limit=x", None, 422, '"limit" does not fit'),
        ("GET", "/jobs?many=1", None, 422, '"many" is not known'),
        ("GET", "/jobs/7", None, 404, "No job 7"),
        ("GET", "/jobs/99999999999999999999", None, 404, "There is no page"),
        ("GET", "/models/none", None, 404, "No model"),
        ("POST", "/models/none/deploy", {}, 404, "none"),
        ("DELETE", "/models/none?force=yes", None, 422, '"force" does not fit'),
        ("PUT", "/models", None, 405, ""),
    ):
        found, said, _ = script(method, path, body)
        assert (found, words in said["error"]["what"]) == (status, True), (method, path, said)
    assert script("POST", "/models", b"folder=x", Content_Type="text/plain")[0] == 415


def test_only_the_token_gets_in_and_only_here(server, script, work):
    stranger = Script(server, None)
    status, said, headers = stranger("GET", "/models")
    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "rhythmicml ui-token" in said["error"]["what"]
    assert Script(server, "x" * 43)("GET", "/models")[0] == 401
    assert Script(server, "\xe9")("GET", "/models")[0] == 401
    assert Script(server, "")("GET", "/models", Authorization="Bearer ")[0] == 401
    assert script("GET", "/models", Authorization=f"Basic {script.token}")[0] == 401
    for page in ("/", "/settings", "/feed"):
        with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as link:
            link.request("GET", page, headers={"Authorization": f"Bearer {script.token}"})
            assert link.getresponse().status == 401, page
    assert script("GET", "/models", Host="evil.test")[0] == 403
    assert script("GET", "/models", Host="evil.test", Origin=server.address)[0] == 403
    for origin in ("http://evil.test", "null", "http://127.0.0.1:1"):
        assert script("POST", "/models", {"folder": "/"}, Origin=origin)[0] == 403
    assert script("GET", "/models", Sec_Fetch_Site="same-site")[0] == 403
    assert script("GET", "/models", Origin=server.address)[0] == 200


def test_new_token_puts_the_one_before_out_of_use_at_once(server, script, work):
    command = Client(work.home)
    assert command("ui-token") == {"token": script.token, "url": None}
    path = work.home / ui_token.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    new = command("ui-token", "--new")["token"]
    assert new != script.token
    assert script("GET", "/models")[0] == 401
    assert Script(server, new)("GET", "/models")[0] == 200
    path.chmod(0o644)  # who could read it may have done so
    assert Script(server, new)("GET", "/models")[0] == 401
    assert command("ui-token")["token"] != new
    path.unlink()
    assert Script(server, "")("GET", "/models", Authorization="Bearer ")[0] == 401


def test_document_tells_every_route_and_the_application_has_no_other(server, script, work):
    document = script.done("/openapi.json")
    told = {(method.upper(), path) for path, each in document["paths"].items() for method in each}
    rules = [r for r in server.application.url_map.iter_rules() if r.endpoint.startswith("api.")]
    there = {
        (method, re.sub(r"<(?:[^<>]*:)?(\w+)>", r"{\1}", str(rule)))
        for rule in rules
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert there - told == {("GET", f"{api.PREFIX}/openapi.json")}
    assert told - there == set()
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names)) == len(api.table(work, Answers()))
    known = document["components"]
    for found in re.findall(r'"#/components/(\w+)/(\w+)"', json.dumps(document)):
        assert found[1] in known[found[0]]


EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def test_notebook_of_the_docs_runs_as_it_stands(work, tmp_path):
    cells = EXAMPLE.findall((ROOT / "docs" / "api.md").read_text())
    write_model(tmp_path / "churn", "churn")
    program = tmp_path / "bin" / "rhythmicml"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "main.py"}" "$@"\n')
    program.chmod(0o755)
    client = Client(work.home)
    environ = {**client.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    pages = subprocess.Popen(
        ["rhythmicml", "ui", "--no-window"], env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        pages.stdout.readline()
        ran = subprocess.run(
            [sys.executable, "-c", "\n".join(cells)], cwd=tmp_path, env=environ,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert "churn 1 serving" in ran.stdout
        assert client("status") == []
    finally:
        pages.terminate()
        pages.communicate(timeout=20)
