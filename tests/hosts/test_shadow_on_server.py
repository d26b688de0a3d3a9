"""A version tried on copies of the requests where systemd confines both, as root and as a user."""

import pytest
from client import PREDICT, Failed, write_model

ASK = """
import sys, time, urllib.request

for _ in range(10):
    body = b'{"inputs": [[1, 2, 3]]}'
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/score", body, timeout=30).read()
    time.sleep(0.1)
"""
BASES = {
    "root": ("/var/lib/rhythmicml", "root"),
    "user": ("/home/ds/.local/share/rhythmicml", "ds"),
}
PRIORITY = """
import glob, sys

for path in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        words = open(path, "rb").read().split(b"\\0")
        if b"front" in words and sys.argv[1].encode() in words:
            stat = open(path.replace("cmdline", "stat")).read().rpartition(")")[2].split()
            print(stat[16], stat[38])  # nice, and the policy: 5 is SCHED_IDLE
    except OSError:
        pass
"""


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["root", "user"], indirect=True)
def test_shadow_beside_production_of_a_server(tmp_path, client, guest, mode):
    name = f"shade-{mode}"
    folder = write_model(tmp_path / "model", name)
    port = client("deploy", str(folder), "--to", "srv")["port"]
    (folder / "predict.py").write_text(PREDICT.replace("sum(row)", "sum(row) + 0.25"))
    client("commit", name)
    begun = client("shadow", f"{name}@2", "--percent", "100")
    guest.run(["python3", "-c", ASK, str(port)])
    said = client("shadow", name)
    assert (said["failed"], said["error"]) == (0, "")
    assert said["compared"] >= 8
    assert said["differ"] == said["rows"] == said["compared"]
    assert said["largest"] == 0.25
    priority = guest.run(["python3", "-c", PRIORITY, begun["release"]]).stdout.split()
    assert priority == ["19", "5"]

    client("restart", name)  # production goes on with its report
    guest.run(["python3", "-c", ASK, str(port)])
    assert client("shadow", name)["compared"] > said["compared"]

    assert client("deploy", f"{name}@2", "--to", "srv")["version"] == 2
    priority = guest.run(["python3", "-c", PRIORITY, begun["release"]]).stdout.split()
    assert priority == ["0", "0"]
    # Rolled back by hand to the candidate itself, which starts anew with its priority.
    begun = client("shadow", f"{name}@1", "--percent", "50")
    base, user = BASES[mode]
    said = guest.run([f"{base}/rhythmicml-host", "rollback", name], user=user).stdout
    assert f"{name} v1 gets no more copies of the requests.\n{name} v1 is serving." in said
    priority = guest.run(["python3", "-c", PRIORITY, begun["release"]]).stdout.split()
    assert priority == ["0", "0"]
    with pytest.raises(Failed, match="gets copies"):
        client("shadow", name)
    client("shadow", f"{name}@2", "--percent", "50")
    client("undeploy", name, "--purge", "--yes")
    units = guest.run(
        ["sh", "-c", "ls /etc/systemd/system ~/.config/systemd/user 2>/dev/null; true"]
    )
    assert name not in units.stdout
