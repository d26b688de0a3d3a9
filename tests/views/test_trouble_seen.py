"""An instance under load and its page, open: a killed worker and a slow model are seen within 15 s,
and an alert begins once. As it is installed: no time is shortened."""

import contextlib
import os
import signal
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from client import SLOW_WHILE, Client, write_model
from playwright.sync_api import expect

from app.services import alerts, limits, notices

pytestmark = [pytest.mark.browser, pytest.mark.faults]

WITHIN = 15.0
RATE = 30.0


class Load:
    """Requests at a steady rate, as many callers make them who do not know of each other."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/score"
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with ThreadPoolExecutor(80) as callers:
            while not self.ending.wait(1 / RATE):
                callers.submit(self.ask)

    def ask(self):
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(self.address, b'{"inputs": [[1, 2, 3]]}', timeout=10).read()

    def end(self):
        self.ending.set()
        self.thread.join()


@pytest.fixture
def slow(tmp_path):
    """The model is slow while this file is there."""
    return tmp_path / "slow"


@pytest.fixture
def churn(work, tmp_path, slow):
    """Deployed here, and asked all the time."""
    client = Client(work.home)
    script = SLOW_WHILE.format(flag=str(slow))
    port = client("deploy", str(write_model(tmp_path / "churn", "churn", script=script)))["port"]
    notices.want(work, False)
    with work.open_store() as store:
        for name in limits.DEFAULTS:  # this machine may be short of anything but time
            limits.change(store, name, 0.5 if name == "p95" else None)
    load = Load(port)
    yield client
    load.end()
    client("undeploy", "churn", "--purge", "--yes")


def worker_of(home):
    """The process that runs the model, of this store's instance alone."""
    mine = str(home / "local" / "instances" / "churn")
    (found,) = [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(mine in word for word in process.info["cmdline"] or ())
        and any(word.endswith("worker.py") for word in process.info["cmdline"])
    ]
    return found


def seen(locator, words):
    """Seconds until the page, as it is, says so."""
    began = time.monotonic()
    expect(locator).to_contain_text(words, timeout=WITHIN * 1000)
    return time.monotonic() - began


def test_killed_worker_and_slow_model_are_seen_and_told_once(churn, slow, page, server, work):
    page.goto(f"{server.address}/monitoring/churn/local?range=15m")
    expect(page.locator("#head")).to_contain_text("req/s", timeout=40_000)
    killed = worker_of(work.home)
    os.kill(killed.pid, signal.SIGKILL)
    took = [seen(page.locator("#marks"), "The worker ended by SIGKILL")]
    assert worker_of(work.home).pid != killed.pid

    slow.touch()
    took.append(seen(page.locator("#head"), "degraded"))
    expect(page.locator("#head")).to_contain_text("One request in 20 takes over")
    (row,) = churn("status")
    assert row["state"] == "degraded"
    print(f"\nseen after {took[0]:.1f} s (worker) and {took[1]:.1f} s (slow)")

    page.goto(f"{server.address}/monitoring")
    expect(page.locator("#alerts li")).to_have_count(1, timeout=90_000)
    time.sleep(25)  # two more rounds, in which it goes on
    (alert,) = alerts.listed(work, open_only=False)
    assert (alert["rule"], alert["about"]) == ("p95", "churn on local")
    expect(page.locator("#alerts li")).to_have_count(1)
