"""A pipeline on a real server: two stages beside it, one on another server over TLS with a token.

We ask it from inside its own server; switches happen under that load.
"""

import json
import time

import pytest
from client import Client
from client import briefly_watched as write_model
from load import Load

FEATURES = (
    "def predict(model, inputs: list):\n    return [[sum(row), len(row)] for row in inputs]\n"
)
STAGES = """
[model]
name = "credit"
[predict]
timeout = 8
[[stage]]
name = "features"
instance = "features"
timeout = 2.0
[[stage]]
name = "near"
instance = "near"
after = ["features"]
timeout = 2.0
[[stage]]
name = "far"
instance = "far"
location = "lab"
after = ["features"]
timeout = 2.0
[[stage]]
name = "blend"
combine = "mean"
after = ["near", "far"]
"""
ASK = """
import http.client, json, sys, time
began = time.monotonic()
line = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
line.request("POST", "/score", b'{"inputs": [[1, 2, 3]]}', {"Content-Type": "application/json"})
answer = line.getresponse()
body = json.loads(answer.read())
print(json.dumps([answer.status, body, answer.headers["X-Pipeline"], time.monotonic() - began]))
"""


class Asked:
    """An answer of the pipeline, asked from inside its server."""

    def __init__(self, guest, port):
        said = guest.run(["python3", "-c", ASK, str(port)], timeout=60).stdout
        self.status, self.body, self.stages, self.seconds = json.loads(said)


def public(folder):
    with (folder / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nexpose = "public"\n')
    return folder


@pytest.fixture
def client(tmp_path, guest, fresh_guest):
    client = Client(tmp_path / "home")
    client.add_location(guest, "root")
    client.add_location(fresh_guest, "root", "lab")
    yield client
    client.undeploy_all()


@pytest.fixture
def folders(client, tmp_path):
    """The models, tracked and deployed nowhere; and the folder of the pipeline."""
    write_model(tmp_path / "features", "features", script=FEATURES)
    write_model(tmp_path / "near", "near", factor=1.0)
    public(write_model(tmp_path / "far", "far", factor=3.0))
    for name in ("features", "near", "far"):
        client("add", str(tmp_path / name))
        client("commit", name)
    folder = tmp_path / "credit"
    folder.mkdir()
    (folder / "rhythmicml.toml").write_text(STAGES)
    (folder / "sample.json").write_text('{"inputs": [[1, 2, 3]]}')
    return tmp_path


def test_a_pipeline_over_two_servers(client, folders, guest, fresh_guest):
    done = client("deploy", str(folders / "credit"), "--to", "srv", "--with-stages", timeout=300)
    port = done["port"]
    first = Asked(guest, port)
    assert (first.status, first.body["predictions"]) == (200, [18.0])  # (1 * 9 + 3 * 9) / 2
    assert first.stages == "features=1, near=1, far=1"
    rows = {(row["model"], row["location"]): row for row in client("status")}
    assert set(rows) == {("features", "srv"), ("near", "srv"), ("far", "lab"), ("credit", "srv")}
    assert rows["far", "lab"]["exposure"] == "public"
    assert [each["name"] for each in client("token", "list", "far")] == ["pipeline-credit-srv"]
    assert not client("deploy", "credit", "--to", "srv")["changed"]

    with Load(guest, port, 50) as load:
        write_model(folders / "near", "near", factor=5.0)
        client("deploy", "near", "--to", "srv")
        time.sleep(0.5)
        client("rollback", "near")
        public(write_model(folders / "far", "far", factor=7.0))
        client("deploy", "far", "--to", "lab")
        time.sleep(0.5)
        client("rollback", "far")
        time.sleep(0.5)
    assert load.failed == []
    assert load.ok > 200
    print(f"{load.ok} requests, {len(load.failed)} failed, p99 {load.p99:.0f} ms")
    assert Asked(guest, port).stages == "features=1, near=1, far=1"

    client("undeploy", "credit", "--yes")
    assert client("token", "list", "far") == [], "nobody is left who may ask it"
    client("rename", "credit", "loan")
    port = client("deploy", "loan", "--to", "srv")["port"]
    assert Asked(guest, port).status == 200
    assert [each["name"] for each in client("token", "list", "far")] == ["pipeline-loan-srv"]

    client("token", "rotate", "far", "pipeline-loan-srv", "--grace", "0")
    client("deploy", "loan", "--to", "srv")
    assert Asked(guest, port).status == 200, "it was given the one that is taken"
    client("undeploy", "loan", "--yes")
    client("undeploy", "far", "--purge", "--yes")
    port = client("deploy", "loan", "--to", "srv", "--with-stages", timeout=100)["port"]
    assert Asked(guest, port).status == 200
    assert not client("deploy", "loan", "--to", "srv")["changed"]


BUDGET = 2.0
"""Seconds that each stage may take."""


@pytest.mark.faults
def test_a_stage_that_fails_is_named_within_its_budget(client, folders, guest, fresh_guest):
    """F50, with each of the three stages: hung, killed, stopped."""
    port = client("deploy", str(folders / "credit"), "--to", "srv", "--with-stages", timeout=300)[
        "port"
    ]
    for stage, host in (("features", guest), ("near", guest), ("far", fresh_guest)):
        hung = hung_stage(guest, port, stage, host)
        killed = killed_stage(guest, port, stage, host)
        gone = stopped_stage(client, guest, port, stage)
        print(f"F50 {stage}: hung {hung:.2f} s, killed {killed:.2f} s, stopped {gone:.2f} s")


def processes(host, stage):
    pids = host.run(["pgrep", "-f", f"instances/{stage}( |/)"]).stdout.split()
    assert pids
    return pids


def hung_stage(guest, port, stage, host):
    """504 within the budget and a second; the seconds it took."""
    pids = processes(host, stage)
    host.run(["kill", "-STOP", *pids])
    late = Asked(guest, port)
    host.run(["kill", "-CONT", *pids])
    assert late.status == 504, late.body
    assert f'"{stage}"' in late.body["error"]["what"]
    assert late.seconds < BUDGET + 1
    assert well_again(guest, port)
    return late.seconds


def killed_stage(guest, port, stage, host):
    """systemd starts it again; until then it is named, each time within the budget."""
    host.run(["kill", "-KILL", *processes(host, stage)])
    answers = [Asked(guest, port)]
    while answers[-1].status != 200 and len(answers) < 20:
        assert f'"{stage}"' in answers[-1].body["error"]["what"]
        time.sleep(0.5)
        answers.append(Asked(guest, port))
    assert answers[-1].status == 200
    assert max(each.seconds for each in answers) < BUDGET + 1
    return max(each.seconds for each in answers)


def stopped_stage(client, guest, port, stage):
    """502 five times, then the circuit is open: 503 at once; the longest of them."""
    client("stop", stage, "--force")
    answers = [Asked(guest, port) for _ in range(7)]
    assert all(f'"{stage}"' in each.body["error"]["what"] for each in answers)
    assert [each.status for each in answers[:5]] == [502] * 5
    assert answers[-1].status == 503, "the circuit is open"
    assert max(each.seconds for each in answers) < BUDGET + 1
    client("start", stage)
    assert well_again(guest, port)
    return max(each.seconds for each in answers)


def well_again(guest, port, within=15):
    limit = time.monotonic() + within
    while (said := Asked(guest, port)).status != 200 and time.monotonic() < limit:
        time.sleep(0.5)
    return said.status == 200
