"""F20, F21: client or agent killed at every point of a deployment, and at random times."""

import json
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from client import Client, Failed, write_model
from guests import Guest, soon
from invariants import ASK, Site, check_invariants
from kills import POINTS, killed, outlived, points_of, step_of
from load import Load
from secrecy import set_secret, write_secretive_model

FEW = ("switch:unconfirmed", "agent:current-renamed")
ELSEWHERE = {"python": "test_faults_offline.py", "tunnels": "test_tunnel_of_pipeline.py"}
"""Steps of deployments that need other hosts than ours: where those are set up, they are killed."""
TAKING_BACK = "agent:current-taken-back"
DOWN = (
    "agent:candidate-starting",
    "agent:gate:before",
    "agent:current-renamed",
    "agent:switch:after",
)
"""Where nobody is answered if production was stopped first."""
SENT_ALREADY = "agent:put:after"
"""An upload goes on with a new agent, here with nothing left to send."""
HERE = [each for each in POINTS if each != TAKING_BACK and step_of(each) not in ELSEWHERE]
Words = tuple[str, ...]
"""A command."""
Way = Callable[[Client, Path, str], Words]


def test_points_are_found_in_the_code():
    assert {*FEW, TAKING_BACK, "recorded", "start:before", "agent:place:after"} <= {*POINTS}
    assert len(POINTS) == len({*POINTS}) > 90
    assert {*WAYS, *ELSEWHERE} <= {step_of(each) for each in POINTS}
    for step, file in ELSEWHERE.items():
        assert len(points_of(step)) == 4
        assert f'points_of("{step}")' in Path(__file__).with_name(file).read_text()


def model(tmp_path: Path, point: str) -> tuple[Path, str]:
    name = re.sub("[^a-z]+", "-", f"kill-{point}")
    return write_model(tmp_path / "model", name), name


def changed(folder: Path, name: str, number: int) -> None:
    """Weights that no other model of the guest has, so that they have to be sent."""
    weights = {"factor": 2.0 + number, "of": f"{name} {number}"}
    (folder / "artifacts" / "weights.json").write_text(json.dumps(weights))


def serving(client: Client, folder: Path, name: str, versions: int = 1) -> int:
    for number in range(versions):
        port: int = client("deploy", str(folder), "--to", "srv")["port"]
        changed(folder, name, number)
    return port


def first(client: Client, folder: Path, name: str) -> Words:
    return ("deploy", str(folder), "--to", "srv")


def second(client: Client, folder: Path, name: str) -> Words:
    serving(client, folder, name)
    return ("deploy", name, "--to", "srv")


def eighth(client: Client, folder: Path, name: str) -> Words:
    """Old releases are removed."""
    serving(client, folder, name, versions=7)
    return ("deploy", name, "--to", "srv")


def stopping_first(client: Client, folder: Path, name: str) -> Words:
    return (*second(client, folder, name), "--stop-first")


def with_a_new_secret(client: Client, folder: Path, name: str) -> Words:
    client("add", str(write_secretive_model(folder, name)))
    set_secret(client, name, "the first", "--file")
    words = second(client, folder, name)
    set_secret(client, name, "the second", "--file")
    return words


def on_copies(client: Client, folder: Path, name: str) -> Words:
    serving(client, folder, name)
    client("commit", name)
    return ("shadow", f"{name}@2", "--to", "srv")


def ending_the_shadow(client: Client, folder: Path, name: str) -> Words:
    client(*on_copies(client, folder, name))
    return ("deploy", name, "--to", "srv")


WAYS = {
    **dict.fromkeys(("prepare", "tool", "runtime", "environment"), first),
    **dict.fromkeys(("listen", "port-opened", "units-written"), first),
    **dict.fromkeys(("prune", "half-removed"), eighth),
    **dict.fromkeys(("shadow", "shadow-noted"), on_copies),
    "stop_first": stopping_first,
    "secrets": with_a_new_secret,
    "unshadow": ending_the_shadow,
}
"""Step or point of the agent → how the command is made ready that comes by it; else `second`."""


def survive(point: str, client: Client, guest, folder: Path, name: str, way: Way) -> float:
    site = Site.on(guest, client, name)
    words = way(client, folder, name)
    if way is first:
        site.again = (str(folder),)
        killed(client, point, *words)
        return check_invariants(site)
    with Load(guest, site.port(), rate=40) as load:
        if point == SENT_ALREADY:
            outlived(client, guest, point, *words)
        else:
            killed(client, point, *words)
        if way is stopping_first:
            began = time.monotonic()
            soon("production again, by the host itself", lambda: served_by(site, site.port()), 15)
            print(f"{point}: production again after {time.monotonic() - began:.1f} s")
        held = check_invariants(site)
    assert load.failed == [] or way is stopping_first, "I1"
    return held


