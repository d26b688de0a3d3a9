"""The whole main job on a real server: deploy, score, switch, roll back, look, take away.

Each test has a model of its own, so that they share one server. `mode` is how we may install there:
system-wide as root, system-wide with sudo, or as a plain user who lingers.
"""

import json
import signal
import time
import urllib.request
from functools import partial

import pytest
from client import PREDICT, ROOT, Client, Failed, Together
from client import briefly_watched as write_model
from guests import USERS_BY_MODE, soon
from load import Load


@pytest.fixture
def folder(tmp_path, request, mode):
    return named_model(tmp_path, request, mode)


@pytest.fixture
def root_folder(tmp_path, request):
    return named_model(tmp_path, request, "root")


def named_model(tmp_path, request, mode):
    name = request.node.originalname.removeprefix("test_").replace("_", "-")[:36]
    return write_model(tmp_path / "model", f"{name}-{mode}".replace("--", "-"))


def name_of(folder):
    return (folder / "rhythmicml.toml").read_text().split('"')[1]


def ask(client, name, data='{"inputs": [[1, 2, 3]]}'):
    path = client.home / "data.json"
    path.write_text(data)
    return client("score", name, "--data", str(path))


def test_whole_main_job(client, folder, mode):
    name = name_of(folder)
    first = client("deploy", str(folder), "--to", "srv")
    assert first["changed"]
    assert first["version"] == 1
    assert ask(client, name)["answer"] == {"predictions": [12.0]}
    large = '{"inputs": [[1, 2, 3]]' + " " * 2_000_000 + "}"  # it is read beside the front
    assert ask(client, name, large)["answer"] == {"predictions": [12.0]}

    again = client("deploy", str(folder), "--to", "srv")
    assert not again["changed"]
    assert again["sent"] == {"files": 0, "bytes": 0}

    # A factor of its own: one that another test's model has is on the server already.
    factor = 30.0 + list(USERS_BY_MODE).index(mode)
    write_model(folder, name, factor=factor)
    second = client("deploy", name, "--to", "srv")
    assert (second["version"], second["sent"]["files"]) == (2, 1)
    answer = ask(client, name)
    assert answer["answer"] == {"predictions": [6 * factor]}
    assert (answer["version"], answer["release"]) == ("2", second["release"])

    back = client("rollback", name)
    assert back["version"] == 1
    assert ask(client, name)["answer"] == {"predictions": [12.0]}
    forth = client("switch", f"{name}@2")
    assert forth["release"] == second["release"]
    assert ask(client, name)["answer"] == {"predictions": [6 * factor]}

    [row] = client("status", name)
    assert (row["state"], row["version"], row["outdated"]) == ("serving", 2, False)
    assert row["memory"] > 10_000_000
    assert any("ready" in line for line in client("logs", name))

    client("stop", name)
    assert client("status", name)[0]["state"] == "stopped"
    with pytest.raises(Failed) as refused:
        ask(client, name)
    assert refused.value.problem["what"] == f"{name} is stopped on srv."
    client("start", name)
    assert ask(client, name)["answer"] == {"predictions": [6 * factor]}
    client("restart", name)
    assert ask(client, name)["answer"] == {"predictions": [6 * factor]}

    client("undeploy", name, "--purge", "--yes")
    assert client("status", name) == []
    with pytest.raises(Failed, match="not deployed"):
        client("undeploy", name)
    told = [line["action"] for line in client("history", name)]
    actions = [action for action in told if action != "commit"]
    client("undeploy", name, "--purge", "--yes", "--to", "srv")  # again: there is nothing left
    assert actions == [
        "undeploy", "restart", "start", "stop", "switch", "rollback", "deploy", "deploy",
    ]  # fmt: skip


def test_scikit_learn_example_answers_from_a_server(root_client):
    """Real packages, built there from the lock; the tunnel is the way that people take to it."""
    example = ROOT / "assets" / "examples" / "tumour"
    deployed = root_client("deploy", str(example), "--to", "srv")
    sample = example / "sample.json"
    answer = root_client("score", "tumour", "--data", str(sample))["answer"]
    benign, malignant = answer["predictions"]
    assert benign < 0.01 < 0.99 < malignant
    tunnel = root_client.start("tunnel", "tumour")
    with tunnel:
        opened = json.JSONDecoder().raw_decode(read_value(tunnel.stdout))[0]
        with urllib.request.urlopen(f"{opened['url']}/score", sample.read_bytes(), 30) as said:
            assert json.loads(said.read()) == answer
            assert said.headers["X-Release"] == deployed["release"]
        tunnel.send_signal(signal.SIGINT)
    assert tunnel.returncode == 0
    root_client("undeploy", "tumour", "--purge", "--yes")


