"""What was unpacked here, put together on the host; beside what uv builds there of one lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_unpack import lock_of, with_script

from app import pythons
from app.deployer import runtime
from app.deployer.agent.host import libc
from app.deployer.road import open_local
from app.errors import Problem
from app.services.shipping import packages_tree, python_tree
from app.services.trees import Tree
from app.unpack import Target

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
MINE = Target(platform.machine(), libc(), HERE)
BASE_PYTHON = str(getattr(sys, "_base_executable", sys.executable))
PACKAGES = """
import json, sys
from importlib import metadata
found = {}
for each in metadata.distributions():
    name = each.metadata["Name"]
    files = [[str(file), str(file.hash), file.locate().is_file()] for file in each.files]
    found[name] = [each.version, sorted(files)]
print(json.dumps(found))
"""


def send(road, tree: Tree) -> None:
    road.upload([(part.digest, part.size, part.path) for part in tree.parts().values()])


def environment(road, lock: str, **given) -> Path:
    """What the op makes of a lock (a digest) or of a tree."""
    road.call("environment", **wanted(lock, **given))
    return Path(road.hello["base"]) / "envs" / ("k" * 8)


def wanted(lock: str, **given) -> dict:
    args = {"key": "k" * 8, "version": HERE, "python": BASE_PYTHON, "files": [], "tool": ""}
    return {**args, "tree": "", "lock": lock, **given}


def packages(folder: Path) -> dict:
    argv = [str(folder / "bin/python"), "-I", "-c", PACKAGES]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def lock(tmp_path):
    """Real packages with compiled parts, and one with a command."""
    mine = with_script(tmp_path / "wheels", "alpha")
    own = runtime.lock().path.read_text()
    path = tmp_path / "both.lock"
    alone = lock_of(mine).decode().replace("--no-index\n", "").replace("./wheels", str(mine.parent))
    path.write_text(alone + own)
    return path


def test_both_ways_give_the_same_packages_with_the_same_files(tmp_path, lock):
    content = lock.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    name, uv = runtime.tool(platform.machine())
    with open_local(tmp_path / "there") as road:
        road.upload([(digest, len(content), lock), (uv.digest, uv.size, uv.path)])
        road.call("tool", name=name, digest=uv.digest)
        built = environment(road, digest, tool=name)
    tree = packages_tree(tmp_path / "home", content, MINE, {})
    with open_local(tmp_path / "sent") as road:
        send(road, tree)
        sent = environment(road, digest, tree=tree.listing.digest)
    expected = packages(built)
    assert set(expected) >= {"alpha", "uvloop", "httptools", "msgspec"}
    assert packages(sent) == expected
    assert all(there for _, files in expected.values() for *_, there in files)
    assert (sent / ".complete").read_text() == (built / ".complete").read_text() == digest
    made = [path.relative_to(sent) for path in sent.rglob("*") if path.is_file()]
    there = [path.relative_to(built) for path in built.rglob("*") if path.is_file()]
    assert set(made) <= set(there)


def test_scripts_of_a_tree_run_with_the_python_beside_them(tmp_path):
    file = with_script(tmp_path / "w", "alpha")
    tree = packages_tree(tmp_path / "home", lock_of(file), MINE, {f"wheels/{file.name}": file})
    with open_local(tmp_path / "there") as road:
        send(road, tree)
        made = environment(road, "0" * 64, tree=tree.listing.digest)
    script = made / "bin/alpha"
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert "cannot import name 'main' from 'alpha'" in done.stderr
    assert str(made) in done.stderr
    ask = "import sys; print(sys.prefix, sys.base_prefix != sys.prefix)"
    said = subprocess.check_output([made / "bin/python", "-c", ask], text=True)
    assert said.split() == [str(made), "True"]


def test_files_of_a_tree_share_the_disk_with_their_blobs(tmp_path):
    file = with_script(tmp_path / "w", "alpha")
    tree = packages_tree(tmp_path / "home", lock_of(file), MINE, {f"wheels/{file.name}": file})
    with open_local(tmp_path / "there") as road:
        send(road, tree)
        made = environment(road, "0" * 64, tree=tree.listing.digest)
        assert (made / f"lib/python{HERE}/site-packages/alpha.py").stat().st_nlink >= 2
        assert road.call("missing", digests=list(tree.parts())) == []


def test_f26_a_file_that_changed_here_is_not_taken_there(tmp_path):
    file = with_script(tmp_path / "w", "alpha")
    tree = packages_tree(tmp_path / "home", lock_of(file), MINE, {f"wheels/{file.name}": file})
    changed = tree.folder / f"files/lib/python{HERE}/site-packages/alpha-1.0.dist-info/METADATA"
    text = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(text[:-1] + b"x")
    with open_local(tmp_path / "there") as road:
        with pytest.raises(Problem, match="is something else"):
            send(road, tree)
        with pytest.raises(Problem, match="not here any more"):
            environment(road, "0" * 64, tree=tree.listing.digest)
        assert not list((tmp_path / "there/envs").glob("k*"))


def test_f25_a_disk_that_fills_while_it_is_put_together_leaves_nothing(tmp_path):
    base = tmp_path / "there"
    base.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=60", "tmpfs", str(base)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        file = with_script(tmp_path / "w", "alpha")
        tree = packages_tree(tmp_path / "home", lock_of(file), MINE, {f"wheels/{file.name}": file})
        with open_local(base) as road:
            send(road, tree)
            free = os.statvfs(base).f_ffree
            for number in range(free - 12):
                (base / f"full{number}").touch()
            with pytest.raises(Problem, match="is full"):
                environment(road, "0" * 64, tree=tree.listing.digest)
            assert not list((base / "envs").glob("k*"))
            for path in base.glob("full*"):
                path.unlink()
            assert (environment(road, "0" * 64, tree=tree.listing.digest) / ".complete").exists()
    finally:
        subprocess.run(["umount", "-l", str(base)], check=True)


def test_f21_an_agent_killed_while_it_puts_one_together_leaves_none_that_is_whole(tmp_path):
    own = runtime.lock().path.read_bytes()
    tree = packages_tree(tmp_path / "home", own, MINE, {})
    base = tmp_path / "there"
    folder = base / "envs" / ("k" * 8)
    seed = random.randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    with open_local(base) as road:
        send(road, tree)
    for _ in range(8):
        with open_local(base) as road:
            agent = int(road.call("run", argv=["sh", "-c", "echo $PPID"])["out"])
            pending = road.send("environment", **wanted("0" * 64, tree=tree.listing.digest))
            time.sleep(moments.uniform(0, 0.03))
            os.kill(agent, signal.SIGKILL)
            with contextlib.suppress(Problem):
                pending.result()
        if (folder / ".complete").exists():  # it was quicker: then all of it has to be there
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert len(files) >= len(tree.files)
            shutil.rmtree(folder)
    with open_local(base) as road:
        assert {"uvloop", "msgspec"} <= set(
            packages(environment(road, "0" * 64, tree=tree.listing.digest))
        )


@pytest.fixture
def managed(tmp_path, monkeypatch):
    """A Python in uv's layout, found where uv keeps its own; it is this one, by links."""
    name = f"{pythons.request(HERE, MINE.arch, MINE.libc)}".replace(HERE, platform.python_version())
    folder = tmp_path / "uv-pythons" / name
    home = Path(sys.base_prefix)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / f"python{HERE}").symlink_to(home / "bin" / f"python{HERE}")
    (folder / "bin/python3").symlink_to(f"python{HERE}")
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(folder.parent))
    return folder


