"""What instances record where systemd confines them, read by the agent as whom it is there."""

import pytest
from client import write_model
from guests import USERS_BY_MODE

from app.deployer.agent.metrics import parts
from app.deployer.road import open_ssh
from app.deployer.trust import Trust
from app.models import Location
from app.scoring import samples

ASK = """
import sys, time, urllib.request

for _ in range(30):
    body = b'{"inputs": [[1, 2, 3]]}'
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/score", body, timeout=30).read()
"""


@pytest.mark.parametrize("mode", ["root", "user"], indirect=True)
def test_what_an_instance_recorded_is_read_after_it_was_stopped(tmp_path, client, guest, mode):
    name = f"records-{mode}"
    port = client("deploy", str(write_model(tmp_path / "model", name)), "--to", "srv")["port"]
    guest.run(["python3", "-c", ASK, str(port)])
    client("stop", name)
    url = f"ssh://{USERS_BY_MODE[mode]}@{guest.address}"
    there = Location("srv", url=url, identity=str(guest.key))
    trust = Trust(tmp_path / "known_hosts")
    trust.accept(guest.fingerprint)
    with open_ssh(there, trust=trust) as road:
        found = parts(road.call("metrics", name=name))["instances"][name]
    assert "error" not in found
    whole = samples.empty()
    for *_, body in found["samples"]:
        whole = samples.merge(whole, samples.unpack(body))
    assert whole["requests"]["200"] >= 30
    assert whole["inputs"]["0"]["mean"] == 1.0
    assert whole["memory"] > 20e6
    assert whole["host"]["memory_total"] > 1e9
    kinds = [kind for _, _, kind, _ in reversed(found["events"])]
    assert kinds == ["started", "ready", "accepting", "draining", "ended"]
    client("undeploy", name, "--purge", "--yes")
