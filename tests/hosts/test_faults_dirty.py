"""F30, F33, F34: dirty hosts, dying and hanging processes of production."""

import json
import random
import time

import pytest
from client import PREDICT, Failed, write_model
from guests import soon
from invariants import Site, check_invariants
from load import Load

DIRT = {
    "stale-link": "ln -s v1-000000000000 releases/.current.0123456789ab",
    "half-release": "mkdir -p releases/v9-ffffffffffff/files",
    "aside": "cp -r $(readlink -f releases/current) releases/.v1-111111111111.abcdef01",
    "nested-link": "ln -s v1-000000000000 releases/current/current",
    "dangling-link": "ln -sfn v1-000000000000 releases/current",
    "link-is-folder": "cp -r $(readlink -f releases/current) x; rm releases/current;"
    " mv x releases/current",
    "orphan-unit": "systemctl start $unit@{old}.service",
    "unknown-unit": "systemctl start --no-block $unit@v7-777777777777.service || true",
    "edited-unit": "sed -i 's/^WatchdogSec=.*/WatchdogSec=0/' /etc/systemd/system/$unit@.service;"
    " systemctl daemon-reload",
    "disabled": "systemctl disable $unit.socket $unit@current.service",
    "torn-history": 'printf \'{{"action": "depl\' >> history.jsonl',
    "garbage": "echo '{{' > unconfirmed.json; echo '[]' > warm.json; touch .instance.json.0123",
    "stale-blob": "mkdir -p ../../blobs/00; touch -d '2 hours ago' ../../blobs/00/.0011.2233",
}
FEW = ("torn-history",)


def heals(client, guest, tmp_path, dirt):
    """The next deployment makes of a dirty host what was meant, and serves all the while."""
    name = f"dirty-{dirt}"
    folder = write_model(tmp_path / "model", name)
    old = client("deploy", str(folder), "--to", "srv")["release"]
    write_model(folder, name, factor=random.random())  # not there already, so it is sent
    port = client("deploy", name, "--to", "srv")["port"]
    script = DIRT[dirt].format(old=old)
    cd = f"cd /var/lib/rhythmicml/instances/{name}; unit=rhythmicml-{name}"
    with Load(guest, port, rate=20) as load:
        guest.run(["sh", "-ec", f"{cd}; {script}"])
        write_model(folder, name, factor=random.random())
        site = Site.on(guest, client, name)
        done = site.deploy()
        assert site.current() == done["release"]
        check_invariants(site)
    assert load.failed == []
    assert "WatchdogSec=30" in guest.run(["systemctl", "cat", f"rhythmicml-{name}@x"]).stdout
    enabled = guest.run(["systemctl", "is-enabled", f"rhythmicml-{name}.socket"], check=False)
    assert enabled.stdout.strip() == "enabled"
    last = json.loads(site.shell(f"tail -1 {site.folder}/history.jsonl"))
    assert last["release"] == done["release"]
    client("undeploy", name, "--purge", "--yes")


@pytest.mark.parametrize("dirt", FEW)
def test_f30_dirty_host_is_healed(root_client, guest, tmp_path, dirt):
    heals(root_client, guest, tmp_path, dirt)


@pytest.mark.faults
@pytest.mark.parametrize("dirt", DIRT.keys() - {*FEW})
def test_f30_every_dirty_host_is_healed(root_client, guest, tmp_path, dirt):
    heals(root_client, guest, tmp_path, dirt)


ASK = """
import http.client, sys
link = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=5)
link.request("POST", "/score", '{"inputs": [[%s, 2, 3]]}' % sys.argv[2])
print(link.getresponse().status)
"""


def status_of(guest, port, first=1):
    """What a request is answered with; 0 when it is not."""
    said = guest.run(["python3", "-c", ASK, str(port), str(first)], check=False).stdout
    return int(said or 0)


@pytest.mark.faults
def test_f30_socket_that_was_edited_is_explained(root_client, guest, tmp_path):
    """systemd has let the port go, so nothing can be passed on without closing it for a moment."""
    folder = write_model(tmp_path / "model", "edited")
    port = root_client("deploy", str(folder), "--to", "srv")["port"]
    edit = "s/^ListenStream=.*/ListenStream=127.0.0.1:9/"
    guest.run(["sed", "-i", edit, "/etc/systemd/system/rhythmicml-edited.socket"])
    guest.run(["systemctl", "daemon-reload"])
    write_model(folder, "edited", factor=random.random())
    with Load(guest, port, rate=20) as load, pytest.raises(Failed, match="changed by hand"):
        root_client("deploy", "edited", "--to", "srv")
    assert load.failed == []
    root_client("stop", "edited")
    root_client("start", "edited")
    check_invariants(Site.on(guest, root_client, "edited"))
    root_client("undeploy", "edited", "--purge", "--yes")


