"""The socket that pipelines of a host ask: who reaches it, and that no switch loses a request."""

import json
import shlex
import shutil
import time
from functools import partial

import pytest
from client import PREDICT, Client, write_model
from guests import USERS_BY_MODE, soon
from load import Load

from app.deployer import units

faults = pytest.mark.faults
SYSTEM_BASE = "/var/lib/rhythmicml"
BASES = {"root": SYSTEM_BASE, "sudo": SYSTEM_BASE, "user": "/home/ds/.local/share/rhythmicml"}

ASK = r"""
import http.client, json, os, socket, sys
path, route = sys.argv[1], sys.argv[2]
link = http.client.HTTPConnection("ask", timeout=20)
link.sock = socket.socket(socket.AF_UNIX)
folder = os.open(os.path.dirname(path), os.O_RDONLY)
link.sock.settimeout(20)
link.sock.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
link.request("GET", route)
print(link.getresponse().read().decode())
"""


@pytest.fixture(scope="module", params=["root", pytest.param("sudo", marks=faults), "user"])
def mode(request):
    """Root with and without sudo come to the same here."""
    return request.param


@pytest.fixture(scope="module")
def there(tmp_path_factory, home_of, mode):
    """An instance that others try to reach: the client who deployed it, and its socket."""
    folder, name = tmp_path_factory.mktemp(f"there-{mode}"), f"there-{mode}"
    client = Client(shutil.copytree(home_of(USERS_BY_MODE[mode]), folder / "home"))
    client("deploy", str(write_model(folder / "model", name)), "--to", "srv")
    yield client, ask_path(BASES[mode], name)
    client.undeploy_all()


def asked(guest, path, route="/schema", user="root"):
    """What is answered there; None when one cannot connect."""
    done = guest.run(["python3", "-c", ASK, path, route], user=user, check=False)
    return json.loads(done.stdout) if not done.returncode else None


def told(load):
    """The versions that answered, each once: for a moment two of them do."""
    return [each.split("-")[0] for each in dict.fromkeys(load.releases)]


def ask_path(base, name):
    return f"{base}/ask/{name}.sock"


def test_switches_and_rollbacks_under_load_lose_nothing(client, tmp_path, guest, mode):
    name = f"asked-{mode}"
    folder, path = write_model(tmp_path / "model", name), ask_path(BASES[mode], name)
    first = client("deploy", str(folder), "--to", "srv")
    said = asked(guest, path)
    assert (said["model"], said["version"], said["release"]) == (name, 1, first["release"])
    assert (said["kind"], said["pipeline"]) == ("json", None)
    write_model(folder, name, factor=3.0)
    # Often enough for kept connections not to be idle as long as a draining release allows.
    with Load(guest, path) as load, Load(guest, first["port"], rate=60) as beside:
        client("deploy", name, "--to", "srv")
        client("rollback", name)
        for version in (2, 1, 2):
            client("switch", f"{name}@{version}")
        client("rollback", name)
    print(f"{mode}: {load.ok} asked, p99 {load.p99:.1f} ms; {beside.ok} on the port")
    assert (load.failed, beside.failed) == ([], [])
    assert load.ok > 500
    assert told(load) == ["v1", "v2"]
    assert load.releases[-1].startswith("v1-")
    client("undeploy", name, "--purge", "--yes")
    assert asked(guest, path) is None
    find = f"find / -xdev -name '*{name}*.sock' -o -xdev -name 'rhythmicml-{name}*'"
    left = guest.run(["sh", "-c", f"{find} 2>/dev/null"]).stdout.splitlines()
    assert [each for each in left if not each.startswith(("/sys", "/proc"))] == []


def test_connections_wait_while_production_is_killed(root_client, tmp_path, guest):
    path = ask_path(SYSTEM_BASE, "asked-killed")
    root_client("deploy", str(write_model(tmp_path / "model", "asked-killed")), "--to", "srv")
    with Load(guest, path, rate=40) as load:
        for _ in range(2):
            time.sleep(1)
            kill = "pkill -KILL -f '[f]ront --instance .*/asked-killed '"
            guest.run(["sh", "-c", f"until {kill}; do sleep 0.1; done"])
        time.sleep(2.5)
    assert [each for each in load.failed if "Refused" in each or "FileNotFound" in each] == []
    assert len(load.failed) <= 2 * 10  # what was being answered when it died
    assert load.ok > 40
    root_client("undeploy", "asked-killed", "--purge", "--yes")


