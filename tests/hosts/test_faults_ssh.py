"""F09–F16: what SSH can do to us, against real servers: jumps, limits, floods, silence."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from guests import soon

from app.deployer import ssh
from app.deployer.road import open_ssh
from app.deployer.trust import Trust
from app.errors import NotTrusted, Problem, Unreachable
from app.models import Location

MIB = 1024 * 1024
DEAD = 45.0
HOPS = {"one": 2201, "two": 2202, "three": 2203, "target": 2204}


def location(guest, user="root", **more):
    return Location("srv", url=f"ssh://{user}@{guest.address}", identity=str(guest.key), **more)


@pytest.fixture
def trust(tmp_path, guest):
    trust = Trust(tmp_path / "own", (tmp_path / "users",))
    trust.accept(guest.fingerprint)
    return trust


@pytest.fixture
def sshd(guest):
    """Starts one more sshd in the shared server, with options of its own; its port's host key."""
    units = []

    def start(port, *options):
        key = f"/etc/ssh/key-{port}"
        guest.run(["sh", "-c", f"test -f {key} || ssh-keygen -q -t ed25519 -N '' -f {key}"])
        words = [f"-o{option}" for option in (f"Port={port}", f"HostKey={key}", *options)]
        unit = f"sshd-{port}"
        units.append(unit)
        run = ["systemd-run", "--quiet", f"--unit={unit}", "/usr/sbin/sshd", "-D", "-f"]
        guest.run([*run, "/etc/ssh/sshd_config_none", "-oUsePAM=yes", *words])
        soon("another sshd", lambda: answers(guest.address, port))
        line = guest.run(["ssh-keygen", "-lf", f"{key}.pub"]).stdout
        return line.split()[1]

    (guest.root / "etc/ssh/sshd_config_none").write_text("")
    yield start
    guest.run(["systemctl", "stop", *units], check=False)


def answers(host, port):
    import socket

    with contextlib.suppress(OSError), socket.create_connection((host, port), 1) as link:
        return link.recv(4) == b"SSH-"
    return False


# F09 and F10: each server on the way


@pytest.fixture
def way(guest, sshd, tmp_path, monkeypatch):
    """Three servers before the target, each with a key of its own. Name → fingerprint."""
    home = tmp_path / "person"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    before, config = "", []
    for name, port in HOPS.items():
        jump = f"  ProxyJump {before}\n" if before else ""
        config.append(
            f"Host {name}\n  HostName {guest.address}\n  Port {port}\n  User ds\n"
            f"  IdentityFile {guest.key}\n  IdentitiesOnly yes\n{jump}"
        )
        before = name
    (home / ".ssh/config").write_text("".join(config))
    return {name: sshd(port) for name, port in HOPS.items()}


def test_f09_each_of_three_jumps_is_checked_before_anything_is_said_to_it(guest, way, tmp_path):
    trust = Trust(tmp_path / "own")
    target = Location("srv", url="ssh://target")
    for name, fingerprint in way.items():
        with pytest.raises(NotTrusted) as caught:
            open_ssh(target, trust=trust)
        assert caught.value.fingerprint == fingerprint, name
        assert f":{HOPS[name]}" in caught.value.what
        trust.accept(fingerprint)
    with open_ssh(target, trust=trust) as road:
        asked = road.call("run", argv=["sh", "-c", "echo $SSH_CONNECTION"])["out"].split()
    assert asked[3] == str(HOPS["target"])
    assert len(trust.own.read_text().splitlines()) == len(HOPS)


@pytest.mark.parametrize("changed", ["one", "two", "three", "target"])
def test_f09_a_changed_key_anywhere_on_the_way_is_refused(guest, way, tmp_path, changed):
    refused(guest, way, tmp_path, changed, tries=3)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("changed", ["one", "target"])
def test_f09_thirty_tries_let_nobody_in(guest, way, tmp_path, changed, kind):
    refused(guest, way, tmp_path, changed, tries=30, kind=kind)


