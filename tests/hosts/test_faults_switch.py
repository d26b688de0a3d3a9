"""F23, F24, F28, F29: races, silent owners, switches under load, cuts at the flip; warm ones."""

import contextlib
import ctypes.util
import os
import shutil
import signal
import time
from datetime import datetime
from functools import partial

import pytest
from client import PREDICT, Client, Failed, Together, write_model
from guests import call, soon
from invariants import Site, check_invariants
from load import Load

RACES = 3
SLOW = PREDICT.replace("return json", "time.sleep({})\n    return json")


@contextlib.contextmanager
def cut(guest, how="drop"):
    """No SSH passes between here and the guest; how: "drop", or "reject with tcp reset"."""
    table = f"rml_cut_{guest.slot.number}"
    hook = "type filter hook {} priority 0; ip {} {} tcp {} 22 {};"
    there = hook.format("output", "daddr", guest.address, "dport", how)
    back = hook.format("input", "saddr", guest.address, "sport", how)
    rules = f"table ip {table} {{\nchain there {{\n{there}\n}}\nchain back {{\n{back}\n}}\n}}\n"
    call("nft", "-f", "-", input=rules)
    try:
        yield
    finally:
        call("nft", "delete", "table", "ip", table)


def lock_is_free(guest, name):
    lock = f"/var/lib/rhythmicml/instances/{name}/lock"
    return not guest.run(["flock", "-n", lock, "true"], check=False).returncode


def step_of(guest, name):
    return guest.run(["cat", f"/var/lib/rhythmicml/instances/{name}/lock"], check=False).stdout


# F23


def race(clients, folder, name, guest, times):
    """Two clients at once, each with a version of its own: one wins, the other is told."""
    port = clients[0]("deploy", str(folder), "--to", "srv")["port"]
    site = Site.on(guest, clients[0], name)
    won = 0
    with Load(guest, port, rate=40) as load:
        for number in range(times):
            before = site.current()
            write_model(folder, name, factor=10.0 + number)
            calls = [partial(each, "deploy", str(folder), "--to", "srv") for each in clients]
            results = Together(*calls).results
            losers = [each for each in results if isinstance(each, Failed)]
            assert all(each.problem["kind"] == "Busy" for each in losers), losers
            for each in losers:
                assert "since" in each.problem["what"] or " by " in each.problem["cause"], losers
            assert len(losers) < 2, "somebody has to win"
            won += len(losers)
            assert site.current() != before
            assert site.current() in [r["release"] for r in results if not isinstance(r, Failed)]
    assert load.failed == []
    last = Site.on(guest, clients[1], name)
    write_model(folder, name, factor=9.0)
    last.deploy()  # a change of its own: who lost the last race knows of an older one
    check_invariants(last)
    return won


@pytest.fixture
def rivals(tmp_path, guest):
    clients = [Client(tmp_path / "one"), Client(tmp_path / "two")]
    for client in clients:
        client.add_location(guest, "root")
    return clients


def test_f23_two_clients_race(rivals, tmp_path, guest):
    folder = write_model(tmp_path / "model", "race")
    race(rivals, folder, "race", guest, RACES)
    rivals[0]("undeploy", "race", "--purge", "--yes")


@pytest.mark.faults
def test_f23_two_clients_race_a_hundred_times(rivals, tmp_path, guest):
    folder = write_model(tmp_path / "model", "races")
    lost = race(rivals, folder, "races", guest, 100)
    print(f"100 races, in {lost} of them the other was told")
    assert lost > 30, "most races missed"


# F24


def test_f24_lock_is_taken_over_with_names_in_both_histories(root_client, tmp_path, guest):
    folder = write_model(tmp_path / "model", "hangs", script=SLOW.format(60))
    deploying = root_client.start("deploy", str(folder), "--to", "srv")
    soon("starting", lambda: "Start v1" in step_of(guest, "hangs"), 60)
    with pytest.raises(Failed, match="rhythmicml unlock hangs"):
        root_client("deploy", str(folder), "--to", "srv")
    freed = root_client("unlock", "hangs", "--to", "srv")
    assert freed["holder"]["step"].startswith("Start v1")
    assert lock_is_free(guest, "hangs")
    out, _ = deploying.communicate(timeout=60)
    assert deploying.returncode == 1, out
    line = guest.run(["tail", "-1", "/var/lib/rhythmicml/instances/hangs/history.jsonl"]).stdout
    assert '"action": "unlock"' in line
    assert '"holder": "root@' in line
    told = {each["action"]: each["result"] for each in root_client("history", "hangs")}
    assert told == {"unlock": "done", "deploy": "interrupted", "commit": "done"}
    assert "hangs@" not in guest.run(["systemctl", "list-units", "rhythmicml-hangs@*"]).stdout
    write_model(folder, "hangs")
    root_client("deploy", str(folder), "--to", "srv")
    root_client("undeploy", "hangs", "--purge", "--yes")


