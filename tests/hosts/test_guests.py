"""The servers we test on are what they claim to be: real, clean, apart from each other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from guests import Guest, GuestTrouble, call


def test_systemd_has_booted_without_a_failure(guest):
    assert guest.run(["systemctl", "is-system-running"]).stdout == "running\n"


@pytest.mark.parametrize("user", ["root", "ds", "ops"])
def test_openssh_logs_in_with_the_key(guest, user):
    assert call(*guest.ssh(user, "id", "-un")) == f"{user}\n"


def test_openssh_sees_the_fingerprint_we_name(guest, tmp_path):
    seen = tmp_path / "seen"
    seen.write_text(call("ssh-keyscan", "-t", "ed25519", guest.address))
    assert guest.fingerprint in call("ssh-keygen", "-l", "-f", str(seen))


def test_a_command_runs_as_at_a_login(guest):
    at_login = call(*guest.ssh("ds", "pwd; id; echo $LANG $SSL_CERT_FILE $XDG_RUNTIME_DIR"))
    script = "pwd; id; echo $LANG $SSL_CERT_FILE $XDG_RUNTIME_DIR"
    assert guest.run(["sh", "-c", script], user="ds").stdout == at_login


def test_only_ops_has_sudo(guest):
    assert guest.run(["sudo", "-n", "id", "-u"], user="ops").stdout == "0\n"
    with pytest.raises(GuestTrouble, match="password is required"):
        guest.run(["sudo", "-n", "id", "-u"], user="ds")


def test_a_late_command_is_ended(guest):
    with pytest.raises(GuestTrouble, match="took over"):
        guest.run(["sleep", "4321"], timeout=0.5)
    assert "4321" not in guest.run(["ps", "-eo", "args"]).stdout


@pytest.mark.parametrize("module", ["ensurepip", "pip"])
def test_python_comes_without(guest, module):
    assert "No module named" in guest.run(["python3", "-m", module], check=False).stderr


def test_a_lingering_user_has_a_manager_and_a_plain_one_may_not_ask_for_it(fresh_guest):
    with pytest.raises(GuestTrouble, match="Access denied"):
        call(*fresh_guest.ssh("ds", "loginctl", "enable-linger"))
    fresh_guest.linger("ds")
    asked = fresh_guest.run(["systemctl", "--user", "is-system-running", "--wait"], user="ds")
    assert asked.stdout == "running\n"


@pytest.mark.parametrize("way", ["reboot", "power cut"])
def test_files_outlive_and_processes_do_not(fresh_guest, way):
    asked = fresh_guest.ssh("ds", "cat", "kept")
    fresh_guest.run(["sh", "-c", "echo something > kept"], user="ds")
    fresh_guest.run(["systemd-run", "--unit=still-here", "sleep", "1h"])
    if way == "reboot":
        fresh_guest.reboot()
    else:
        fresh_guest.kill()
        with pytest.raises(GuestTrouble, match=r"timed out|No route|unreachable"):
            call(*asked[:1], "-o", "ConnectTimeout=1", *asked[1:])
        fresh_guest.boot_again()
    assert call(*asked) == "something\n"
    assert fresh_guest.run(["systemctl", "is-active", "still-here"], check=False).returncode


def test_two_guests_reach_each_other_and_share_nothing(guest, fresh_guest):
    reach = f"import socket; print(socket.create_connection(('{guest.address}', 22), 5).recv(4))"
    assert fresh_guest.run(["python3", "-c", reach]).stdout == "b'SSH-'\n"
    assert guest.fingerprint != fresh_guest.fingerprint
    sshd = ["systemctl", "show", "-P", "MainPID", "ssh"]
    before = guest.run(sshd).stdout
    fresh_guest.run(["systemctl", "restart", "ssh"])
    assert guest.run(sshd).stdout == before
    assert "Failed" not in guest.run(["systemctl", "status", "ssh"]).stderr


def test_uv_installs_from_the_registry_when_there_is_internet(fresh_guest):
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    if not (uv := shutil.which("uv", path=beside_python)):
        pytest.skip("uv is not installed here")
    shutil.copy(uv, fresh_guest.root / "usr/local/bin/uv")
    fresh_guest.run(["uv", "venv", "env"], user="ds")
    install = ["env", "UV_HTTP_RETRIES=0", "uv", "pip", "install", "--python", "env", "six"]
    fresh_guest.internet(False)
    with pytest.raises(GuestTrouble, match="six"):
        fresh_guest.run(install, user="ds")
    fresh_guest.internet(True)
    assert "+ six" in fresh_guest.run(install, user="ds").stderr


def test_a_stopped_guest_leaves_nothing():
    with Guest.boot("brief") as brief:
        slot, process = brief.slot, brief.process
    brief.stop()
    assert process.returncode is not None
    assert not slot.folder.exists()
    assert not Path("/sys/class/net", slot.link).exists()
    assert slot.table not in call("nft", "list", "tables").split()
    assert slot.machine not in call("mount")
    assert not list(Path("/sys/fs/cgroup").glob(f"**/{slot.machine}*"))


def test_what_a_killed_run_left_is_cleared_away():
    boot = "from guests import Guest; import os; pid = Guest.boot('orphan').process.pid"
    die = "print(pid, flush=True); os.kill(os.getpid(), 9)"
    here = Path(__file__).parent
    killed = subprocess.run(
        [sys.executable, "-c", f"{boot}\n{die}"], cwd=here, capture_output=True, text=True
    )
    orphan = int(killed.stdout)
    assert Path(f"/proc/{orphan}/exe").exists()
    with Guest.boot("next"):
        assert not Path(f"/proc/{orphan}/exe").exists()
