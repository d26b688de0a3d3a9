"""Monday: what an instance recorded while no program was open is there once one is."""

import csv
import io
import os
import time
import urllib.request
from datetime import datetime

import pytest
from client import Client, write_model
from playwright.sync_api import expect

from app.scoring import samples, sketch
from app.scoring.recording import File, Sample
from app.scoring.tap import Event

pytestmark = [pytest.mark.browser, pytest.mark.faults]

HOUR, HOURS, FINE = 3600, 62, 24
ASKED = 25
SIZE = 64 << 20


def rate(hour):
    """Requests a second: another number in each hour."""
    return 10 + hour


def rows(begin, hour, release):
    """An hour of a front: of 10 s; those over a day old it has made rows of a minute."""
    step = 10 if hour >= HOURS - FINE else 60
    counted = {"requests": {"200": rate(hour) * step}, "seconds": float(step), "memory": 4e8}
    body = {**samples.empty(), **counted, "latency": sketch.of([0.01] * 100)}
    return [Sample(step, begin + n, release, 1, body) for n in range(0, HOUR, step)]


@pytest.fixture
def weekend(work, tmp_path):
    """Deployed by a program that is closed since; asked a little, by others, just now.

    Its front runs and records all the while. Only what is older is put into its file here, beside
    it, by the same class. Gives when Friday was, to the hour.
    """
    client = Client(work.home).settled()
    port = client("deploy", str(write_model(tmp_path / "churn", "churn")))["port"]
    instance = work.home / "local" / "instances" / "churn"
    release = os.readlink(instance / "releases" / "current")
    friday = int(time.time()) // HOUR * HOUR - HOURS * HOUR
    file = File(instance / "run" / "metrics.sqlite", SIZE)
    for hour in range(HOURS):
        begin = friday + hour * HOUR
        died = [Event(begin + 5.0, "worker", {"how": "killed by SIGKILL"})] if hour == 30 else []
        assert file.write(rows(begin, hour, release), died)
    file.close()
    for _ in range(ASKED):
        body = b'{"inputs": [[1, 2, 3]]}'
        urllib.request.urlopen(f"http://127.0.0.1:{port}/score", body, timeout=30).read()
    yield friday
    client.undeploy_all()


def rates(page, address, span):
    """Time → requests a second, as the chart's CSV has them."""
    text = page.request.get(f"{address}/requests.csv?range={span}").text()
    lines = [line for line in csv.DictReader(io.StringIO(text)) if line.get("200 [req/s]")]
    return {stamp(line["time"]): float(line["200 [req/s]"]) for line in lines}


def stamp(text):
    return datetime.fromisoformat(text).timestamp()


def test_the_weekend_is_there_on_monday(weekend, page, server, work):
    address = f"{server.address}/monitoring/churn/local"
    page.goto(f"{address}?range=7d")  # the program that was opened asks the host by itself
    expect(page.locator("#marks")).to_contain_text("killed by SIGKILL", timeout=60_000)
    halves = range(weekend, weekend + HOURS * HOUR, HOUR // 2)
    wanted = {float(at): float(rate((at - weekend) // HOUR)) for at in halves}
    limit = time.monotonic() + 40
    while not (lately := rates(page, address, "15m")) or max(lately.values()) < 1.0:
        assert time.monotonic() < limit, "what its front counted just now did not come"
        time.sleep(0.5)
    found = rates(page, address, "7d")
    assert {at: found.get(at) for at in wanted} == wanted

    told = Client(work.home)("monitor", "churn", "--range", "7d")
    said = dict(zip(told["at"], told["requests"], strict=True))
    assert {at: said.get(at) for at in wanted} == pytest.approx(wanted)
    assert [mark["words"] for mark in told["marks"] if mark["at"] < weekend + HOURS * HOUR] == [
        "a worker has ended: killed by SIGKILL"
    ]
