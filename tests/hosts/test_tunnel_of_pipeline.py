"""A stage on a host that the pipeline's host reaches by SSH alone: through a tunnel kept there."""

import contextlib
import json
import re
import socket
import subprocess
import time

import pytest
from client import Client, Failed
from client import briefly_watched as write_model
from invariants import Site, check_invariants
from kills import killed, points_of
from load import Load

PIPELINE = """
[model]
name = "loans"
[predict]
timeout = 8
[[stage]]
name = "near"
instance = "near"
after = ["input"]
[[stage]]
name = "far"
instance = "far"
location = "lab"
tunnel = true
after = ["input"]
[[stage]]
name = "blend"
combine = "mean"
after = ["near", "far"]
"""
WITHOUT = PIPELINE.replace('location = "lab"\ntunnel = true\n', "").replace(
    '"far"\nafter', '"near"\nafter'
)
ASK = """
import http.client, json, sys
line = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
line.request("POST", "/score", b'{"inputs": [[1, 2, 3]]}', {"Content-Type": "application/json"})
answer = line.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""
UNIT = "rhythmicml-loans.far.tunnel.service"
SYSTEM, OWN = "/var/lib/rhythmicml", "/home/ds/.local/share/rhythmicml"
BASES = {"root": SYSTEM, "sudo": SYSTEM, "user": OWN}
LOGINS = {"root": ("root", "/root"), "sudo": ("ops", "/home/ops"), "user": ("ds", "/home/ds")}
RUNS_AS = {"root": "root", "sudo": "root", "user": "ds"}
"""Whose the key is on the pipeline's host."""


@pytest.fixture(
    params=["root", *(pytest.param(m, marks=pytest.mark.faults) for m in ("sudo", "user"))]
)
def mode(request):
    return request.param


@pytest.fixture
def client(tmp_path, guest, fresh_guest, mode):
    client = somebody(tmp_path, mode, srv=guest, lab=fresh_guest)
    yield client
    client.undeploy_all()


def somebody(tmp_path, mode, **servers):
    client = Client(tmp_path / "home")
    for name, server in servers.items():
        server.linger("ds")
        client.add_location(server, LOGINS[mode][0], name)
    return client


def asked(guest, port):
    """Its predictions, or what it said instead; None while nothing listens there."""
    done = guest.run(["python3", "-c", ASK, str(port)], timeout=60, check=False)
    status, body = json.loads(done.stdout) if not done.returncode else (0, None)
    return body["predictions"] if status == 200 else body


def keys(server, mode):
    return server.run(["cat", f"{LOGINS[mode][1]}/.ssh/authorized_keys"]).stdout


def deployed(client, tmp_path, pipeline=PIPELINE):
    for name, factor in (("near", 1.0), ("far", 3.0)):
        client("add", str(write_model(tmp_path / name, name, factor=factor)))
    folder = tmp_path / "loans"
    folder.mkdir()
    (folder / "rhythmicml.toml").write_text(pipeline)
    (folder / "sample.json").write_text('{"inputs": [[1, 2, 3]]}')
    for name in ("near", "far"):
        client("commit", name)
    done = client("deploy", str(folder), "--to", "srv", "--with-stages", timeout=300)
    return folder, done["port"]


def test_a_stage_through_a_tunnel(client, tmp_path, guest, fresh_guest, mode):
    before, others = keys(fresh_guest, mode), findings(client)
    folder, port = deployed(client, tmp_path)
    assert asked(guest, port) == [12.0]  # (1 * 6 + 3 * 6) / 2
    [far] = [row for row in client("status") if row["model"] == "far"]
    assert far["exposure"] == "loopback"
    admitted = keys(fresh_guest, mode)
    assert admitted.startswith(before)
    [line] = admitted.removeprefix(before).splitlines()
    assert line.endswith(" rhythmicml-pipeline-loans-on-srv")
    assert not client("deploy", "loans", "--to", "srv")["changed"]
    assert keys(fresh_guest, mode) == admitted, "once is enough"
    assert findings(client) == others

    comes_back(guest, port)
    opens_nothing_else(guest, fresh_guest, mode, far["port"])
    needs_a_token(client, guest, port)
    ends_with_its_stage(client, folder, guest, fresh_guest, mode, before)

    client("undeploy", "loans", "--on", "srv", "--yes")
    nothing_left(guest, fresh_guest, mode, before)
    client("undeploy", "loans", "--on", "srv", "--purge", "--yes")  # its releases, too


