"""F27 on a server: bad releases under load, under systemd."""

import bad_bundles
import pytest
from bad_bundles import AT_THE_GATE, DIES_LATER, GOOD, bad
from client import Client, Failed, write_model
from load import Load

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def served(tmp_path_factory, guest):
    """A client whose model has a good release in production on the guest; its folder, its port."""
    home = tmp_path_factory.mktemp("gate")
    client, folder = Client(home / "home"), write_model(home / "churn", "churn", script=GOOD)
    client.add_location(guest, "root")
    bad_bundles.golden(folder)
    port = client("deploy", str(folder), "--to", "srv", timeout=300)["port"]
    yield client, folder, port
    client.undeploy_all()


def production(client):
    [row] = client("status", "churn")
    return row["state"], row["version"]


def test_f27_bad_releases_never_take_traffic(served, guest):
    client, folder, port = served
    for name, (script, configuration, said, logged) in AT_THE_GATE.items():
        bad(folder, script, configuration)
        with Load(guest, port, rate=60) as load, pytest.raises(Failed) as failed:
            client("deploy", "churn", "--to", "srv")
        problem = failed.value.problem
        assert problem["kind"] == "GateFailed", name
        assert said in problem["what"] + problem.get("cause", ""), name
        assert logged in problem["detail"], name
        assert (load.failed, len(load.releases)) == ([], 1), name
        assert load.ok > 10
        assert production(client) == ("serving", 1), name
        print(f"{name}: {load.ok} requests, 0 failed")


def test_f27_release_that_dies_after_the_switch_is_rolled_back(served, guest):
    """While its only worker is replaced, the front refuses with 503 and Retry-After. What the
    worker had in its hands dies with it: one request at most, as of each death in F33."""
    client, folder, port = served
    bad(folder, DIES_LATER.format(seconds=5), '[gate]\nwatch = "10s"\n')
    with Load(guest, port, rate=60) as load, pytest.raises(Failed) as failed:
        client("deploy", "churn", "--to", "srv")
    problem = failed.value.problem
    assert (problem["kind"], problem["cause"]) == ("GateFailed", "A worker of it died.")
    assert "is production again" in problem["remedy"]
    assert "this worker dies late" in problem["detail"]
    refused = [each for each in load.failed if "The model is not ready." in each]
    lost = [each for each in load.failed if "process died on this request" in each]
    assert len(load.failed) == len(refused) + len(lost)
    assert len(lost) <= 1, load.failed
    assert len(refused) <= 60, "more than a second's"
    assert (len(set(load.releases)), load.releases[-1][:3]) == (2, "v1-")
    assert production(client) == ("serving", 1)
    back, gone = client("history", "churn", "-n", "2")
    assert (back["action"], back["result"]) == ("rollback", "done")
    print(
        f"{load.ok} requests, {len(refused)} refused, {len(lost)} died with its worker: "
        f"{gone['started']} to {back['ended']}"
    )
