"""The pages with a real server, from the user's side: from an empty Catalogue to an empty one."""

import re

import pytest
from client import Client, write_model
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

WHOLE = {"timeout": 180_000}


@pytest.fixture
def drawer(page):
    return page.locator("#drawer")


def add_location(page, server, guest, drawer):
    """A server of one's own, by its fingerprint."""
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Add location").click()
    page.get_by_label("Name").fill("prod")
    page.get_by_label("Address").fill(f"ssh://root@{guest.address}")
    page.get_by_label("Private key").fill(str(guest.key))
    page.get_by_role("button", name="Connect and add").click()
    expect(drawer.locator(".fingerprint")).to_have_text(guest.fingerprint)
    page.get_by_role("button", name="Trust this key and add it").click()
    place = page.locator("section.instance", has=page.get_by_role("heading", name="prod"))
    expect(place).to_contain_text(guest.fingerprint[:20])
    place.get_by_role("button", name="Check").click()
    expect(place.locator(".probe")).to_contain_text("There and back", **WHOLE)


def deploy(page, drawer, version, button):
    page.get_by_role("button", name="Deploy", exact=True).click()
    drawer.get_by_label("Version").select_option(version)
    drawer.get_by_label("Location").select_option("prod")
    page.get_by_role("button", name=button).click(timeout=60_000)


def ask(page):
    page.get_by_role("link", name="Try it").click()
    page.get_by_label("Request").fill('{"inputs": [[1, 2, 3]]}')
    page.get_by_role("button", name="Ask it").click()
    expect(page.locator("#answer")).to_contain_text(re.compile(r"v\d+ · \d+ ms"), **WHOLE)
    return page.locator("#answer pre").inner_text()


def test_whole_way_from_the_folder_to_the_server_and_back(
    page, server, work, guest, drawer, tmp_path
):
    """Not one reload, not one address typed: what changes is seen to change."""
    folder = write_model(tmp_path / "paged", "paged")
    head = page.locator(".head")
    add_location(page, server, guest, drawer)
    try:
        # add
        page.get_by_role("link", name="Catalogue").click()
        page.get_by_role("button", name="Add your model").click()
        page.get_by_label("Folder", exact=True).fill(str(folder))
        page.get_by_role("button", name="Add paged").click()
        page.wait_for_url("**/models/paged")

        # configure
        page.get_by_role("link", name="Configuration").click()
        page.get_by_label("description", exact=True).fill("Twice the sum")
        page.get_by_role("button", name="Save rhythmicml.toml").click()
        expect(page.locator("#verdict")).to_contain_text("Saved.")

        # commit
        page.get_by_role("link", name="Commit it").click()
        page.get_by_label("Message").fill("the first")
        page.get_by_role("button", name="Commit v1").click()
        expect(drawer.locator(".result")).to_contain_text("paged v1 is kept.")
        page.keyboard.press("Escape")

        # deploy, and ask
        deploy(page, drawer, "paged@1", "Deploy paged v1 on prod")
        expect(drawer.locator(".result")).to_contain_text("is serving on prod", **WHOLE)
        expect(head).to_contain_text("serving v1")
        page.keyboard.press("Escape")
        first = ask(page)

        # a second version, from the folder as it is
        write_model(folder, "paged", factor=3.0)
        deploy(page, drawer, "paged", "Deploy paged on prod")
        expect(drawer.locator(".result")).to_contain_text("v2 is serving", **WHOLE)
        expect(head).to_contain_text("serving v2")
        page.keyboard.press("Escape")
        second = ask(page)
        assert (first, second) != (first, first)

        # switch to the first by its line, which names the server
        page.get_by_role("link", name=re.compile("^Versions")).click()
        expect(page.locator("#v2")).to_contain_text("production on prod")
        page.get_by_label("More for v1").click()
        page.get_by_role("button", name="Make v1 the production version on prod").click()
        expect(drawer).to_contain_text("It can be switched back.")
        page.get_by_role("button", name="Make paged v1 production on prod").click()
        expect(drawer.locator(".job-state")).to_have_text("done", **WHOLE)
        expect(head).to_contain_text("serving v1")
        page.keyboard.press("Escape")
        assert ask(page) == first

        # roll back, to what it was before
        page.get_by_role("link", name="Instances", exact=True).click()
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("button", name="Roll paged back on prod").click()
        expect(drawer.locator(".job-state")).to_have_text("done", **WHOLE)
        expect(head).to_contain_text("serving v2")
        page.keyboard.press("Escape")
        assert ask(page) == second

        page.get_by_role("link", name="Instances", exact=True).click()
        page.get_by_role("button", name="Log").click()
        expect(drawer.locator(".logs")).not_to_be_empty(**WHOLE)
        page.keyboard.press("Escape")
        page.get_by_role("link", name="History").click()
        for done in ("deploy v1", "deploy v1 → v2", "switch v2 → v1", "rollback v1 → v2"):
            expect(page.get_by_role("table", name="History")).to_contain_text(done)

        # delete, with what runs of it
        page.get_by_role("link", name="Catalogue").first.click()
        page.get_by_label("More for paged").click()
        page.get_by_role("button", name="Remove…").click()
        page.get_by_label("Type paged to go on").fill("paged")
        page.get_by_role("button", name="Undeploy from prod, and remove paged").click()
        expect(drawer.locator(".result")).to_contain_text("It was taken off prod.", **WHOLE)
        expect(page.get_by_text("A folder becomes an endpoint")).to_be_visible()
        there = ["find", "/etc/systemd/system", "/var/lib/rhythmicml", "-name", "*paged*"]
        assert guest.run(there).stdout == ""
    finally:
        Client(work.home).undeploy_all()