def refused(guest, way, tmp_path, changed, tries, kind="ed25519"):
    """As somebody in between would show it, or a server that was set up anew.

    kind: of the new key; of another than the one that is known, it is a downgrade.
    """
    trust = Trust(tmp_path / "own")
    for fingerprint in way.values():
        trust.accept(fingerprint)
    target = Location("srv", url="ssh://target")
    open_ssh(target, trust=trust).close()
    key = f"/etc/ssh/key-{HOPS[changed]}"
    unit = f"sshd-{HOPS[changed]}"
    guest.run(["sh", "-c", f"rm {key} {key}.pub; ssh-keygen -q -t {kind} -N '' -f {key}"])
    guest.run(["sh", "-c", f"kill -HUP $(systemctl show -P MainPID {unit})"])
    soon("the new key", lambda: key_shown(guest, HOPS[changed], kind) not in ("", way[changed]))
    before = let_in(guest, unit)
    for _ in range(tries):
        with pytest.raises(Problem, match="has changed") as caught:
            open_ssh(target, trust=trust)
        assert way[changed] in caught.value.what
        assert key_shown(guest, HOPS[changed], kind) in caught.value.what
        assert not isinstance(caught.value, NotTrusted)
    assert let_in(guest, unit) == before


def let_in(guest, unit):
    return guest.run(["journalctl", "-u", unit, "--no-pager"]).stdout.count("Accepted")


def key_shown(guest, port, kind):
    scan = ["ssh-keyscan", "-p", str(port), "-t", kind, guest.address]
    found = subprocess.run(scan, capture_output=True, text=True, check=False).stdout
    words = ["ssh-keygen", "-lf", "-"]
    shown = subprocess.run(words, input=found, capture_output=True, text=True, check=False)
    return (shown.stdout.split() or ["", ""])[1]


# F14: floods, endless commands, signals


def test_f14_floods_on_both_streams_are_drained_without_holding_them(guest, tmp_path):
    # A process of its own: the memory of this one has had other tests.
    place = location(guest)
    done = subprocess.run(
        [sys.executable, "-c", "import sys, test_faults_ssh as t; t.flood(*sys.argv[1:])",
         place.url, place.identity, tmp_path, guest.fingerprint],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE, timeout=120, check=True,
    )  # fmt: skip
    there, here = json.loads(done.stdout)
    assert there < 20 * MIB
    assert here < 20 * MIB


def flood(url, identity, folder, fingerprint):
    """Print by how many bytes the agent and this process grow meanwhile."""
    place = Location("srv", url=url, identity=identity)
    trust = Trust(Path(folder, "own"), (Path(folder, "users"),))
    trust.accept(fingerprint)
    script = "head -c 67108864 /dev/zero >&2 & head -c 67108864 /dev/zero; wait"
    with open_ssh(place, trust=trust) as road:
        before = psutil.Process().memory_info().rss
        pid = road.call("run", argv=["sh", "-c", "echo $PPID"])["out"].strip()
        agent = memory_of(road, pid)
        done = road.call("run", argv=["sh", "-c", script], deadline=60)
        assert done["code"] == 0
        assert len(done["out"]) + len(done["err"]) + done["lost"] == 128 * MIB
        grown = psutil.Process().memory_info().rss - before
        print(json.dumps([memory_of(road, pid) - agent, grown]))


def memory_of(road, pid):
    return int(road.call("run", argv=["ps", "-o", "rss=", "-p", pid])["out"]) * 1024


def test_f14_endless_and_killed_commands_are_never_success(guest, trust):
    with open_ssh(location(guest), trust=trust) as road:
        began = time.monotonic()
        late = road.call("run", argv=["sleep", "infinity"], deadline=1)
        assert (late["code"], late["late"]) == (124, True)
        assert time.monotonic() - began < 5
        for signal in (9, 11, 15):
            done = road.call("run", argv=["sh", "-c", f"kill -{signal} $$"])
            assert (done["code"], done["late"]) == (-signal, False)
        # The agent itself, which no answer of its own can tell of.
        pending = road.send("run", argv=["sh", "-c", "kill -9 $PPID; sleep 1"])
        with pytest.raises(Unreachable) as caught:
            pending.result(10)
        assert "-1" not in str(caught.value.as_dict())


# F15: the limits of sshd