@pytest.mark.parametrize("point", FEW)
def test_f20_f21_killed_at_the_switch(root_client, guest, tmp_path, point):
    folder, name = model(tmp_path, point)
    survive(point, root_client, guest, folder, name, second)
    root_client("undeploy", name, "--purge", "--yes")


@pytest.mark.faults
@pytest.mark.parametrize("point", HERE)
def test_f20_f21_killed_at_every_point(root_client, guest, tmp_path, point):
    folder, name = model(tmp_path, point)
    if "prepare" in point:
        guest.run(["sh", "-c", "chmod 755 /var/lib/rhythmicml || true"])
    if step_of(point) in ("tool", "runtime", "environment"):
        guest.run(["sh", "-c", "rm -rf /var/lib/rhythmicml/tools /var/lib/rhythmicml/runtime/*"])
        guest.run(["sh", "-c", "rm -rf /var/lib/rhythmicml/envs/*"])
    way = WAYS.get(step_of(point), second)
    held = survive(point, root_client, guest, folder, name, way)
    print(f"{point}: the lock was held for {held:.1f} s")
    root_client("undeploy", name, "--purge", "--yes")


@pytest.mark.faults
@pytest.mark.parametrize("point", DOWN)
def test_f21_production_that_was_stopped_first_is_back(root_client, guest, tmp_path, point):
    folder, name = model(tmp_path, f"down-{point}")
    survive(point, root_client, guest, folder, name, stopping_first)
    root_client("undeploy", name, "--purge", "--yes")


@pytest.mark.faults
def test_f20_f21_agent_killed_while_it_takes_back(root_client, guest, tmp_path):
    folder, name = model(tmp_path, "twice")
    port = serving(root_client, folder, name)
    site = Site.on(guest, root_client, name)
    with Load(guest, port, rate=40) as load:
        killed(root_client, f"switch:unconfirmed,{TAKING_BACK}", "deploy", name, "--to", "srv")
        soon(
            "the agent's end",
            lambda: (
                not guest.run(
                    ["flock", "-n", f"{site.folder}/lock", "true"], check=False
                ).returncode
            ),
        )
        assert "unconfirmed.json" in site.shell(f"ls {site.folder}"), "it was not hit"
        assert site.current().startswith("v1-")
        check_invariants(site)
    assert load.failed == []
    root_client("undeploy", name, "--purge", "--yes")


@pytest.mark.faults
def test_f20_client_killed_at_random_times(root_client, guest, tmp_path):
    seed = int(os.environ.get("RHYTHMICML_SEED") or time.time())
    times = int(os.environ.get("RHYTHMICML_KILLS") or 200)
    print(f"seed {seed}, {times} times")
    chance = random.Random(seed)
    folder, name = model(tmp_path, "random")
    site = Site.on(guest, root_client, name)
    port = serving(root_client, folder, name)
    began = time.monotonic()
    site.deploy()
    lasts = (time.monotonic() - began) * 1.1
    hit, held = 0, []
    with Load(guest, port, rate=40) as load:
        for number in range(times):
            write_model(folder, name, factor=100.0 + number)
            process = root_client.start("deploy", name, "--to", "srv")
            time.sleep(chance.uniform(0.2, lasts))
            hit += process.poll() is None
            process.kill()
            process.communicate()
            held.append(check_invariants(site))
    print(
        f"{hit} of {times} hit; the lock was held for at most {max(held):.1f} s; {load.ok} answers"
    )
    assert load.failed == [], "I1"
    assert hit > times * 0.6, "most kills missed"
    root_client("undeploy", name, "--purge", "--yes")


