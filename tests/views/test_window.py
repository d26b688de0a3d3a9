"""The window of the desktop: a real one, of WebKitGTK, on a display of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from client import ROOT
from screen import PICTURES, screen, until

from app.desktop import webkit
from app.desktop.displays import displays, has_display
from app.window import NoWindow, Window

pytestmark = pytest.mark.browser


@pytest.fixture
def display(tmp_path):
    with screen(tmp_path) as shown:
        yield shown


@contextmanager
def opened(work, display, *arguments, more=None, command=None):
    environ = {**os.environ, "RHYTHMICML_HOME": str(work.home), "DISPLAY": display, "LANG": "C"}
    environ |= {"HOME": str(work.home.parent), **(more or {})}
    environ.pop("WAYLAND_DISPLAY", None)
    program = subprocess.Popen(
        command or [sys.executable, ROOT / "main.py", "ui", *arguments],
        cwd=ROOT,
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
        there = [each.name() for each in psutil.Process(program.pid).children(recursive=True)]
        assert there.count("WebKitWebProcess") == 1, "no second one to show the page in"

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
        until(display.active)
        display.do("search", "--name", "^RhythmicML$", "windowfocus", "key", "alt+F4")
        assert program.wait(20) == 0


def chosen(display):
    """Press Choose…, which slides in with the drawer; whether its dialogue is there."""
    if not display.windows("Open folder"):
        display.click(1210, 199)
    return display.windows("Open folder")


def test_folder_is_picked_in_the_desktops_own_dialogue(work, display):
    with opened(work, display.name) as program:
        until(lambda: display.windows() and display.colours() > 50)
        time.sleep(1)
        display.keys("F10", "Down", "Return")  # Add model…
        until(lambda: chosen(display), every=2)
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
    assert [address for _, address in displays(environ)] == addresses


def kept(work):
    return json.loads((work.home / "window" / "place.json").read_text())


def test_size_place_and_zoom_are_kept_for_the_next_start(work, display):
    with opened(work, display.name) as program:
        until(lambda: display.windows() and display.colours() > 50)
        (window,) = display.windows()
        display.do("windowsize", "--sync", window, "1000", "600")
        display.do("windowmove", "--sync", window, "120", "90")
        display.keys("ctrl+plus", "ctrl+plus")
        time.sleep(1)
        before = display.place(window)
        display.picture(PICTURES / "window-zoomed.png")
        display.keys("alt+F4")
        assert program.wait(20) == 0
    assert kept(work)["zoom"] == 1.21
    assert (kept(work)["width"], kept(work)["height"]) == (1000, 600)
    with opened(work, display.name) as program:
        until(display.windows)
        time.sleep(1)
        assert display.place(display.windows()[0]) == before
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    assert kept(work)["zoom"] == 1.21


def test_menu_does_what_the_pages_do(work, display):
    with opened(work, display.name) as program:
        until(lambda: display.windows() and display.colours() > 50)
        time.sleep(1)
        display.keys("F10", "Down")
        time.sleep(0.5)
        display.picture(PICTURES / "window-menu.png")
        display.keys("Down", "Return")  # Add the example
        until(lambda: models_of(work) == ["tumour"])
        time.sleep(1)
        display.picture(PICTURES / "window-example.png")
        display.keys("F10", "Up", "Return")  # Close
        assert program.wait(20) == 0


def models_of(work):
    with work.open_store() as store:
        return [each.name for each in store.models.all()]


ASKED = """
import sys
from pathlib import Path
from app.window import Window
Window(Path(sys.argv[1]), busy=lambda: 2).run("about:blank")
"""


def test_closing_while_jobs_run_asks(work, display):
    """Cancel keeps it open, OK closes it; SIGTERM does not ask."""
    with opened(work, display.name, command=[sys.executable, "-c", ASKED, work.home]) as program:
        until(display.windows)
        for answer, goes_on in (("Escape", True), ("Return", False)):
            time.sleep(0.5)
            display.keys("alt+F4")
            until(lambda: len(windows_of(display, program)) > 1)
            time.sleep(0.3)
            display.picture(PICTURES / "window-closing.png")
            if not goes_on:
                display.do("key", "Tab")  # from Cancel to OK
            display.do("key", answer)
            if goes_on:
                until(lambda: len(windows_of(display, program)) == 1)
                assert program.poll() is None
        assert program.wait(20) == 0


BUSY = """
import sys, time
from pathlib import Path
from app import jobs
from app.cli import ui
from app.workspace import Workspace
from app.models import Event

def slow():
    yield Event("step", "Wait")
    while not Path(sys.argv[2]).exists():
        time.sleep(0.05)
        yield Event("log", "waiting")

