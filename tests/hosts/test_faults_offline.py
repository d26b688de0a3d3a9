"""Servers that cannot fetch anything: packages and Pythons are made ready here and sent.

Of the faults, these are about F25 (a full disk), F26 (what arrives is not what was locked), F32 (a
Python that is gone); the rest of them is in tests/test_unpack.py and tests/deployer/test_trees.py.
"""

import json
import shutil
from pathlib import Path

import pytest
import standalone
from client import ROOT, Client, Failed, write_model
from guests import Guest
from invariants import Site, check_invariants
from kills import killed, points_of
from load import Load

EXAMPLE = ROOT / "assets/examples/tumour"
WHO = """
import os, sys
from pathlib import Path

def load(artifacts: Path):
    return [list(sys.version_info[:3]), sys.base_prefix, os.getuid()]

def predict(model, inputs: list):
    return [model for _ in inputs]
"""


@pytest.fixture(scope="module")
def cut_off():
    """A server with no way out, no python3-venv, and a plain user with dash who lingers."""
    with Guest.boot("cut-off", internet=False) as guest:
        guest.linger("ds")
        guest.run(["chsh", "-s", "/bin/dash", "ds"])
        yield guest


@pytest.fixture(scope="module")
def other_python(tmp_path_factory) -> tuple[str, Path]:
    """major.minor of a Python that the servers lack, and the list by which uv can fetch it."""
    found = [home for home in standalone.homes() if not home.name.startswith("3.11.")]
    found = [home for home in found if int(home.name.split(".")[1]) >= 9]
    if not found:
        pytest.skip("there is no other Python here to send")
    listed = standalone.archive(found[0], tmp_path_factory.mktemp("standalone"))
    return found[0].name.rpartition(".")[0], listed


def client_of(tmp_path, guest, user, *more) -> Client:
    client = Client(tmp_path / "home")
    client.add_location(guest, user, "srv", *more)
    return client


def model_on(folder: Path, name: str, python: str) -> Path:
    write_model(folder, name, script=WHO)
    toml = folder / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace("3.11", python))
    return folder


def predicted(client, folder):
    [row] = client("status")
    sample = str(folder / "sample.json")
    return client("score", row["model"], "--data", sample)["answer"]["predictions"]


def words(client, folder) -> list[str]:
    return client("deploy", str(folder), "--to", "srv", "--plan")["plan"]


def test_scikit_learn_example_serves_for_a_plain_user_of_a_server_without_internet(
    tmp_path, cut_off
):
    client = client_of(tmp_path, cut_off, "ds")
    planned = words(client, EXAMPLE)
    assert not [each for each in planned if "uv" in each or "Build" in each]
    first = client("deploy", str(EXAMPLE), "--to", "srv")
    assert first["steps"] == planned[1:]  # the base folder is made by the lock already
    assert first["sent"]["files"] > 1000
    answer = client("score", "tumour", "--data", str(EXAMPLE / "sample.json"))["answer"]
    benign, malignant = answer["predictions"]
    assert benign < 0.01 < 0.99 < malignant
    assert not client("deploy", str(EXAMPLE), "--to", "srv")["changed"]

    second = shutil.copytree(EXAMPLE, tmp_path / "second")
    toml = second / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace('"tumour"', '"second"'))
    assert client("deploy", str(second), "--to", "srv")["sent"]["files"] <= 2
    base = cut_off.run(["sh", "-c", "ls ~ds/.local/share/rhythmicml"]).stdout.split()
    assert {"envs", "runtime"} <= set(base)
    assert "cache" not in base
    tools = cut_off.run(["sh", "-c", "ls ~ds/.local/share/rhythmicml/tools"]).stdout.split()
    assert not [each for each in tools if not each.startswith("agent-")], "no uv"
    script = "~ds/.local/share/rhythmicml/envs/*/bin/f2py -v"
    assert cut_off.run(["sh", "-c", script], user="ds").stdout.startswith("2.")
    client.undeploy_all()


def test_python_of_this_side_runs_the_model_as_a_system_service(tmp_path, cut_off, other_python):
    version, listed = other_python
    client = client_of(tmp_path, cut_off, "root", "--internet", "never")
    client.environ["UV_PYTHON_DOWNLOADS_JSON_URL"] = listed.as_uri()
    folder = model_on(tmp_path / "model", "sent-python", version)
    done = client("deploy", str(folder), "--to", "srv")
    assert f"Put Python {version} on the host" in done["steps"]
    shown = cut_off.run(
        ["systemctl", "show", "-p", "DynamicUser", f"rhythmicml-sent-python@{done['release']}"]
    ).stdout
    assert shown == "DynamicUser=yes\n"
    [[numbers, prefix, user]] = predicted(client, folder)
    assert ".".join(map(str, numbers[:2])) == version
    assert prefix.startswith("/var/lib/rhythmicml/pythons/cpython-")
    assert user > 60_000
    again = model_on(tmp_path / "again", "sent-again", version)
    assert not [each for each in words(client, again) if "Python" in each]

    # F32: the Python goes. What runs goes on; another deployment brings it back.
    cut_off.run(["rm", "-r", prefix])
    done = client("deploy", str(folder), "--to", "srv")
    assert f"Put Python {version} on the host" in done["steps"]
    client.undeploy_all()


