"""The pages with a real server: add it by its fingerprint, deploy to it, switch, go back."""

import pytest
from client import Client, write_model
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def test_server_is_added_by_its_fingerprint_then_deployed_to(page, server, work, guest, tmp_path):
    client = Client(work.home)
    folder = write_model(tmp_path / "paged", "paged")
    client("add", str(folder))
    client("commit", "paged", "-m", "the first")
    drawer = page.locator("#drawer")

    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name="Add location").click()
    page.get_by_label("Name").fill("prod")
    page.get_by_label("Address").fill(f"ssh://root@{guest.address}")
    page.get_by_label("Private key").fill(str(guest.key))
    page.get_by_role("button", name="Connect and add").click()
    expect(drawer.locator(".fingerprint")).to_have_text(guest.fingerprint)
    page.get_by_role("button", name="Trust this key and add it").click()
    expect(page.get_by_role("heading", name="prod")).to_be_visible()

    page.goto(f"{server.address}/models/paged")
    page.get_by_role("button", name="Deploy", exact=True).click()
    drawer.get_by_label("Location").select_option("prod")
    page.get_by_role("button", name="Deploy paged v1 on prod").click(timeout=60_000)
    expect(drawer.locator(".result")).to_contain_text("is serving on prod", timeout=120_000)
    try:
        expect(page.locator(".head")).to_contain_text("serving v1")
        page.keyboard.press("Escape")
        write_model(folder, "paged", factor=3.0)
        page.get_by_role("button", name="Deploy", exact=True).click()
        drawer.get_by_label("Version").select_option("paged")
        drawer.get_by_label("Message").fill("three times")
        page.get_by_role("button", name="Deploy paged on prod").click()
        expect(drawer.locator(".result")).to_contain_text("v2 is serving", timeout=120_000)
        expect(page.locator(".head")).to_contain_text("serving v2")
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Instances", exact=True).click()
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("button", name="Roll paged back on prod").click()
        expect(drawer.locator(".job-state")).to_have_text("done", timeout=60_000)
        expect(page.locator(".head")).to_contain_text("serving v1")
    finally:
        client("undeploy", "paged", "--purge", "--yes")
