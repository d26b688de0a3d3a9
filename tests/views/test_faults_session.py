"""F03, F04, F06: other users of the machine, leaks of secrets, kills; of the program as started.

The other user is `nobody`, which takes root to become.
"""

import http.client
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from client import Client, write_model
from secrecy import places_here, set_secret
from test_faults_local import address, opened, routes

from app.services import ui_token

NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
SYSTEM_PYTHON = "/usr/bin/python3"
INTRUDER = r"""
import http.client, json, os, sys
asked = json.load(sys.stdin)
home, port, pid = asked["home"], asked["port"], asked["pid"]
got = {"read": [], "statuses": {}, "guesses": {}}

def tried(name, what):
    try:
        what()
    except OSError:
        return
    got["read"].append(name)

assert os.getuid() != 0
tried("list home", lambda: os.listdir(home))
for name in asked["files"]:
    tried(name, lambda: open(os.path.join(home, name), "rb").read(1))
    tried("write " + name, lambda: open(os.path.join(home, name), "ab"))
for name in ("environ", "mem", "fd/0"):
    tried(name, lambda: open(f"/proc/{pid}/{name}", "rb").read(1))
tried("kill", lambda: os.kill(pid, 0))

def ask(method, path, headers, link=None):
    link = link or http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    link.request(method, path, headers=headers)
    answer = link.getresponse()
    answer.read()
    return answer.status

for method, path in asked["routes"]:
    for headers in ({}, {"Cookie": asked["cookie"] + "=x"}, {"Authorization": "Bearer x"}):
        status = ask(method, path, headers)
        got["statuses"].setdefault(str(status), []).append(method + " " + path)
link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
for number in range(asked["guesses"]):
    headers = {"Cookie": f"{asked['cookie']}={number:043}"}
    if number % 2:
        headers = {"Authorization": f"Bearer {number:043}"}
    status = ask("GET", "/api/v1/models", headers, link)
    got["guesses"][str(status)] = got["guesses"].get(str(status), 0) + 1
print(json.dumps(got))
"""


@pytest.fixture
def home():
    """In a folder that everybody may enter, so that only our own rights keep others out."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder) / "home"


class Session:
    """A window's way into the program that printed this address."""

    def __init__(self, url):
        self.port = int(address(url).rpartition(":")[2])
        path = url.removeprefix(address(url))
        self.code = url.partition("code=")[2]
        status, headers, _ = self("GET", path)
        assert status == 303
        self.cookie = headers["Set-Cookie"].partition(";")[0]
        self.secret = self.cookie.partition("=")[2]
        body = self("GET", "/")[2]
        self.csrf = re.search(r"X-RhythmicML-Csrf&#34;: &#34;(\w+)|Csrf\W+(\w{64})", body)[0][-64:]

    cookie = csrf = ""

    def __call__(self, method, path, body=b"", kind="application/x-www-form-urlencoded"):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as link:
            own = {"Cookie": self.cookie, "X-RhythmicML-Csrf": self.csrf, "Content-Type": kind}
            link.request(method, path, body, {**own, "Origin": f"http://127.0.0.1:{self.port}"})
            answer = link.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")


def ended(process, number=signal.SIGTERM):
    process.send_signal(number)
    process.communicate(timeout=20)