def read_value(stream):
    """One JSON object from a stream that stays open."""
    text = ""
    while not text.endswith("}\n"):
        text += stream.readline()
    return text


def test_nothing_is_left_after_a_purge(client, folder, mode, guest):
    name = name_of(folder)
    client("deploy", str(folder), "--to", "srv")
    client("undeploy", name, "--purge", "--yes")
    search = f"find / /run -xdev -path /proc -prune -o -name '*{name}*' -print 2>/dev/null"
    left = guest.run(["sh", "-c", search]).stdout.splitlines()
    # systemd keeps the stamp of a cgroup's slice until its next collection; it holds nothing.
    assert [line for line in left if not line.startswith("/sys")] == []


def test_switch_and_rollback_under_load_lose_nothing(client, folder, guest, mode):
    name = name_of(folder)
    port = client("deploy", str(folder), "--to", "srv")["port"]
    with Load(guest, port) as load:
        for factor in (3.0, 4.0):
            write_model(folder, name, factor=factor)
            client("deploy", name, "--to", "srv")
        client("rollback", name)
        client("switch", f"{name}@1")
    assert load.failed == []
    assert load.ok > 200
    assert [release.split("-")[0] for release in dict.fromkeys(load.releases)] == ["v1", "v2", "v3"]


def test_old_release_answers_nobody_once_the_command_has_returned(root_client, root_folder, guest):
    name = name_of(root_folder)
    port = root_client("deploy", str(root_folder), "--to", "srv")["port"]
    write_model(root_folder, name, factor=3.0)
    with Load(guest, port):
        new = root_client("deploy", name, "--to", "srv")["release"]
        with Load(guest, port) as afterwards:
            time.sleep(1)
    assert afterwards.failed == []
    assert afterwards.releases == [new]


def test_killed_processes_refuse_no_connection(client, folder, guest, mode):
    name = name_of(folder)
    port = client("deploy", str(folder), "--to", "srv")["port"]
    with Load(guest, port, rate=40) as load:
        for _ in range(3):
            time.sleep(1)
            kill = f"pkill -KILL -f '[f]ront --instance .*/{name} '"
            guest.run(["sh", "-c", f"until {kill}; do sleep 0.1; done"])
        time.sleep(2.5)
    refused = [each for each in load.failed if "Refused" in each]
    assert refused == []
    # What was being answered when the process died is lost, and nothing else.
    assert len(load.failed) <= 3 * 10
    assert load.ok > 40
    assert client("status", name)[0]["state"] == "serving"


def test_release_that_cannot_load_leaves_the_old_one_serving(client, folder, guest, mode):
    name = name_of(folder)
    port = client("deploy", str(folder), "--to", "srv")["port"]
    broken = PREDICT.replace(
        "return json", 'raise RuntimeError("weights are cursed")\n    return json'
    )
    write_model(folder, name, script=broken)
    with Load(guest, port) as load, pytest.raises(Failed) as failed:
        client("deploy", name, "--to", "srv")
    assert failed.value.problem["kind"] == "GateFailed"
    assert "weights are cursed" in failed.value.problem["detail"]
    assert load.failed == []
    assert ask(client, name)["version"] == "1"
    write_model(folder, name, factor=5.0)
    client("deploy", name, "--to", "srv")
    assert ask(client, name)["answer"] == {"predictions": [30.0]}


def test_first_release_that_cannot_load_leaves_nothing_listening(root_client, root_folder, guest):
    name = name_of(root_folder)
    write_model(root_folder, name, script=PREDICT.replace("return json", "1 / 0\n    return json"))
    with pytest.raises(Failed, match="ZeroDivisionError"):
        root_client("deploy", str(root_folder), "--to", "srv")
    assert name not in guest.run(["systemctl", "list-sockets"]).stdout
    assert name not in guest.run(["ls", "/etc/systemd/system"]).stdout
    assert name not in guest.run(["/var/lib/rhythmicml/rhythmicml-host", "status"]).stdout
    told = guest.run(["/var/lib/rhythmicml/rhythmicml-host", "logs", name]).stdout
    assert "ZeroDivisionError" in told
    write_model(root_folder, name)
    assert root_client("deploy", name, "--to", "srv")["changed"]


