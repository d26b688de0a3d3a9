"""Giving disk back never takes what somebody else is about to use."""

from app.deployer.road import open_local


def lock(road, name):
    road.call("lock", name=name, who="ana", step="deploy")


def purge(road, name):
    return road.call("undeploy", name=name, purge=True, entry={"action": "undeploy"})


def test_environment_of_a_deployment_under_way_stays(tmp_path):
    base = tmp_path / "base"
    with open_local(base) as deploying, open_local(base) as purging:
        lock(deploying, "one")
        (base / "envs" / "being-built").mkdir(parents=True)
        lock(purging, "two")
        purge(purging, "two")
        assert (base / "envs" / "being-built").is_dir()


def test_what_nobody_mentions_goes_once_nobody_deploys(tmp_path):
    base = tmp_path / "base"
    with open_local(base) as purging:
        lock(purging, "two")
        (base / "envs" / "left").mkdir(parents=True)
        (base / "blobs" / "ab").mkdir(parents=True)
        (base / "blobs" / "ab" / ("ab" * 32)).write_bytes(b"12345")
        assert purge(purging, "two") == {"freed": 5}
    assert not (base / "envs" / "left").exists()
    assert not (base / "instances" / "two").exists()
