"""Notices, on a real D-Bus session whose desktop is this test."""

import os
import subprocess
import threading

import pytest
from desktop_bus import answer
from jeepney import HeaderFields, message_bus, new_method_return
from jeepney.io.blocking import Proxy, open_dbus_connection
from jeepney.low_level import Message

from app.services import notices


class Desktop:
    """Whoever shows notices: answers on the bus and keeps what it was told."""

    def __init__(self, bus: str, abilities: list[str]) -> None:
        self.bus = open_dbus_connection(bus)
        self.abilities = abilities
        self.shown: list[tuple] = []
        assert Proxy(message_bus, self.bus).RequestName(notices.NAME) == (1,)
        self.thread = threading.Thread(target=answer, args=(self.bus, self.reply))
        self.thread.start()

    def reply(self, said: Message) -> Message:
        if said.header.fields[HeaderFields.member] == "GetCapabilities":
            return new_method_return(said, "as", (self.abilities,))
        self.shown.append(said.body)
        return new_method_return(said, "u", (len(self.shown),))


@pytest.fixture
def bus(tmp_path, monkeypatch):
    where = f"unix:path={tmp_path}/bus"
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address={where}"],
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout.readline().startswith(where.encode())
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", where)
    with daemon:
        yield where
        daemon.terminate()


@pytest.fixture
def desktop(bus, request):
    return Desktop(bus, getattr(request, "param", ["body"]))


def test_notice_is_shown_by_the_desktop(desktop):
    assert notices.show("churn on ams fails", "5 < 6 & more") == ""
    name, replaces, icon, title, text, actions, hints, expires = desktop.shown[0]
    assert (name, title, text) == ("RhythmicML", "churn on ams fails", "5 < 6 & more")
    assert os.path.isfile(icon)
    assert (replaces, actions, expires) == (0, [], -1)
    assert hints == {"desktop-entry": ("s", "io.github.rhythmicml")}


@pytest.mark.parametrize("desktop", [["body", "body-markup"]], indirect=True)
def test_what_a_host_says_is_text_to_a_desktop_that_knows_markup(desktop):
    assert notices.show("a\0b", "<b>x</b>\x1b[31m\ud800" + "y" * 1000) == ""
    title, text = desktop.shown[0][3:5]
    assert title == "a b"
    assert text.startswith("&lt;b&gt;x&lt;/b&gt; [31m?yyy")
    assert text.endswith("y…")


def test_session_where_nobody_shows_notices_is_told_about(bus):
    assert "ServiceUnknown" in notices.show("a", "b")


@pytest.mark.parametrize("where", ["unix:path=/nonexistent/bus", "tcp:host=127.0.0.1,port=1", "x"])
def test_machine_without_a_session_is_told_about(where, monkeypatch):
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", where)
    assert notices.show("a", "b").startswith("This desktop shows no notices: ")


def test_session_bus_is_where_systemd_has_it_when_nothing_is_said(monkeypatch):
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert notices.session_bus() == "unix:path=/run/user/7/bus"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert notices.session_bus() == f"unix:path=/run/user/{os.getuid()}/bus"


def test_notices_are_told_only_where_they_are_wanted(desktop, work):
    notices.want(work, False)
    assert "Settings" in notices.tell(work, "a", "b")
    notices.want(work, True)
    assert notices.tell(work, "a", "b") == ""
    assert len(desktop.shown) == 1