def test_release_that_predicts_nonsense_for_its_sample_is_not_switched_to(root_client, root_folder):
    name = name_of(root_folder)
    root_client("deploy", str(root_folder), "--to", "srv")
    write_model(root_folder, name, script=PREDICT.replace("for row in inputs", "for row in 7"))
    with pytest.raises(Failed, match="TypeError"):
        root_client("deploy", name, "--to", "srv")
    assert ask(root_client, name)["version"] == "1"


def test_two_deployments_at_once_one_wins_and_the_other_is_told(
    root_client, root_folder, tmp_path, guest
):
    name = name_of(root_folder)
    root_client("deploy", str(root_folder), "--to", "srv")
    slow = PREDICT.replace("return json", "time.sleep(8)\n    return json")
    write_model(root_folder, name, script=slow)
    root_client("commit", name)
    lock = f"/var/lib/rhythmicml/instances/{name}/lock"

    def first():
        return root_client("deploy", f"{name}@2", "--to", "srv")

    def second():
        soon("starting version 2", lambda: "Start v2" in guest.run(["cat", lock]).stdout)
        return root_client("deploy", f"{name}@2", "--to", "srv")

    won, lost = Together(first, second).results
    assert won["version"] == 2
    assert isinstance(lost, Failed)
    assert lost.problem["kind"] == "Busy"
    assert "root" in lost.problem["what"]
    assert 'now at "Start v2' in lost.problem["what"]


@pytest.mark.parametrize("moment", [0.5, 1.0, 1.6, 2.2])
def test_killed_client_is_picked_up_by_the_next_deployment(root_client, tmp_path, guest, moment):
    name = f"killed-client-{int(moment * 10)}"
    folder = write_model(tmp_path / "model", name)
    port = root_client("deploy", str(folder), "--to", "srv")["port"]
    slow = PREDICT.replace("return json", "time.sleep(1)\n    return json").replace("sum", "max")
    write_model(folder, name, script=slow)
    with Load(guest, port) as load:
        deploying = root_client.start("deploy", name, "--to", "srv")
        time.sleep(moment)
        deploying.kill()
        deploying.communicate()
        deadline = time.monotonic() + 60
        while True:
            try:
                done = root_client("deploy", name, "--to", "srv")
                break
            except Failed as failed:
                if failed.problem["kind"] != "Busy" or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
    assert load.failed == []
    assert done["version"] == 2
    assert ask(root_client, name)["answer"] == {"predictions": [6.0]}
    assert root_client("deploy", name, "--to", "srv")["changed"] is False
    units = guest.run(["systemctl", "list-units", "--plain", "--no-legend", f"rhythmicml-{name}@*"])
    assert len(units.stdout.splitlines()) == 1


def test_instances_come_back_after_a_reboot_without_a_login(tmp_path, fresh_guest):
    fresh_guest.linger("ds")
    client = Client(tmp_path / "home")
    deployed = {}
    for user in ("root", "ds"):
        client.add_location(fresh_guest, user, f"as-{user}")
        folder = write_model(tmp_path / user, f"reboot-{user}")
        client("deploy", str(folder), "--to", f"as-{user}")
        write_model(folder, f"reboot-{user}", factor=7.0)
        deployed[user] = client("deploy", str(folder), "--to", f"as-{user}")
    fresh_guest.reboot()
    for user, was in deployed.items():
        asked = soon("serving after the boot", partial(health, fresh_guest, was["port"]))
        assert json.loads(asked) == was["release"]
        assert client("deploy", f"reboot-{user}", "--to", f"as-{user}")["steps"] == []
        write_model(tmp_path / user, f"reboot-{user}", factor=8.0)
        client("deploy", f"reboot-{user}", "--to", f"as-{user}")
        assert ask(client, f"reboot-{user}")["answer"] == {"predictions": [48.0]}


def health(guest, port):
    """The release that is ready, as JSON; nothing while none is."""
    return guest.run(["python3", "-c", HEALTH, str(port)], check=False).stdout


HEALTH = """
import json, sys, urllib.request
answer = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/readyz", timeout=20)
print(json.dumps(answer.headers["X-Release"]))
"""


