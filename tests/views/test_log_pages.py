"""The log of an instance in a real browser: it goes on by itself, filtered, and acts on nothing."""

import pytest
from playwright.sync_api import expect

from app.store.kept_logs import KeptLogs

pytestmark = pytest.mark.browser

HOSTILE = "\x1b[2J<img src=x onerror='window.hurt=1'>"


@pytest.fixture
def log(log):
    log.write_text(f"begun\n{HOSTILE}\n")
    return log


def test_the_log_goes_on_by_itself_and_is_filtered(page, server, work, log):
    page.goto(f"{server.address}/models/churn/instances")
    page.get_by_role("button", name="Log").click()
    shown = page.get_by_role("log")
    expect(shown).to_contain_text("begun")
    expect(shown).to_contain_text("\\x1b[2J<img src=x")
    with log.open("a") as file:
        file.write("a later line\nERROR of it\n")
    expect(shown).to_contain_text("a later line")
    begun, other = (shown.get_by_text(each).bounding_box() for each in ("begun", "x1b[2J"))
    assert other["y"] < begun["y"] + begun["height"] + 4, "an empty line is between them"
    page.get_by_label("Level").select_option("Errors")
    expect(shown).not_to_contain_text("begun")
    expect(shown).to_contain_text("ERROR of it")
    with log.open("a") as file:
        file.write("fine again\nERROR of another kind\n")
    expect(shown).to_contain_text("ERROR of another kind")
    expect(shown).not_to_contain_text("fine again")
    page.get_by_label("Lines with").fill("of it")
    expect(shown).not_to_contain_text("another kind")
    expect(page.locator("#log .cli")).to_contain_text("--level error --grep 'of it'")
    with page.expect_response("**/logs/stream?*"):
        page.get_by_label("Lines with").fill("nothing like it")
    expect(shown.locator("span")).to_have_count(0)
    expect(shown.get_by_text("No line is like that.")).to_be_visible()
    with log.open("a") as file:
        file.write("ERROR: nothing like it\n")
    expect(shown).to_contain_text("ERROR: nothing like it")
    expect(shown.get_by_text("No line is like that.")).to_be_hidden()
    expect(page.locator("#lost")).to_be_hidden()
    assert page.evaluate("window.hurt") is None


@pytest.mark.parametrize("instead", ["Restart", None])
def test_log_that_comes_late_takes_no_place(page, server, work, log, instead):
    page.goto(f"{server.address}/models/churn/instances")
    slow = []
    page.route("**/churn/logs?*", lambda route: slow.append(route))
    button = page.get_by_role("button", name="Log")
    button.click()
    expect(button).to_contain_class("htmx-request")
    if instead:
        page.get_by_role("button", name=instead).click()
    else:
        page.keyboard.press("Escape")
    question = page.get_by_role("heading", name="Restart churn on local?")
    expect(question).to_have_count(int(bool(instead)))
    slow[0].continue_()
    expect(button).not_to_contain_class("htmx-request")
    expect(question).to_have_count(int(bool(instead)))
    expect(page.get_by_role("log")).to_have_count(0)


def test_what_is_kept_is_shown_where_the_instance_is_no_more(page, server, work, log):
    KeptLogs(work.home).keep("churn", "local", 1.0, ["its last words", HOSTILE])
    with work.open_store() as store:
        store.instances.remove("churn", "local")
    log.unlink()
    page.goto(f"{server.address}/models/churn/logs?on=local")
    expect(page.get_by_text("its last words")).to_be_visible()
    expect(page.get_by_text("These lines were kept here.")).to_be_visible()
    assert page.locator("[sse-connect*=stream]").count() == 0


def test_log_that_cannot_be_filtered_says_why(page, server, work, log):
    page.goto(f"{server.address}/models/churn/instances")
    page.get_by_role("button", name="Log").click()
    expect(page.get_by_role("log")).to_contain_text("begun")
    with work.open_store() as store:
        store.instances.remove("churn", "local")
    log.unlink()
    log.mkdir()
    page.get_by_label("Lines with").press_sequentially("a")
    expect(page.locator(".toast-problem")).to_contain_text("churn")
    expect(page.get_by_role("log")).to_contain_text("begun")
