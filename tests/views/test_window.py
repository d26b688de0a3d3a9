"""The window of the desktop: a real one, of WebKitGTK, on a display of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from client import ROOT
from screen import screen, until

from app.window import NoWindow, Window, _displays, has_display

pytestmark = pytest.mark.browser


@pytest.fixture
def display(tmp_path):
    with screen(tmp_path) as shown:
        yield shown


@contextmanager
def opened(work, display, *arguments):
    environ = {**os.environ, "RHYTHMICML_HOME": str(work.home), "DISPLAY": display, "LANG": "C"}
    environ.pop("WAYLAND_DISPLAY", None)
    program = subprocess.Popen(
        [sys.executable, ROOT / "main.py", "ui", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield program
    finally:
        if program.poll() is None:
            program.kill()
        program.communicate()


def test_window_shows_the_pages_is_raised_and_ends_when_asked(work, display):
    with opened(work, display.name) as program:
        until(display.windows)
        until(lambda: display.colours() > 50)  # text with smooth edges, icons, the accent
        assert program.stdout.readline().startswith("RhythmicML: http://127.0.0.1:")

        with opened(work, display.name) as again:
            said, _ = again.communicate(timeout=30)
        assert again.returncode == 0
        assert said.startswith("RhythmicML: http://127.0.0.1:")
        assert len(display.windows()) == 1

        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
        assert "Traceback" not in program.stderr.read()
    assert not (work.home / "ui.json").exists()
    assert (work.home / "window").stat().st_mode & 0o777 == 0o700


def test_closing_the_window_ends_the_program(work, display):
    with opened(work, display.name) as program:
        until(display.windows)
        display.do("search", "--name", "^RhythmicML$", "windowfocus", "key", "alt+F4")
        assert program.wait(20) == 0


def test_folder_is_picked_in_the_desktops_own_dialogue(work, display):
    with opened(work, display.name) as program:
        until(lambda: display.windows() and display.colours() > 50)
        time.sleep(1)
        display.click(1190, 46)  # Add model
        time.sleep(1)
        display.click(1210, 174)  # Choose
        until(lambda: display.windows("Open folder"))
        program.send_signal(signal.SIGTERM)  # the dialogue's own loop does not keep it
        assert program.wait(20) == 0


def test_without_a_display_the_address_is_still_served(work):
    with opened(work, ":4096") as program:
        assert "There is no display" in program.stderr.readline()
        until((work.home / "ui.json").exists)
        assert json.loads((work.home / "ui.json").read_text())["pid"] == program.pid
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0


def test_a_dead_display_is_no_window(work, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":4096")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_display()
    with pytest.raises(NoWindow, match="no display"):
        Window(work.home).run("http://127.0.0.1:1/")


@pytest.mark.parametrize(
    ("environ", "addresses"),
    [
        ({}, []),
        ({"DISPLAY": "nonsense"}, []),
        ({"DISPLAY": ":0.1"}, ["/tmp/.X11-unix/X0", "\0/tmp/.X11-unix/X0"]),
        ({"DISPLAY": "far:10.0"}, [("far", 6010)]),
        ({"WAYLAND_DISPLAY": "wayland-0", "XDG_RUNTIME_DIR": "/run/user/1"},
         ["/run/user/1/wayland-0"]),
    ],
)  # fmt: skip
def test_where_displays_are_looked_for(environ, addresses):
    assert [address for _, address in _displays(environ)] == addresses