def test_no_other_user_of_the_host_can_connect(there, guest, mode):
    _, path = there
    others = {"ds", "ops"} - {USERS_BY_MODE[mode] if mode == "user" else ""}
    for user in others:
        refused = guest.run(["python3", "-c", ASK, path, "/livez"], user=user, check=False)
        assert "PermissionError" in refused.stderr, (user, refused)
    if mode == "user":
        assert asked(guest, path, "/livez", "ds")["ready"]


PROBE = r"""
import os, socket
from pathlib import Path

def reached(path):
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(path)
        except OSError as error:
            return type(error).__name__
    return "reached"

def ways(path):
    yield path
    for folder in Path("/proc").glob("[0-9]*"):
        yield f"{folder}/root{path}"
        yield f"{folder}/cwd{path}"

def predict(model, inputs: list):
    path = "PATH"
    try:
        seen = os.listdir(os.path.dirname(path))
    except OSError as error:
        seen = type(error).__name__
    return [{
        "seen": seen,
        "reached": sorted({reached(way) for way in ways(path)}),
    }]
"""


def test_code_of_a_model_reaches_no_instance(there, tmp_path, guest, mode):
    client, path = there
    script = PROBE.replace("PATH", path)
    client(
        "deploy", str(write_model(tmp_path / "spy", f"spy-{mode}", script=script)), "--to", "srv"
    )
    data = tmp_path / "data.json"
    data.write_text("[1]")
    [found] = client("score", f"spy-{mode}", "--data", str(data))["answer"]["predictions"]
    assert "reached" not in found["reached"], found
    assert found["seen"] in ("FileNotFoundError", "PermissionError"), found
    assert asked(guest, path, "/livez")["ready"]  # it is there to be reached


NOT_OF_A_PROBE = (
    "Type=", "ExecStart=", "Restart", "Sockets=", "LoadCredential=", "ConditionPathExists=",
    "WatchdogSec=", "NotifyAccess=", "Standard", "TasksMax=", "MemoryMax=",
)  # fmt: skip


def as_probe(base, mode, pipeline, command):
    """The unit that an instance would have, running a command once."""
    unit = units.Unit("probe", base, 9, system=mode != "user", pipeline=pipeline)
    text = units.render(unit)["rhythmicml-probe@.service"]
    kept = [line for line in text.splitlines() if not line.startswith(NOT_OF_A_PROBE)]
    at = kept.index("[Service]") + 1
    return "\n".join([*kept[:at], "Type=oneshot", f"ExecStart={command}", *kept[at:], ""])


def test_unit_of_a_pipeline_reaches_the_sockets_and_that_of_a_model_does_not(there, guest, mode):
    _, path = there
    base = BASES[mode]
    by_user = ["--user"] if mode == "user" else []
    user = "ds" if by_user else "root"
    folder = "/home/ds/.config/systemd/user" if by_user else "/etc/systemd/system"
    guest.run(["tee", "/opt/ask.py"], input=ASK)
    guest.run(["mkdir", "-p", f"{base}/instances/probe/run"], user=user)
    command = f"/usr/bin/python3 /opt/ask.py {path} /livez"
    for pipeline in (True, False):
        unit = f"rhythmicml-probe@p{int(pipeline)}.service"
        text = as_probe(base, mode, pipeline, command)
        guest.run(["tee", f"{folder}/{unit}"], user=user, input=text)
        guest.run(["systemctl", *by_user, "daemon-reload"], user=user)
        done = guest.run(["systemctl", *by_user, "start", unit], user=user, check=False)
        log = guest.run(["journalctl", "--no-pager", "-n", "30"]).stdout
        assert (done.returncode == 0) is pipeline, (unit, done, log)
        guest.run(["rm", f"{folder}/{unit}"], user=user)
    guest.run(["rm", "-r", f"{base}/instances/probe"], user=user)
    guest.run(["systemctl", *by_user, "daemon-reload"], user=user)
    guest.run(["systemctl", *by_user, "reset-failed"], user=user, check=False)


