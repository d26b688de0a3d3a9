"""F26, F30, F32 on a real server: units edited or orphaned, a release damaged, a new laptop."""

import json
import subprocess

import pytest
from client import Client, Failed, write_model
from guests import USERS_BY_MODE

pytestmark = pytest.mark.faults
UNITS = {"root": "/etc/systemd/system", "sudo": "/etc/systemd/system"}
BASES = dict.fromkeys(UNITS, "/var/lib/rhythmicml") | {"user": "/home/ds/.local/share/rhythmicml"}


def findings(client):
    argv = client.argv("verify", "srv", "--json")
    done = subprocess.run(argv, env=client.environ, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    assert done.returncode == (1 if said["findings"] else 0)
    return {(each["kind"], each["where"].rpartition("/")[2]) for each in said["findings"]}


def test_server_is_verified_mended_adopted_and_looked_after(client, guest, mode, tmp_path):
    name = f"upkeep-{mode}"
    folder = write_model(tmp_path / "model", name)
    client("deploy", str(folder), "--to", "srv")
    write_model(folder, name, factor=5.0)
    client("deploy", name, "--to", "srv")
    assert findings(client) == set()

    units = UNITS.get(mode, "/home/ds/.config/systemd/user")
    base, socket = BASES[mode], f"rhythmicml-{name}.socket"
    edit = f"sed -i s/Backlog=4096/Backlog=1/ {units}/{socket}"
    orphan = f"sed s/{name}/nobody/g '{units}/rhythmicml-{name}@.service'"
    guest.run(["sh", "-c", f"{edit}; {orphan} > '{units}/rhythmicml-nobody@.service'"])
    assert findings(client) == {
        ("unit", f"{socket}, rhythmicml-{name}@.service, rhythmicml-{name}.ask.socket"),
        ("orphan", "rhythmicml-nobody@.service"),
    }
    guest.run(["rm", f"{units}/rhythmicml-nobody@.service"])
    client("start", name)
    assert findings(client) == set()

    guest.run(["sh", "-c", f"rm {base}/instances/{name}/releases/v1-*/files/artifacts/*"])
    with pytest.raises(Failed, match="damaged on srv"):
        client("rollback", name)
    data = tmp_path / "data.json"
    data.write_text('{"inputs": [[1, 2, 3]]}')
    asked = ("score", name, "--data", str(data))
    assert client(*asked)["answer"] == {"predictions": [30.0]}
    client("deploy", f"{name}@1", "--to", "srv")
    client("deploy", f"{name}@2", "--to", "srv")

    other = Client(tmp_path / "laptop")
    other.add_location(guest, USERS_BY_MODE[mode])
    words = ("adopt", "srv", "--model", name, "--into", str(tmp_path / "work"))
    [adopted] = other(*words)["models"]
    assert adopted["versions"] == [1, 2]
    assert not other(*words)["changed"]
    assert other("rollback", name)["version"] == 1
    assert other(*asked)["answer"] == {"predictions": [12.0]}

    user = "ds" if mode == "user" else "root"
    script = f"{base}/rhythmicml-host"
    other("switch", f"{name}@2")
    assert f"{name}  serving" in guest.run([script, "status"], user=user).stdout
    guest.run([script, "rollback", name], user=user)
    assert client(*asked)["answer"] == {"predictions": [12.0]}
    assert "is ready" in guest.run([script, "logs", name], user=user).stdout
    guest.run([script, "stop", name], user=user)
    assert client("status", name)[0]["state"] == "stopped"
    guest.run([script, "start", name], user=user)
    assert client(*asked)["answer"] == {"predictions": [12.0]}
    assert guest.run([script, "status"], user="ops", check=False).returncode != 0
    client("undeploy", name, "--purge", "--yes")
