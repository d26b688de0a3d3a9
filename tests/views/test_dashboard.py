"""What a person changes in a model's Dashboard: its configuration, metadata, versions."""

import re
import threading
import time

import pytest
from accessible import findings_in_both_themes as findings
from client import Client, Failed, write_model
from playwright.sync_api import expect

from app import jobs
from app.errors import Problem
from app.models import Event
from app.services import models, orders, versions
from app.services.orders import Order

pytestmark = pytest.mark.browser


def drawer(page):
    return page.locator("#drawer")


@pytest.fixture
def client(work):
    return Client(work.home).settled()


@pytest.fixture
def churn(work, tmp_path):
    """The folder of a model with one version."""
    folder = write_model(tmp_path / "churn", "churn")
    models.add(work, folder)
    versions.commit(work, "churn")
    return folder


# Configuration


def test_form_is_checked_while_typed_and_keeps_comments(page, server, churn, work):
    toml = churn / "rhythmicml.toml"
    toml.write_text(toml.read_text() + "\n[gate]  # strict\nwatch = 0  # none\n")
    page.goto(f"{server.address}/models/churn/configuration")
    page.get_by_label("workers").fill("many")
    fault = page.locator("#fault-deploy-workers")
    expect(fault).to_contain_text("must be a whole number from 1 to 256")
    expect(page.locator("#verdict")).to_contain_text("1 key to correct")
    assert findings(page) == []
    page.get_by_role("button", name="Save rhythmicml.toml").click()
    expect(fault).to_contain_text("must be a whole number")
    assert "workers" not in toml.read_text()
    page.get_by_label("workers").fill("3")
    versions.commit(work, "churn", "news")  # which do not take away what is typed
    expect(page.get_by_label("workers")).to_have_value("3")
    expect(fault).to_be_empty()
    expect(page.locator("#verdict")).to_have_text("Not saved yet.")
    page.get_by_role("button", name="File", exact=True).click()
    expect(page.locator("textarea#text")).to_have_value(
        toml.read_text() + "\n[deploy]\nworkers = 3\n"
    )
    page.get_by_role("button", name="Form", exact=True).click()
    expect(page.get_by_label("workers")).to_have_value("3")
    page.get_by_role("button", name="Save rhythmicml.toml").click()
    expect(page.locator("#verdict")).to_contain_text("Saved.")
    assert "[gate]  # strict\nwatch = 0  # none\n" in toml.read_text()
    assert "workers = 3\n" in toml.read_text()


def test_second_of_two_edits_is_told_and_merged(page, server, churn):
    toml = churn / "rhythmicml.toml"
    before = toml.read_text()
    page.goto(f"{server.address}/models/churn/configuration")
    slow = []  # what is checked while it is typed, answered when the form is another one
    page.route("**/configuration/check", lambda route: slow.append(route), times=1)
    with page.expect_request("**/configuration/check"):
        page.get_by_label("description").fill("mine")
    toml.write_text("# theirs\n" + before)
    page.get_by_role("button", name="Save rhythmicml.toml").click()
    expect(page.get_by_role("alert").last).to_contain_text("was changed since it was opened here")
    slow[0].continue_()
    assert toml.read_text() == "# theirs\n" + before
    draft = page.get_by_label("Draft of both")
    assert draft.input_value().startswith("# theirs\n")
    assert 'description = "mine"' in draft.input_value()
    expect(page.locator(".three section")).to_have_count(3)
    assert findings(page) == []
    page.get_by_role("button", name="Save the draft").click()
    expect(page.locator("#verdict")).to_contain_text("Saved.")
    assert toml.read_text().startswith("# theirs\n")
    assert 'description = "mine"' in toml.read_text()


def test_broken_file_is_edited_as_text_and_old_versions_only_read(page, server, churn, work):
    toml = churn / "rhythmicml.toml"
    first = toml.read_text()
    toml.write_text("[deploy\n")
    page.goto(f"{server.address}/models/churn/configuration")
    expect(page.locator("#verdict")).to_contain_text("not valid TOML")
    page.locator("textarea#text").fill(first + '[deploy]\nmemory = "1G"\n')
    page.get_by_role("button", name="Save rhythmicml.toml").click()
    expect(page.locator("#verdict")).to_contain_text("Saved.")
    versions.commit(work, "churn")
    page.goto(f"{server.address}/models/churn/configuration?v=1")
    expect(page.locator("pre.file")).to_have_text(first)
    expect(page.locator("form.editor")).to_have_count(0)


# Metadata

MARKDOWN = """\
# Churn

Who *leaves* next month, from [the notes](https://notes.example/churn).

<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>
[a](javascript:window.hurt=1) [b](data:text/html,x) ![c](https://pixel.example/x.png)
"""


