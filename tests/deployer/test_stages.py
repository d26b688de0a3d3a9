"""Pipelines on a host: placed without an environment, who asks whom, by the real agent."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
from test_plan import AS_WANTED, EMPTY, WANTED, found, ops

from app.deployer import tunnels, units
from app.deployer.agent.tunnels import with_line
from app.deployer.plan import parse_found, plan
from app.deployer.road import open_local
from app.errors import Problem

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


TUNNEL = {
    "stage": "far", "location": "lab", "user": "ds", "host": "lab.example", "port": 2222,
    "to": 8101, "keys": ["ssh-ed25519 AAAA"],
}  # fmt: skip
FAR = {"name": "far", "instance": "x", "reach": {"socket": "churn.far", "tunnel": TUNNEL}}
UNIT = "rhythmicml-churn.far.tunnel.service"
TUNNELLED = dataclasses.replace(
    WANTED,
    manifest={**WANTED.manifest, "scoring": {**WANTED.manifest["scoring"], "stages": [FAR]}},
)


def of_pipeline(**more):
    """What is there as wanted, but for the tunnel."""
    meant = units.Unit("churn", "/var/lib/rhythmicml", 8101, True, pipeline=True)
    return found(AS_WANTED, units=units.render(meant), **more)


def test_plan_keeps_a_tunnel_before_the_release_starts():
    assert TUNNELLED.asks == []
    assert not TUNNELLED.calls_out, "ssh calls out, the pipeline does not"
    there = found(EMPTY, environment=True)
    does = ops(plan(TUNNELLED, there))
    assert does[does.index("listen") : does.index("start")] == ["listen", "tunnels"]
    [step] = plan(TUNNELLED, of_pipeline())
    assert step.words == "Keep an SSH tunnel to far on lab"
    assert step.args["known"] == {"far.known": "far ssh-ed25519 AAAA\n"}
    assert step.args["sockets"] == {UNIT: "churn.far.sock"}
    text = step.args["units"][UNIT]
    assert '"-L" "./churn.far.sock:127.0.0.1:8101" "-p" "2222" "-l" "ds" "lab.example"' in text
    assert "Group=rhythmicml" in text
    same = {UNIT: {"text": text, "up": True}}
    assert plan(TUNNELLED, of_pipeline(tunnels=same)) == []
    [again] = plan(TUNNELLED, of_pipeline(tunnels={UNIT: {"text": text, "up": False}}))
    assert (again.args["units"], again.args["keep"]) == ({}, [UNIT])


def test_plan_ends_tunnels_after_the_switch():
    there = found(AS_WANTED, current="v1-aaaaaaaaaaaa", tunnels={UNIT: {"text": "", "up": True}})
    steps = plan(WANTED, there)
    assert ops(steps)[-2:] == ["switch", "tunnels"]
    assert (steps[-1].words, steps[-1].args["keep"]) == ("End 1 SSH tunnel", [])


@pytest.mark.parametrize(
    ("what", "words"), [({"ssh": False}, "no SSH client"), ({"mode": "process"}, "only systemd")]
)
def test_plan_refuses_a_tunnel_that_the_host_cannot_keep(what, words):
    with pytest.raises(Problem, match=words):
        plan(TUNNELLED, of_pipeline(**what))


def test_line_that_lets_a_tunnel_in():
    said = tunnels.line("ssh-ed25519 AAAA", [8102, 8101, 8102], tunnels.comment("churn", "srv"))
    assert said == (
        'restrict,port-forwarding,permitopen="127.0.0.1:8101",permitopen="127.0.0.1:8102",'
        'permitlisten="192.0.2.1:1",command="/bin/false" ssh-ed25519 AAAA '
        "rhythmicml-pipeline-churn-on-srv"
    )


def test_line_is_put_and_taken_among_others():
    other = b"ssh-rsa BBBB ana"
    key, line = b"ssh-ed25519 AAAA", b"restrict ssh-ed25519 AAAA churn"
    put = with_line(other, key, line)
    assert put == other + b"\n" + line + b"\n"
    assert with_line(put, key, line) == put
    assert with_line(put, key, b"") == other + b"\n"
    assert with_line(other, key, b"") == other, "what is not ours stays to the byte"


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