def findings(client):
    """On the shared server other tests may have left instances, which this store does not know."""
    try:
        return client("verify", "srv")["findings"]
    except Failed as failed:
        return failed.problem["findings"]


def ssh_pids(guest):
    return guest.run(["pgrep", "-x", "ssh"], check=False).stdout.split()


def comes_back(guest, port):
    """ssh killed: it is there again, and scores."""
    [pid] = ssh_pids(guest)
    guest.run(["kill", "-KILL", pid])
    seconds = scores_within(guest, port, 10)
    assert ssh_pids(guest) != [pid]
    print(f"scoring {seconds:.1f} s after ssh was killed")


def scores_within(guest, port, limit):
    """How many seconds it takes until the pipeline scores."""
    began = time.monotonic()
    while (said := asked(guest, port)) != [12.0]:
        assert time.monotonic() - began < limit, said
        time.sleep(0.1)
    return time.monotonic() - began


def opens_nothing_else(guest, fresh_guest, mode, port):
    """The key gives no command, reaches no other port and no socket, and listens on no port."""
    base, login, owner = BASES[mode], LOGINS[mode][0], RUNS_AS[mode]
    key, known = (f"{base}/instances/loans/tunnel/{name}" for name in ("key", "far.known"))
    options = f"-F none -o BatchMode=yes -o HostKeyAlias=far -o UserKnownHostsFile={known} -i {key}"
    to = f"{login}@{fresh_guest.address}"

    def ssh(words, then="true"):
        script = f"timeout 5 ssh {options} {words} 2>&1 & sleep 1.5; {then}; wait"
        return guest.run(["runuser", "-u", owner, "--", "sh", "-c", script], check=False).stdout

    assert "uid=" not in ssh(f"{to} id")
    fetch = "python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", 17000)); {}'"
    speak = fetch.format('s.sendall(b"GET /readyz HTTP/1.0\\r\\n\\r\\n"); print(s.recv(99))')
    assert "200 OK" in ssh(f"-N -L 17000:127.0.0.1:{port} {to}", speak), "what it is for"
    assert "prohibited" in ssh(f"-N -L 17000:127.0.0.1:22 {to}", speak)
    path = "/run/dbus/system_bus_socket"
    assert "open failed" in ssh(f"-N -L 17000:{path} {to}", speak)
    assert "open failed" not in reached_by_others(fresh_guest, login, path)
    said = ssh(f"-N -o ExitOnForwardFailure=yes -R 17001:127.0.0.1:22 {to}")
    assert "remote port forwarding failed" in said


def reached_by_others(server, login, path):
    """What ssh says with a key that is not restricted: that socket is there to be reached."""
    argv = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-i", str(server.key), "-N"]
    argv += [
        "-o",
        f"UserKnownHostsFile={server.known_hosts}",
        "-L",
        f"{server.slot.near}:17002:{path}",
    ]
    with subprocess.Popen(
        [*argv, f"{login}@{server.address}"], stderr=subprocess.PIPE, text=True
    ) as ssh:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection((server.slot.near, 17002)).close()
                break
            time.sleep(0.1)
        else:
            pytest.fail("ssh did not come up")
        time.sleep(1)
        ssh.terminate()
        return ssh.stderr.read()


def needs_a_token(client, guest, port):
    """Somebody gets a token of the stage: then the pipeline needs one, which it is given."""
    client("token", "add", "far", "somebody", "--to", "lab")
    assert "needs a token" in asked(guest, port)["error"]["cause"]
    client("deploy", "loans", "--to", "srv", timeout=300)
    assert asked(guest, port) == [12.0]
    names = {each["name"] for each in client("token", "list", "far")}
    assert names == {"somebody", "pipeline-loans-srv"}


def ends_with_its_stage(client, folder, guest, fresh_guest, mode, before):
    """A version without the stage needs no tunnel; going back to the one with it does."""
    (folder / "rhythmicml.toml").write_text(WITHOUT)
    port = client("deploy", "loans", "--to", "srv", timeout=300)["port"]
    assert asked(guest, port) == [6.0]
    nothing_left(guest, fresh_guest, mode, before)
    plan = client("deploy", "loans@1", "--to", "srv", "--plan")["plan"]
    assert plan[0] == "Let srv in on lab by SSH, for loans alone"
    assert "Keep an SSH tunnel to far on lab" in plan
    nothing_left(guest, fresh_guest, mode, before)
    client("rollback", "loans")
    assert asked(guest, port) == [12.0]
    assert len(keys(fresh_guest, mode).removeprefix(before).splitlines()) == 1


