"""F25, F31: a disk that is full, out of inodes or read-only at each step; thousands of releases.

The base folder is a file system of 64 MB of its own. Each step of a deployment is done by its op
while nothing can be written, must say so in numbers, leave nothing, and work afterwards.
"""

import contextlib
import hashlib
import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from client import Client, Failed, write_model
from uv import find_uv_bin

from app.deployer.road import open_local
from app.errors import Problem

BIG = 2 << 20


def call(*argv):
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture
def base(tmp_path):
    """An empty ext4 of 64 MB, mounted; few inodes, so that they run out before the bytes."""
    image, mount = tmp_path / "disk", tmp_path / "mount"
    mount.mkdir()
    call("truncate", "-s", "64M", str(image))
    call("mkfs.ext4", "-q", "-F", "-m", "0", "-N", "4096", str(image))
    call("mount", "-o", "loop", str(image), str(mount))
    yield mount / "base"
    call("umount", str(mount))


def made_larger(base, size, inodes):
    """The same, empty, with room for uv and an environment."""
    call("umount", str(base.parent))
    image = base.parent.parent / "disk"
    call("truncate", "-s", size, str(image))
    call("mkfs.ext4", "-q", "-F", "-m", "0", "-N", inodes, str(image))
    call("mount", "-o", "loop", str(image), str(base.parent))


@contextlib.contextmanager
def full(base, left):
    """Only so many bytes are left."""
    ballast = base.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for piece in (1 << 20, 1024):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * piece):
                    pass
        file.truncate(file.tell() - left)
    try:
        yield
    finally:
        ballast.unlink()


@contextlib.contextmanager
def no_inodes(base):
    folder = base.parent / "many"
    folder.mkdir()
    with contextlib.suppress(OSError):
        for number in range(60_000):
            (folder / str(number)).touch()
    try:
        yield
    finally:
        call("rm", "-rf", str(folder))


@contextlib.contextmanager
def read_only(base):
    call("mount", "-o", "remount,ro", str(base.parent))
    try:
        yield
    finally:
        call("mount", "-o", "remount,rw", str(base.parent))


FAULTS = {
    "0 left": lambda base: full(base, 0),
    "4 KiB left": lambda base: full(base, 4096),
    "1 MB left": lambda base: full(base, 1_000_000),
    "no inodes": no_inodes,
    "read-only": read_only,
}


def digest(content):
    return hashlib.sha256(content).hexdigest()


def manifest(number, blobs):
    files = [
        [f"part/{at}.bin", one, size, at == 0, ""] for at, (one, size) in enumerate(blobs.items())
    ]
    return {
        "format": 1, "id": f"v{number}-{number:012x}", "model": "churn", "version": number,
        "digest": "d", "created": f"2026-11-24T{number // 3600:02}:{number // 60 % 60:02}:"
        f"{number % 60:02}+00:00", "files": files, "environment": "e", "runtime": "r",
        "python": "3.11", "scoring": {},
    }  # fmt: skip


def paths(base):
    return sorted(str(path.relative_to(base)) for path in base.rglob("*"))


def entry(action):
    return {"action": action, "who": "ana@desk", "at": "2026-11-24T10:00:00+00:00"}


def steps(road, base, content):
    """Name → what the step of a deployment asks the agent; in order."""
    whole = {digest(each): len(each) for each in content}
    sent = [[one, size] for one, size in whole.items()]
    tool = {"name": "uv-1", "digest": digest(content[0])}
    pins = {"name": "churn", "releases": ["v2-000000000002"], "stay": True, "entry": entry("pin")}
    return {
        "upload": lambda: road.call("put", blobs=sent, payload=b"".join(content)),
        "tool": lambda: road.call("tool", **tool),
        "marker": lambda: road.call("place", manifest=manifest(2, whole)),
        "journal": lambda: road.call("pin", **pins),
    }


@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", ["upload", "tool", "marker", "journal"])
def test_f25_disk_that_takes_nothing_at_a_step(base, fault, step):
    content = [bytes([number]) * BIG for number in (1, 2)]
    with open_local(base) as road:  # without the lock: a file open for writing forbids read-only
        sizes = {digest(PRODUCTION): len(PRODUCTION)}
        road.call("put", blobs=[list(each) for each in sizes.items()], payload=PRODUCTION)
        road.call("place", manifest=manifest(1, sizes))
        current = base / "instances/churn/releases/current"
        current.symlink_to("v1-000000000001")
        todo = steps(road, base, content)
        for name in list(todo)[: list(todo).index(step)]:
            todo.pop(name)()
        before = paths(base)
        with FAULTS[fault](base):
            problem = problem_of(todo[step])
            if problem is None:
                assert (step, fault) in FITS
            else:
                assert "need " in problem.what or "is read-only" in problem.what, problem.detail
                assert problem.remedy
                assert added(base, before) == [], "nothing half-written is left"
            assert (current / "files/part/0.bin").read_bytes() == PRODUCTION
        for do in todo.values():
            do()
        made = base / "instances/churn/releases/v2-000000000002/files/part/1.bin"
        assert made.read_bytes() == content[1]