KILLS = {
    "front-sigkill": "pkill -KILL -o -f '[f]ront --instance .*/{name} '",
    "front-sigsegv": "pkill -SEGV -o -f '[f]ront --instance .*/{name} '",
    "worker-sigkill": "pkill -KILL -o -P $(pgrep -o -f '[f]ront --instance .*/{name} ')",
    "worker-sigsegv": "pkill -SEGV -o -P $(pgrep -o -f '[f]ront --instance .*/{name} ')",
}


@pytest.mark.faults
@pytest.mark.parametrize("how", KILLS)
def test_f33_production_dies_fifty_times_under_load(root_client, guest, tmp_path, how):
    name = f"dies-{how}"
    folder = write_model(tmp_path / "model", name)
    done = root_client("deploy", str(folder), "--to", "srv")
    with Load(guest, done["port"], rate=40) as load:
        for _ in range(50):
            kill = KILLS[how].format(name=name)
            guest.run(["sh", "-c", f"until {kill}; do sleep 0.1; done"])
            time.sleep(2)
    refused = [each for each in load.failed if "Refused" in each]
    print(f"{how}: {load.ok} answered, {len(load.failed)} were held by a process that died")
    assert refused == []
    assert len(load.failed) <= 50 * 10
    assert set(load.releases) == {done["release"]}
    soon("serving", lambda: root_client("status", name)[0]["state"] == "serving", 15)
    root_client("undeploy", name, "--purge", "--yes")


@pytest.mark.faults
def test_f33_model_that_exits_takes_only_its_requests_along(root_client, guest, tmp_path):
    leave = "    if inputs[0][0] == 13:\n        __import__('os')._exit(3)\n    return ["
    exits = PREDICT.replace("    return [", leave)
    folder = write_model(tmp_path / "model", "exits", script=exits)
    done = root_client("deploy", str(folder), "--to", "srv")
    with Load(guest, done["port"], rate=40) as load:
        for _ in range(20):
            assert status_of(guest, done["port"], first=13) in (500, 503)
            time.sleep(0.5)
    print(f"exits: {load.ok} answered, {len(load.failed)} not")
    assert [each for each in load.failed if "50" not in each] == []
    soon("serving", lambda: root_client("status", "exits")[0]["state"] == "serving", 15)
    root_client("undeploy", "exits", "--purge", "--yes")


@pytest.mark.faults
def test_f34_crash_loop_is_told_and_ends_by_itself(root_client, guest, tmp_path):
    folder = write_model(tmp_path / "model", "loops")
    root_client("deploy", str(folder), "--to", "srv")
    files = "/var/lib/rhythmicml/instances/loops/releases/current/files"
    guest.run(["mv", f"{files}/artifacts/weights.json", f"{files}/artifacts/away"])
    guest.run(["pkill", "-KILL", "-f", "[f]ront --instance .*/loops "])
    began = time.monotonic()
    soon("the alarm", lambda: root_client("status", "loops")[0]["state"] == "failing", 15)
    print(f"told after {time.monotonic() - began:.1f} s")
    assert "rhythmicml start loops" in root_client("status", "loops")[0]["error"]
    time.sleep(20)
    guest.run(["mv", f"{files}/artifacts/away", f"{files}/artifacts/weights.json"])
    soon("serving again", lambda: root_client("status", "loops")[0]["state"] == "serving", 15)
    write_model(folder, "loops", factor=3.0)
    check_invariants(Site.on(guest, root_client, "loops"))
    root_client("undeploy", "loops", "--purge", "--yes")


@pytest.mark.faults
@pytest.mark.parametrize("who", ["front", "worker"])
def test_f34_stopped_process_is_replaced(root_client, guest, tmp_path, who):
    name = f"stops-{who}"
    folder = write_model(tmp_path / "model", name)
    port = root_client("deploy", str(folder), "--to", "srv")["port"]
    front = f"pgrep -o -f '[f]ront --instance .*/{name} '"
    victim = front if who == "front" else f"pgrep -o -P $({front})"
    pid = guest.run(["sh", "-c", victim]).stdout.strip()
    guest.run(["kill", "-STOP", pid])
    began = time.monotonic()
    soon("an answer", lambda: status_of(guest, port) == 200, 60)
    took = time.monotonic() - began
    print(f"{who}: answers again after {took:.0f} s")
    assert took <= 45
    root_client("undeploy", name, "--purge", "--yes")