@pytest.mark.faults
def test_f24_silent_owners_lose_the_lock_within_a_minute(tmp_path, fresh_guest):
    client = Client(tmp_path / "home")
    client.add_location(fresh_guest, "root")
    owners = {}
    for name in ("stopped", "cut-off"):
        folder = write_model(tmp_path / name, name)
        client("deploy", str(folder), "--to", "srv")
        write_model(folder, name, factor=3.0, script=SLOW.format(200))
        owners[name] = client.start("deploy", name, "--to", "srv")
        soon(name, lambda name=name: "Start v2" in step_of(fresh_guest, name), 60)
    owners["stopped"].send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    freed = {}
    with cut(fresh_guest):
        silent = time.monotonic()
        while len(freed) < 2 and time.monotonic() - silent < 90:
            for name, began in (("stopped", stopped), ("cut-off", silent)):
                if name not in freed and lock_is_free(fresh_guest, name):
                    freed[name] = time.monotonic() - began
            time.sleep(0.5)
        _, said = owners["cut-off"].communicate(timeout=60)
    print(f"seconds until the lock was free: {freed}")
    assert max(freed.values()) <= 60
    assert owners["cut-off"].returncode == 1, said
    os.kill(owners["stopped"].pid, signal.SIGCONT)
    owners["stopped"].communicate(timeout=60)
    assert owners["stopped"].returncode == 1
    for name in owners:
        write_model(tmp_path / name, name, factor=4.0)
        check_invariants(Site.on(fresh_guest, client, name))


