"""The palette: found by letters, taken by Enter."""

import time

import pytest
from accessible import findings_in_both_themes
from client import Client, write_model
from playwright.sync_api import expect

from app.views.palette import PAGES, SHOWN, Entry, best

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("set", "Settings"),
        ("jobs", "Jobs"),
        ("add loc", "Add a location…"),
        ("chn", "churn"),
        ("churn try", "churn: try it"),
        ("dep chu", "churn: deploy…"),
        ("CHURN", "churn"),
    ],
)
def test_the_closest_comes_first(words, first):
    models = [Entry(f"model-{n}", "model") for n in range(1000)]
    churn = [Entry("churn: deploy…", "action"), Entry("churn: try it", "page")]
    entries = [*PAGES, *models, *churn, Entry("churn", "model"), Entry("unchurned", "model")]
    assert best(entries, words)[0].title == first


def test_no_more_than_can_be_read_and_nothing_for_nonsense():
    models = [Entry(f"model-{n}", "model") for n in range(10_000)]
    began = time.monotonic()
    assert len(best(models, "mo 9")) == SHOWN
    assert time.monotonic() - began < 2
    assert best(models, "zq[(*") == []
    assert best(models, "x" * 10_000) == []


def test_ctrl_k_finds_a_model_a_version_and_an_action(page, server, work, tmp_path):
    client = Client(work.home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn", "-m", "first")
    page.goto(server.address)
    field, found = page.locator("#palette-q"), page.locator("#palette-list [role=option]")

    page.keyboard.press("Control+k")
    expect(field).to_be_focused()
    expect(found.first).to_be_visible()
    assert findings_in_both_themes(page) == []
    field.fill("churn@1")
    expect(found.first).to_contain_text("churn v1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/churn?v=1")

    page.keyboard.press("Control+k")
    field.fill("chu")
    expect(found.first).to_contain_text("churn")
    expect(found.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(found.nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(found.last).to_have_attribute("aria-selected", "true")
    field.fill("deploy chu")
    expect(found.first).to_contain_text("churn: deploy…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Deploy churn")).to_be_visible()
    expect(page.locator("#palette")).to_be_hidden()

    page.keyboard.press("Control+k")
    field.fill("zzzz")
    expect(page.locator("#palette-list")).to_contain_text("Nothing matches")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    expect(page.get_by_role("heading", name="Deploy churn")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#drawer")).to_be_hidden()
