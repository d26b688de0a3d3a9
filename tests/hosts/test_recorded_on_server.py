"""What an instance records and says where systemd confines it, read by the agent as whom it is
there."""

import json
import signal
import subprocess
import time

import pytest
from client import PREDICT, Client, Failed, write_model
from guests import USERS_BY_MODE

from app.deployer.agent.metrics import parts
from app.deployer.road import open_ssh
from app.deployer.trust import Trust
from app.models import Location
from app.scoring import samples

HOSTILE = "\\x1b[2J\\x07<b>odd</b>"
SCRIPT = PREDICT.replace(
    "    return [",
    f"""    print("asked for", inputs[0], flush=True)
    if inputs[0][0] == 7:
        print("{HOSTILE}", flush=True)
    if inputs[0][0] < 0:
        raise ArithmeticError("below zero")
    return [""",
)
ASK = """
import sys, urllib.error, urllib.request

address, words = f"http://127.0.0.1:{sys.argv[1]}/score", sys.argv[2:]
for name, number in zip(words[::2], words[1::2]):
    body, headers = b'{"inputs": [[%s, 2, 3]]}' % number.encode(), {"X-Request-Id": name}
    try:
        urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30).read()
    except urllib.error.HTTPError as error:
        error.read()
"""


class Instance:
    """One that says what it is asked, and writes a line about each request."""

    def __init__(self, folder, guest, mode):
        self.mode, self.guest, self.name = mode, guest, f"records-{mode}"
        guest.linger("ds")
        self.client = Client(folder / "home")
        self.client.add_location(guest, USERS_BY_MODE[mode])
        model = write_model(folder / "model", self.name, script=SCRIPT)
        with (model / "rhythmicml.toml").open("a") as file:
            file.write('[deploy]\naccess_log = "all"\n')
        self.port = str(self.client("deploy", str(model), "--to", "srv")["port"])

    def ask(self, *words):
        """Names of requests and the first numbers of their rows, in turn."""
        self.guest.run(["python3", "-c", ASK, self.port, *words])


@pytest.fixture(scope="module")
def instance(request, tmp_path_factory, guest):
    instance = Instance(tmp_path_factory.mktemp("recorded"), guest, request.param)
    yield instance
    instance.client("undeploy", instance.name, "--purge", "--yes")


@pytest.mark.parametrize("instance", ["root", "user"], indirect=True)
def test_what_an_instance_recorded_is_read_after_it_was_stopped(tmp_path, instance, guest):
    instance.ask(*["usual", "1"] * 30)
    instance.client("stop", instance.name)
    url = f"ssh://{USERS_BY_MODE[instance.mode]}@{guest.address}"
    there = Location("srv", url=url, identity=str(guest.key))
    trust = Trust(tmp_path / "known_hosts")
    trust.accept(guest.fingerprint)
    with open_ssh(there, trust=trust) as road:
        found = parts(road.call("metrics", name=instance.name))["instances"][instance.name]
    assert "error" not in found
    whole = samples.empty()
    for *_, body in found["samples"]:
        whole = samples.merge(whole, samples.unpack(body))
    assert whole["requests"]["200"] >= 30
    assert whole["inputs"]["0"]["mean"] == 1.0
    assert whole["memory"] > 20e6
    assert whole["host"]["memory_total"] > 1e9
    kinds = [kind for _, _, kind, _ in reversed(found["events"])]
    assert kinds == ["started", "ready", "accepting", "draining", "ended"]


@pytest.mark.parametrize("instance", ["root"], indirect=True)
def test_what_it_said_is_found_in_the_journal_followed_and_explained(instance):
    logs = [instance.name, "--grep"]
    argv = instance.client.argv("logs", *logs, "asked for [4", "--follow")
    with subprocess.Popen(
        argv, env=instance.client.environ, stdout=subprocess.PIPE, text=True
    ) as following:
        instance.client("start", instance.name)
        instance.ask("first", "41", "odd", "7", "wrong", "-1", "second", "42")
        came = [following.stdout.readline().partition("asked for ")[2] for _ in range(2)]
        following.send_signal(signal.SIGINT)
    assert [json.loads(line)[0] for line in came] == [41, 42]
    assert following.returncode == 0

    soon(lambda: instance.client("logs", *logs, '"REQUEST":"second"'))
    (odd,) = instance.client("logs", *logs, "odd</b>")
    assert odd.endswith(HOSTILE)
    asked = instance.client("logs", *logs, "ASKED for [", "-n", "3")
    assert [json.loads(line.partition("asked for ")[2])[0] for line in asked] == [7, -1, 42]
    stamped = instance.client("logs", *logs, asked[-1][:13])
    assert asked[-1] in stamped, "stamps are looked at, too"
    wrong = instance.client("logs", instance.name, "--level", "error")
    assert "Traceback (most recent" in wrong[0]
    assert any("ArithmeticError: below zero" in line for line in wrong)
    assert '"status":500' in wrong[-1]
    assert not any("asked for" in line or '"status":200' in line for line in wrong)

    (row,) = instance.client("explain", "wrong")
    assert (row["model"], row["location"], row["version"]) == (instance.name, "srv", 1)
    assert row["request"]["status"] == 500
    assert abs(row["at"] - time.time()) < 120
    with pytest.raises(Failed, match="No instance knows the request secon"):
        instance.client("explain", "secon", instance.name)  # part of a name is none


def soon(found):
    """What is written down is there a moment after the answer."""
    limit = time.monotonic() + 10
    while not found():
        assert time.monotonic() < limit
        time.sleep(0.2)
