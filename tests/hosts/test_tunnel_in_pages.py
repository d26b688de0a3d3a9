"""A tunnel that is opened in the pages leads to the instance on the server until it is closed."""

import json
import urllib.error
import urllib.request

import pytest
from client import Client, write_model
from playwright.sync_api import expect

pytestmark = pytest.mark.browser


def ask(url):
    body = b'{"inputs": [[1, 2, 3]]}'
    request = urllib.request.Request(f"{url}/score", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def test_tunnel_is_opened_and_closed(guest, tmp_path, server, page, work):
    client = Client(work.home)
    client.add_location(guest, "root")
    client("deploy", str(write_model(tmp_path / "far", "far")), "--to", "srv")
    try:
        page.goto(f"{server.address}/models/far/try")
        expect(page.locator(".try-far")).to_contain_text("is an address of srv itself")
        page.goto(f"{server.address}/models/far/instances")
        page.get_by_role("button", name="Open tunnel").click()
        url = page.locator("#drawer .copy[data-copy^=http]").get_attribute("data-copy")
        assert ask(url)["predictions"] == [12.0]
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Try it").click()
        expect(page.locator(".try-far")).to_contain_text(f"On this machine it is {url}")
        page.get_by_role("link", name="Instances", exact=True).click()
        page.get_by_role("button", name=f"Tunnel at {url}").click()
        assert page.locator("#drawer .copy[data-copy^=http]").get_attribute("data-copy") == url
        page.get_by_role("button", name="Close the tunnel").click()
        expect(page.locator("#drawer")).to_contain_text("The tunnel to srv is closed")
        with pytest.raises(urllib.error.URLError):
            ask(url)
        page.keyboard.press("Escape")
        expect(page.get_by_role("button", name="Open tunnel")).to_be_visible()
    finally:
        client.undeploy_all()
