"""What a window of the desktop does that a browser's tab does not: it saves, takes folders where
they are, leaves links elsewhere to the browser, is dark when the desktop is."""

import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from client import write_model
from desktop_bus import answer
from jeepney import (
    DBusAddress,
    HeaderFields,
    message_bus,
    new_method_call,
    new_method_return,
    new_signal,
)
from jeepney.io.blocking import Proxy, open_dbus_connection
from screen import PICTURES, screen, until
from test_faults_local import ask, change
from test_window import opened

from app.desktop import gtk, tray
from app.window import Window

pytestmark = pytest.mark.browser

PAGE, DARK, LIGHT = "RhythmicML", b"\x1b\x16\x12", b"\xff\xff\xff"

SERVED = """
import sys, threading
from pathlib import Path
from app.views.server import Server
from app.window import Window
from app.workspace import Workspace
home, path, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
server = Server(Workspace(home))
server.start()
window = server.window = Window(home, invite=server.invitation)
def act():
    window._there.wait()
    window.pages.shown.events.loaded.wait()
    window.pages.shown.run_js(script)
threading.Thread(target=act, daemon=True).start()
window.run(server.invitation(path))
"""
SOURCE = """
import sys, gi
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, Gtk
window = Gtk.Window(title="source")
button = Gtk.EventBox()
button.add(Gtk.Label(label="drag me"))
window.add(button)
window.set_default_size(120, 120)
window.move(0, 600)
kind = [Gtk.TargetEntry.new("text/uri-list", 0, 0)]
button.drag_source_set(Gdk.ModifierType.BUTTON1_MASK, kind, Gdk.DragAction.COPY)
button.connect("drag-data-get", lambda _, __, data, *___: data.set_uris([sys.argv[1]]))
window.show_all()
window.set_keep_above(True)
Gtk.main()
"""


@pytest.fixture
def display(tmp_path):
    with screen(tmp_path) as shown:
        yield shown


@contextmanager
def served(work, display, path="/", script="0", **more):
    command = [sys.executable, "-c", SERVED, work.home, path, script]
    with opened(work, display.name, command=command, **more) as program:
        until(lambda: display.windows() and display.colours() > 50)
        yield program


def test_download_is_saved_where_the_dialogue_says(work, display, tmp_path):
    script = "setTimeout(() => document.querySelector('a[download]').click(), 500)"
    with served(work, display, "/settings", script):
        until(lambda: display.windows("Save file"))
        time.sleep(0.5)
        display.picture(PICTURES / "window-save.png")
        display.keys("ctrl+a", title="Save file")
        display.do("type", str(tmp_path / "kept.json"))
        display.do("key", "Return")
        until((tmp_path / "kept.json").exists)
        until(lambda: '"openapi"' in (tmp_path / "kept.json").read_text())


@pytest.mark.parametrize("packed", [False, True])
def test_dropped_folder_stays_where_it_is_and_an_archive_is_unpacked(
    work, display, tmp_path, packed
):
    dropped = folder = write_model(tmp_path / "my models" / "churn", "churn")
    if packed:
        dropped = Path(shutil.make_archive(str(folder), "gztar", folder))
        folder = tmp_path / "RhythmicML" / "churn"
    with served(work, display, script=ADDS), dragging(display, dropped):
        until(lambda: folders_of(work) == [str(folder)])
    assert dropped.exists()


@contextmanager
def dragging(display, path):
    """A file manager's window, from which that was dragged to the pages."""
    source = subprocess.Popen(
        ["/usr/bin/python3", "-c", SOURCE, path.as_uri()], env=display.environ
    )
    try:
        until(lambda: display.windows("source"))
        time.sleep(0.5)
        drag(display)
        yield
    finally:
        source.kill()
        source.wait()


