"""Times in the pages: the server's words, moving on in the window."""

from datetime import datetime, timedelta, timezone

import pytest
from client import Client, write_model
from playwright.sync_api import expect

from app import words

pytestmark = pytest.mark.browser

AGES = (-90, 0, 30, 59.5, 60.5, 90, 3599, 3601, 7300, 86_300, 86_500, 200_000, 40_000_000)


def test_both_sides_say_the_same(page, server):
    page.goto(server.address)
    now = datetime.now(timezone.utc)
    stamps = [(now - timedelta(seconds=age)).isoformat() for age in AGES]
    told = page.evaluate("stamps => stamps.map(each => ago(each, Date.now()))", stamps)
    assert told == [words.ago(each) for each in stamps]


def test_times_move_on_and_are_exact_on_hover(page, server, work, tmp_path):
    client = Client(work.home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn", "-m", "first")
    page.clock.install()
    page.goto(server.address)
    time = page.locator("#model-churn time").first
    expect(time).to_have_text("just now")
    page.clock.fast_forward(3 * 3600 * 1000)
    expect(time).to_have_text("3 h ago")
    assert "T" not in time.get_attribute("title")
    assert str(datetime.now(timezone.utc).year) in time.get_attribute("title")
