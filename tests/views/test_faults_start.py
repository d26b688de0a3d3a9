"""Starts on what a start cannot like: a read-only folder, a full disk, another user's store."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest
from client import ROOT, Client, Failed
from screen import screen, until
from test_window import opened

from app.services import doctor

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount disks")


@contextmanager
def disk(folder, options):
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path):
    """Until nothing more goes in."""
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.parametrize("words", [("list",), ("ui", "--no-window")])
def test_a_read_only_folder_is_said_so_with_its_remedy(work, words):
    client = Client(work.home)
    with disk(work.home, "ro"), pytest.raises(Failed) as failed:
        client(*words)
    assert "RHYTHMICML_HOME" in failed.value.problem["remedy"]
    assert failed.value.problem["cause"] == "Read-only file system"


def test_with_a_full_disk_the_pages_are_served_as_far_as_they_go(work):
    client = Client(work.home)
    with disk(work.home, "size=2m"):
        client("list")
        fill(work.home / "fill")
        program = client.start("ui", "--no-window")
        try:
            url = json.loads("".join(program.stdout.readline() for _ in range(3)))["url"]
            assert url.startswith("http://127.0.0.1:")
            assert doctor.examine(work)["store"]["free"] == "0 B"
        finally:
            program.send_signal(signal.SIGTERM)
            said = program.communicate(timeout=30)[1]
        assert program.returncode == 0
        assert "Traceback" not in said


def test_a_first_start_on_a_full_disk_is_a_problem(work):
    client = Client(work.home)
    with disk(work.home, "size=64k"):
        fill(work.home / "fill")
        with pytest.raises(Failed, match="disk is full"):
            client("ui", "--no-window")


def test_a_first_start_on_a_full_disk_is_told_in_a_window(work, tmp_path):
    """The window for the pages is there already when they turn out not to come: it goes."""
    with disk(work.home, "size=64k"), screen(tmp_path) as display:
        fill(work.home / "fill")
        with opened(work, display.name) as program:
            until(lambda: display.windows("RhythmicML cannot start"))
            assert not display.windows("RhythmicML")
            display.keys("alt+F4", title="RhythmicML cannot start")
            assert program.wait(20) == 1
            assert "disk is full" in program.stderr.read()


OTHER = """
import os, sys
from pathlib import Path
from app.cli.output import problems
from app.store import Store
from app.views import door
os.setgroups([]), os.setgid(65534), os.setuid(65534)
with problems(True), door.alone(Path(sys.argv[1])):
    pass
"""


def test_another_users_store_is_left_alone_while_it_is_open(work):
    """Its folder is closed to all others, so that not even its address is read."""
    client = Client(work.home)
    program = client.start("ui", "--no-window")
    try:
        until((work.home / "ui.json").exists)
        done = subprocess.run(
            [sys.executable, "-c", OTHER, work.home], cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        problem = json.loads(done.stdout)["error"]
        assert problem["cause"] == "Permission denied"
        assert "RHYTHMICML_HOME" in problem["remedy"]
        assert client("ui-token")["url"]
    finally:
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=30)