@pytest.mark.parametrize(
    "limit", [("MaxSessions=2",), ("MaxStartups=2:50:4",), ("MaxAuthTries=2",)]
)
def test_f15_limits_of_sshd_make_eight_at_once_slower_and_never_wrong(guest, sshd, trust, limit):
    port = 2210
    trust.accept(sshd(port, *limit))
    place = Location("srv", url=f"ssh://ds@{guest.address}:{port}", identity=str(guest.key))
    with contextlib.suppress(Problem):  # stores the key, before eight want to
        open_ssh(place, trust=trust).close()
    together = threading.Barrier(8)

    def work(number):
        together.wait()
        with open_ssh(place, trust=trust) as road:
            return road.call("run", argv=["echo", str(number)])["out"]

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(work, range(8))] == [f"{number}\n" for number in range(8)]
    said = guest.run(["journalctl", "-u", f"sshd-{port}", "--no-pager"]).stdout
    assert said.count("Failed") == 0


def test_f15_a_server_that_never_lets_go_is_told_in_time(guest, sshd, trust, monkeypatch):
    import socket

    port = 2211
    trust.accept(sshd(port, "MaxStartups=1:100:1"))
    place = Location("srv", url=f"ssh://ds@{guest.address}:{port}", identity=str(guest.key))
    monkeypatch.setattr(ssh, "PAUSES", ssh.PAUSES[:3])
    began = time.monotonic()
    with (
        socket.create_connection((guest.address, port)),
        pytest.raises(Unreachable, match="before it says anything") as caught,
    ):
        open_ssh(place, trust=trust)
    assert "MaxStartups" in caught.value.cause
    assert time.monotonic() - began < 20


# F12: the link falls silent


@pytest.fixture
def silence(guest):
    """Drops all that comes to a port of the server from now on, and all from it."""
    tables = []

    def drop(port):
        table = f"f12_{port}"
        tables.append(table)
        rules = "".join(
            f"chain {hook} {{ type filter hook {hook} priority -5; tcp {side} {port} drop; }}\n"
            for hook, side in (("input", "dport"), ("output", "sport"))
        )
        nft(guest, "-f", "-", input=f"table inet {table} {{ {rules} }}\n")

    yield drop
    for table in tables:
        nft(guest, "delete", "table", "inet", table)


def nft(guest, *words, input=None):
    command = ["nsenter", f"--target={guest.leader}", "--net", "nft", *words]
    subprocess.run(command, input=input, text=True, check=True, capture_output=True)


@pytest.mark.faults
def test_f12_a_black_hole_is_told_within_45_seconds_with_its_phase(guest, sshd, trust, silence):
    """While connecting, agreeing, logging in, starting, idle in a command, and sending."""
    results = {}

    def phase(name, port, work):
        began = time.monotonic()
        try:
            work()
        except Problem as problem:
            results[name] = (time.monotonic() - began, f"{problem.what} {problem.cause}")
        else:
            results[name] = (0.0, "no problem")

    def at(port, **more):
        return Location("srv", url=f"ssh://ds@{guest.address}:{port}", **more)

    ports = {name: 2220 + n for n, name in enumerate(("connect", "login", "command", "send"))}
    for port in ports.values():
        trust.accept(sshd(port, "PasswordAuthentication=yes", "KbdInteractiveAuthentication=no"))
    key = str(guest.key)

    def connect():
        silence(ports["connect"])
        open_ssh(at(ports["connect"], identity=key), trust=trust)

    def login():
        def ask(question):
            silence(ports["login"])
            return "some password"

        open_ssh(at(ports["login"], identity=str(trust.own) + "none"), trust=trust, ask=ask)

    def command():
        with open_ssh(at(ports["command"], identity=key), trust=trust) as road:
            pending = road.send("run", argv=["sleep", "300"])
            silence(ports["command"])
            pending.result()

    def send(tmp=trust.own.parent / "big"):
        with tmp.open("wb") as file:
            file.truncate(1 << 30)

        def cut(done, total):
            if done > 1 << 26 and not cut.done:
                cut.done = True
                silence(ports["send"])

        cut.done = False
        with open_ssh(at(ports["send"], identity=key), trust=trust) as road:
            road.upload([("0" * 64, 1 << 30, tmp)], cut)

    works = {"connect": connect, "login": login, "command": command, "send": send}
    threads = [
        threading.Thread(target=phase, args=(name, ports[name], work))
        for name, work in works.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    print({name: (round(seconds, 1), said) for name, (seconds, said) in results.items()})
    assert {name: seconds < DEAD + 1 for name, (seconds, _) in results.items()} == dict.fromkeys(
        works, True
    )
    assert "while connecting" in results["connect"][1]
    assert "while logging in" in results["login"][1]
    assert 'at "run"' in results["command"][1]
    assert 'at "grow"' in results["send"][1]