def nothing_left(guest, fresh_guest, mode, before):
    assert keys(fresh_guest, mode) == before
    assert ssh_pids(guest) == []
    home = "/home/ds/.config/systemd/user" if mode == "user" else "/etc/systemd/system"
    base = BASES[mode]
    left = ["find", home, f"{base}/ask", f"{base}/instances/loans"]
    found = guest.run(left, check=False).stdout
    assert "tunnel" not in found
    assert "loans.far" not in found


@pytest.mark.faults
def test_the_tunnel_is_back_after_a_boot(tmp_path, guest, fresh_guest, mode):
    """Of the pipeline's host, which here is the one that a test may shut down."""
    client = somebody(tmp_path, mode, srv=fresh_guest, lab=guest)
    before = keys(guest, mode)
    try:
        _, port = deployed(client, tmp_path)
        for way in (fresh_guest.reboot, power_cut(fresh_guest)):
            way()
            seconds = scores_within(fresh_guest, port, 30)
            print(f"{mode}: scoring {seconds:.1f} s after the login prompt")
            assert client("deploy", "loans", "--to", "srv")["steps"] == []
    finally:
        client.undeploy_all()
    assert keys(guest, mode) == before


def power_cut(server):
    def cut():
        server.kill()
        server.boot_again()

    return cut


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["root"], indirect=True)
def test_undeploy_says_what_stays_on_a_host_that_is_away(
    client, tmp_path, guest, fresh_guest, mode
):
    before = keys(fresh_guest, mode)
    _, port = deployed(client, tmp_path)
    client("token", "add", "far", "somebody", "--to", "lab")
    client("deploy", "loans", "--to", "srv", timeout=300)
    assert asked(guest, port) == [12.0]
    fresh_guest.kill()
    began = time.monotonic()
    words = ["undeploy", "loans", "--on", "srv", "--purge", "--yes"]
    done = subprocess.run(
        client.argv(*words), env=client.environ, capture_output=True, text=True, timeout=120
    )
    print(f"{time.monotonic() - began:.1f} s: {done.stdout}{done.stderr}")
    assert done.returncode == 0
    assert "loans is gone from srv." in done.stdout
    assert ssh_pids(guest) == []
    assert ("loans", "srv") not in {(r["model"], r["location"]) for r in client("status")}

    fresh_guest.boot_again()
    [line] = keys(fresh_guest, mode).removeprefix(before).splitlines()
    [ending] = re.findall(r"remove the line that ends in (\S+) from", done.stderr)
    assert line.endswith(f" {ending}")
    fresh_guest.run(["sed", "-i", f"/ {ending}$/d", "/root/.ssh/authorized_keys"])
    [command] = re.findall(r"later: rhythmicml (token remove .*)", done.stderr)
    client(*command.split())
    assert [each["name"] for each in client("token", "list", "far")] == ["somebody"]
    nothing_left(guest, fresh_guest, mode, before)


@pytest.mark.faults
def test_refused_before_anything_is_changed(client, tmp_path, guest, fresh_guest, mode):
    before = keys(fresh_guest, mode)
    guest.run(["mv", "/usr/bin/ssh", "/usr/bin/ssh.away"])
    try:
        with pytest.raises(Failed) as failed:
            deployed(client, tmp_path)
    finally:
        guest.run(["mv", "/usr/bin/ssh.away", "/usr/bin/ssh"])
    assert "no SSH client" in failed.value.problem["what"]
    assert keys(fresh_guest, mode) == before
    assert client("status") == []
    with pytest.raises(Failed) as failed:
        client("deploy", "loans", "--to", "local", "--with-stages", timeout=300)
    assert "only systemd keeps one" in failed.value.problem["what"]


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["root"], indirect=True)
@pytest.mark.parametrize("point", points_of("tunnels"))
def test_f20_f21_killed_as_a_tunnel_is_made(client, tmp_path, guest, fresh_guest, mode, point):
    """Production, which has no use for one yet, answers all the while."""
    before = keys(fresh_guest, mode)
    folder, port = deployed(client, tmp_path, WITHOUT)
    client("deploy", "far", "--to", "lab")
    (folder / "rhythmicml.toml").write_text(PIPELINE)
    with Load(guest, port, rate=40) as load:
        killed(client, point, "deploy", "loans", "--to", "srv")
        check_invariants(Site.on(guest, client, "loans"))
    assert load.failed == [], "I1"
    assert asked(guest, port) == [12.0]
    client("undeploy", "loans", "--on", "srv", "--purge", "--yes")
    nothing_left(guest, fresh_guest, mode, before)
