"""`--stop-first` on a server, installed there by each right: production is back by itself."""

import json
import time

import pytest
from client import PREDICT, Client, Failed, write_model
from guests import USERS_BY_MODE, Guest, soon
from invariants import ASK
from kills import killed

PRODUCTION_AFTER = {
    "agent:stop_first:after": 1,
    "agent:candidate-starting": 1,
    "agent:current-renamed": 1,
    "agent:switch:after": 2,
}
"""The version that answers once the agent was killed there; a finished switch stands."""


def served_version(guest: Guest, port: int) -> int:
    """The version that every new connection is answered by; 0 while any is refused."""
    said = guest.run(["python3", "-c", ASK, str(port)], check=False).stdout
    releases = {release for _, release in json.loads(said)} if said else {"v0-"}
    [version] = {int(release.removeprefix("v").split("-")[0]) for release in releases}
    return version


@pytest.mark.faults
@pytest.mark.parametrize("point", PRODUCTION_AFTER)
def test_production_is_back_when_the_agent_is_killed(client, guest, tmp_path, mode, point):
    name = f"back-{mode}"
    folder = write_model(tmp_path / "model", name)
    port = client("deploy", str(folder), "--to", "srv")["port"]
    write_model(folder, name, factor=3.0)
    killed(client, point, "deploy", name, "--to", "srv", "--stop-first")
    began = time.monotonic()
    version = soon("production", lambda: served_version(guest, port), 15)
    print(f"{mode}, {point}: production again after {time.monotonic() - began:.1f} s")
    assert version == PRODUCTION_AFTER[point]
    [row] = client("status", name)
    assert (row["state"], row["version"]) == ("serving", version)
    assert client("deploy", name, "--to", "srv", "--stop-first")["version"] == 2
    assert served_version(guest, port) == 2
    client("undeploy", name, "--purge", "--yes")


def test_production_is_back_when_the_new_one_fails(guest, tmp_path):
    """By the right that has the least."""
    guest.linger("ds")
    client = Client(tmp_path / "home")
    client.add_location(guest, USERS_BY_MODE["user"])
    folder = write_model(tmp_path / "model", "back")
    port = client("deploy", str(folder), "--to", "srv")["port"]
    (folder / "predict.py").write_text(PREDICT + "raise ValueError('not today')\n")
    with pytest.raises(Failed, match="not today"):
        client("deploy", "back", "--to", "srv", "--stop-first")
    assert served_version(guest, port) == 1
    client("undeploy", "back", "--purge", "--yes")
