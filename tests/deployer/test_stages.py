"""Pipelines on a host: placed without an environment, who asks whom, by the real agent."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from test_plan import AS_WANTED, EMPTY, WANTED, found, ops

from app.deployer import units
from app.deployer.plan import parse_found, plan
from app.deployer.road import open_local

STAGES = [
    {"name": "features", "instance": "featurizer", "version": 3, "reach": {"socket": "featurizer"}},
    {"name": "far", "instance": "x", "version": None, "reach": {"url": "https://h:1", "token": ""}},
    {"name": "forest", "instance": "forest", "version": None, "reach": {"socket": "forest"}},
    {"name": "blend", "instance": None, "combine": "mean", "reach": None},
]
SCRIPT = b"seven"
BLOB = hashlib.sha256(SCRIPT).hexdigest()
RELEASE = "v1-aaaaaaaaaaaa"


def manifest(name, stages=(), environment="", **more):
    scoring = {"sample": None, "timeout": 30.0, "expose": "loopback", "start_timeout": 300.0}
    return {
        "id": RELEASE,
        "model": name,
        "version": 1,
        "digest": "d" * 64,
        "created": "2026-11-23T10:00:00Z",
        "environment": environment,
        "runtime": "r" * 16,
        "python": "",
        "files": [["sample.json", BLOB, len(SCRIPT), False, ""]],
        "scoring": {**scoring, **({"stages": list(stages)} if stages else {})},
        **more,
    }


PIPELINE = dataclasses.replace(
    WANTED,
    manifest={**WANTED.manifest, "environment": "", "python": "",
              "scoring": {**WANTED.manifest["scoring"], "stages": STAGES}},
    lock="",
)  # fmt: skip


def look(road, name, stages=(), environment=""):
    return road.call(
        "look", name=name, release=RELEASE, environment=environment, runtime="r" * 16,
        tool="none", blobs=[], units=[], port=None, exposure="loopback", stages=list(stages),
    )  # fmt: skip


@pytest.fixture
def road(tmp_path):
    with open_local(tmp_path / "base") as road:
        yield road


@pytest.fixture
def base(road):
    return Path(road.hello["base"])


def put(road, tmp_path, said):
    (tmp_path / "blob").write_bytes(SCRIPT)
    road.call("lock", name=said["model"], who="ana", step="deploy")
    road.upload([(BLOB, len(SCRIPT), tmp_path / "blob")])
    return road.call("place", manifest=said)


def deployed(base, name):
    """As a switch leaves it, but for what runs."""
    folder = base / "instances" / name
    (folder / "releases" / "current").symlink_to(RELEASE)
    (folder / "instance.json").write_text(json.dumps({"port": 1, "mode": "process"}))


def test_plan_of_a_pipeline_builds_no_environment_and_looks_for_no_python():
    there = found(EMPTY, environment=True, pythons=())
    assert ops(plan(PIPELINE, there)) == [
        "prepare", "upload", "tool", "runtime", "place", "listen", "start", "gate", "switch",
    ]  # fmt: skip
    assert PIPELINE.asks == ["featurizer", "forest"]


def test_unit_of_a_pipeline_is_another_one():
    there = found(AS_WANTED)
    [listen] = plan(PIPELINE, there)
    assert (listen.do, list(listen.args["units"])) == ("listen", ["rhythmicml-churn@.service"])
    [text] = listen.args["units"].values()
    assert 'BindReadOnlyPaths="/var/lib/rhythmicml/ask"' in text
    assert "IPAddressDeny" not in text, "one of its stages is on another host"
    meant = units.Unit("churn", "/var/lib/rhythmicml", 8101, True, pipeline=True, calls_out=True)
    assert plan(PIPELINE, found(there, units=units.render(meant))) == []


def test_instance_from_before_gets_the_unit_and_the_port_stays_as_it_is():
    socket, service, ask = units.names("churn")
    before = {socket: AS_WANTED.units[socket], service: "[Service]\n"}
    [listen] = plan(WANTED, found(AS_WANTED, units=before, asking=False))
    assert (listen.do, set(listen.args["units"])) == ("listen", {service, ask})
    assert listen.words == "Write the units of churn"


def test_socket_that_somebody_closed_is_opened_again():
    [listen] = plan(WANTED, found(AS_WANTED, asking=False))
    assert (listen.words, listen.args["units"]) == ("Listen for pipelines", {})


def test_release_without_an_environment_is_whole(road, base, tmp_path):
    assert put(road, tmp_path, manifest("blend", STAGES)) == {"placed": True}
    folder = base / "instances" / "blend" / "releases" / RELEASE
    assert not (folder / "env").is_symlink()
    assert (folder / "runtime").is_symlink()
    wrong = road.call("sound", name="blend", release=RELEASE)
    assert [each for each in wrong if "env" in each.split()] == []
    findings = road.call("verify")["findings"]
    assert [each for each in findings if each["kind"] == "release"] == []
    assert look(road, "blend")["environment"] is True
    assert look(road, "blend", environment="absent")["environment"] is False


def test_purge_of_a_pipeline_takes_all_of_it(road, base, tmp_path):
    put(road, tmp_path, manifest("blend", STAGES))
    (base / "envs" / "left").mkdir(parents=True)
    (base / "ask").mkdir()
    freed = road.call("undeploy", name="blend", purge=True, entry={"action": "undeploy"})
    assert freed == {"freed": len(SCRIPT)}
    assert not list((base / "envs").iterdir())
    assert not (base / "ask").exists()


def test_look_knows_which_pipelines_ask_an_instance(road, base, tmp_path):
    put(road, tmp_path, manifest("blend", STAGES))
    assert look(road, "forest")["dependents"] == []  # it is placed, and nowhere production
    deployed(base, "blend")
    here = {"pipeline": "blend", "version": 1, "stages": STAGES}
    assert look(road, "forest")["dependents"] == [{**here, "stage": "forest", "pinned": None}]
    assert look(road, "featurizer")["dependents"] == [{**here, "stage": "features", "pinned": 3}]
    assert look(road, "x")["dependents"] == []  # it is another host's


def test_look_knows_how_the_stages_fare(road, base, tmp_path):
    put(road, tmp_path, manifest("forest", environment="e"))
    assert look(road, "blend", ["forest"])["stages"] == {"forest": None}
    deployed(base, "forest")
    said = parse_found(look(road, "blend", ["forest", "none"])).stages
    stopped = {"version": 1, "release": RELEASE, "ready": False, "asked": False, "schema": None}
    assert said == {"forest": stopped, "none": None}
