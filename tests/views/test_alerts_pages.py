"""Alerts in a real browser: the open ones above Monitoring, and the settings of who is told."""

import http.server
import json
import os
import threading

import pytest
from playwright.sync_api import expect
from test_accessible import findings

from app.models import Instance
from app.services import alerts, limits, notices, secrets, telling

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror='window.hurt=1'>"


@pytest.fixture
def failing(work):
    """Two instances that fail, as told by their hosts; says so again, or that they are well."""
    notices.want(work, False)
    with work.open_store() as store:
        for location in ("ams", "ber"):
            store.instances.upsert(Instance("churn", location, 8100, "v1-a", 1, "failing"))
    clock = [1_800_000_000.0]

    def say(state="failing", error=HOSTILE):
        for _ in range(8):
            clock[0] += 15
            row = {"model": "churn", "state": state, "error": error, "version": None}
            rows = [{**row, "location": location} for location in ("ams", "ber")]
            alerts.evaluate(work, rows, clock[0])

    say()
    return say


def test_alerts_are_shown_acknowledged_and_go_when_it_is_over(page, server, work, failing):
    page.goto(f"{server.address}/monitoring")
    items = page.locator("#alerts li")
    expect(items).to_have_count(2)
    expect(items.first).to_contain_text(f"churn on ber: It does not answer (failing). {HOSTILE}")
    assert page.evaluate("window.hurt") is None
    page.get_by_role("button", name="Acknowledge: churn on ber").click()
    expect(page.locator("#alerts .seen")).to_contain_text("seen by")
    expect(page.get_by_role("button", name="Acknowledge")).to_have_count(1)
    expect(items.first).to_contain_text("churn on ams")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#alerts .seen")).to_have_count(2)
    assert [bool(each["acknowledged"]) for each in alerts.listed(work)] == [True, True]
    failing("serving", "")
    server.feed.say("alerts")
    expect(items).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_says_how_many_are_open(page, server, work, failing, theme, tmp_path):
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.goto(server.address)  # the Catalogue
    link = page.get_by_role("navigation", name="Main").get_by_role("link", name="Monitoring")
    expect(link).to_have_accessible_name("2 open alerts, Monitoring")
    with work.open_store() as store:
        store.instances.remove("churn", "ber")
    server.live._tell_of_alerts()  # as after each round of asking
    expect(link).to_have_accessible_name("1 open alert, Monitoring")
    expect(page.locator("#alarms.seen")).to_have_count(0)
    page.screenshot(path=os.environ.get("SHOT", str(tmp_path)) + f"/rail-{theme}.png")
    assert findings(page) == []
    alerts.acknowledge(work, [row["id"] for row in alerts.listed(work)])  # elsewhere
    server.live._tell_of_alerts()
    expect(page.locator("#alarms.seen")).to_have_text("1 open alert,")
    failing("serving", "")
    server.live._tell_of_alerts()
    expect(link).to_have_accessible_name("Monitoring")


def test_all_are_acknowledged_at_once_also_what_ended_meanwhile(page, server, work, failing):
    page.goto(f"{server.address}/monitoring")
    expect(page.get_by_role("button", name="Acknowledge all 2")).to_be_visible()
    with work.open_store() as store:
        store.instances.remove("churn", "ber")
    page.get_by_role("button", name="Acknowledge all 2").click()
    expect(page.locator("#alerts li")).to_have_count(1)
    expect(page.locator("#alerts .seen")).to_have_count(1)


def test_limits_are_kept_and_wrong_ones_are_refused_whole(page, server, work):
    page.goto(f"{server.address}/settings")
    page.get_by_label("errors", exact=True).fill("2.5")
    page.get_by_label("drift", exact=True).fill("")
    page.get_by_role("button", name="Keep these limits").click()
    expect(page.locator("#limits .said")).to_have_text("Kept.")
    expect(page.locator("#limits")).to_contain_text("unless changed: 5 %")
    with work.open_store() as store:
        assert limits.of(store) == {**limits.DEFAULTS, "errors": 0.025, "drift": None}
        page.get_by_label("down", exact=True).fill("10")
        page.get_by_label("disk", exact=True).fill("190")
        page.get_by_role("button", name="Keep these limits").click()
        expect(page.get_by_role("alert").last).to_contain_text("is no limit for disk")
        assert limits.of(store)["down"] == 60


class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_webhook_is_set_up_tried_and_turned_off(page, server, work):
    notices.want(work, False)
    hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    hook.taken = []
    thread = threading.Thread(target=hook.serve_forever, args=(0.02,))
    thread.start()
    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name="Set up Webhook…").click()
    page.get_by_label("Address", exact=False).fill(f"http://127.0.0.1:{hook.server_port}/secret")
    page.get_by_label("Where there is no keyring").check()
    page.get_by_role("button", name="Keep the webhook").click()
    expect(page.locator("#telling")).to_contain_text(f"http://127.0.0.1:{hook.server_port}/…")
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#telling")).to_contain_text("Taken by all of them.")
    assert [each["alerts"][0]["event"] for each in hook.taken] == ["test"]
    hook.shutdown()
    hook.server_close()
    thread.join()
    page.get_by_role("button", name="Send a test").click()
    expect(page.locator("#telling .bad")).to_contain_text("refused")
    page.get_by_role("button", name="Change Webhook…").click()
    page.get_by_role("button", name="Turn it off").click()
    expect(page.get_by_role("button", name="Set up Webhook…")).to_be_visible()
    assert secrets.value_of(work.home, telling.HOOK) is None


def test_e_mail_is_set_up_and_shown_without_its_password(page, server, work):
    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name="Set up E-mail…").click()
    page.get_by_label("To (several").fill("ana@example.com, bo@example.com")
    page.get_by_label("Mail server").fill("smtp.example.com")
    page.get_by_label("User", exact=False).fill("ana")
    page.get_by_role("button", name="Keep the e-mail settings").click()
    expect(page.get_by_role("alert").last).to_contain_text("no password")
    page.get_by_label("Password", exact=False).fill("secret-word")
    page.get_by_label("Where there is no keyring").check()
    page.get_by_role("button", name="Keep the e-mail settings").click()
    expect(page.locator("#telling")).to_contain_text(
        "ana@example.com, bo@example.com through smtp.example.com:587"
    )
    page.get_by_role("button", name="Change E-mail…").click()
    expect(page.get_by_label("User", exact=False)).to_have_value("ana")
    assert "secret-word" not in page.content()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_alerts(page, server, failing, theme):
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    told = {}
    page.goto(f"{server.address}/monitoring")
    page.get_by_role("button", name="Acknowledge: churn on ber").click()
    expect(page.locator("#alerts .seen")).to_have_count(1)
    told["monitoring"] = findings(page)
    page.goto(f"{server.address}/settings")
    for name in ("Set up Webhook…", "Set up E-mail…"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_label("Where there is no keyring")).to_be_visible()
        told[name] = findings(page)
        page.keyboard.press("Escape")
    assert {place: found for place, found in told.items() if found} == {}