PRODUCTION = b"production"

FITS = {("journal", "4 KiB left"), ("journal", "1 MB left")}
"""What is small enough."""


def asked(port):
    """What the instance says to 1; nothing is asked through the client's own store."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/score", b'{"inputs": [[1]]}')
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["predictions"]


def problem_of(do):
    try:
        do()
    except Problem as problem:
        return problem
    return None


def added(base, before):
    """Files that are there and were not; empty folders hold nothing."""
    return [path for path in paths(base) if path not in before and not (base / path).is_dir()]


@pytest.mark.faults
@pytest.mark.parametrize("left", [0, 4096, 1_000_000, 20_000_000])
def test_f25_disk_that_fills_while_an_environment_is_built(base, left):
    """uv finds no room for its cache, the virtual environment, numpy's download, its files."""
    made_larger(base, "400M", "9000")
    uv = Path(find_uv_bin()).read_bytes()
    lock = subprocess.run(
        [find_uv_bin(), "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate", "-"],
        input=b"numpy==2.2.6", stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    build = {
        "key": "k", "lock": digest(lock), "version": "3.11", "python": sys.executable,
        "tool": "uv-1", "tree": "", "files": [],
    }  # fmt: skip
    with open_local(base) as road:
        sizes = [[digest(each), len(each)] for each in (uv, lock)]
        road.call("put", blobs=sizes, payload=uv + lock)
        road.call("tool", name="uv-1", digest=digest(uv))
        with full(base, left):
            problem = problem_of(lambda: road.call("environment", **build))
            assert problem is not None
            print(problem.what, "|", problem.remedy)
            assert "need " in problem.what or "space" in problem.what, problem.detail
            assert problem.remedy
            assert not (base / "envs/k").exists(), "nothing half-built is left"
        assert road.call("environment", **build) == {"built": True}
    call(str(base / "envs/k/bin/python"), "-c", "import numpy")


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["0 left", "4 KiB left", "no inodes"])
def test_f25_disk_that_takes_nothing_while_current_is_renamed(base, tmp_path, fault):
    """A rollback changes one link: it is done, or not done and said; never half."""
    made_larger(base, "2500M", "56000")
    home = tmp_path / "home"  # on another disk: only the host's is full
    home.mkdir(0o700)
    (base.parent / "local").mkdir()
    (home / "local").symlink_to(base.parent / "local")
    client = Client(home)
    folder = write_model(tmp_path / "doubles", "doubles")
    client("deploy", str(folder))
    try:
        write_model(folder, "doubles", factor=3.0)
        client("deploy", str(folder))
        port = client("status", "doubles")[0]["port"]
        with FAULTS[fault](base):
            problem = None
            try:
                client("rollback", "doubles")
            except Failed as failed:
                problem = str(failed)
            (answer,) = asked(port)
            print(fault, "|", problem, "|", answer)
            assert answer == (2.0 if problem is None else 3.0)
    finally:
        client("undeploy", "doubles", "--purge", "--yes")


@pytest.mark.faults
def test_f31_five_thousand_releases_are_pruned_within_a_minute(tmp_path):
    base = tmp_path / "base"
    with open_local(base) as road:
        road.call("lock", name="churn", who="ana", step="deploy")
        content = b"weights"
        road.call("put", blobs=[[digest(content), len(content)]], payload=content)
        releases = base / "instances/churn/releases"
        for number in range(1, 5001):
            made = manifest(number, {digest(content): len(content)})
            folder = releases / made["id"]
            (folder / "files/part").mkdir(parents=True)
            (folder / "files/part/0.bin").write_bytes(content)
            (folder / "release.json").write_text(json.dumps(made))
        (releases / "current").symlink_to("v1-000000000001")
        road.call("pin", name="churn", releases=["v7-000000000007"], stay=True, entry=entry("pin"))
        keep = [f"v{number}-{number:012x}" for number in range(4996, 5001)]
        began = time.monotonic()
        done = road.call("prune", name="churn", keep=keep)
        seconds = time.monotonic() - began
    print(f"pruned {len(done['removed'])} in {seconds:.1f} s")
    left = {path.name for path in releases.glob("v*")}
    assert left == {*keep, "v1-000000000001", "v7-000000000007"}
    assert seconds < 60
