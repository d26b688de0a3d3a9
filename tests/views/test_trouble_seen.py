"""An instance under load and its page, open: a killed worker and a slow model are seen within 15 s,
and an alert begins once. As it is installed: no time is shortened."""

import contextlib
import os
import re
import signal
import subprocess
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


BODY = '{"inputs": [[1, 2, 3]]}'
SCRIPT = f"""
wrk.method = "POST"
wrk.body = '{BODY}'
wrk.headers["Content-Type"] = "application/json"
"""


@contextlib.contextmanager
def steadily(port, tmp_path):
    """Requests at a steady rate, as many callers make them who do not know of each other."""
    address, ending = f"http://127.0.0.1:{port}/score", threading.Event()

    def ask():
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(address, BODY.encode(), timeout=10).read()

    def run():
        with ThreadPoolExecutor(80) as callers:
            while not ending.wait(1 / RATE):
                callers.submit(ask)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    ending.set()
    thread.join()


@contextlib.contextmanager
def without_pause(port, tmp_path):
    """64 connections, each of which asks again as soon as it has its answer."""
    script = tmp_path / "ask.lua"
    script.write_text(SCRIPT)
    words = ["-t1", "-c64", "-d600s", "--timeout", "60s", "-s", script]
    with subprocess.Popen(["wrk", *words, f"http://127.0.0.1:{port}/score"]) as wrk:
        yield
        wrk.send_signal(signal.SIGINT)


@pytest.fixture
def slow(tmp_path):
    """The model is slow while this file is there."""
    return tmp_path / "slow"


@pytest.fixture(params=[steadily, without_pause])
def churn(work, tmp_path, slow, request):
    """Deployed here, and asked all the time."""
    client = Client(work.home).settled()
    script = SLOW_WHILE.format(flag=str(slow))
    port = client("deploy", str(write_model(tmp_path / "churn", "churn", script=script)))["port"]
    notices.want(work, False)
    with work.open_store() as store:
        for name in limits.DEFAULTS:  # this machine may be short of anything but time
            limits.change(store, name, 0.5 if name == "p95" else None)
    with request.param(port, tmp_path):
        yield client
    client.undeploy_all()


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
    expect(page.locator("#head")).to_contain_text(re.compile("One request in 20|Requests take"))
    (row,) = churn("status")
    assert row["state"] == "degraded"
    print(f"\nseen after {took[0]:.1f} s (worker) and {took[1]:.1f} s (slow)")

    page.goto(f"{server.address}/monitoring")
    expect(page.locator("#alerts li")).to_have_count(1, timeout=90_000)
    time.sleep(25)  # two more rounds, in which it goes on
    (alert,) = alerts.listed(work, open_only=False)
    assert (alert["rule"], alert["about"]) == ("p95", "churn on local")
    expect(page.locator("#alerts li")).to_have_count(1)
