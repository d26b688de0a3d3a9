"""F01 to F03, F06: who may ask the program that serves the pages, on a machine of many."""

import http.client
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from client import ROOT, Client

from app.errors import Busy
from app.views import door
from app.views.door import alone
from app.views.guard import CSP, CSRF_HEADER


def ask(server, method, path, headers=None, body=b""):
    """(status, headers, body), over a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)) as link:
        link.request(method, path, body, headers or {})
        answer = link.getresponse()
        if answer.headers["Content-Type"].startswith("text/event-stream"):
            return answer.status, answer.headers, b""
        return answer.status, answer.headers, answer.read()


def session(server):
    return {"Cookie": f"{server.cookie}={server.keys.session}"}


def change(server, **other):
    """Headers of a change from our own page, some of them otherwise."""
    own = {
        **session(server),
        "Origin": server.address,
        CSRF_HEADER: server.keys.csrf,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return {k: v for k, v in {**own, **other}.items() if v is not None}


def routes(server, method):
    rules = server.application.url_map.iter_rules()
    found = [re.sub("<any.*?>", "files", str(rule)) for rule in rules if method in rule.methods]
    return [re.sub("<.*?>", "1", path) for path in found]


@pytest.fixture
def dump(work):
    """What the store holds, as SQL."""

    def dumped():
        with closing(sqlite3.connect(work.home / "store.sqlite")) as store:
            return list(store.iterdump())

    return dumped


def raw(server, head):
    with closing(socket.create_connection(("127.0.0.1", server.port), 20)) as link:
        link.sendall(head.encode())
        answer = link.recv(65536)
    return int(answer.split()[1]), answer


HOSTS = (
    *("evil.test", "evil.test:{port}", "127.0.0.1.evil.test:{port}", "127.0.0.1:1", "127.0.0.1"),
    *("0.0.0.0:{port}", "[::1]:{port}", "", "127.0.0.1:{port}.", "localhost.:{port}"),
    *("LOCALHOST.evil:{port}", "user@127.0.0.1:{port}", "127.0.0.1:{port}, evil.test"),
)


@pytest.mark.parametrize("host", HOSTS)
def test_f01_other_hosts_are_refused_at_every_route(server, host):
    said = host.format(port=server.port)
    cookie = session(server)["Cookie"]
    for path in [*routes(server, "GET"), "/static/app.css", "/bootstrap?code=1"]:
        head = (
            f"GET {path} HTTP/1.1\r\nHost: {said}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        )
        status, answer = raw(server, head)
        assert status in (400, 403), (path, answer)
        assert b"Set-Cookie" not in answer


def test_f01_two_hosts_none_and_a_whole_url_are_refused(server):
    ours, cookie = f"127.0.0.1:{server.port}", session(server)["Cookie"]
    end = f"Cookie: {cookie}\r\nConnection: close\r\n\r\n"
    for head in (
        f"GET / HTTP/1.1\r\nHost: {ours}\r\nHost: evil.test\r\n{end}",
        f"GET / HTTP/1.1\r\n{end}",
        f"GET http://evil.test/ HTTP/1.1\r\nHost: {ours}\r\n{end}",
        f"GET http://{ours}/ HTTP/1.1\r\nHost: {ours}\r\n{end}",
    ):
        status, answer = raw(server, head)
        assert status in (400, 403), (head, answer)
    assert raw(server, f"GET / HTTP/1.1\r\nHost: {ours}\r\n{end}")[0] == 200
    assert raw(server, f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\n{end}")[0] == 200


def test_f02_changes_from_elsewhere_are_refused_and_change_nothing(server, dump):
    before = dump()
    own = server.address
    for path in routes(server, "POST"):
        for headers in (
            change(server, **{CSRF_HEADER: None}),
            change(server, **{CSRF_HEADER: "0" * 64}),
            change(server, Origin="http://evil.test"),
            change(server, Origin="null"),
            change(server, Origin=own.replace(str(server.port), "1")),
            change(server, Origin=None),
            change(server, Origin=None, **{"Sec-Fetch-Site": "same-site"}),
            change(server, **{"Sec-Fetch-Site": "cross-site"}),
        ):
            assert ask(server, "POST", path, headers, b"theme=dark")[0] == 403, (path, headers)
        assert ask(server, "POST", path, change(server, Cookie=None))[0] == 401, path
    assert dump() == before
    assert ask(server, "POST", "/settings/theme", change(server), b"theme=dark")[0] == 204
    assert dump() != before


def test_f02_no_get_changes_anything(server, dump, tmp_path):
    before = dump()
    for path in routes(server, "GET"):
        ask(server, "GET", path, session(server))
    assert dump() == before


def test_f02_parts_asked_for_by_other_pages_are_refused(server):
    for site in ("cross-site", "same-site"):
        headers = {**session(server), "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
        assert ask(server, "GET", "/", headers)[0] == 403
        link = {**headers, "Sec-Fetch-Mode": "navigate"}
        assert ask(server, "GET", "/", link)[0] == 200


def test_f03_without_the_secret_there_is_nothing(server):
    for path in routes(server, "GET"):
        if path.startswith(("/static/", "/bootstrap")):
            continue
        assert ask(server, "GET", path)[0] == 401, path
        assert ask(server, "GET", path, {"Cookie": f"{server.cookie}=x"})[0] in (401, 429), path
    assert ask(server, "POST", "/api/v1/invitations")[0] == 401


def test_f03_guesses_are_counted_and_do_not_shut_out_who_knows(server):
    wrong = {"Cookie": f"{server.cookie}=guess"}
    said = {ask(server, "GET", "/", wrong)[0] for _ in range(100)}
    assert said == {401, 429}
    assert ask(server, "GET", "/", wrong)[0] == 429
    assert ask(server, "GET", "/", session(server))[0] == 200


def test_invitation_is_taken_once(server):
    path = server.invitation().removeprefix(server.address)
    status, headers, _ = ask(server, "GET", path)
    assert status == 303
    assert headers["Set-Cookie"].startswith(f"{server.cookie}={server.keys.session}")
    assert {"HttpOnly", "SameSite=Strict"} <= {e.strip() for e in headers["Set-Cookie"].split(";")}
    assert ask(server, "GET", path)[0] == 401
    assert ask(server, "GET", "/bootstrap?code=")[0] == 401


def left_behind_from(address, port):
    """A port from which there was a connection just now, which goes on in the kernel's tables."""
    with socket.create_connection(("127.0.0.1", port), source_address=(address, 0)) as link:
        return link.getsockname()[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_invitation_that_another_user_has_read_lets_nobody_in(server, name):
    """It is on the command line of a browser, which every user of the machine can read."""
    url = server.invitation().replace("127.0.0.1", name)
    command = ["curl", "-s", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}", url]
    as_nobody = subprocess.run(command, user=65534, capture_output=True, text=True, check=True)
    assert as_nobody.stdout == "403"
    for other in ("127.0.0.2", "127.0.0.1"):  # what it leaves behind would be root's: nobody's
        port = str(left_behind_from(other, server.port))
        again = [*command[:-1], "--local-port", port, "--interface", "127.0.0.1", url]
        as_nobody = subprocess.run(again, user=65534, capture_output=True, text=True, check=False)
        assert as_nobody.stdout in ("403", "000")
    assert subprocess.check_output(command, text=True) == "303"


def test_every_answer_has_the_headers(server):
    for path in ("/", "/static/app.css", "/bootstrap?code=1", "/nowhere", "/feed"):
        for given in ({}, session(server)):
            _, headers, _ = ask(server, "GET", path, given)
            assert headers["Content-Security-Policy"] == CSP
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert headers["Cache-Control"] == ("no-cache" if "static" in path else "no-store")
            assert "Access-Control-Allow-Origin" not in headers
            assert "Server" not in headers


def test_pages_hold_no_secret_of_the_session(server):
    for path in ("/", "/jobs", "/models/new"):
        body = ask(server, "GET", path, session(server))[2].decode()
        assert server.keys.session not in body
        assert server.keys.bearer not in body


# F06: the program as a person starts it


def opened(client):
    """The program, serving, and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.umask(0); os.execv({sys.executable!r}, "
         f"[{sys.executable!r}, {str(ROOT / 'main.py')!r}, 'ui', '--no-window'])"],
        env=client.environ, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return process, process.stdout.readline().split()[-1]


def address(url):
    return url.partition("/bootstrap")[0]


def test_f06_second_start_gives_a_way_into_the_first_and_kill_leaves_no_trace(tmp_path):
    client = Client(tmp_path / "home")
    first, url = opened(client)
    try:
        second = client("ui", "--no-window")["url"]
        assert address(second) == address(url)
        assert second != url
        open_to_others = [p for p in client.home.rglob("*") if p.lstat().st_mode & 0o077]
        assert [p for p in open_to_others if p.suffix != "" or p.is_dir()] == []
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    began = time.monotonic()
    again, third = opened(client)
    took = time.monotonic() - began
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=20)
    assert address(third) != address(url)
    assert again.returncode == 0
    assert took < 10, "as long as any start"
    assert not (client.home / "ui.json").exists()
    with alone(client.home) as free:
        assert free


def test_start_waits_for_a_program_that_begins_or_ends(tmp_path, monkeypatch):
    """A second double-click, at the moment at which the first one's window is closed."""
    asked = []
    monkeypatch.setattr(door, "PATIENCE", 0.3)
    second = alone(tmp_path, lambda: bool(asked.append("in vain")))
    with alone(tmp_path) as first:
        assert first
        with pytest.raises(Busy, match="does not answer"):
            second.__enter__()
    assert len(asked) > 1
    monkeypatch.setattr(door, "PATIENCE", 20)
    leaving = threading.Event()

    def leave():
        with alone(tmp_path):
            leaving.set()
            time.sleep(0.5)

    threading.Thread(target=leave).start()
    leaving.wait()
    with alone(tmp_path, lambda: False) as first:
        assert first


def test_secrets_are_in_no_argument_environment_or_file_but_one(tmp_path):
    client = Client(tmp_path / "home")
    process, _ = opened(client)
    try:
        said = (client.home / "ui.json").read_text()
        bearer = said.partition('"bearer": "')[2].partition('"')[0]
        assert len(bearer) > 40
        for name in ("cmdline", "environ"):
            with open(f"/proc/{process.pid}/{name}", "rb") as file:
                assert bearer.encode() not in file.read()
        files = [p for p in client.home.rglob("*") if p.is_file() and p.name != "ui.json"]
        assert files
        assert not [p for p in files if bearer.encode() in p.read_bytes()]
        assert os.stat(client.home / "ui.json").st_mode & 0o777 == 0o600
    finally:
        process.terminate()
        process.communicate(timeout=20)
