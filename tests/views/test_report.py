"""A report of a fault in the pages, a newer store, a damaged one; and in windows of their own."""

import os
import re
import signal

import pytest
from client import write_model
from playwright.sync_api import expect
from screen import PICTURES, screen, until
from test_window import opened

from app.services import models
from app.store import copies

pytestmark = pytest.mark.browser


def copied(page):
    page.context.grant_permissions(["clipboard-read"])
    return page.evaluate("navigator.clipboard.readText()")


def test_report_is_copied_from_settings(page, server):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(server.address + "/settings")
    page.get_by_role("button", name="Report a fault…").click()
    expect(page.locator("#drawer .report")).to_contain_text("store.sqlite")
    page.screenshot(path=PICTURES / "report.png")
    page.get_by_role("button", name="Copy the report").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert copied(page).startswith("RhythmicML 0.1.0")


def test_page_of_a_mistake_has_the_report_with_the_traceback(browser, server, work):
    @server.application.get("/mistake")
    def mistake():
        raise RuntimeError("a mistake of ours")

    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    page = context.new_page()
    page.goto(server.invitation())
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    assert page.goto(server.address + "/mistake").status == 500
    expect(page.locator(".report")).to_contain_text("RuntimeError: a mistake of ours")
    page.screenshot(path=PICTURES / "mistake-dark.png")
    page.get_by_role("button", name="Copy the report").click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert "a mistake of ours" in copied(page)
    page.evaluate("htmx.ajax('GET', '/mistake', {swap: 'none'})")
    page.get_by_role("button", name="Report it…").click()
    expect(page.locator("#drawer .report")).to_be_visible()
    context.close()


def test_pages_of_a_newer_store_say_that_it_can_only_be_read(page, server, work, tmp_path):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    with work.open_store() as store:
        store._database.execute("PRAGMA user_version = 99")
    page.goto(server.address)
    expect(page.locator(".newer")).to_contain_text("it can be read, not changed")
    page.screenshot(path=PICTURES / "newer.png")
    expect(page.locator("#changed-churn .chip-new")).to_be_visible()
    expect(page.locator(".toast-problem")).to_have_count(0)
    for path in ("/models/churn", "/jobs", "/monitoring", "/settings", "/pipelines"):
        assert page.goto(server.address + path).ok, path
    page.evaluate("htmx.ajax('POST', '/settings/theme', {values: {theme: 'dark'}, swap: 'none'})")
    expect(page.locator("#toasts")).to_contain_text("it can be read, not changed")


@pytest.fixture
def display(tmp_path):
    with screen(tmp_path) as shown:
        yield shown


TITLE = "RhythmicML cannot start"


def drawn(display):
    """Whether the filled button is there, which comes with the page."""
    return display.pixels().count(b"\x85\x72\x0b") > 1000


def test_a_damaged_store_is_put_back_in_a_window(work, display, tmp_path):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    copies.keep_daily(work.home)
    path = work.home / "store.sqlite"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192))
    with opened(work, display.name) as program:
        until(lambda: display.windows(TITLE))
        until(lambda: drawn(display))
        display.picture(PICTURES / "trouble.png")
        display.keys("Return", title=TITLE)  # the first choice has the focus
        until(display.windows)
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
    with work.open_store() as store:
        assert [each.name for each in store.models.all()] == ["churn"]
    assert list(work.home.glob("aside-*/store.sqlite"))


def test_what_keeps_it_from_starting_is_told_in_a_window(work, display):
    work.home.mkdir()
    (work.home / "blobs").write_text("a file where a folder belongs")
    dark = {"GTK_THEME": "Adwaita:dark"}
    with opened(work, display.name, more=dark) as program:
        until(lambda: display.windows(TITLE))
        until(lambda: drawn(display))
        display.picture(PICTURES / "trouble-dark.png")
        display.keys("alt+F4", title=TITLE)
        assert program.wait(20) == 1
        assert re.search("Error: .*cannot be opened", program.stderr.read())