def test_python_of_this_side_is_put_there_and_found_there(tmp_path, managed):
    tree = python_tree(tmp_path / "home", MINE, "none")
    with open_local(tmp_path / "there") as road:
        send(road, tree)
        before = {each["path"] for each in road.call("facts")["pythons"]}
        args = {"version": HERE, "tree": tree.listing.digest, "tool": ""}
        assert road.call("python", **args) == {"built": True}
        assert road.call("python", **args) == {"built": False}
        [folder] = (tmp_path / "there/pythons").glob("cpython-*")
        assert (folder / ".complete").exists()
        made = environment(road, "0" * 64, python="", **empty_tree(tmp_path, road))
        assert (made / "bin/python").readlink() == folder / "bin" / f"python{HERE}"
        (folder / ".complete").unlink()  # half-made
        assert {each["path"] for each in road.call("facts")["pythons"]} == before
        with pytest.raises(Problem, match="is gone again"):
            environment(road, "0" * 64, key="other", python="", **empty_tree(tmp_path, road))


def empty_tree(tmp_path, road):
    tree = packages_tree(tmp_path / "home", b"", MINE, {})
    send(road, tree)
    return {"tree": tree.listing.digest}


def test_python_that_nobody_has_is_named_with_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    target = Target(MINE.arch, MINE.libc, "3.99")
    with pytest.raises(Problem) as raised:
        python_tree(tmp_path / "home", target, "3.11.2")
    assert raised.value.what == "Python 3.99 is not on that host."
    assert raised.value.cause.startswith("Found there: 3.11.2. It cannot be fetched there")
    assert "uv python install cpython-3.99-linux-" in raised.value.remedy


def test_what_uv_cannot_fetch_on_the_host_is_a_problem(tmp_path):
    name, uv = runtime.tool(platform.machine())
    with open_local(tmp_path / "there") as road:
        road.upload([(uv.digest, uv.size, uv.path)])
        road.call("tool", name=name, digest=uv.digest)
        with pytest.raises(Problem, match=r"uv could not fetch it") as raised:
            road.call("python", version="3.99", tree="", tool=name)
    assert "--internet never" in raised.value.remedy


def test_what_the_host_reaches_is_tried_there(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server, open_local(tmp_path) as road:
        here = ["127.0.0.1", server.getsockname()[1]]
        closed = ["127.0.0.1", 9]
        assert road.call("reach", index=here, pythons=closed) == {"index": True, "pythons": False}
        assert road.call("reach", index=None, pythons=None) == {"index": True, "pythons": False}
    (tmp_path / "list.json").write_text("{}")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", f"file://{tmp_path}/list.json")
    with open_local(tmp_path / "b") as road:
        assert road.call("reach", index=closed, pythons=None) == {"index": False, "pythons": True}
