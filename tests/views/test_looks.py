"""Nothing jumps: no page moves what it has shown. What a newcomer is offered leads on."""

import json
import re
import time
from pathlib import Path

import pytest
from client import Client, write_model
from playwright.sync_api import expect
from test_monitoring_pages import kept

from app.models import Location

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]

WATCH = """
window.moved = [];
new PerformanceObserver((list) => {
  for (const each of list.getEntries())
    if (!each.hadRecentInput)
      window.moved.push([each.value, ...each.sources.map((source) =>
        (source.node && (source.node.outerHTML || source.node.textContent) || "").slice(0, 80))]);
}).observe({ type: "layout-shift", buffered: true });
"""
SEEN = 0.001
"""Layout shift that a person could see, a hundredth of what passes for good: a state's word that
news made longer has 0.00002, a paragraph that pushed others down had 0.005."""
PAGES = (
    *("/", "/?q=to", "/jobs", "/settings", "/pipelines"),
    *("/monitoring", "/monitoring?q=none", "/monitoring/told/local", "/hosts", "/hosts/local"),
)
FILL = """pill => {
  while (pill.parentElement.querySelectorAll("label").length < 7) pill.after(pill.cloneNode(true));
}"""
TABS = ("", "/files", "/versions", "/configuration", "/metadata", "/try", "/instances", "/history")


def test_no_page_asks_for_a_class_that_was_left_out():
    """packaging/vendor.py leaves in Tabler's sheet what pages ask for, as they were then."""
    left_out = set((ROOT / "packaging" / "left-out.txt").read_text().split())
    files = [
        *(ROOT / "assets" / "templates").rglob("*.html"),
        *(ROOT / "assets" / "static").glob("*.js"),
        *(ROOT / "app" / "views").rglob("*.py"),
    ]
    pages = "".join(each.read_text() for each in files)
    named = re.findall(r'(?:class=|className = |classList\.\w+\()"([^"]*)"', pages)
    asked = {word for names in named for word in re.findall(r"[\w-]+", names)}
    assert len(left_out) > 3000
    assert len(asked) > 100
    assert asked & left_out == set(), "Run: python packaging/vendor.py"


def test_no_page_moves_what_it_has_shown(page, server, work, tmp_path):
    client = Client(work.home).settled()
    folder = write_model(tmp_path / "churn", "churn")
    client("deploy", str(folder))
    (folder / "more.txt").write_text("not committed")
    client("add", str(write_model(tmp_path / "new", "new")))
    told = write_model(tmp_path / "told", "told")
    with (told / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nsecrets = ["API_KEY", "OTHER_KEY", "THIRD_KEY"]\n')
    client("add", str(told))
    client("commit", "told")
    with work.open_store() as store:
        store.blobs.put_bytes(b"no version needs it")
    kept(work, "told")
    page.add_init_script(WATCH)
    moved = {}
    try:
        for width in (900, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 800})
            for path in (*PAGES, *(f"/models/churn{tab}" for tab in TABS)):
                page.goto(server.address + path)
                page.wait_for_timeout(300)
                if page.locator("#charts").count():
                    expect(page.locator("#charts")).to_have_attribute("aria-busy", "false")
                found = page.evaluate("window.moved")
                if sum(value for value, *_ in found) > SEEN:
                    moved[f"{path} {width}"] = json.dumps(found)
    finally:
        client.undeploy_all()
    assert moved == {}


def test_what_comes_last_in_the_rail_moves_nothing(page, server):
    """A browser may show a page of which it has read only the beginning."""
    page.goto(server.address)
    rail = page.locator(".rail")
    place = "all => all.map((each) => JSON.stringify(each.getBoundingClientRect()))"
    whole = rail.locator("> *").evaluate_all(place)
    for number in range(len(whole) - 1, 0, -1):
        rail.locator("> *").last.evaluate("each => each.remove()")
        assert rail.locator("> *").evaluate_all(place) == whole[:number]


def test_filters_stand_in_one_line(page, server, work, tmp_path):
    client = Client(work.home).settled()
    folder = write_model(tmp_path / "churn", "churn")
    toml = folder / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace("[dep", 'metadata = { tags = ["t"] }\n[dep'))
    client("add", str(folder))
    client("commit", "churn")
    with work.open_store() as store:
        store.locations.add(Location("a-lab-with-a-long-name", url="ssh://ana@127.0.0.1:1"))
    page.goto(f"{server.address}/?state=unreachable")
    expect(page.locator(".choices select")).to_have_count(3)
    page.locator(".pills label", has_text="Unreachable").evaluate(FILL)  # as with every state
    expect(page.locator(".pills label")).to_have_count(7)
    tops = "all => all.map((each) => Math.round(each.getBoundingClientRect().y / 10))"
    assert len(set(page.locator(".filters :is(.search, .pills, select)").evaluate_all(tops))) == 1
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_example_is_one_click_away(page, server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    page.goto(server.address)
    for _ in range(2):  # the second time it is the same model
        page.evaluate("htmx.ajax('POST', '/models/example', {swap: 'none'})")
        page.wait_for_url("**/models/tumour")
        page.goto(server.address)
    expect(page.get_by_role("link", name="tumour")).to_be_visible()
    assert (tmp_path / "RhythmicML" / "tumour" / "predict.py").exists()


def test_broken_connection_is_told_to_who_waits_for_an_answer(browser, server, work, tmp_path):
    Client(work.home).settled()("add", str(write_model(tmp_path / "churn", "churn")))
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(server.invitation("/models/churn/files"))
        page.route(lambda url: "/deploy" in url or "/orders" in url, lambda route: route.abort())
        told = page.locator("#toasts")
        page.get_by_role("button", name="Deploy").first.click()
        expect(told).to_contain_text("The connection broke before an answer came. Try it again.")
        page.get_by_role("button", name="Commit v1").click()
        expect(told).to_contain_text("See whether it was done before you try it again.")


def test_news_that_come_while_a_part_is_asked_for_are_not_lost(page, server, work, tmp_path):
    client = Client(work.home).settled()
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn", "-m", "first")
    held = []

    def hold(route):
        answer = route.fetch()
        if not held:
            held.append(answer.text())
            with work.open_store() as store:
                while store.jobs.unfinished():
                    time.sleep(0.1)
            time.sleep(1)  # the news of it are in the window by now
        route.fulfill(response=answer)

    page.goto(f"{server.address}/models/churn")
    page.route("**/jobs/1", hold)
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("button", name="Deploy churn v1 on local").click()
    try:
        expect(page.locator("#drawer .job-state")).to_have_text("done", timeout=60_000)
        assert ">running<" in held[0]
    finally:
        client.undeploy_all()


def test_who_goes_by_the_keyboard_stays_where_she_was(page, server, work, tmp_path):
    client = Client(work.home).settled()
    client("add", str(write_model(tmp_path / "churn", "churn")))
    page.goto(f"{server.address}/models/churn/configuration")
    page.get_by_label("description", exact=True).fill("Who leaves")
    save = page.get_by_role("button", name="Save rhythmicml.toml")
    save.press("Enter")  # the form that it is in is replaced
    expect(page.locator("#verdict")).to_contain_text("Saved.")
    expect(save).to_be_focused()
    page.goto(f"{server.address}/models/churn/files")
    message = page.get_by_label("Message", exact=True)
    message.fill("first")
    message.press("Enter")
    expect(page.locator("#drawer .job-state")).to_have_text("done", timeout=30_000)
    expect(page.locator("#drawer :focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("main :focus")).to_have_count(1)
