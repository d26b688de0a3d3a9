"""Packages unpacked here for a host, by the real uv, from folders of packages; one download."""

import csv
import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_dependencies import wheel

from app.dependencies import packages
from app.deployer import runtime
from app.deployer.agent.host import libc
from app.errors import Problem
from app.services import trees
from app.services.shipping import index_of, packages_tree
from app.unpack import Target, python_here, runs_there, unpack

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
ELSEWHERE = "3.13" if HERE != "3.13" else "3.12"
MINE = Target(platform.machine(), libc(), HERE)
OTHER = Target("aarch64", "glibc 2.36", HERE)

BACKEND = """
import sys
sys.path.insert(0, "tests")
import zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "{name}-1.0-py3-none-any.whl"
    info = "{name}-1.0.dist-info"
    with zipfile.ZipFile(folder + "/" + name, "w") as made:
        made.writestr("{name}.py", "")
        made.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
        tag = "Wheel-Version: 1.0\\nGenerator: us\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        made.writestr(info + "/WHEEL", tag)
        made.writestr(info + "/RECORD", "")
    return name
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1.0"
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No cache of this machine's own uv, and no wait for a network that is not there."""
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


def source(folder: Path, name: str, backend: str = BACKEND) -> Path:
    """A package that is only there as source; it needs nothing to be built."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    files = {
        "backend.py": backend.replace("{name}", name),
        "pyproject.toml": PROJECT.replace("{name}", name),
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: 1.0\n",
    }
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            entry = tarfile.TarInfo(f"{name}-1.0/{file}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def with_script(folder: Path, name: str) -> Path:
    """A wheel that brings a command."""
    path = wheel(folder, name, "1.0")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{name}-1.0.dist-info/entry_points.txt",
                         f"[console_scripts]\n{name} = {name}:main\n")  # fmt: skip
    return path


def lock_of(*files: Path) -> bytes:
    lines = ["--no-index", "--find-links ./wheels"]
    for file in files:
        name = file.name.split("-")[0]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        lines += [f"{name}==1.0 \\", f"    --hash=sha256:{digest}"]
    return ("\n".join(lines) + "\n").encode()


def tree_of(tmp_path: Path, target: Target, *files: Path) -> trees.Tree:
    beside = {f"wheels/{file.name}": file for file in files}
    return packages_tree(tmp_path / "home", lock_of(*files), target, beside)


def refused(tmp_path: Path, target: Target, *files: Path) -> Problem:
    with pytest.raises(Problem) as raised:
        tree_of(tmp_path, target, *files)
    assert raised.value.remedy
    assert not list((tmp_path / "home/trees").iterdir())
    return raised.value


@pytest.mark.parametrize(
    ("arch", "has", "name"),
    [
        ("x86_64", "glibc 2.36", "x86_64-manylinux_2_36"),
        ("x86_64", "glibc 2.29", "x86_64-manylinux_2_28"),
        ("aarch64", "glibc 2.99", "aarch64-manylinux_2_40"),
        ("aarch64", "musl", "aarch64-unknown-linux-musl"),
    ],
)
def test_platform_is_the_newest_that_the_host_can_run(arch, has, name):
    assert Target(arch, has, "3.11").platform == name


@pytest.mark.parametrize(
    ("arch", "has"), [("x86_64", "glibc 2.12"), ("s390x", "glibc 2.36"), ("x86_64", "")]
)
def test_host_that_no_package_is_made_for_is_named(arch, has):
    with pytest.raises(Problem, match=f"on {arch} with") as raised:
        _ = Target(arch, has, "3.11").platform
    assert "glibc 2.17 or later" in raised.value.cause


def test_builds_run_where_the_c_library_is_not_older():
    assert runs_there("glibc 2.36", "glibc 2.36")
    assert runs_there("glibc 2.9", "glibc 2.36")
    assert not runs_there("glibc 2.36", "glibc 2.35")
    assert not runs_there("glibc 2.36", "musl")
    assert not runs_there("", "")


def test_index_is_the_one_that_the_lock_names(monkeypatch):
    monkeypatch.setenv("PLACE", "index.example")
    assert index_of("--index-url https://u:p@${PLACE}/simple\na==1\n") == ("index.example", 443)
    assert index_of("-i http://10.0.0.1:3141/root\n") == ("10.0.0.1", 3141)
    assert index_of("--index-url file:///wheels\n") is None


def test_a_tree_holds_what_the_packages_bring_and_nothing_of_the_environment_here(tmp_path):
    made = tree_of(tmp_path, MINE, with_script(tmp_path / "w", "alpha"))
    site = f"lib/python{HERE}/site-packages"
    files = {each.path: each for each in made.files}
    assert set(files) == {
        "bin/alpha", f"{site}/alpha.py", *(f"{site}/alpha-1.0.dist-info/{name}" for name in (
            "INSTALLER", "METADATA", "RECORD", "REQUESTED", "WHEEL", "entry_points.txt",
            "uv_cache.json")),
    }  # fmt: skip
    assert files["bin/alpha"].executable
    script = (made.folder / "files/bin/alpha").read_text()
    assert script.startswith("#!/bin/sh\n")
    assert str(tmp_path) not in script
    assert sys.prefix not in script


def test_a_tree_for_another_python_lies_under_that_ones_name(tmp_path):
    made = tree_of(tmp_path, Target("aarch64", "musl", "3.10"), wheel(tmp_path / "w", "a", "1.0"))
    assert f"{made.files[-1].path}".startswith("lib/python3.10/site-packages/")


def test_the_same_lock_is_unpacked_once(tmp_path):
    file = wheel(tmp_path / "w", "alpha", "1.0")
    first = tree_of(tmp_path, MINE, file)
    before = (first.folder / "tree.json").stat().st_ino
    assert tree_of(tmp_path, MINE, file) == first
    assert (first.folder / "tree.json").stat().st_ino == before
    assert tree_of(tmp_path, OTHER, file).folder != first.folder


def test_a_tree_that_lost_a_file_is_made_anew(tmp_path):
    file = wheel(tmp_path / "w", "alpha", "1.0")
    first = tree_of(tmp_path, MINE, file)
    lost = first.folder / "files" / first.files[0].path
    lost.unlink()
    assert tree_of(tmp_path, MINE, file).files == first.files
    assert lost.exists()


def test_trees_that_nobody_asked_for_go(tmp_path):
    old = tree_of(tmp_path, MINE, wheel(tmp_path / "w", "alpha", "1.0")).folder
    os.utime(old, (1, 1))
    tree_of(tmp_path, MINE, wheel(tmp_path / "w", "beta", "1.0"))
    assert not old.exists()


def test_f20_a_kill_in_the_middle_leaves_no_tree(tmp_path):
    file = wheel(tmp_path / "w", "alpha", "1.0")
    code = "import sys; from pathlib import Path; from test_unpack import *\n"
    code += "tree_of(Path(sys.argv[1]), MINE, Path(sys.argv[2]))"
    root = Path(__file__).parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(file)],
        env=os.environ | {
            "RHYTHMICML_CRASH_AT": "tree-listed", "PYTHONPATH": f"{root}:{root / 'tests'}",
        },
        check=False,
    )  # fmt: skip
    assert killed.returncode == -9
    [left] = (tmp_path / "home/trees").iterdir()
    assert left.name.startswith(".")
    os.utime(left, (1, 1))
    made = tree_of(tmp_path, MINE, file)
    assert list((tmp_path / "home/trees").iterdir()) == [made.folder]


def test_source_is_built_where_the_result_runs_on_the_host(tmp_path):
    made = tree_of(tmp_path, MINE, source(tmp_path / "w", "gamma"))
    assert f"lib/python{HERE}/site-packages/gamma.py" in [each.path for each in made.files]


@pytest.mark.parametrize("target", [OTHER, Target(MINE.arch, "glibc 2.17", HERE)])
def test_source_for_another_kind_of_host_is_refused_by_name(tmp_path, target):
    problem = refused(tmp_path, target, source(tmp_path / "w", "gamma"))
    assert problem.what == f"gamma 1.0 has no wheel for {target.words}."
    assert "cannot be built here" in problem.cause
    assert "--find-links" in problem.remedy


def test_source_that_cannot_be_built_is_named(tmp_path):
    broken = source(tmp_path / "w", "gamma", "def build_wheel(*_):\n    raise SystemExit('no gcc')")
    problem = refused(tmp_path, MINE, broken)
    assert problem.what == "gamma 1.0 is only there as source, and building it here failed."
    assert "no gcc" in problem.detail


def test_wheel_for_a_newer_c_library_is_refused_by_name(tmp_path):
    tag = f"cp{HERE.replace('.', '')}-cp{HERE.replace('.', '')}-manylinux_2_40_x86_64"
    target = Target("x86_64", "glibc 2.31", HERE)
    problem = refused(tmp_path, target, wheel(tmp_path / "w", "alpha", "1.0", tag))
    assert problem.what == f"alpha 1.0 has no wheel for Python {HERE} on x86_64 with glibc 2.31."


def test_f26_another_file_than_the_locked_one_is_refused(tmp_path):
    file = wheel(tmp_path / "w", "alpha", "1.0")
    lock = lock_of(file)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("more.py", "")
    with pytest.raises(Problem) as raised:
        packages_tree(tmp_path / "home", lock, MINE, {f"wheels/{file.name}": file})
    assert raised.value.what == "alpha==1.0 is not what was locked: its hash is another one."


def test_no_network_here_either_is_said(tmp_path):
    lock = b"--index-url http://127.0.0.1:9/simple\nalpha==1.0 --hash=sha256:" + b"0" * 64 + b"\n"
    with pytest.raises(Problem, match="neither the host nor this machine") as raised:
        packages_tree(tmp_path / "home", lock, MINE, {})
    assert "--internet always" in raised.value.remedy


def test_f25_full_disk_here_is_said_and_leaves_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(home)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        file = wheel(tmp_path / "w", "alpha", "1.0")
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("big.bin", os.urandom(3_000_000))
        assert "is full" in refused(tmp_path, MINE, file).what
    finally:
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_wheels_for_another_machine_are_really_to_be_had(tmp_path):
    """What an ARM server would get; put together there it is in no test, for lack of one."""
    path = tmp_path / "runtime.lock"
    path.write_bytes(runtime.lock().path.read_bytes())
    unpack(path, OTHER, tmp_path / "out")
    library = next((tmp_path / "out").rglob("*.so"))
    assert library.read_bytes()[18:20] == b"\xb7\x00"  # EM_AARCH64
    records = [*(tmp_path / "out").rglob("RECORD")]
    assert len(records) == len(packages(path.read_bytes()))
    for record in records:
        for name, *_ in csv.reader(record.read_text().splitlines()):
            assert (record.parents[1] / name).exists()


def test_python_here_is_found_by_version():
    assert python_here(HERE) == sys.executable
    assert python_here("3.99") == ""