@pytest.mark.skipif(
    os.getuid() != 0 or not (shutil.which(NOBODY[0]) and Path(SYSTEM_PYTHON).exists()),
    reason="only root can be another user, and needs setpriv and the system's Python",
)
@pytest.mark.parametrize("guesses", [500, pytest.param(10_000, marks=pytest.mark.faults)])
def test_f03_another_user_reads_nothing_and_gets_nowhere(home, tmp_path, server, guesses):
    client = Client(home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn")
    ui_token.get(home)
    process, url = opened(client)  # with umask 000
    try:
        session = Session(url)
        files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
        assert {"ui.json", "ui-token", "store.sqlite"} <= set(files)
        gets = [each for each in routes(server, "GET") if not each.startswith(("/static", "/boot"))]
        asked = {
            "home": str(home),
            "port": session.port,
            "pid": process.pid,
            "files": files,
            "cookie": session.cookie.partition("=")[0],
            "routes": [("GET", each) for each in gets]
            + [("POST", each) for each in routes(server, "POST")],
            "guesses": guesses,
        }
        began = time.monotonic()
        done = subprocess.run(
            [*NOBODY, SYSTEM_PYTHON, "-c", INTRUDER], input=json.dumps(asked),
            capture_output=True, text=True, timeout=300, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        got = json.loads(done.stdout)
        assert got["read"] == []
        assert set(got["statuses"]) <= {"401", "429"}
        assert set(got["guesses"]) <= {"401", "429"}
        assert got["guesses"].get("401", 0) <= 30 * (1 + (time.monotonic() - began) // 60 + 1)
        assert session("GET", "/")[0] == 200, "who knows the secret is let in all the same"
        open_to_others = [path for path in home.rglob("*") if path.lstat().st_mode & 0o077]
        assert open_to_others == [path for path in open_to_others if blob(path)]
        print(got["guesses"], f"{time.monotonic() - began:.1f} s")
    finally:
        ended(process)


def blob(path):
    """Blobs are 0444, below folders of 0700."""
    return path.stat().st_mode & 0o777 == 0o444 and path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.faults
def test_f04_secrets_of_a_whole_session_are_nowhere_else(tmp_path):
    client = Client(tmp_path / "home")
    client.environ["HOME"] = str(tmp_path)
    folder = write_model(tmp_path / "vault", "vault")
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nsecrets = ["DB_PASSWORD"]\n')
    client("add", str(folder))
    value = "value-of-the-model-0123456789"
    assert set_secret(client, "vault", value, "--file")[0] == 0
    token = ui_token.get(client.home)
    process, url = opened(client)
    try:
        session = Session(url)
        assert session("POST", "/orders", b"verb=deploy&subject=vault&to=local")[0] == 200
        wait_for_jobs(session)
        said = [session("GET", path)[2] for path in ("/", "/jobs", "/settings", "/models/vault")]
        said += [session("GET", f"/models/vault/{tab}")[2] for tab in ("instances", "history")]
        said.append(session("GET", "/models/vault/logs?on=local")[2])
        request = urllib.request.Request(
            f"{address(url)}/api/v1/jobs", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request) as answer:
            said.append(answer.read().decode())
        said.append(session("GET", "/bootstrap?code=" + session.code)[2])
        with closing(sqlite3.connect(client.home / "store.sqlite")) as store, store:
            ((good,),) = store.execute("SELECT configuration FROM versions")
            store.execute("UPDATE versions SET configuration = '{'")
        broken = session("GET", "/models/vault")
        assert broken[0] == 500
        assert "Copy the report" in broken[2]
        said.append(broken[2])  # with the traceback in it: it is searched as all else below
        with closing(sqlite3.connect(client.home / "store.sqlite")) as store, store:
            store.execute("UPDATE versions SET configuration = ?", [good])
        assert "Traceback" in (client.home / "log" / "ui.log").read_text()
        kept = json.loads((client.home / "ui.json").read_text())["bearer"]
        there = client.home / "local/instances/vault/secrets.json"
        secrets = {
            session.secret: [],
            session.code: [],
            session.csrf: [],
            kept: [client.home / "ui.json"],
            token: [client.home / "ui-token"],
            value: [client.home / "secrets.json", there],
        }
        for secret, places in secrets.items():
            assert places_here(secret, tmp_path) == sorted(map(str, places))
            if secret != session.csrf:  # that one is sent by every page of ours
                assert [text for text in said if secret in text] == []
    finally:
        ended(process)
        client("undeploy", "vault", "--purge", "--yes")


def wait_for_jobs(session):
    for _ in range(600):
        if "state-job-running" not in session("GET", "/jobs")[2]:
            return
        time.sleep(0.1)
    raise AssertionError("a job does not end")


@pytest.mark.faults
def test_f06_killed_fifty_times_at_work(tmp_path):
    client = Client(tmp_path / "home")
    client.environ["HOME"] = str(tmp_path)
    folder = write_model(tmp_path / "churn", "churn")
    client("add", str(folder))
    client("commit", "churn")
    seed = int(os.environ.get("RHYTHMICML_SEED", time.time()))
    chance = random.Random(seed)
    print(f"seed {seed}")
    slowest, hit, interrupted = 0.0, 0, 0
    token = ui_token.get(client.home)
    try:
        for turn in range(50):
            began = time.monotonic()
            process, url = opened(client)
            slowest = max(slowest, time.monotonic() - began)

            def api(method, path, body=None, url=url):
                request = urllib.request.Request(
                    f"{address(url)}/api/v1{path}",
                    method=method,
                    data=None if body is None else json.dumps(body).encode(),
                    headers={
                        "Authorization": f"Bearer {token}", "Content-Type": "application/json"
                    },
                )  # fmt: skip
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)

            states = {each["id"]: each["state"] for each in api("GET", "/jobs")}
            assert "running" not in states.values(), states
            write_model(folder, "churn", factor=float(turn))
            job = api("POST", "/models/churn/deploy", {"to": "local"})
            time.sleep(chance.uniform(0, 2.5))
            hit += api("GET", f"/jobs/{job['id']}")["state"] == "running"
            ended(process, signal.SIGKILL)
            assert client("verify")["findings"] == []
        process, url = opened(client)
        states = [each["state"] for each in api("GET", "/jobs?limit=100", url=url)]
        interrupted = states.count("interrupted")
        assert set(states) <= {"done", "failed", "interrupted"}
        ended(process)
        client("deploy", "churn", "--to", "local")
        (row,) = client("status")
        assert row["state"] == "serving"
        assert row["version"] == client("list")[0]["version"]
    finally:
        client("undeploy", "churn", "--purge", "--yes")
    print(f"{hit} of 50 hit a job, {interrupted} interrupted, slowest start {slowest:.2f} s")
    assert interrupted >= hit > 10
    assert slowest < 10
