"""A version tried on copies of the requests, from the pages, in a real browser."""

import re
import urllib.request

import pytest
from accessible import findings_in_both_themes
from client import PREDICT, Client, write_model
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

BODY, JSON = b'{"inputs": [[1, 2, 3], [4, 5, 6]]}', {"Content-Type": "application/json"}


def score(port):
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/score", BODY, JSON)
    urllib.request.urlopen(asked, timeout=20).read()


def test_shadow_is_begun_watched_and_promoted(page, server, work, tmp_path, monkeypatch):
    monkeypatch.chdir(write_model(tmp_path / "churn", "churn"))
    client = Client(work.home).settled()
    port = client("deploy", ".")["port"]
    (tmp_path / "churn/predict.py").write_text(PREDICT.replace("sum(row)", "sum(row) + 0.5"))
    client("commit", "churn", "-m", "half more")
    try:
        page.goto(f"{server.address}/monitoring/churn/local")
        shadow = page.locator("#shadow")
        expect(shadow).to_contain_text("copies of its requests")
        shadow.get_by_role("button", name="Start shadow").click()
        drawer = page.locator("#drawer-body")
        expect(drawer).to_contain_text("send it 10 % in copies")
        page.get_by_label("Share of the requests").fill("100")
        page.get_by_label("Share of the requests").blur()
        expect(drawer).to_contain_text("send it 100 % in copies")
        page.screenshot(path=tmp_path / "plan.png")
        drawer.get_by_role("button", name="Start the shadow on local").click()
        expect(drawer).to_contain_text("v2 gets copies of 100 %", timeout=60_000)
        page.keyboard.press("Escape")
        expect(shadow).to_contain_text("v2 gets copies of 100 %")
        for _ in range(3):
            score(port)
        expect(shadow).to_contain_text("6 of 6", timeout=30_000)
        expect(shadow).to_contain_text("row 1")
        assert findings_in_both_themes(page) == []
        page.screenshot(path=tmp_path / "dark.png")
        page.emulate_media(color_scheme="light")
        page.screenshot(path=tmp_path / "light.png", full_page=True)
        shadow.get_by_role("button", name="End").click()
        expect(drawer.get_by_role("heading")).to_have_text("End the shadow of churn on local?")
        page.keyboard.press("Escape")
        shadow.get_by_role("button", name="Promote v2").click()
        expect(drawer).to_contain_text(re.compile(r"End the shadow v2.*Make v2 production"))
        drawer.get_by_role("button", name="Deploy churn v2").click()
        expect(drawer).to_contain_text("churn v2 is serving on local", timeout=60_000)
        page.keyboard.press("Escape")
        expect(shadow.get_by_role("button", name="Start shadow")).to_be_visible()
    finally:
        client.undeploy_all()