def test_metadata_is_edited_with_a_safe_preview(page, server, churn, client, work):
    toml = churn / "rhythmicml.toml"
    toml.write_text(toml.read_text().replace("[model]", "[model] # of Ana's"))
    page.goto(f"{server.address}/models/churn/metadata")
    page.get_by_label("Description").fill(MARKDOWN)
    preview = page.locator("#preview")
    expect(preview.locator("em")).to_have_text("leaves")
    expect(preview.get_by_role("link")).to_have_count(2)  # a picture is but a link to it
    link = preview.get_by_role("link", name="the notes")
    expect(link).to_have_attribute("href", "https://notes.example/churn")
    expect(link).to_have_attribute("rel", "noopener noreferrer nofollow")
    expect(preview.locator("img, script")).to_have_count(0)
    assert page.evaluate("window.hurt") is None
    page.get_by_label("Tags").fill("q3, retail, q3")
    page.get_by_label("Key", exact=True).fill("auc")
    page.get_by_label("Value", exact=True).fill("0.91")
    page.get_by_role("button", name="Add a key").click()
    page.get_by_label("Key", exact=True).nth(1).fill("trained on")
    page.get_by_label("Value", exact=True).nth(1).fill("the 2026 table")
    assert findings(page) == []
    page.get_by_role("button", name="Save metadata").click()
    expect(page.locator("#verdict")).to_contain_text("Saved.")
    said = client("describe", "churn")
    assert said["values"] == {"auc": 0.91, "trained on": "the 2026 table"}
    assert said["tags"] == ["q3", "retail"]
    assert "# of Ana's" in toml.read_text()
    page.get_by_role("button", name="Remove auc").click()
    page.get_by_role("button", name="Save metadata").click()
    expect(page.get_by_label("Key", exact=True)).to_have_count(1)
    assert client("describe", "churn", "--untag", "q3")["values"] == {
        "trained on": "the 2026 table"
    }
    page.get_by_label("Tags").fill("mine")
    page.get_by_role("button", name="Save metadata").click()
    expect(page.get_by_text("was changed since it was opened")).to_be_visible()
    versions.commit(work, "churn", "described")
    page.goto(server.address)
    expect(page.locator("#model-churn")).to_contain_text("Churn")
    page.goto(f"{server.address}/models/churn/metadata?v=1")
    expect(page.locator("form.editor")).to_have_count(0)


# Versions


def test_two_versions_are_compared_beside_each_other(page, server, churn, client, work):
    (churn / "requirements.txt").write_text("")
    script = churn / "predict.py"
    client("describe", "churn", "--set", "auc=0.91")
    toml = churn / "rhythmicml.toml"
    toml.write_text(toml.read_text() + "\n[deploy]\nworkers = 2\n")
    script.write_text("# a new first line\n" + script.read_text())
    (churn / "more.txt").write_text("more")
    versions.commit(work, "churn")
    page.goto(f"{server.address}/models/churn/versions")
    for number in (1, 2):
        page.get_by_label(f"Compare v{number}").check()
    page.get_by_role("button", name="Compare two").click()
    page.wait_for_url("**/compare?v=2&v=1")
    expect(page.get_by_role("table", name="Configuration")).to_contain_text("workers")
    expect(page.get_by_role("table", name="Metadata")).to_contain_text("0.91")
    text = page.get_by_role("table", name="predict.py")
    expect(text.locator(".plus")).to_have_text("# a new first line")
    expect(text.locator(".minus")).to_have_count(0)
    expect(page.locator(".change-added")).to_contain_text("more.txt")
    assert findings(page) == []
    page.get_by_label("After").select_option("v1")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Nothing is different.")).to_be_visible()


