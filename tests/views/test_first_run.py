"""What somebody sees who has nothing yet: what to do, where it will run, what is lacking."""

import pytest
from accessible import findings
from playwright.sync_api import expect
from screen import PICTURES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_empty_catalogue_leads_to_a_first_endpoint(
    browser, server, work, tmp_path, monkeypatch, scheme
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(server.invitation())
    needs = page.locator(".needs li")
    expect(needs).to_have_count(4)
    expect(needs.filter(has_text="SSH key")).to_contain_text("ssh-keygen -t ed25519")
    expect(page.get_by_text("On this machine, unless you add a server")).to_be_visible()
    page.screenshot(path=PICTURES / f"first-run-{scheme}.png")
    assert findings(page) == []
    page.get_by_role("button", name="Add a server…").click()
    expect(page.get_by_label("Deploy there by default")).to_be_checked()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Try the example").click()
    page.wait_for_url("**/models/tumour")
    context.close()


def test_server_becomes_the_default_from_an_empty_catalogue(page, server, work):
    """As after `location add`: one that is there and not the default is offered."""
    with work.open_store() as store:
        store._database.execute(
            "INSERT INTO locations VALUES('prod','ssh','ssh://ana@ml.example.org:22','','auto','',"
            "0,'','auto')"
        )
    page.goto(server.address)
    page.get_by_role("button", name="Use prod").click()
    expect(page.get_by_text("ssh://ana@ml.example.org:22")).to_be_visible()
    assert page.url == server.address + "/"
    with work.open_store() as store:
        assert store.locations.default().name == "prod"


def test_needs_and_notices_are_in_settings(page, server, work):
    page.goto(server.address + "/settings")
    page.get_by_text("What this machine has and lacks").click()
    expect(page.locator(".needs li")).to_have_count(4)
    asked = page.get_by_label("Tell me on the desktop when a job that took a while has ended")
    expect(asked).to_be_checked()
    with page.expect_response("**/settings/job-notices"):
        asked.uncheck()
    page.reload()
    expect(asked).not_to_be_checked()
