"""The pages of Monitoring in a real browser, with what a real instance recorded."""

import contextlib
import csv
import io
import json
import re
import threading
import time
import urllib.error
import urllib.request

import pytest
from accessible import findings_in_both_themes as findings
from client import Client, write_model
from playwright.sync_api import expect

from app import words
from app.models import Instance
from app.scoring import samples, sketch, summaries
from app.services import collecting, monitoring
from app.store.recorded import Happened, Sample
from app.views import figures

pytestmark = pytest.mark.browser

FAILED = {"error": "<b>bold</b>", "traceback": "Traceback:\n  in predict.py\n<b>bold</b>"}
HOSTILE = '=cmd()<img src=x onerror="window.hurt=1">'


class Load:
    """Requests, one in ten wrong, from a thread until `end`."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/invocations"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self):
        number = 0
        while not self._ending.wait(0.02):
            number += 1
            body = b"[1," if number % 10 == 0 else b'{"inputs": [[1, 2, 3]]}'
            kind = {"Content-Type": "application/json"}
            request = urllib.request.Request(self.address, body, kind)
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=10).read()

    def end(self):
        self._ending.set()
        self._thread.join()


def collect(work, server, name):
    """Have what the front on this machine recorded brought here, and tell the windows."""
    collecting.collect(work)
    server.feed.say("monitoring")
    with work.open_recorded() as recorded:
        rows = recorded.samples(recorded.find(name, "local"), 0, time.time() + 60)
    return sum(row.requests for row in rows)


def when_collected(work, server, name, more_than=0):
    """Collect until there is more than that."""
    limit = time.monotonic() + 40
    while (found := collect(work, server, name)) <= more_than:
        assert time.monotonic() < limit, "nothing more was recorded"
        time.sleep(0.5)
    return found


@pytest.fixture
def loaded(work, tmp_path):
    client = Client(work.home).settled()
    client("deploy", str(write_model(tmp_path / "churn", "churn")))
    load = Load(next(row["port"] for row in client("status")))
    yield client
    load.end()
    client.undeploy_all()


def cells(page):
    rows = page.locator(".numbers tr").all()
    return [[cell.inner_text() for cell in row.locator("th, td").all()] for row in rows]


def opened(page, address):
    page.goto(address)
    expect(page.locator("#charts")).to_have_attribute("aria-busy", "false")


def test_charts_move_under_load_and_their_numbers_are_a_table_and_csv(page, server, work, loaded):
    count = when_collected(work, server, "churn")
    page.goto(server.address)
    page.get_by_role("link", name="Monitoring").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="churn"))
    expect(row).to_contain_text(re.compile(r"serving v1.*req/s.*ms.*MB", re.DOTALL))
    row.click()
    page.wait_for_url("**/monitoring/churn/local")
    page.get_by_text("15 min").click()
    expect(page.locator("#charts")).to_have_attribute("aria-busy", "false")
    requests = page.locator("[data-chart=requests]")
    expect(requests.locator(".chart-key")).to_contain_text(["200", "400"])
    drawn = "document.querySelector('[data-chart=requests] canvas').toDataURL()"
    before = page.evaluate(drawn)
    when_collected(work, server, "churn", count)  # no reload from here on
    limit = time.monotonic() + 20
    while page.evaluate(drawn) == before:
        assert time.monotonic() < limit, "the chart did not move"
        page.wait_for_timeout(100)
    expect(page.locator("#marks")).to_contain_text("deploy v1")

    zoomed = drag(page, "latency")
    for key in ("requests", "latency", "used", "batches"):
        page.locator(f"[data-chart={key}] .chart-links button").click()
        expect(page.locator(".numbers")).to_be_visible()
        shown, address = cells(page), page.locator("#drawer a[download]").get_attribute("href")
        assert zoomed in address
        text = page.request.get(server.address + address).text()
        assert shown == list(csv.reader(io.StringIO(text)))
        assert len(shown) > 1
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Whole range").click()
    expect(page.get_by_role("button", name="Whole range")).to_be_hidden()
    assert "since" not in page.url


def drag(page, key):
    """Zoom into the right half of a chart; what the address then says of it."""
    box = page.locator(f"[data-chart={key}] .u-over").bounding_box()
    across = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, across)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, across, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Whole range")).to_be_visible()
    return re.search(r"since=\d+&until=\d+", page.url)[0]


def test_the_crosshair_is_one_for_all_charts_and_goes_by_keyboard(page, server, work):
    kept(work)
    opened(page, f"{server.address}/monitoring/churn/local")
    page.locator("[data-chart=latency] .chart").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#moment")).not_to_be_empty()
    lefts = page.locator(".u-cursor-x").evaluate_all("all => all.map(e => e.style.transform)")
    assert len(lefts) == 4
    assert len(set(lefts)) == 1
    page.keyboard.press("Escape")
    expect(page.locator("#moment")).to_be_empty()


def test_what_was_done_at_nearly_the_same_time_is_told_under_the_crosshair(page, server, work):
    kept(work)
    with work.open_store() as store:
        for version in range(3, 8):
            row = store.deployments.start("churn", "local", "switch", version=version, who="ana")
            store.deployments.finish(row, "done")
    opened(page, f"{server.address}/monitoring/churn/local?range=15m")
    chart = page.locator("[data-chart=requests] .chart")
    box = chart.locator(".u-over").bounding_box()
    across = box["y"] + box["height"] / 2  # the head may get a line more: what its host says of it
    page.mouse.move(box["x"] + box["width"] - 5, across)
    all_of_them = ".*".join(f"switch v{version} by ana: done" for version in range(3, 8))
    expect(chart).to_have_attribute("title", re.compile(all_of_them, re.DOTALL))
    page.mouse.move(box["x"] + 5, across)
    expect(chart).to_have_attribute("title", "")


def made(at, version, **body):
    body = {
        **samples.empty(), "seconds": 10.0, "requests": {"200": 300, HOSTILE: 4},
        "latency": sketch.of([0.01] * 90 + [0.05] * 10), "memory": 400e6, "cpu": 2.0,
        "batches": {"count": 10, "rows": 30},
        "host": {"cpu": 0.4, "memory": 9e9, "memory_total": 10e9, "disk": 1e9, "disk_total": 2e9,
                 "load": 1.5},
        **body,
    }  # fmt: skip
    release = f"v{version}-a"
    return Sample(10, at, release, version, 0.0, 10.0, 304, 0, False, samples.pack(body))


def kept(work, model="churn", number=1):
    """Rows of two versions in the last minutes, and an event, as a hostile host gives them."""
    now = int(time.time()) // 10 * 10
    rows = [made(now - 600 + n * 10, 1 if n < 30 else 2) for n in range(59)]
    event = Happened("f", 1, now - 200.0, 0.0, "failed", json.dumps(FAILED))
    with work.open_store() as store:
        store.instances.upsert(Instance(model, "local", 8100, "v2-a", 2, "serving"))
    with work.open_recorded() as recorded, recorded.write():
        recorded.put(recorded.source(model, "local"), rows, [event])
        recorded.heard("local", time.time(), 0.0)


def test_the_catalogue_draws_what_was_recorded_before_it_was_opened(page, server, work, tmp_path):
    client = Client(work.home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn")
    kept(work)
    page.goto(server.address)
    charts_of = page.locator("#model-churn").get_by_role("link", name="Requests, the last hour")
    expect(charts_of).to_contain_text("30 req/s")
    charts_of.click()
    page.wait_for_url("**/monitoring/churn/local")
    page.goto(f"{server.address}/models/churn")
    page.get_by_role("link", name="Charts").click()
    page.wait_for_url("**/monitoring/churn/local")


def test_the_catalogue_says_the_same_of_requests_as_monitoring(work):
    kept(work)
    known, told = monitoring.overview(work)[0], monitoring.traffic(work)["churn", "local"]
    assert told["requests"] == pytest.approx(known["requests"]) == pytest.approx(30.4)
    assert told["spark"] == known["spark"]
    assert {each and round(each, 1) for each in told["spark"]} == {None, 30.4}


def test_what_a_host_says_is_text(page, server, work):
    kept(work)
    opened(page, f"{server.address}/monitoring/churn/local")
    expect(page.locator("[data-chart=requests] .chart-keys")).to_contain_text("<img src=x")
    expect(page.locator("#marks")).to_contain_text("<b>bold</b>")
    page.get_by_label("Requests by code as a table").click()
    expect(page.locator(".numbers")).to_contain_text("<img src=x")
    assert page.evaluate("window.hurt") is None
    text = page.request.get(f"{server.address}/monitoring/churn/local/requests.csv").text()
    assert not [name for name in next(csv.reader(io.StringIO(text))) if name.startswith("=")]


def test_two_versions_are_compared_over_their_own_times(page, server, work):
    kept(work)
    opened(page, f"{server.address}/monitoring/churn/local")
    page.get_by_label("Compare version").select_option("1")
    page.get_by_label("With version").select_option("2")
    page.wait_for_url("**a=1&b=2*")
    keys = page.locator("[data-chart=latency] .chart-key")
    expect(keys).to_contain_text(["v1", "v2"])
    said = page.request.get(f"{server.address}/monitoring/churn/local/series?a=1&b=2").json()
    assert (said["at"][0], said["clock"]) == (0, False)
    one, two = said["charts"]["requests"]["columns"]
    assert one["values"][0] == two["values"][0] == pytest.approx(30.4)


def test_drift_is_drawn_beside_how_it_was(page, server, work):
    kept(work)
    now = int(time.time()) // 900 * 900
    columns = {HOSTILE: summary([5.0] * 50), "age": summary([float(n) for n in range(200)])}
    older = {HOSTILE: summary([5.0] * 50), "age": summary([float(n + 90) for n in range(200)])}
    with work.open_recorded() as recorded, recorded.write():
        rows = [
            made(at, 1, inputs=held)._replace(step=900, columns=True)
            for at, held in ((now - 3 * 86400, older), (now - 900, columns))
        ]
        recorded.put(recorded.source("churn", "local"), rows, [])
    page.goto(f"{server.address}/monitoring/churn/local")
    rows = page.get_by_role("table", name="Drift").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_contain_text("age")
    expect(rows.nth(1).locator("svg path")).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("▲")
    expect(rows.nth(2)).to_contain_text("<img src=x")
    expect(page.locator("#drift")).to_contain_text("--reference train.csv")
    assert page.evaluate("window.hurt") is None
    assert findings(page) == []


def summary(values):
    found = summaries.of(values)
    found.add(values)
    return found.as_json()


def test_axe_finds_nothing_in_monitoring(page, server, work):
    kept(work)
    told = {}
    for path in ("/monitoring", "/monitoring/churn/local", "/hosts", "/hosts/local"):
        page.goto(server.address + path)
        if page.locator("#charts").count():
            expect(page.locator("#charts")).to_have_attribute("aria-busy", "false")
        told[path] = findings(page)
    page.get_by_label("Memory as a table").click()
    expect(page.locator(".numbers")).to_be_visible()
    told["table"] = findings(page)
    assert {place: found for place, found in told.items() if found} == {}


def test_a_thousand_instances_are_sorted_and_searched(page, server, work):
    kept(work, "model-777")
    with work.open_store() as store:
        for number in range(1000):
            store.instances.upsert(Instance(f"model-{number}", "local", None, "v1-a", 1, "stopped"))
    began = time.monotonic()
    page.goto(f"{server.address}/monitoring")
    expect(page.locator("tr.row")).to_have_count(100)
    assert time.monotonic() - began < 5
    page.get_by_role("button", name="Requests").click()
    expect(page.locator("[aria-sort]")).to_have_text("Requests")
    expect(page.locator("tr.row").first).to_contain_text("model-777")
    page.get_by_label("Requests, errors and line of").select_option("Last 1 h")
    expect(page.get_by_role("img", name="Requests, the last 1 h")).to_have_count(1)
    page.get_by_label("Search instances").fill("model-99")
    expect(page.locator("tr.row")).to_have_count(11)
    assert page.locator("[aria-sort]").inner_text().strip() == "Requests"


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [(None, "ms", "–"), (0, "%", "0 %"), (0.0213, "%", "0.021 %"), (38.2, "ms", "38 ms"),
     (1234.0, "req/s", "1.2 k req/s"), (412e6, "bytes", "412 MB"), (12_000, "ms", "12.0 s")],
)  # fmt: skip
def test_figures_read_like_words(value, unit, said):
    assert words.figure(value, unit) == said


def test_a_sparkline_is_broken_where_nothing_is_known():
    assert figures.path_of([1.0, 1.0, None, 1.0, 1.0]).count("M") == 2
    assert figures.path_of([None, 5.0]) == ""
