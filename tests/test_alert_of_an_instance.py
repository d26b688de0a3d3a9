"""An instance of this machine becomes slow under load, then is killed: one alert of each."""

import contextlib
import http.server
import json
import os
import signal
import threading
import time
import urllib.error
import urllib.request

import psutil
import pytest
from client import SLOW_WHILE, Client, write_model

from app.services import alerts, collecting, limits, notices, rules, states, telling


class Load:
    """Requests from four at once, until `end`."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/score"
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def ask(self):
        while not self.ending.wait(0.005):
            request = urllib.request.Request(self.address, b'{"inputs": [[1, 2, 3]]}')
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(request, timeout=10).read()

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.taken += [(each["event"], each["rule"]) for each in said["alerts"]]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def told(work):
    """What a webhook was told: (event, rule)."""
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    hook.taken = []
    thread = threading.Thread(target=hook.serve_forever, args=(0.02,))
    thread.start()
    with work.open_store():
        pass
    notices.want(work, False)
    address = f"http://127.0.0.1:{hook.server_port}/"
    telling.use_webhook(work, address, into_file=lambda: True)
    yield hook.taken
    hook.shutdown()
    hook.server_close()
    thread.join()


@pytest.fixture
def churn(work, tmp_path, monkeypatch):
    """Deployed here, with limits and patience of a test."""
    monkeypatch.setattr(rules, "LATELY", 1.0)
    monkeypatch.setattr(rules, "STEADY", 1.0)
    monkeypatch.setattr(states, "LATELY", 5)
    client = Client(work.home).settled()
    script = SLOW_WHILE.format(flag=str(tmp_path / "slow"))
    client("deploy", str(write_model(tmp_path / "churn", "churn", script=script)))
    with work.open_store() as store:
        for name in limits.DEFAULTS:  # this machine may be short of anything but these
            limits.change(store, name, {"down": 1.0, "p95": 0.8}.get(name))
    yield client
    client.undeploy_all()


def look_until(work, done, seconds=60):
    """Collect, as the program does while it is open, until that is so of the row."""
    limit = time.monotonic() + seconds
    while True:
        (row,) = collecting.collect(work)
        found = [(each["rule"], each["model"]) for each in alerts.listed(work)]
        if done(row, found):
            return row
        assert time.monotonic() < limit, (row, found)
        time.sleep(0.5)


def look_more(work, times=5):
    for _ in range(times):
        collecting.collect(work)
        time.sleep(0.5)


def when_told(told, *expected):
    """The webhook is told by a thread of its own."""
    limit = time.monotonic() + 20
    while told != list(expected):
        assert time.monotonic() < limit, told
        time.sleep(0.1)


def test_slow_and_killed_instance_is_one_alert_each_until_it_is_well(work, churn, told, tmp_path):
    (tmp_path / "slow").write_text("")
    load = Load(churn("status")[0]["port"])
    try:
        row = look_until(work, lambda row, found: found)
        assert (row["state"], alerts.listed(work)[0]["rule"]) == ("degraded", "p95")
        look_more(work)
        (tmp_path / "slow").unlink()
        row = look_until(work, lambda row, found: not found)
        assert row["state"] == "serving"
    finally:
        load.end()
    slow = [("began", "p95"), ("ended", "p95")]
    when_told(told, *slow)

    kill_all(work.home)
    row = look_until(work, lambda row, found: found)
    assert row["state"] == "failing"
    look_more(work)
    (alert,) = alerts.listed(work)
    assert (alert["rule"], alert["about"]) == ("down", "churn on local")
    churn("start", "churn")
    look_until(work, lambda row, found: not found)
    when_told(told, *slow, ("began", "down"), ("ended", "down"))


def kill_all(home):
    """The keeper, its front and its workers, of this store's instances alone."""
    mine = str(home / "local" / "instances")
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if any(word.startswith(mine) for word in process.cmdline()):
                os.kill(process.pid, signal.SIGKILL)