@pytest.mark.faults
def test_server_that_goes_away_in_the_middle_of_anything_is_said(
    page, server, work, fresh_guest, drawer, tmp_path
):
    """Deploying, planning, asking, its log, a tunnel, a switch, its check: each says so."""
    client = Client(work.home)
    client.add_location(fresh_guest, "root", "prod")
    folder = write_model(tmp_path / "far", "far")
    client("deploy", str(folder), "--to", "prod")
    write_model(folder, "far", factor=3.0)
    client("commit", "far")
    page.goto(f"{server.address}/models/far/instances")
    fresh_guest.halt()
    unreachable = re.compile(
        "unreachable|cannot be reached|does not answer|refused|No route|lost|closes the connection"
    )
    page.get_by_role("button", name="Log").click()
    expect(page.locator("#toasts")).to_contain_text(unreachable, **WHOLE)
    page.get_by_role("button", name="Open tunnel").click()
    expect(page.locator("#toasts .toast-problem").nth(1)).to_contain_text(unreachable, **WHOLE)
    for button, words in (("Restart", "Restart far on prod"), ("Stop", "Stop far on prod")):
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_role("button", name=words).click()
        expect(drawer.locator(".job-state")).to_have_text("failed", **WHOLE)
        expect(drawer.locator(".problem")).to_contain_text(unreachable)
        page.keyboard.press("Escape")
    expect(page.locator(".head")).to_contain_text("unreachable", **WHOLE)
    page.get_by_role("link", name="Try it").click()
    page.get_by_role("button", name="Ask it").click()
    expect(page.locator("#answer .problem")).to_contain_text(unreachable, **WHOLE)
    page.get_by_role("button", name="Deploy", exact=True).click()
    drawer.get_by_label("Version").select_option("far@2")
    drawer.get_by_label("Location").select_option("prod")
    expect(drawer.locator("#plan .problem")).to_contain_text(unreachable, **WHOLE)
    expect(drawer.get_by_role("button", name="Look again")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Catalogue").first.click()
    expect(page.locator("#model-far")).to_contain_text("unreachable")
    page.get_by_label("More for far").click()
    page.get_by_role("button", name="Remove…").click()
    page.get_by_label("Type far to go on").fill("far")
    page.get_by_role("button", name="Undeploy from prod, and remove far").click()
    expect(drawer.locator(".job-state")).to_have_text("failed", **WHOLE)
    assert [row["name"] for row in client("list")] == ["far"]  # nothing was forgotten
    page.goto(f"{server.address}/settings")
    place = page.locator("section.instance", has=page.get_by_role("heading", name="prod"))
    place.get_by_role("button", name="Check").click()
    expect(place.locator(".problem")).to_contain_text(unreachable, **WHOLE)