def test_damaged_release_is_placed_anew_by_the_next_deployment(root_client, root_folder, guest):
    name = name_of(root_folder)
    root_client("deploy", str(root_folder), "--to", "srv")
    current = f"/var/lib/rhythmicml/instances/{name}/releases/current"
    guest.run(["rm", f"{current}/files/predict.py"])
    root_client("deploy", name, "--to", "srv")
    root_client("restart", name)
    assert ask(root_client, name)["answer"] == {"predictions": [12.0]}


def test_switch_means_our_own_version_not_that_of_a_colleague(root_client, tmp_path, guest):
    other = Client(tmp_path / "other")
    other.add_location(guest, "root")
    mine = write_model(tmp_path / "mine", "shared-name", factor=1.0)
    root_client("deploy", str(mine), "--to", "srv")
    other(
        "deploy", str(write_model(tmp_path / "theirs", "shared-name", factor=100.0)), "--to", "srv"
    )
    write_model(mine, "shared-name", factor=2.0)
    root_client("deploy", "shared-name", "--to", "srv")
    root_client("switch", "shared-name@1")
    assert ask(root_client, "shared-name")["answer"] == {"predictions": [6.0]}


def test_port_of_another_program_is_named(root_client, root_folder, guest):
    with pytest.raises(Failed) as failed:
        root_client("deploy", str(root_folder), "--to", "srv", "--port", "22")
    assert "sshd" in failed.value.problem["cause"]


def test_python_that_is_not_there_is_named(root_client, root_folder):
    toml = root_folder / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace("3.11", "3.99"))  # nor anywhere else
    with pytest.raises(Failed) as failed:
        root_client("deploy", str(root_folder), "--to", "srv")
    assert failed.value.problem["what"] == "Python 3.99 is not on that host."
    assert "3.11.2" in failed.value.problem["cause"]


def test_plan_says_what_would_be_done_and_does_nothing(root_client, root_folder, guest):
    name = name_of(root_folder)
    planned = root_client("deploy", str(root_folder), "--to", "srv", "--plan")
    assert any(words.startswith("Listen on port") for words in planned["plan"])
    assert (
        guest.run(
            ["sh", "-c", f"ls -d /var/lib/rhythmicml/instances/{name}/releases"], check=False
        ).stdout
        == ""
    )


def test_hostile_names_in_data_reach_nobody_s_shell(root_client, tmp_path, guest):
    folder = write_model(tmp_path / "model", "injection")
    odd = folder / "artifacts" / "$(touch pwn) `touch pwn`; 'quote' \"q\" --flag\nnewline"
    odd.write_text("x")
    root_client("deploy", str(folder), "--to", "srv", "-m", "$(touch /tmp/pwn)")
    assert ask(root_client, "injection")["answer"] == {"predictions": [12.0]}
    assert guest.run(["find", "/tmp", "/root", "/var/lib/rhythmicml", "-name", "pwn"]).stdout == ""


def test_sandbox_of_a_system_wide_instance_holds(root_client, tmp_path):
    script = """
import os, socket
from pathlib import Path

def tried(action):
    try:
        action()
    except (OSError, PermissionError) as error:
        return type(error).__name__
    return "allowed"

def predict(model, inputs: list):
    here = Path(__file__).resolve().parent
    return [{
        "own files": tried(lambda: (here / "x").write_text("x")),
        "etc": tried(lambda: Path("/etc/x").write_text("x")),
        "root home": tried(lambda: os.listdir("/root/.ssh")),
        "shadow": tried(lambda: Path("/etc/shadow").read_text()),
        "netlink": tried(lambda: socket.socket(socket.AF_NETLINK).close()),
        "raw": tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW).close()),
        "init": tried(lambda: os.listdir("/proc/1/fd")),
        "lock": tried(lambda: os.close(os.open(here.parents[2] / "lock", os.O_RDONLY))),
        "blobs": tried(lambda: os.listdir("/var/lib/rhythmicml/blobs")),
        "models": len(os.listdir("/var/lib/rhythmicml/instances")),
        "tmp": tried(lambda: Path("/tmp/mine").write_text("x")),
        "uid": os.getuid() != 0,
    }]
"""
    folder = write_model(tmp_path / "model", "sandbox", script=script)
    root_client("deploy", str(folder), "--to", "srv")
    [found] = ask(root_client, "sandbox")["answer"]["predictions"]
    assert found.pop("models") == 1
    denied = {name: what for name, what in found.items() if name not in ("tmp", "uid")}
    assert "allowed" not in denied.values(), denied
    assert found["tmp"] == "allowed"
    assert found["uid"]
