"""The agent by itself: on old Pythons, on a full disk, in a race for a lock."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest

from app import frozen
from app.deployer import local, starting
from app.deployer.agent import failure, frames, host, run
from app.deployer.road import open_local
from app.errors import Busy, Problem

AGENT = Path(failure.__file__).parent


def python_of(minor: int) -> str | None:
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(path) for path in homes.glob(f"3.{minor}.*/bin/python3")]
    return found[0] if found else shutil.which(f"python3.{minor}")


@pytest.mark.parametrize("minor", [9, 10, 12, 13])
def test_agent_runs_on_this_python(minor, tmp_path, monkeypatch):
    python = python_of(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} here")
    command = [python, *starting.PYTHON_OPTIONS, "user"]
    monkeypatch.setattr(local, "local_command", lambda mode: command)
    path = tmp_path / "file"
    path.write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    with open_local(tmp_path / "base") as road:
        assert road.hello["python"].startswith(f"3.{minor}.")
        road.upload([(digest, 7, path)])
        assert road.call("get", digest=digest) == b"content"
        assert road.call("run", argv=["echo", "hi"])["out"] == "hi\n"
        assert road.call("lock", name="churn", who="ana")["who"] == "ana"
        assert road.call("facts")["python"].startswith(f"3.{minor}.")


def test_agent_on_our_own_python_has_nothing_to_compile(tmp_path, monkeypatch):
    first, sources = starting.program()
    rubbish = dict.fromkeys(json.loads(zlib.decompress(sources)), "no Python")
    packed = zlib.compress(json.dumps(rubbish).encode())
    monkeypatch.setattr(starting, "program", lambda: (first, packed))
    with open_local(tmp_path / "base") as road:
        assert road.call("run", argv=["echo", "hi"])["out"] == "hi\n"


def test_python_that_is_too_old_says_97():
    python = python_of(8)
    if python is None:
        pytest.skip("there is no Python 3.8 here")
    command = [python, "-c", starting.BOOT]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 97


def test_agent_imports_only_the_standard_library_and_itself():
    for path in AGENT.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top == starting.PACKAGE, path


@pytest.fixture
def single_file(monkeypatch):
    monkeypatch.setattr(frozen, "FROZEN", True)
    frozen.python.cache_clear()
    yield
    frozen.python.cache_clear()


def test_single_file_runs_the_agent_on_a_python_of_the_machine(tmp_path, single_file):
    assert starting.local_command("local")[0] == frozen.python() != sys.executable
    with open_local(tmp_path / "base") as road:
        assert road.hello["mode"] == "local"


def test_single_file_without_a_python_is_one_problem(tmp_path, monkeypatch, single_file):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="no Python on this machine"):
        starting.local_command("local")


def test_base_that_cannot_be_made_is_one_problem(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot be made"):
        open_local(tmp_path / "file" / "base")


def test_one_of_many_gets_the_lock_and_the_others_are_told_who(tmp_path):
    outcomes: Counter[str] = Counter()
    start = threading.Barrier(5)

    def try_it(who: str) -> None:
        with open_local(tmp_path / "base") as road:
            start.wait()
            try:
                road.call("lock", name="churn", who=who, step="Send")
                outcomes["won"] += 1
                winner.append(who)
            except Busy as busy:
                outcomes["told"] += 1
                said.append(busy.what)
            start.wait()

    winner: list[str] = []
    said: list[str] = []
    threads = [threading.Thread(target=try_it, args=(f"user{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {"won": 1, "told": 4}
    assert all(f"changed by {winner[0]} since" in what for what in said)


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_is_said_and_nothing_is_left(small_disk):
    data = os.urandom(9 * 1024 * 1024)
    digest = hashlib.sha256(data).hexdigest()
    with open_local(small_disk) as road:
        with pytest.raises(Problem, match=r"is full: need 9\.4 MB, free") as caught:
            road.call("put", payload=data, blobs=[[digest, len(data)]])
        assert "No space left" in caught.value.cause
        assert not [path for path in small_disk.rglob("*") if path.is_file()]
        assert road.call("put", payload=b"x", blobs=[[hashlib.sha256(b"x").hexdigest(), 1]]) == 1


def test_what_killed_agents_left_is_swept(tmp_path):
    folder = tmp_path / "base" / "blobs" / "ab"
    folder.mkdir(parents=True)
    for name, age in ((".abcd.old", 7200), (".abcd.new", 0)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age,) * 2)
    with open_local(tmp_path / "base") as road:
        road.upload([])
    assert os.listdir(folder) == [".abcd.new"]


def test_traceback_of_the_agent_shows_its_source(tmp_path):
    with open_local(tmp_path / "base") as road, pytest.raises(Problem) as caught:
        road.call("get")
    assert 'path = place(agent, args["digest"])' in caught.value.detail


# Parsers


def test_distribution_is_read():
    text = 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n'
    assert host.distribution(text) == ("debian", "12")
    assert host.distribution("") == ("", "")


def test_output_keeps_the_end():
    output = run.Output("out", None)
    for _ in range(5):
        output.take(b"a" * run.KEPT)
    output.take(b"end")
    assert output.text().endswith("aend")
    assert len(output.kept) == run.KEPT
    assert output.lost == 4 * run.KEPT + 3


def test_lines_are_whole_even_when_letters_are_cut():
    heard = []
    output = run.Output("out", lambda name, line: heard.append(line))
    for byte in "grün\nblau".encode():
        output.take(bytes([byte]))
    output.text()
    assert heard == ["grün", "blau"]


def test_frame_that_is_none_of_ours_ends_the_reading():
    data = iter([b"HTTP/1.1 400", b""])
    with pytest.raises(frames.Ended):
        frames.read_header(lambda size: next(data))


def test_this_machine_is_reached_without_paramiko(tmp_path):
    code = (
        "import sys; from pathlib import Path; from app.deployer.road import open_local\n"
        "open_local(Path(sys.argv[1])).close()\n"
        "assert not {'paramiko', 'keyring', 'cryptography'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path(__file__).parents[2]
    )