@pytest.mark.faults
@pytest.mark.parametrize("point", points_of("python"))
def test_f20_f21_killed_as_a_python_is_sent(tmp_path, cut_off, other_python, point):
    """Production, of a Python that is there, answers all the while."""
    version, listed = other_python
    client = client_of(tmp_path, cut_off, "root", "--internet", "never")
    client.environ["UV_PYTHON_DOWNLOADS_JSON_URL"] = listed.as_uri()
    folder = model_on(tmp_path / "model", "cut-off-python", "3.11")
    port = client("deploy", str(folder), "--to", "srv")["port"]
    cut_off.run(["rm", "-rf", "/var/lib/rhythmicml/pythons"])
    model_on(folder, "cut-off-python", version)
    with Load(cut_off, port, rate=40) as load:
        killed(client, point, "deploy", "cut-off-python", "--to", "srv")
        check_invariants(Site.on(cut_off, client, "cut-off-python"))
    assert load.failed == [], "I1"
    [[numbers, _, _]] = predicted(client, folder)
    assert ".".join(map(str, numbers[:2])) == version
    client.undeploy_all()


@pytest.mark.faults
def test_f25_a_full_disk_there_stops_before_anything_is_switched(tmp_path, cut_off):
    cut_off.run(["sh", "-c", "mkdir -p /small && mount -t tmpfs -o size=640m tmpfs /small"])
    try:
        client = client_of(tmp_path, cut_off, "root", "--base", "/small/base")
        with pytest.raises(Failed, match="too full") as failed:
            client("deploy", str(EXAMPLE), "--to", "srv")
        assert "needed" in failed.value.problem["cause"]
        assert cut_off.run(["ls", "/small/base"]).stdout.split() == ["instances"]
    finally:
        cut_off.run(["umount", "/small"])


@pytest.mark.faults
def test_server_that_reaches_pythons_has_uv_fetch_one(tmp_path, fresh_guest, other_python):
    version, listed = other_python
    there = fresh_guest.root / "srv/pythons"
    there.mkdir()
    [entry] = json.loads(listed.read_text()).values()
    packed = Path(entry["url"].removeprefix("file://"))
    shutil.copy(packed, there)
    text = listed.read_text().replace(packed.as_uri(), f"file:///srv/pythons/{packed.name}")
    (there / "pythons.json").write_text(text)
    with (fresh_guest.root / "etc/environment").open("a") as file:
        file.write("UV_PYTHON_DOWNLOADS_JSON_URL=file:///srv/pythons/pythons.json\n")
    client = client_of(tmp_path, fresh_guest, "root")
    folder = model_on(tmp_path / "model", "fetched-python", version)
    done = client("deploy", str(folder), "--to", "srv")
    assert f"Have uv fetch Python {version} there" in done["steps"]
    [[numbers, prefix, _]] = predicted(client, folder)
    assert ".".join(map(str, numbers[:2])) == version
    assert prefix.startswith(f"/var/lib/rhythmicml/pythons/cpython-{version}")


@pytest.mark.faults
def test_server_that_reaches_the_index_but_no_pythons_is_sent_one(
    tmp_path, fresh_guest, other_python
):
    version, listed = other_python
    with (fresh_guest.root / "etc/environment").open("a") as file:
        file.write("UV_PYTHON_INSTALL_MIRROR=http://127.0.0.1:9/none\n")
    client = client_of(tmp_path, fresh_guest, "root")
    client.environ["UV_PYTHON_DOWNLOADS_JSON_URL"] = listed.as_uri()
    folder = model_on(tmp_path / "model", "mixed", version)
    done = client("deploy", str(folder), "--to", "srv")
    assert "Build the scoring runtime" in done["steps"]
    assert f"Put Python {version} on the host" in done["steps"]
    assert [each for each in done["steps"] if each.startswith("Build environment")]
    [[numbers, _, _]] = predicted(client, folder)
    assert ".".join(map(str, numbers[:2])) == version


@pytest.mark.faults
def test_both_ways_give_the_scikit_learn_example_the_same_environment(tmp_path, fresh_guest):
    listing = "cd {} && find . -type f ! -name '*.pyc' ! -path './bin/*act*' | sort"
    found = {}
    for way, base in (("always", "/srv/there"), ("never", "/srv/sent")):
        client = Client(tmp_path / way)
        client.add_location(fresh_guest, "root", "srv", "--internet", way, "--base", base)
        client("deploy", str(EXAMPLE), "--to", "srv")
        [env] = fresh_guest.run(["sh", "-c", f"ls -d {base}/envs/*-*"]).stdout.split()
        records = fresh_guest.run(["sh", "-c", f"cat {env}/lib/*/*/*.dist-info/RECORD"]).stdout
        packages = fresh_guest.run(["sh", "-c", listing.format(f"{env}/lib")]).stdout.split()
        own = {"./python3.11/site-packages/_virtualenv.py",
               "./python3.11/site-packages/_virtualenv.pth"}  # fmt: skip
        found[way] = (Path(env).name, records, [each for each in packages if each not in own])
        client.undeploy_all()
    assert found["always"] == found["never"]