def test_what_cannot_be_taken_is_said_and_left_alone(server, work, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = write_model(tmp_path / "churn", "churn")
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    (tmp_path / "notes.txt").write_text("x")
    os.mkfifo(tmp_path / "pipe.zip")
    server.window = Window(work.home)
    for names, words in (
        ([], "Drop one folder, or one archive."),
        (["churn", "bad.zip"], "Drop one folder, or one archive."),
        (["bad.zip"], "The archive cannot be read"),
        (["notes.txt"], "is no archive that can be read"),
        (["pipe.zip"], "cannot be read."),
        (["<gone>.zip"], "&lt;gone&gt;.zip&#34; cannot be read."),
    ):
        server.window.pages.dropped = [str(tmp_path / name) for name in names]
        headers = change(server, **{"HX-Request": "true"})
        status, _, said = ask(server, "POST", "/window/dropped", headers)
        assert status >= 400
        assert words in said.decode()
        assert (folder / "rhythmicml.toml").exists()
        assert (tmp_path / "bad.zip").read_bytes() == b"PK no zip"
    assert list((tmp_path / "RhythmicML").iterdir()) == []


ADDS = """
setInterval(() => {
  const add = document.querySelector("#found button.btn-primary");
  if (add) add.click();
}, 300)
"""
"""Presses the button of the dialogue once the folder was looked at."""


def folders_of(work):
    with work.open_store() as store:
        return [each.folder for each in store.models.all()]


def drag(display):
    """The folder onto the page, as slowly as a hand does it."""
    display.do("mousemove", "60", "660", "mousedown", "1")
    for x in range(80, 640, 20):
        display.do("mousemove", str(x), str(660 - x // 4))
        time.sleep(0.05)
    time.sleep(0.5)
    display.picture(PICTURES / "window-dragging.png")
    display.do("mouseup", "1")


LINK = """
setTimeout(() => {
  const link = document.createElement("a");
  link.style.cssText = "position:fixed;inset:0;z-index:99";
  document.body.append(link);
  %s
}, 300)
"""


@pytest.mark.parametrize(
    "does",
    [
        'link.href = "https://example.org/x"',
        'link.href = "https://example.org/x"; link.target = "_blank"',
        'link.addEventListener("click", () => window.open("https://example.org/x"))',
    ],
)
def test_links_elsewhere_open_in_the_browser(work, display, tmp_path, does):
    told, browser = tmp_path / "told", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {told}\n')
    browser.chmod(0o755)
    more = {"BROWSER": str(browser)}
    with served(work, display, script=LINK % does, more=more) as program:
        until(lambda: display.click(600, 400) or told.exists(), every=1)
        assert set(told.read_text().split()) == {"https://example.org/x"}
        assert program.poll() is None
        assert display.colours() > 50, "our page is still there"


@pytest.mark.parametrize(
    ("uris", "known"),
    [(["file:///a%20b/c"], ["/a b/c"]), (["file://localhost/a\r"], ["/a"]),
     (["file://elsewhere/a", "https://a/b", "", "x"], [])],
)  # fmt: skip
def test_paths_of_what_is_dropped(uris, known):
    assert gtk.paths(uris) == known


@pytest.mark.parametrize(
    ("url", "elsewhere"),
    [("http://127.0.0.1:5/a", False), ("http://127.0.0.1:6/a", True), ("https://a.org", True),
     ("mailto:a@b", True), ("about:blank", False), ("javascript:1", False), ("file:///x", False),
     ("", False)],
)  # fmt: skip
def test_what_leads_elsewhere(url, elsewhere):
    assert gtk.is_elsewhere(url, "http://127.0.0.1:5/bootstrap?code=1") == elsewhere


def share(display, colour):
    return display.pixels().count(colour) / (len(display.pixels()) / 4)


def test_window_is_dark_with_a_dark_theme(work, display):
    with served(work, display, more={"GTK_THEME": "Adwaita:dark"}):
        until(lambda: share(display, DARK) > 0.5)
        display.picture(PICTURES / "window-dark.png")


@pytest.fixture
def bus(tmp_path, monkeypatch):
    where = f"unix:path={tmp_path}/bus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", where)
    command = ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address={where}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout.readline().startswith(where.encode())
        yield where
        daemon.terminate()


class Portal:
    """The desktop's portal: says what is preferred, and when that changes."""

    NAME, PATH = gtk.PORTAL

    def __init__(self, address):
        self.bus = open_dbus_connection(address)
        assert Proxy(message_bus, self.bus).RequestName(self.NAME) == (1,)
        threading.Thread(target=answer, args=(self.bus, self.reply), daemon=True).start()

    @staticmethod
    def reply(said):
        whole = said.header.fields[HeaderFields.member] == "Read"
        return (new_method_return(said, "v", (("v", ("u", 1)),)) if whole
                else new_method_return(said, "a{sv}", ({},)))  # fmt: skip

    def change(self, scheme):
        where = DBusAddress(self.PATH, self.NAME, "org.freedesktop.portal.Settings")
        self.bus.send(new_signal(where, "SettingChanged", "ssv", (*gtk.ASKED, ("u", scheme))))


def test_window_follows_what_the_desktop_prefers(work, display, bus):
    portal = Portal(bus)
    with served(work, display):
        until(lambda: share(display, DARK) > 0.5)
        portal.change(2)
        until(lambda: share(display, LIGHT) > 0.5)


def test_second_start_brings_the_window_back(work, display):
    with opened(work, display.name) as program:
        until(display.windows)
        (window,) = display.windows()
        display.do("windowminimize", "--sync", window)
        until(lambda: not display.windows())
        with opened(work, display.name) as again:
            assert again.wait(30) == 0
        until(lambda: display.windows() == [window])
        until(lambda: display.do("getactivewindow").strip() == window)
        assert program.poll() is None


class Tray:
    """The desktop's tray: takes icons, and does with one what somebody does with the mouse."""

    NAME, PATH = tray.TRAY, "/StatusNotifierWatcher"

    def __init__(self, address):
        self.address = address
        self.taken = []
        self.bus = open_dbus_connection(address)
        assert Proxy(message_bus, self.bus).RequestName(self.NAME) == (1,)
        threading.Thread(target=answer, args=(self.bus, self.reply), daemon=True).start()

    def reply(self, said):
        member = said.header.fields[HeaderFields.member]
        if member == "RegisterStatusNotifierItem":
            self.taken.append((said.header.fields[HeaderFields.sender], said.body[0]))
            return new_method_return(said)
        if member == "Get":
            return new_method_return(said, "v", (("b", True),))
        return new_method_return(said, "a{sv}", ({"IsStatusNotifierHostRegistered": ("b", True)},))

    def ask(self, interface, method, signature, body, below=""):
        (where, path), *_ = self.taken
        with open_dbus_connection(self.address) as bus:
            address = DBusAddress(path + below, where, interface)
            return bus.send_and_get_reply(new_method_call(address, method, signature, body)).body

    def entries(self):
        """What its menu says, by number."""
        body = (0, -1, ["label"])
        _, (_, _, listed) = self.ask("com.canonical.dbusmenu", "GetLayout", "iias", body, "/Menu")
        return {each[1][1]["label"][1]: each[1][0] for each in listed}

    def press(self, words):
        body = (self.entries()[words], "clicked", ("i", 0), 0)
        self.ask("com.canonical.dbusmenu", "Event", "isvu", body, "/Menu")


def test_both_windows_are_reached_from_the_tray(work, display, bus):
    shown = Tray(bus)
    with opened(work, display.name) as program:
        until(lambda: shown.taken and display.windows())
        item = "org.kde.StatusNotifierItem"
        get = shown.ask("org.freedesktop.DBus.Properties", "GetAll", "s", (item,))[0]
        assert (get["Title"][1], get["Status"][1]) == ("RhythmicML", "Active")
        assert os.path.isfile(get["IconName"][1])
        assert list(shown.entries()) == ["Open RhythmicML", "Status window"]
        shown.press("Status window")
        until(lambda: display.windows("RhythmicML status"))
        (window,) = display.windows()
        display.do("windowminimize", "--sync", window)
        shown.press("Open RhythmicML")
        until(lambda: display.windows() == [window])
        assert program.poll() is None


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("http://127.0.0.1:5/models/churn/files?v=2", "/models/churn/files?v=2"),
        ("http://127.0.0.1:5/bootstrap?code=1&to=/status", "/status"),
        ("http://127.0.0.1:5/bootstrap?code=1", "/"),
        ("http://127.0.0.1:5/", "/"),
    ],
)
def test_page_that_is_loaded_again_is_the_same(url, page):
    assert gtk._page(url) == page