def test_version_is_pinned_switched_and_deleted(page, server, churn, client, work):
    def done():
        expect(drawer(page).locator(".job-state")).to_have_text("done", timeout=30_000)
        page.keyboard.press("Escape")

    client("deploy", "churn@1")
    write_model(churn, "churn", factor=3.0)
    client("deploy", "churn")
    (churn / "more.txt").write_text("more")
    versions.commit(work, "churn")
    try:
        page.goto(f"{server.address}/models/churn/versions")
        first, second, third = (page.locator(f"#v{number}") for number in (1, 2, 3))
        expect(second).to_contain_text("production on local")
        expect(first.locator(".chip", has_text="on local")).to_be_visible()
        first.get_by_label("More for v1").click()
        assert findings(page) == []
        first.get_by_role("button", name="Pin on local").click()
        drawer(page).get_by_role("button", name="Pin churn v1 on local").click()
        done()
        expect(first).to_contain_text("pinned on local")
        second.get_by_role("button", name="gate passed").click()
        expect(drawer(page)).to_contain_text("Gate of v2 on local")
        expect(drawer(page).get_by_role("table", name="Figures")).to_contain_text("ms")
        assert findings(page) == []
        page.keyboard.press("Escape")
        first.get_by_label("More for v1").click()
        first.get_by_role("button", name="Make v1 the production version on local").click()
        drawer(page).locator(".btn-primary").click()
        done()
        expect(first).to_contain_text("production on local")
        first.get_by_label("More for v1").click()
        first.get_by_role("button", name="Unpin on local").click()
        drawer(page).get_by_role("button", name="Unpin churn v1 on local").click()
        done()
        for row, why in ((first, "production version on local"), (third, "the newest")):
            row.locator("summary").click()
            row.get_by_role("button", name="Delete…").click()
            expect(drawer(page).locator(".problem")).to_contain_text(why)
            page.keyboard.press("Escape")
        second.locator("summary").click()
        second.get_by_role("button", name="Delete…").click()
        page.get_by_role("button", name="Delete v2").click()
        expect(drawer(page)).to_contain_text("v2 of churn is deleted")
        page.keyboard.press("Escape")
        expect(second).to_have_count(0)
        with pytest.raises(Failed, match="the production version"):
            client("remove", "churn@1")
        assert [each["number"] for each in client("versions", "churn")] == [3, 1]
    finally:
        client.undeploy_all()


# Deploying


def test_plan_shows_what_fits_and_a_refusal_says_what_does_not(page, server, churn, work):
    page.goto(f"{server.address}/models/churn")
    page.get_by_role("button", name="Deploy", exact=True).click()
    room = drawer(page).get_by_role("list", name="Room on local")
    expect(room.locator(".fits").first).to_contain_text("free")
    expect(drawer(page).get_by_role("button", name="Deploy churn v1 on local")).to_be_visible()
    page.keyboard.press("Escape")
    # A package whose wheels this machine's C library is too old for.
    wheel = churn / "wheels" / "modern-1.0-cp311-cp311-manylinux_2_99_x86_64.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(b"")
    versions.commit(work, "churn")
    page.goto(f"{server.address}/models/churn")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(room.locator(".lacks")).to_contain_text("need glibc 2.99")
    problem = drawer(page).locator(".problem")
    expect(problem).to_contain_text("Bring a wheel of modern for an older glibc")
    expect(drawer(page).locator(".btn-primary")).to_have_count(0)
    assert page.locator("#toasts .toast-problem").count() == 0
    assert findings(page) == []


def test_job_says_bytes_rate_and_time_left(page, server, work):
    more = threading.Event()

    def upload():
        yield Event("step", "Send 3 files, 900 MB of 900 MB")
        for sent in range(0, 300, 10):
            yield Event("progress", done=sent * 1e6, total=900e6, unit="B")
            time.sleep(0.05)
        more.wait(30)
        yield Event("done", "Send 3 files, 900 MB of 900 MB", data={"seconds": 1.5})

    number = jobs.start(work, "deploy", "churn", upload)
    try:
        page.goto(f"{server.address}/jobs")
        page.get_by_role("button", name="Deploy churn").click()
        line = drawer(page).locator(".line-running")
        expect(line).to_have_text(re.compile(r"\d+ MB of 900 MB, \d+ MB/s, \d+ s left"))
        expect(line.locator("progress")).to_be_visible()
    finally:
        more.set()
    expect(drawer(page).locator(".line-done")).to_contain_text("1.5 s")
    with work.open_store() as store:
        kept = [each for _, each in store.jobs.events(number) if each.kind == "progress"]
    assert len(kept) < 15


def test_one_deployment_at_a_time_is_offered(page, server, churn, work):
    more = threading.Event()

    def deploys():
        yield Event("step", "Send 3 files")
        more.wait(30)
        yield Event("done")

    page.goto(f"{server.address}/models/churn")
    offer = page.get_by_role("button", name="Deploy v1…")
    expect(offer).to_be_visible()
    order = Order("deploy", "churn@1", {"to": "local"})
    jobs.start(work, "deploy", "churn@1", deploys, request=order.as_dict())
    try:
        expect(page.locator("section.next")).to_contain_text(
            "Deploy churn v1 on local is under way."
        )
        expect(offer).to_have_count(0)
        page.get_by_role("button", name="Deploy", exact=True).click()
        button = drawer(page).get_by_role("button", name="Deploy churn v1 on local")
        expect(button).to_be_disabled()
        expect(button).to_have_accessible_description(re.compile("by one at a time on local"))
        assert findings(page) == []
        drawer(page).get_by_role("button", name="Watch it").click()
        expect(drawer(page).locator(".line-running")).to_contain_text("Send 3 files")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Deploy", exact=True).click()
        expect(button).to_be_disabled()
    finally:
        more.set()
    expect(button).to_be_enabled()
    expect(offer).to_be_visible()
    assert orders.under_way(work, "churn") == {}