@pytest.mark.faults
def test_f24_live_slow_owner_keeps_the_lock(tmp_path, fresh_guest):
    client = Client(tmp_path / "home")
    client.add_location(fresh_guest, "root")
    folder = write_model(tmp_path / "model", "slow", script=SLOW.format(100))
    deploying = client.start("deploy", str(folder), "--to", "srv")
    soon("starting", lambda: "Start v1" in step_of(fresh_guest, "slow"), 120)
    refused = 0
    with cut(fresh_guest, "numgen random mod 100 < 25 drop"):  # every fourth packet is lost
        while deploying.poll() is None:
            refused += not lock_is_free(fresh_guest, "slow")
            time.sleep(2)
    out, said = deploying.communicate()
    assert deploying.returncode == 0, said + out
    assert refused > 20


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, ts);
    FILE *file = id == CLOCK_REALTIME ? fopen(getenv("JUMP"), "r") : NULL;
    long seconds = 0;
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    ts->tv_sec += seconds;
    return code;
}
"""


@pytest.mark.faults
def test_f24_wall_clock_that_jumps_a_day_moves_nothing(tmp_path):
    if not (shutil.which("gcc") and ctypes.util.find_library("c")):
        pytest.skip("the clock is bent by a small C library, and there is no gcc")
    (tmp_path / "shim.c").write_text(SHIM)
    shim, jump = tmp_path / "shim.so", tmp_path / "jump"
    call("gcc", "-shared", "-fPIC", "-o", str(shim), str(tmp_path / "shim.c"), "-ldl")
    jump.write_text("0")
    client = Client(tmp_path / "home")
    client.environ.update(LD_PRELOAD=str(shim), JUMP=str(jump))
    folder = write_model(tmp_path / "model", "clock")
    client("deploy", str(folder))
    lock = client.home / "local/instances/clock/lock"
    for number, seconds in enumerate((86_400, -86_400)):
        write_model(folder, "clock", factor=5.0 + number, script=SLOW.format(8))
        jump.write_text("0")
        deploying = client.start("deploy", "clock")
        soon("starting", lambda number=number: f"Start v{number + 2}" in lock.read_text(), 30)
        jump.write_text(str(seconds))
        with pytest.raises(Failed, match="being changed by"):
            client("stop", "clock")
        _, said = deploying.communicate(timeout=60)
        assert deploying.returncode == 0, said
    jump.write_text("0")
    write_model(folder, "clock", factor=9.0)
    check_invariants(Site.local(client, "clock"))
    client("undeploy", "clock", "--purge", "--yes")


# F28


@pytest.mark.faults
def test_f28_forty_switches_under_load_lose_nothing(root_client, tmp_path, guest):
    port = two_releases(root_client, tmp_path, "switches")
    two_releases(root_client, tmp_path, "another")
    with Load(guest, port, rate=200) as calm:
        time.sleep(15)
    with Load(guest, port, rate=200) as beside:  # what the commands cost whoever is there
        to_and_fro(root_client, guest, "another", times=5)
    began = time.monotonic()
    with Load(guest, port, rate=200) as load:
        to_and_fro(root_client, guest, "switches", times=20)
        while time.monotonic() - began < 110:
            time.sleep(1)
    print(
        f"{load.ok} answered, {len(load.failed)} failed; p99 {load.p99:.1f} ms, "
        f"calm {calm.p99:.1f}, while another is switched {beside.p99:.1f}"
    )
    assert load.failed == []
    assert load.ok >= 20_000


def two_releases(client, tmp_path, name):
    """Deploy two versions of a model; its port."""
    folder = write_model(tmp_path / name, name)
    port = client("deploy", str(folder), "--to", "srv")["port"]
    write_model(folder, name, factor=3.0)
    client("deploy", name, "--to", "srv")
    return port


def to_and_fro(client, guest, name, times):
    """Switch to the first version and back; after each command no other release answers."""
    for _ in range(times):
        for words in (("switch", f"{name}@1"), ("rollback", name)):
            client(*words)
            site = Site.on(guest, client, name)
            with Load(guest, site.port(), rate=20) as after:
                time.sleep(0.3)
            assert after.failed == []
            assert after.releases == [site.current()], "the old one answered"


# F29


def deploy_and_cut(client, guest, folder, name, factor, moment, how):
    """Cut the way `moment` seconds after the step of the switch began; how long until the truth."""
    write_model(folder, name, factor=factor)
    process = client.start("deploy", name, "--to", "srv")
    began = time.monotonic()
    time.sleep(max(0.0, moment))
    with cut(guest, how):
        process.communicate(timeout=120)
        passed = time.monotonic() - began
    reconnected = time.monotonic()
    soon(
        "telling the truth",
        lambda: (
            client("status", name) and client("history", name)[0]["result"] not in ("", "unknown")
        ),
        10,
    )
    return process.returncode, passed, time.monotonic() - reconnected


def flip_of(client, folder, name):
    """Seconds from the start of a deployment until its switch begins."""
    write_model(folder, name, factor=50.0)
    process = client.start("deploy", name, "--to", "srv")
    began = time.time()
    process.communicate(timeout=60)
    steps = client("history", name)[0]["steps"]
    at = next(each["began"] for each in steps if each["do"] == "switch")
    return datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp() - began


@pytest.mark.faults
@pytest.mark.parametrize(("how", "offsets"), [("reject with tcp reset", 20), ("drop", 3)])
def test_f29_cut_round_the_flip(tmp_path, fresh_guest, how, offsets):
    client = Client(tmp_path / "home")
    client.add_location(fresh_guest, "root")
    folder = write_model(tmp_path / "model", "flip")
    port = client("deploy", str(folder), "--to", "srv")["port"]
    flip = flip_of(client, folder, "flip")
    outcomes, truths = [], []
    with Load(fresh_guest, port, rate=40) as load:
        for number in range(offsets):
            offset = -1 + 2 * number / (offsets - 1) if how != "drop" else (number - 1) * 0.1
            code, _, truth = deploy_and_cut(
                client, fresh_guest, folder, "flip", 60.0 + number, flip + offset, how
            )
            last = client("history", "flip")[0]
            assert code == 0 or last["result"] != "failed", last
            assert code or last["result"] == "done", "success was said of what was taken back"
            outcomes.append(last["result"])
            truths.append(round(truth, 1))
            check_invariants(Site.on(fresh_guest, client, "flip"))
    print(f"{how}: {outcomes}; the truth after {max(truths)} s at most; {load.ok} answers")
    assert load.failed == []


@pytest.mark.faults
def test_f29_timer_restores_when_client_and_agent_are_gone(root_client, tmp_path, guest):
    folder = write_model(tmp_path / "model", "guarded")
    port = root_client("deploy", str(folder), "--to", "srv")["port"]
    first = Site.on(guest, root_client, "guarded").current()
    write_model(folder, "guarded", factor=3.0)
    root_client.environ["RHYTHMICML_CRASH_AT"] = "agent:switch:after"
    with Load(guest, port, rate=40) as load:
        with pytest.raises(Failed, match="ended unexpectedly"):
            root_client("deploy", "guarded", "--to", "srv")
        del root_client.environ["RHYTHMICML_CRASH_AT"]
        site = Site.on(guest, root_client, "guarded")
        assert site.current() != first
        began = time.monotonic()
        soon("the timer", lambda: site.current() == first, 120)
        print(f"restored after {time.monotonic() - began:.0f} s")
        soon("the history", lambda: "take-back" in site.shell(f"cat {site.folder}/history.jsonl"))
        assert "was taken back" in root_client("status", "guarded")[0]["note"]
        assert root_client("history", "guarded")[0]["result"] == "taken back"
        check_invariants(site)
    assert load.failed == []
    root_client("undeploy", "guarded", "--purge", "--yes")


# Warm releases


def warm_model(folder, name, seconds, factor=2.0):
    write_model(folder, name, factor=factor)
    toml = folder / "rhythmicml.toml"
    toml.write_text(toml.read_text() + f'[deploy]\nkeep_warm = "{seconds}s"\n')
    return folder


def test_release_kept_warm_comes_back_at_once_and_ends_by_itself(root_client, tmp_path, guest):
    folder = warm_model(tmp_path / "model", "warm", 60)
    port = root_client("deploy", str(folder), "--to", "srv")["port"]
    warm_model(folder, "warm", 60, factor=3.0)
    planned = root_client("deploy", "warm", "--to", "srv", "--plan")["plan"]
    [switching] = [words for words in planned if "warm for 1 min (" in words]
    assert switching.endswith("B of memory)")
    site = Site.on(guest, root_client, "warm")
    with Load(guest, port, rate=40) as load:
        root_client("deploy", "warm", "--to", "srv")
        with Load(guest, port, rate=40) as after:
            assert root_client("deploy", "warm", "--to", "srv")["changed"] is False
            [row] = root_client("status", "warm")
            assert (row["version"], row["warm"]["version"]) == (2, 1)
        assert after.releases == [site.current()]
        back = root_client("rollback", "warm")
        assert [words.split()[0] for words in back["steps"]] == ["Check", "Make"], "nothing started"
        units = "systemctl list-units --plain --no-legend 'rhythmicml-warm@*'"
        assert len(site.shell(units).splitlines()) == 2
        assert "rhythmicml-warm-warm.timer" in site.shell("systemctl list-timers --plain")
        guest.run(["systemctl", "start", "rhythmicml-warm-warm.service"])  # as if it were time
        soon("the warm one's end", lambda: len(site.shell(units).splitlines()) == 1, 30)
        [row] = root_client("status", "warm")
        assert (row["version"], row["warm"]) == (1, None)
    assert load.failed == []
    root_client("undeploy", "warm", "--purge", "--yes")


def test_release_kept_warm_by_the_keeper(tmp_path):
    client = Client(tmp_path / "home")
    folder = warm_model(tmp_path / "model", "warm", 10)
    client("deploy", str(folder))
    warm_model(folder, "warm", 10, factor=3.0)
    client("deploy", "warm")
    assert client("status", "warm")[0]["warm"]["version"] == 1
    assert len(client("rollback", "warm")["steps"]) == 2
    assert client("status", "warm")[0]["warm"]["version"] == 2
    soon("the warm one's end", lambda: client("status", "warm")[0]["warm"] is None, 30)
    assert client("switch", "warm@2")["changed"]
    client("undeploy", "warm", "--purge", "--yes")
