"""The gate on this machine: golden inputs, reports, and F27's bad bundles under load."""

import json
import os
import subprocess
import sys
import time

import bad_bundles
import pytest
from bad_bundles import AT_THE_GATE, DIES_LATER, GOOD, bad
from client import Client, Failed, own_port, write_model
from load import LOAD, Load


class LoadHere(Load):
    """The same load, on a port of this machine."""

    def __init__(self, port, rate=40):
        argv = [sys.executable, "-c", LOAD, str(port), str(rate)]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A client whose model has a good release in production; its folder, its port."""
    home = tmp_path_factory.mktemp("gate")
    client = Client(home / "home").settled()
    folder = write_model(home / "churn", "churn", script=GOOD)
    bad_bundles.golden(folder)
    port = client("deploy", str(folder), "--port", str(own_port()))["port"]
    yield client, folder, port
    client.undeploy_all()


def production(client):
    [row] = client("status", "churn")
    return row["state"], row["version"]


LONG = ("import error", "never ready", "another shape than recorded", "another shape than declared")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.faults] if name in LONG else [])
        for name in AT_THE_GATE
    ],
)
def test_f27_bad_release_never_takes_traffic(served, name):
    client, folder, port = served
    script, configuration, said, logged = AT_THE_GATE[name]
    before = production(client)
    bad(folder, script, configuration)
    with LoadHere(port) as load, pytest.raises(Failed) as failed:
        client("deploy", "churn")
    problem = failed.value.problem
    assert problem["kind"] == "GateFailed"
    assert said in problem["what"] + problem.get("cause", "")
    assert logged in problem["detail"]
    assert "Production is as it was." in problem["remedy"]
    assert (load.failed, len(load.releases)) == ([], 1)
    assert load.ok > 5
    assert production(client) == before == ("serving", 1)
    [newest, *_] = client("history", "churn", "-n", "1")
    assert newest["result"] == "failed"


@pytest.mark.parametrize(
    ("dies", "watch"), [(1.5, "4s"), pytest.param(6, "12s", marks=pytest.mark.faults)]
)
def test_f27_release_that_dies_after_the_switch_is_rolled_back(served, dies, watch):
    """What the only worker holds when it dies cannot be answered; what comes after waits, or is
    refused with 503 and Retry-After."""
    client, folder, port = served
    bad(folder, DIES_LATER.format(seconds=dies), f'[gate]\nwatch = "{watch}"\n')
    with LoadHere(port) as load, pytest.raises(Failed) as failed:
        client("deploy", "churn")
    problem = failed.value.problem
    assert problem["kind"] == "GateFailed"
    assert "s after the switch" in problem["what"]
    assert problem["cause"] == "A worker of it died."
    assert "is production again" in problem["remedy"]
    assert "this worker dies late" in problem["detail"]
    refused = [each for each in load.failed if "The model is not ready." in each]
    held = [each for each in load.failed if "died on this request" in each]
    assert len(load.failed) == len(refused) + len(held)
    assert len(held) <= 1, "a worker holds one"
    assert len(refused) <= 40, "more than a second's"
    assert load.releases[-1].startswith("v1-")
    assert len(set(load.releases)) == 2, "it had been switched"
    assert production(client) == ("serving", 1)
    back, gone = client("history", "churn", "-n", "2")
    assert (back["action"], back["result"], back["version"]) == ("rollback", "done", 1)
    assert (gone["action"], gone["result"]) == ("deploy", "failed")


def test_report_of_a_release_that_did_not_pass_is_kept(served):
    client, folder, _ = served
    bad(folder, GOOD.replace("2.0 *", "2.0001 *"))
    with pytest.raises(Failed) as failed:
        client("deploy", "churn")
    told = failed.value.problem["report"]
    kept = client("report", "churn")
    assert kept["report"] == told
    assert kept["deployment"]["result"] == "failed"
    [sample, two] = told["inputs"]
    assert (sample["recorded"], sample["current"]["differ"]) == (None, 1)
    assert (two["rows"], two["recorded"]["differ"], two["current"]["differ"]) == (2, 2, 2)
    first = two["recorded"]["first"][0]
    assert (first["row"], first["wanted"], first["got"]) == (1, 12.0, 2.0001 * 6)
    assert told["latency"]["current"]["requests"] == told["latency"]["new"]["requests"] == 4
    assert told["memory"]["new"] > 10e6
    assert client("show", "churn")["version"]["memory"] == told["memory"]["new"]


def test_limits_decide_what_may_differ(served):
    client, folder, _ = served
    changed = GOOD.replace("2.0 *", "2.0001 *")
    bad(folder, changed, "[gate]\nmust_match = false\nmax_changed = 0.5\n")
    with pytest.raises(Failed) as failed:
        client("deploy", "churn")
    assert "max_changed allows 0.5" in failed.value.problem["cause"]
    bad(folder, changed, "[gate]\ntolerance = 1e-3\nwatch = 0\n")
    done = client("deploy", "churn")
    assert done["gate"]["passed"]
    assert [each["recorded"]["differ"] for each in done["gate"]["inputs"][1:]] == [0]
    bad(folder, "def predict(model, inputs: dict):\n    return 1\n", "[gate]\nmust_match = false\n")
    (folder / "sample.json").write_text('{"other": 1}')
    done = client("deploy", "churn")
    assert "cannot" in done["gate"]["inputs"][0]["current"], "reported, and no failure"
    client("switch", "churn@1")
    assert client("report", "churn")["deployment"]["release"] == done["release"]


def test_trying_out_and_recording_deploy_nothing(tmp_path):
    client, folder = Client(tmp_path / "home"), write_model(tmp_path / "churn", "churn")
    (folder / "samples").mkdir()
    (folder / "samples" / "a.json").write_text('{"inputs": [[1, 2, 3], [4, 5, 6]]}')
    recorded = folder / "samples" / "a.expected.json"
    assert client("record", str(folder))["recorded"][0]["became"] == "new"
    assert recorded.read_text() == '{\n "predictions": [\n  12.0,\n  30.0\n ]\n}\n'
    write_model(folder, "churn", factor=3.0)
    with pytest.raises(Failed) as failed:
        client("test", "churn")
    assert "2 of 2 rows of samples/a.json differ" in failed.value.problem["cause"]
    assert failed.value.problem["report"]["inputs"][1]["recorded"]["differ"] == 2
    with pytest.raises(Failed) as failed:
        client("record", "churn")
    assert "row 1: 12.0 -> 18.0" in failed.value.problem["detail"]
    assert json.loads(recorded.read_text())["predictions"] == [12.0, 30.0]
    assert client("record", "churn", "--force")["recorded"][0]["became"] == "changed"
    assert client("test", "churn")["passed"]
    assert json.loads(recorded.read_text())["predictions"] == [18.0, 45.0]
    (folder / "samples" / "b.json").write_text('{"inputs": "no rows"}')
    with pytest.raises(Failed) as failed:
        client("record", "churn", "--force")
    assert "samples/b.json: 500" in failed.value.problem["cause"]
    assert not (folder / "samples" / "b.expected.json").exists()
    assert client("versions", "churn") == []
    assert client("status") == []
    local = client.home / "local"
    assert not (local / "instances").exists()
    assert list((local / "tmp").iterdir()) == []
    assert running_from(client.home) == []


def test_killed_trial_leaves_nothing_running(tmp_path):
    script = "import time\n\ndef load(artifacts):\n    time.sleep(60)\n\n" + GOOD
    client = Client(tmp_path / "home").settled()
    folder = write_model(tmp_path / "churn", "churn", script=script)
    trying = client.start("test", str(folder))
    wait_until(lambda: any(b"worker.py" in each for each in running_from(client.home)))
    trying.kill()
    trying.communicate(timeout=30)
    wait_until(lambda: running_from(client.home) == [])


def wait_until(condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def running_from(home):
    """The command lines of processes that have to do with a folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read()
            if os.fsencode(home) in words:
                found.append(words)
        except OSError:
            pass
    return found