@pytest.mark.faults
def test_f22_power_is_cut_at_random_times(tmp_path):
    """The whole server ends at once, boots, and serves old or new without a login.

    What the kernel had not written yet is not lost here: the guest's disk is a folder of ours.
    """
    seed = int(os.environ.get("RHYTHMICML_SEED") or time.time())
    times = int(os.environ.get("RHYTHMICML_KILLS") or 30)
    print(f"seed {seed}, {times} times")
    chance = random.Random(seed)
    folder, name = model(tmp_path, "power")
    hit, changed, up = 0, 0, []
    with Guest.boot("power") as guest:
        client = Client(tmp_path / "home")
        client.add_location(guest, "root")
        site = Site.on(guest, client, name)
        port = serving(client, folder, name)
        began = time.monotonic()
        site.deploy()
        lasts = (time.monotonic() - began) * 1.1
        for number in range(times):
            before = site.current()
            write_model(folder, name, factor=100.0 + number)
            process = client.start("deploy", name, "--to", "srv")
            time.sleep(chance.uniform(0.2, lasts))
            hit += process.poll() is None
            guest.kill()
            process.communicate(timeout=90)
            guest.boot_again()
            began = time.monotonic()
            release = soon("an answer without a login", lambda: served_by(site, port), 30)
            up.append(time.monotonic() - began)
            assert release == site.current()
            assert release in site.complete()
            changed += release != before
            check_invariants(site)
    print(f"{hit} of {times} hit, {changed} serve the new; {max(up):.1f} s after sshd at most")
    assert hit > times * 0.6, "most cuts missed"


def refusing(guest: Guest, unit: str) -> None:
    """Have systemd refuse to stop that unit, as one that is about to end refuses everything."""
    folder = f"/etc/systemd/system/{unit}.d"
    rule = f"mkdir -p {folder}; printf '[Unit]\nRefuseManualStop=yes\n' > {folder}/no.conf"
    guest.run(["sh", "-c", f"{rule}; systemctl daemon-reload"])


def obeying(guest: Guest, unit: str) -> None:
    guest.run(["sh", "-c", f"rm -r /etc/systemd/system/{unit}.d; systemctl daemon-reload"])


@pytest.mark.parametrize("lost", [False, True])
def test_f22_refused_after_the_switch_is_no_failure(root_client, guest, tmp_path, lost):
    """The new release is production for good, then the host fails; lost: and is heard no more."""
    folder, name = model(tmp_path, f"refused-{'lost' if lost else 'heard'}")
    serving(root_client, folder, name)
    site = Site.on(guest, root_client, name)
    before = site.current()
    unit = f"rhythmicml-{name}@{before}.service"
    refusing(guest, unit)
    if lost:
        root_client.environ["RHYTHMICML_CRASH_AT"] = "agent:truth:before"
    with pytest.raises(Failed) as refused:
        root_client("deploy", name, "--to", "srv")
    root_client.environ.pop("RHYTHMICML_CRASH_AT", None)
    obeying(guest, unit)
    assert f"{name} v2 is production" in refused.value.problem["what"]
    assert unit in refused.value.problem["cause"]
    assert site.current() != before
    [last, _] = [e for e in root_client("history", name) if e["action"] != "commit"]
    assert last["result"] == ("unknown" if lost else "done")
    [row] = root_client("status", name)
    assert (row["release"], row["version"]) == (site.current(), 2)
    assert root_client("history", name)[0]["result"] == "done"
    root_client("start", name)
    assert unit not in guest.run(["systemctl", "list-units", f"rhythmicml-{name}@*"]).stdout
    check_invariants(site)
    root_client("undeploy", name, "--purge", "--yes")


def served_by(site: Site, port: int) -> str:
    """The release that answers there; "" while none does."""
    said = site.run(["python3", "-c", ASK, str(port)], check=False).stdout
    return json.loads(said)[0][1] if said else ""


def ended(note: str) -> str:
    return "" if "under way" in note else note


def test_f20_killed_on_this_machine_and_told(tmp_path):
    """The keeper in systemd's place; what the next command says, resumes and undoes."""
    client = Client(tmp_path / "home")
    folder = write_model(tmp_path / "churn", "churn")
    client("deploy", str(folder))
    site = Site.local(client, "churn")
    write_model(folder, "churn", factor=3.0)
    killed(client, "start:after", "deploy", "churn")
    said = soon("the agent's end", lambda: ended(client("status")[0]["note"]))
    assert "The deploy of churn v2 on local by" in said
    assert 'cut off at "Start v2' in said
    assert "v1 is production there. rhythmicml deploy churn@2 --to local resumes it" in said
    last = client("history", "churn")[0]
    assert last["result"] == "interrupted"
    assert [bool(step["ended"]) for step in last["steps"]][-3:] == [False, False, False]
    check_invariants(site)
    write_model(folder, "churn", factor=4.0)
    killed(client, "finishing", "deploy", "churn")
    assert client("status")[0]["version"] == 3
    assert client("history", "churn")[0]["result"] == "done"
    write_model(folder, "churn", factor=5.0)
    killed(client, "agent:current-renamed", "deploy", "churn")
    assert client("history", "churn")[0]["result"] == "unknown"
    check_invariants(site)
    client("undeploy", "churn", "--purge", "--yes")