jobs.start(Workspace(Path(sys.argv[1])), "commit", "churn", slow)
ui.serve("window")
"""


def test_opened_again_while_a_job_finishes_the_window_comes_back(work, display, tmp_path):
    done = tmp_path / "done"
    command = [sys.executable, "-c", BUSY, work.home, done]
    with opened(work, display.name, command=command) as program:
        until(lambda: display.windows() and display.colours() > 50)
        display.keys("alt+F4")
        until(lambda: len(windows_of(display, program)) > 1)
        time.sleep(0.3)
        display.do("key", "Tab")
        display.do("key", "Return")
        until(lambda: not windows_of(display, program))
        with opened(work, display.name) as again:
            assert again.wait(30) == 0
        until(lambda: display.windows() and display.colours() > 50)
        done.touch()
        until(lambda: not unfinished(work))
        time.sleep(2)
        assert program.poll() is None
        until(display.active)
        display.keys("alt+F4")
        assert program.wait(20) == 0
        assert "Finishing 1 job" in program.stdout.read()
        assert "Traceback" not in program.stderr.read()


def unfinished(work):
    with work.open_store() as store:
        return store.jobs.unfinished()


def test_jobs_that_are_finished_are_cancelled_when_asked_again(work, display, tmp_path):
    command = [sys.executable, "-c", BUSY, work.home, tmp_path / "never"]
    with opened(work, display.name, command=command) as program:
        until(display.active)
        program.send_signal(signal.SIGTERM)
        assert any("Finishing 1 job" in line for line in program.stdout)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    with work.open_store() as store:
        assert [job.state for job in store.jobs.all()] == ["cancelled"]


def test_asked_to_end_before_the_window_is_there(work, display):
    with opened(work, display.name) as program:
        until((work.home / "ui.json").exists, every=0.001)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
        assert "Traceback" not in program.stderr.read()


def test_page_whose_process_was_killed_is_loaded_again(work, display):
    def pages():
        there = psutil.Process(program.pid).children(recursive=True)
        return [each for each in there if each.name() == "WebKitWebProcess"]

    with opened(work, display.name) as program:
        until(lambda: display.windows() and display.colours() > 50)
        (first,) = pages()
        first.kill()
        until(lambda: [each.pid for each in pages()] not in ([], [first.pid]))
        until(lambda: display.colours() > 50)
        time.sleep(1)
        display.keys("F10", "Down")
        time.sleep(0.5)
        display.keys("Down", "Return")  # Add the example
        until(lambda: models_of(work) == ["tumour"])
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0


def test_display_that_lets_nobody_in_is_no_window(work, tmp_path):
    wild, name, cookie = b"\xff\xff", b"MIT-MAGIC-COOKIE-1", os.urandom(16)
    parts = [len(each).to_bytes(2, "big") + each for each in (b"", b"", name, cookie)]
    (tmp_path / "auth").write_bytes(wild + b"".join(parts))
    told, tells = os.pipe()
    guarded = subprocess.Popen(
        ["Xvfb", "-displayfd", str(tells), "-auth", tmp_path / "auth", "-nolisten", "tcp"],
        pass_fds=[tells], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(tells)
    with os.fdopen(told) as said:
        name = f":{said.readline().strip()}"
    try:
        with opened(work, name, more={"BROWSER": "true", "XAUTHORITY": "/dev/null"}) as program:
            assert program.stdout.readline().startswith("RhythmicML: http://127.0.0.1:")
            assert any("does not let this user in" in line for line in program.stderr)
            program.send_signal(signal.SIGTERM)
            assert program.wait(20) == 0
    finally:
        guarded.terminate()
        guarded.wait()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({}, {"LANG": "en_US.UTF-8"}),
        ({"LANG": "C", "LC_ALL": "de_DE.UTF-8"}, {"LANG": "C", "LC_ALL": "de_DE.UTF-8"}),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C.UTF-8"}, {"LANG": "de_DE.UTF-8"}),
        ({"LANG": "", "LC_MESSAGES": "POSIX"}, {"LANG": "en_US.UTF-8"}),
        ({"LANG": "de_DE.UTF-8"}, {"LANG": "de_DE.UTF-8"}),
    ],
)
def test_page_never_has_the_language_c(said, left):
    webkit._prepare(said)
    del said["WEBKIT_DISABLE_DMABUF_RENDERER"]
    assert said == left


def windows_of(display, program):
    return display.do("search", "--onlyvisible", "--pid", str(program.pid)).split()


def test_asked_for_a_browser_no_window_comes(work, display):
    with opened(work, display.name, "--browser", more={"BROWSER": "true"}) as program:
        assert program.stdout.readline().startswith("RhythmicML: http://127.0.0.1:")
        time.sleep(2)
        assert display.windows() == []
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0


def test_a_page_that_never_answers_keeps_no_program(tmp_path):
    """A thread of the library waits for it, for ever when its window was destroyed meanwhile."""
    code = (
        "import sys, threading, webview; from app import cli\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "sys.argv = ['rhythmicml', 'status', '--json']; cli.main()"
    )
    environ = {**os.environ, "RHYTHMICML_HOME": str(tmp_path / "home")}
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, env=environ, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"[]\n")