def test_log_of_a_failed_job_is_opened_at_its_end(page, server, work):
    said = "\n".join(f"line {number}" for number in range(300))

    def fails():
        yield Event("step", "Start v1")
        for line in said.splitlines():
            yield Event("log", line)
        raise Problem("churn v1 failed 0.4 s after its start.", detail=said)

    jobs.start(work, "deploy", "churn", fails)
    page.goto(f"{server.address}/jobs")
    page.get_by_role("button", name="Deploy churn").click()
    at_end = "box => box.scrollTop > 100 && box.scrollTop + box.clientHeight > box.scrollHeight - 2"
    words = drawer(page).locator(".problem .log pre")
    expect(words).to_be_visible()
    page.wait_for_function(at_end, arg=words.element_handle())
    drawer(page).locator(".line .log summary").click()
    page.wait_for_function(at_end, arg=drawer(page).locator(".line .log pre").element_handle())


# Try it

ROWS = """
def load(artifacts):
    return None

def predict(model, inputs: list):
    return [row["age"] + (1 if row["member"] else 0) for row in inputs]
"""


def test_instance_is_asked_by_a_form_made_of_its_schema(page, server, client, tmp_path):
    folder = write_model(tmp_path / "ages", "ages", script=ROWS)
    (folder / "sample.json").write_text('{"inputs": [{"age": 40, "member": true}]}')
    with (folder / "rhythmicml.toml").open("a") as toml:
        toml.write('[schema.inputs]\nage = { type = "int64", min = 0, max = 120 }\n')
        toml.write('member = { type = "bool" }\n')
    client("deploy", str(folder))
    try:
        page.goto(f"{server.address}/models/ages/try")
        age = page.get_by_label("age", exact=True)
        expect(age).to_have_value("40")
        assert findings(page) == []
        age.fill("7")
        page.get_by_label("member").select_option("false")
        page.get_by_role("button", name="Ask it").click()
        expect(page.locator("#answer pre")).to_contain_text("7")
        age.fill("121")
        page.get_by_role("button", name="Ask it").click()
        expect(page.locator("#answer .problem")).to_contain_text("age")
        page.get_by_role("button", name="JSON", exact=True).click()
        request = page.get_by_label("Request")
        expect(request).to_have_value(re.compile(r'"age": 121,\s+"member": false'))
        request.fill('{"inputs": [{"age": 8, "member": true}]}')
        page.get_by_role("button", name="Ask it").click()
        expect(page.locator("#answer pre")).to_contain_text("9")
        page.get_by_role("button", name="Form", exact=True).click()
        expect(age).to_have_value("8")
    finally:
        client.undeploy_all()


def test_log_of_a_running_job_goes_on_where_one_looks(page, server, work):
    more = [threading.Event() for _ in range(2)]

    def logs():
        yield Event("step", "Start v1")
        for number, each in enumerate(more):
            for line in range(60):
                yield Event("log", f"{number} line {line}")
            each.wait(30)
        yield Event("log", "the last line")
        yield Event("done")

    jobs.start(work, "deploy", "churn", logs)
    said = drawer(page).locator(".line .log pre")
    try:
        page.goto(f"{server.address}/jobs")
        page.get_by_role("button", name="Deploy churn").click()
        drawer(page).locator(".line .log summary").click()
        expect(said).to_contain_text("0 line 59")
        more[0].set()
        expect(said).to_contain_text("1 line 59")
        at_end = "box => box.scrollTop + box.clientHeight > box.scrollHeight - 2"
        assert said.evaluate(at_end)
        said.evaluate("box => box.scrollTo(0, 50)")
    finally:
        for each in more:
            each.set()
    expect(said).to_contain_text("the last line")
    assert said.evaluate("box => box.scrollTop") == 50


def test_job_is_not_drawn_anew_under_a_button_that_is_pressed(page, server, work):
    more = threading.Event()

    def waits():
        yield Event("step", "Start v1")
        more.wait(30)
        yield Event("done")

    number = jobs.start(work, "deploy", "churn", waits)
    try:
        page.goto(f"{server.address}/jobs")
        page.get_by_role("button", name="Deploy churn").click()
        cancel = drawer(page).get_by_role("button", name="Cancel")
        for meant in (False, True):
            cancel.hover()
            with page.expect_response(f"**/jobs/{number}"):  # it asks each second
                page.mouse.down()
            expect(drawer(page).locator(".job")).not_to_contain_class("htmx-request")
            if not meant:
                page.mouse.move(5, 5)
            with page.expect_response(f"**/jobs/{number}{'/cancel' if meant else ''}"):
                page.mouse.up()
        expect(drawer(page).locator(".job-state")).to_have_text("cancelling")
    finally:
        more.set()
