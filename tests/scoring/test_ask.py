"""The socket that pipelines ask: as the port, without a token, through every switch."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest

from .conftest import Front, Instance, call, listening, wait_for
from .pipelines import Base, stage
from .test_keeper import Keeper

MODEL = "import os\ndef predict(m, i):\n    return os.getppid()\n"
TOKEN = "a" * 40


def dial(path):
    """A connection, however long the path is."""
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(20)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        link.connect(f"/proc/self/fd/{folder}/{path.name}")
    except BaseException:
        link.close()
        raise
    finally:
        os.close(folder)
    return link


def ask(path, method="POST", route="/score", body="1", **headers):
    client = HTTPConnection("ask", timeout=20)
    client.sock = dial(path)
    return call(client, method, route, body, headers)


def path_of(instance):
    return instance.folder.parent.parent / "ask" / f"{instance.folder.name}.sock"


@pytest.fixture
def keep():
    keepers = []

    def start(instance):
        keepers.append(Keeper(instance))
        return keepers[-1]

    yield start
    for keeper in keepers:
        keeper.close()


def test_schema_says_what_it_is(instance, keep):
    name = instance.release(MODEL)
    keep(instance)
    said = ask(path_of(instance), "GET", "/schema", None).json
    schema = said.pop("schema")
    assert said == {
        "model": "churn", "version": 1, "release": name, "kind": "json", "pipeline": None,
    }  # fmt: skip
    assert schema["format"] == 1
    assert path_of(instance).stat().st_mode & 0o777 == 0o600
    assert path_of(instance).parent.stat().st_mode & 0o777 == 0o700


def test_pipeline_says_what_it_asks_and_not_how(tmp_path):
    base = Base(tmp_path, Path(sys.prefix))
    try:
        base.model("features", "def predict(m, i):\n    return i\n")
        base.pipeline([stage("features", after=["input"], version=1)])
        said = ask(tmp_path / "ask" / "credit.sock", "GET", "/schema", None).json["pipeline"]
    finally:
        base.close()
    brief = {"name": "features", "instance": "features", "version": 1}
    assert said == {"stages": [brief], "depth": 1}


def test_it_needs_no_token_where_the_port_does(instance, keep):
    """`curl --unix-socket`, as a person would ask it."""
    tokens = {"format": 1, "tokens": [{"name": "a", "scope": "score", "sha256": "0" * 64}]}
    (instance.folder / "tokens.json").write_text(json.dumps(tokens))
    instance.release(MODEL)
    keeper = keep(instance)
    assert keeper.post().status == 401
    port = HTTPConnection("127.0.0.1", keeper.port, timeout=20)
    assert call(port, "GET", "/schema").status == 401
    asked = ["curl", "-sS", "--unix-socket", path_of(instance), "-d", "1", "http://ask/score"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout).keys() == {"predictions"}
    assert ask(path_of(instance), "GET", "/metrics", None).status == 200
    assert ask(path_of(instance), "GET", "/admin/state", None).status == 404


def test_connections_wait_while_production_is_killed(instance, keep):
    name = instance.release(MODEL)
    keeper = keep(instance)
    path = path_of(instance)
    before = ask(path).json["predictions"]
    os.kill(before, signal.SIGKILL)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(path))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = keeper.fronts()[name]["pid"]
    assert {each.json["predictions"] for each in answers} == {after}
    assert after != before


def test_a_switch_loses_nothing(instance, keep):
    """As the agent does it: start the new one, rename, let it serve, stop the old one."""
    old = instance.release("def predict(m, i):\n    return 1\n")
    keeper = keep(instance)
    path, seen, done = path_of(instance), [], threading.Event()
    assert ask(path).status == 200

    def load():
        while not done.is_set():
            seen.append((ask(path).json or {}).get("predictions"))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    new = instance.release("def predict(m, i):\n    return 2\n", number=2, current=False)
    for to, off in ((new, old), (old, new), (new, old)):
        assert keeper.order("start", release=to)["ok"]
        wait_for(lambda to=to: f"{to} is ready" in keeper.log(to).rpartition("draining")[2], 30)
        instance.switch(to)
        client = HTTPConnection("localhost", timeout=10)
        client.sock = dial(instance.folder / "run" / f"{to}.sock")
        assert call(client, "POST", "/admin/serve", b"").status == 200
        keeper.order("stop", release=off)
    time.sleep(0.2)
    done.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {1, 2}
    assert seen[-1] == 2
    assert len(seen) > 100


def test_candidate_and_resting_release_answer_nobody(instance):
    """Only who accepts on the port accepts here."""
    path = instance.folder / "ask.sock"
    with socket.socket(socket.AF_UNIX) as sock, listening() as port:
        sock.bind(str(path))
        sock.listen(100)
        name = instance.release(MODEL, current=False)
        front = Front(instance, name, port, sock)
        try:
            assert front.wait_ready().admin("GET", "/admin/state").json["asked"] is True
            with pytest.raises(TimeoutError):
                waiting(path)
            front.admin("POST", "/admin/serve", b"")
            wait_for(lambda: front.admin("GET", "/admin/state").json["accepting"])
            assert ask(path).status == 200
            front.admin("POST", "/admin/rest", b"")
            with pytest.raises(TimeoutError):
                waiting(path)
            assert front.end() == 0
        finally:
            front.close()


def waiting(path):
    client = HTTPConnection("ask")
    client.sock = dial(path)
    client.sock.settimeout(0.5)
    return call(client, "GET", "/livez")


def test_paths_may_be_longer_than_the_kernel_takes(tmp_path, keep):
    instance = Instance(Path(tmp_path, *("deep" * 10,) * 3, "instances", "churn"))
    instance.release(MODEL)
    keeper = keep(instance)
    path = path_of(instance)
    assert len(str(path)) > 150
    assert ask(path).status == 200
    keeper.close()
    assert not path.exists()


def test_next_keeper_takes_the_place_of_one_that_was_killed(instance, keep):
    instance.release(MODEL)
    keeper = keep(instance)
    assert ask(path_of(instance)).status == 200
    keeper.process.kill()
    keeper.process.wait()
    wait_for(lambda: keep(instance).port, 30)
    assert ask(path_of(instance)).status == 200
