"""F11 and the newest Debian: a server that takes post-quantum key exchange alone, Python 3.13."""

import json
import shutil
import subprocess

import pytest
from client import ROOT, Client, Failed, write_model
from guests import USERS_BY_MODE, Guest, soon

pytestmark = pytest.mark.faults
EXAMPLE = ROOT / "assets/examples/tumour"
PYTHON = 'python = "3.13"'


@pytest.fixture(scope="module")
def newer():
    """Debian 13: OpenSSH 10, systemd 257, Python 3.13."""
    with Guest.boot("newer", variant="trixie") as guest:
        yield guest


def of_its_python(folder):
    """A model that wants the Python that is there."""
    toml = folder / "rhythmicml.toml"
    text = toml.read_text().replace('python = "3.11"\n', "")
    toml.write_text(text.replace("[dependencies]", "[dependencies]\n" + PYTHON))
    return folder


def key_exchange(guest, method):
    """From now on its sshd agrees on keys in that way alone."""
    rule = f"echo 'KexAlgorithms {method}' > /etc/ssh/sshd_config.d/kex.conf"
    guest.run(["sh", "-c", f"{rule}; systemctl restart ssh.service"])
    soon("sshd", guest.accepts_logins)


def test_f11_post_quantum_alone(newer, tmp_path):
    """By ML-KEM. sntrup761, which paramiko has not, is refused, told what would do."""
    client = Client(tmp_path / "home")
    folder = of_its_python(shutil.copytree(EXAMPLE, tmp_path / "tumour"))
    key_exchange(newer, "mlkem768x25519-sha256")
    client.add_location(newer, "root")
    done = client("deploy", str(folder), "--to", "srv", timeout=300)
    asked = ("score", done["model"], "--data", str(folder / "sample.json"))
    assert len(client(*asked)["answer"]["predictions"]) == 2
    key_exchange(newer, "sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com")
    with pytest.raises(Failed, match="no algorithm that is safe enough") as refused:
        client("location", "check", "srv")
    assert "sntrup761x25519-sha512" in refused.value.problem["detail"]
    assert "We take as key exchange: mlkem768x25519-sha256" in refused.value.problem["detail"]
    key_exchange(newer, "+mlkem768x25519-sha256")
    assert client("deploy", done["model"], "--to", "srv")["changed"] is False
    client("undeploy", done["model"], "--purge", "--yes")


@pytest.mark.parametrize("mode", [*USERS_BY_MODE])
def test_newer_debian_is_deployed_to_by_everybody(newer, tmp_path, mode):
    newer.linger("ds")
    client = Client(tmp_path / "home")
    client.add_location(newer, USERS_BY_MODE[mode])
    name = f"newer-{mode}"
    folder = of_its_python(write_model(tmp_path / "model", name))
    client("deploy", str(folder), "--to", "srv", timeout=300)
    of_its_python(write_model(folder, name, factor=5.0))
    client("deploy", name, "--to", "srv", timeout=300)
    client("rollback", name)
    data = tmp_path / "data.json"
    data.write_text('{"inputs": [[1, 2, 3]]}')
    assert client("score", name, "--data", str(data))["answer"] == {"predictions": [12.0]}
    argv = client.argv("verify", "srv", "--json")
    said = subprocess.run(argv, env=client.environ, capture_output=True, text=True, check=False)
    assert json.loads(said.stdout)["findings"] == []
    client("undeploy", name, "--purge", "--yes")