LONG = "a-name-as-long-as-one-may-be-and-then-some-more"


def test_paths_may_be_longer_than_the_kernel_takes(tmp_path, guest, mode):
    guest.linger("ds")
    client, top = Client(tmp_path / "home"), "/home/ds" if mode == "user" else "/srv"
    base = f"{top}/{'deep/' * 14}{mode}"
    client.add_location(guest, USERS_BY_MODE[mode], "srv", "--base", base)
    folder = write_model(tmp_path / "model", LONG)
    client("deploy", str(folder), "--to", "srv")
    path = ask_path(base, LONG)
    assert len(path) > units.LONGEST_PATH
    write_model(folder, LONG, factor=3.0)
    with Load(guest, path, rate=40) as load:
        client("deploy", LONG, "--to", "srv")
        client("rollback", LONG)
    assert load.failed == []
    assert told(load) == ["v1", "v2"]
    client("undeploy", LONG, "--purge", "--yes")
    assert guest.run(["find", base, "-name", "*.sock"]).stdout == ""


def without_ask(guest, name, user):
    """As it was deployed before there were sockets for pipelines."""
    by_user = "--user" if user == "ds" else "--system"
    folder = "/home/ds/.config/systemd/user" if user == "ds" else "/etc/systemd/system"
    unit = f"rhythmicml-{name}.ask.socket"
    template = shlex.quote(f"{folder}/rhythmicml-{name}@.service")
    for command in (
        f"systemctl {by_user} disable --now {unit}",
        f"rm {folder}/{unit}",
        f"sed -i 's/ {unit}//; /InaccessiblePaths/d' {template}",
        f"systemctl {by_user} daemon-reload",
    ):
        guest.run(["sh", "-euc", command], user=user)


@faults
def test_after_a_boot_it_is_there_and_older_instances_get_it_with_their_next_deploy(
    tmp_path, fresh_guest
):
    fresh_guest.linger("ds")
    client = Client(tmp_path / "home")
    bases = {"root": SYSTEM_BASE, "ds": BASES["user"]}
    ports, names = {}, ("boot", "older")
    for user in bases:
        client.add_location(fresh_guest, user, f"as-{user}")
        for name in names:
            folder = write_model(tmp_path / f"{name}-{user}", f"{name}-{user}")
            ports[name, user] = client("deploy", str(folder), "--to", f"as-{user}")["port"]
        without_ask(fresh_guest, f"older-{user}", user)
    fresh_guest.reboot()
    for user, base in bases.items():
        path = ask_path(base, f"boot-{user}")
        soon("answering after the boot", partial(asked, fresh_guest, path))
        assert client("deploy", f"boot-{user}", "--to", f"as-{user}")["steps"] == []
        write_model(tmp_path / f"boot-{user}", f"boot-{user}", factor=5.0)
        with Load(fresh_guest, path) as load:
            client("deploy", f"boot-{user}", "--to", f"as-{user}")
        assert load.failed == []

        older, path = f"older-{user}", ask_path(base, f"older-{user}")
        assert asked(fresh_guest, path) is None
        write_model(tmp_path / older, older, factor=5.0)
        slow = PREDICT.replace("return json", "time.sleep(1)\n    return json")
        write_model(tmp_path / older, older, factor=5.0, script=slow)
        with Load(fresh_guest, ports["older", user]) as load:
            client("deploy", older, "--to", f"as-{user}")
        assert load.failed == []
        assert told(load) == ["v1", "v2"]
        assert asked(fresh_guest, path)["version"] == 2
        assert client("deploy", older, "--to", f"as-{user}")["changed"] is False
        with Load(fresh_guest, path) as load:
            client("rollback", older)
        assert load.failed == []
