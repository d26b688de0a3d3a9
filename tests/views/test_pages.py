"""The pages as a person uses them, in a real browser, with real instances on this machine."""

import re
import time
from types import SimpleNamespace

import pytest
from client import Client, write_model
from playwright.sync_api import expect

from app.models import Instance
from app.services import locations, models, versions
from app.views import catalogue

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.hurt=1">\'";alert(1)//{{7*7}}'


def drawer(page):
    return page.locator("#drawer")


def test_main_job_from_an_empty_catalogue_to_removal(page, server, tmp_path, work):
    folder = write_model(tmp_path / "churn", "churn")
    (folder / "sample.json").unlink()
    page.get_by_role("button", name="Add your model").click()
    page.get_by_label("Folder", exact=True).fill(str(folder))
    expect(drawer(page)).to_contain_text("missing: a sample request")
    page.get_by_role("button", name="Add churn").click()
    page.wait_for_url("**/models/churn")

    page.get_by_role("link", name="Files", exact=True).click()
    page.get_by_label("Message").fill("the first")
    page.get_by_role("button", name="Commit v1").click()
    expect(drawer(page).locator(".result")).to_contain_text("churn v1 is kept.")
    page.keyboard.press("Escape")
    expect(page.locator("#dashboard")).to_contain_text("Files of v1")

    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(drawer(page).locator("#plan")).to_contain_text("Start v1")
    page.get_by_role("button", name="Deploy churn v1 on local").click()
    expect(drawer(page).locator(".result")).to_contain_text("is serving on local", timeout=60_000)
    try:
        expect(page.locator(".head")).to_contain_text("serving v1")  # with no reload by hand
        page.keyboard.press("Escape")
        page.get_by_role("link", name="Instances", exact=True).click()
        for verb, state in (("Stop", "stopped"), ("Start", "serving v1")):
            page.get_by_role("button", name=verb, exact=True).click()
            page.get_by_role("button", name=f"{verb} churn on local").click()
            expect(drawer(page).locator(".job-state")).to_have_text("done", timeout=30_000)
            page.keyboard.press("Escape")
            expect(page.locator(".head")).to_contain_text(state)
        page.get_by_role("link", name="Try it").click()
        page.get_by_label("Request").fill('{"inputs": [[1, 2, 3]]}')
        page.get_by_role("button", name="Ask it").click()
        expect(page.locator("#answer pre")).to_contain_text("12.0")
        page.get_by_label("Request").fill("not JSON")
        page.get_by_role("button", name="Ask it").click()
        expect(page.locator("#answer .problem")).to_contain_text("The request is not JSON.")
        page.goto(server.address)
        expect(page.locator("#model-churn")).to_contain_text("serving v1")
    finally:
        page.goto(f"{server.address}/models/churn/instances")
        page.get_by_role("button", name="Undeploy").click()
        page.get_by_label("Its history and tokens").check()
        page.get_by_role("button", name="Take churn away on local").click()
        expect(drawer(page).locator(".job-state")).to_have_text("done", timeout=30_000)
    page.goto(f"{server.address}/models/churn/history")
    expect(page.get_by_role("table", name="History")).to_contain_text(
        re.compile("undeploy", re.IGNORECASE)
    )
    page.goto(server.address)
    page.get_by_label("More for churn").click()
    page.get_by_role("button", name="Remove…").click()
    page.get_by_label("Type churn to go on").fill("churn")
    page.get_by_role("button", name="Remove churn and 1 version", exact=True).click()
    expect(page.get_by_text("A folder becomes an endpoint")).to_be_visible()


def test_search_filters_while_typed_and_marks_what_it_found(page, server, tmp_path, work):
    client = Client(work.home)
    for name in ("churn", "fraud", "ocr"):
        client("add", str(write_model(tmp_path / name, name)))
    page.goto(server.address)
    expect(page.locator("tr.row")).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("fra")
    expect(page.locator("tr.row")).to_have_count(1)
    expect(page.locator("mark")).to_have_text("fra")
    page.get_by_label("Search models").fill("")
    expect(page.locator("tr.row")).to_have_count(3)
    page.get_by_text("Never deployed").click()
    expect(page.locator("tr.row")).to_have_count(3)
    page.get_by_text("Serving").click()
    expect(page.get_by_text("No model matches.")).to_be_visible()


def test_news_come_to_all_rows_that_are_shown(page, server, tmp_path, work, monkeypatch):
    monkeypatch.setattr(catalogue, "SHOWN", 1)
    for name in ("churn", "fraud"):
        models.add(work, write_model(tmp_path / name, name))
    page.goto(server.address)
    page.get_by_role("button", name="Show more (1)").click()
    expect(page.locator("tr.row")).to_have_count(2)
    models.add(work, write_model(tmp_path / "late", "late"))
    expect(page.locator("tr.row")).to_have_count(3)


def test_search_takes_the_place_of_news_that_are_still_asked_for(page, server, tmp_path, work):
    for name in ("churn", "fraud"):
        models.add(work, write_model(tmp_path / name, name))
    page.goto(server.address)
    page.route("**/catalogue/rows*", lambda route: None, times=1)  # as if it took long
    with page.expect_request("**/catalogue/rows*"):
        models.add(work, write_model(tmp_path / "late", "late"))
    with page.expect_event("requestfailed", lambda request: "/catalogue/rows" in request.url):
        page.get_by_label("Search models").fill("fra")
    expect(page.locator("tr.row")).to_have_count(1)
    expect(page.locator("mark")).to_have_text("fra")


def test_model_added_elsewhere_appears_by_itself(page, server, tmp_path, work):
    expect(page.get_by_text("A folder becomes an endpoint")).to_be_visible()
    Client(work.home)("add", str(write_model(tmp_path / "late", "late")))
    expect(page.locator("#model-late")).to_be_visible()


def test_f05_hostile_words_are_shown_as_text(page, server, tmp_path, work):
    client = Client(work.home)
    folder = write_model(tmp_path / "evil", "evil")
    toml = folder / "rhythmicml.toml"
    quoted = HOSTILE.replace("\\", "\\\\").replace('"', '\\"')
    toml.write_text(
        toml.read_text().replace(
            "[dependencies]",
            f'description = "{quoted}"\nmetadata = {{ tags = ["{quoted}"], note = "{quoted}" }}\n'
            "[dependencies]",
        )
    )
    (folder / HOSTILE.replace("/", "")).write_text("x")
    client("add", str(folder))
    client("commit", "evil", "-m", HOSTILE)
    for path in ("/", "/models/evil", "/models/evil/files", "/models/evil/versions",
                 "/models/evil/configuration", "/jobs"):  # fmt: skip
        page.goto(server.address + path)
        assert page.evaluate("window.hurt") is None
    page.goto(server.address)
    expect(page.locator(".what .muted")).to_have_text(HOSTILE)
    page.get_by_label("Search models").fill("<img src=x")
    expect(page.locator("mark").first).to_have_text(re.compile("<img|src=x"))
    page.get_by_label("Versions of evil").click()
    expect(page.locator(".brief")).to_contain_text(HOSTILE)
    assert page.evaluate("window.hurt") is None


def test_failed_job_says_why_and_can_be_tried_again(page, server, tmp_path, work):
    client = Client(work.home).settled()
    folder = write_model(
        tmp_path / "bad", "bad", script="def predict(model, inputs: list):\n    1/0\n"
    )
    client("add", str(folder))
    client("commit", "bad")
    page.goto(f"{server.address}/models/bad")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("button", name="Deploy bad v1 on local").click()
    problem = drawer(page).locator(".problem")
    expect(problem).to_contain_text("ZeroDivisionError", timeout=60_000)
    expect(drawer(page).locator(".job-state")).to_have_text("failed")
    page.get_by_role("button", name="Try again").click()
    expect(drawer(page)).to_contain_text("rhythmicml deploy bad@1 --to local")
    page.get_by_role("button", name="Deploy bad v1 on local").click()
    expect(drawer(page).locator(".job-state")).to_have_text("running")
    expect(drawer(page).locator(".job-state")).to_have_text("failed", timeout=60_000)


def test_cancel_ends_a_deployment_and_leaves_nothing(page, server, tmp_path, work):
    client = Client(work.home).settled()
    script = "import time\ntime.sleep(60)\ndef predict(model, inputs: list):\n    return inputs\n"
    client("add", str(write_model(tmp_path / "slow", "slow", script=script)))
    client("commit", "slow")
    page.goto(f"{server.address}/models/slow")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("button", name="Deploy slow v1 on local").click()
    running = drawer(page).locator(".line-running")
    expect(running).to_contain_text("Start v1", timeout=30_000)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(drawer(page).locator(".job-state")).to_have_text("cancelled", timeout=20_000)
    assert client("status") == []


def test_settings_check_this_machine_and_choose_a_theme(page, server, work):
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/settings")
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.locator(".probe")).to_contain_text("There and back", timeout=30_000)
    with page.expect_response("**/settings/theme"):  # else the next page comes before it is kept
        page.get_by_text("Dark", exact=True).click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.goto(server.address)
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_host_that_does_not_answer_is_a_problem_beside_the_form(page, server):
    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name="Add location").click()
    page.get_by_label("Name").fill("nowhere")
    page.get_by_label("Address").fill("ssh://ana@127.0.0.1:9")
    page.get_by_role("button", name="Connect and add").click()
    expect(page.locator("#toasts .toast-problem")).to_be_visible()
    expect(page.get_by_label("Address")).to_have_value("ssh://ana@127.0.0.1:9")


def test_location_is_edited_with_what_it_would_be_added_with(page, server, work, host, tmp_path):
    key, base = str(tmp_path / "key"), str(tmp_path / "sshd" / "base")
    locations.add(work, "srv", host.url, key, host.fingerprint)
    page.goto(f"{server.address}/settings")
    card = page.locator("#locations .instance").filter(has_text="srv")
    card.get_by_role("button", name="Edit…").click()
    expect(page.get_by_label("Private key")).to_have_value(key)
    page.get_by_label("Internet there").select_option("never")
    page.get_by_label("Base folder").fill("relative")
    page.get_by_role("button", name="Save srv").click()
    expect(page.locator("#toasts .toast-problem")).to_contain_text("is not absolute")
    page.get_by_label("Base folder").fill(base)
    page.get_by_role("button", name="Save srv").click()
    expect(card).to_contain_text(f"Base folder: {base}. Internet: never.")
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "srv", 8101, "v1-a", 1, "serving"))
        assert store.locations.get("srv").base == base
    page.goto(f"{server.address}/settings")
    card.get_by_role("button", name="Edit…").click()
    expect(page.get_by_label("Base folder")).to_be_disabled()
    expect(drawer(page)).to_contain_text("they stay while churn is deployed there")
    page.get_by_label("Internet there").select_option("always")
    page.get_by_role("button", name="Save srv").click()
    expect(card).to_contain_text("Internet: always.")


def test_key_of_a_server_that_was_set_up_anew_is_trusted_while_models_are_there(
    page, server, work, host, tmp_path
):
    locations.add(work, "srv", host.url, str(tmp_path / "key"), host.fingerprint)
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "srv", 8101, "v1-a", 1, "serving"))
    page.goto(f"{server.address}/settings")
    card = page.locator("#locations .instance").filter(has_text="srv")
    card.get_by_role("button", name="Forget…").click()
    page.get_by_role("button", name="Forget the host key of srv").click()
    expect(card).not_to_contain_text("Host key:")
    card.get_by_role("button", name="Check").click()
    expect(card.locator(".fingerprint")).to_have_text(host.fingerprint)
    card.get_by_role("button", name="Trust this key of srv").click()
    expect(card).to_contain_text(f"Host key: {host.fingerprint[:20]}")
    expect(page.locator("#toasts .toast-problem")).to_have_count(0)


def test_restored_version_keeps_what_was_there_as_another(page, server, tmp_path, work):
    client = Client(work.home)
    folder = write_model(tmp_path / "back", "back")
    client("add", str(folder))
    client("commit", "back")
    weights = folder / "artifacts" / "weights.json"
    first = weights.read_text()
    weights.write_text('{"factor": 9.0}')
    page.goto(server.address)
    expect(page.locator("#model-back")).to_contain_text("1 file changed")
    page.goto(f"{server.address}/models/back/versions")
    page.get_by_role("button", name="Restore…").click()
    page.get_by_role("button", name="Restore v1", exact=True).click()
    expect(drawer(page).locator(".result")).to_contain_text("What was there before is v2.")
    assert weights.read_text() == first
    page.get_by_role("link", name="See the files").click()
    expect(page.locator("#dashboard")).to_contain_text("Files of v2")


def test_windows_that_left_hold_no_thread_of_the_server(page, server):
    for number in range(40):  # more than the server has threads
        page.goto(f"{server.address}/{('', 'jobs', 'settings')[number % 3]}", timeout=5_000)
    end = time.monotonic() + 5
    while server.feed.listeners > 1:
        assert time.monotonic() < end, f"{server.feed.listeners} listen"
        time.sleep(0.1)


def test_row_that_says_something_else_by_now_keeps_the_focus(page, server, work, tmp_path):
    for name in ("alpha", "beta"):
        models.add(work, write_model(tmp_path / name, name))
    page.goto(f"{server.address}/?order=name")
    rows = page.locator("tr.row")
    rows.nth(1).focus()
    versions.commit(work, "beta", "said anew")
    expect(rows.nth(1)).to_contain_text("v1")
    expect(rows.nth(1)).to_be_focused()


def test_keys_go_through_the_catalogue(page, server, work, tmp_path):
    client = Client(work.home)
    for name in ("alpha", "beta"):
        client("add", str(write_model(tmp_path / name, name)))
    page.goto(f"{server.address}/?order=name")
    rows = page.locator("tr.row")
    expect(rows).to_have_count(2)
    for key, at in (("j", 0), ("j", 1), ("j", 1), ("k", 0), ("j", 1)):
        page.keyboard.press(key)
        expect(rows.nth(at)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/beta")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/settings")
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url(f"{server.address}/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()


def test_folder_with_only_a_model_file_is_drafted_for_it(page, tmp_path):
    folder = tmp_path / "my models" / "trees"
    folder.mkdir(parents=True)
    (folder / "best model.ubj").write_bytes(b"trees")
    page.get_by_role("button", name="Add your model").click()
    page.get_by_label("Folder", exact=True).fill(str(folder))
    expect(drawer(page)).to_contain_text("predict.py will predict with best model.ubj")
    expect(drawer(page).locator(".cli")).to_have_text(f"rhythmicml add '{folder}'")
    page.get_by_role("button", name="Add trees").click()
    page.wait_for_url("**/models/trees")
    page.get_by_role("link", name="Files", exact=True).click()
    said = page.locator(".parts")
    expect(said).to_contain_text("as drafted: it predicts with best model.ubj")
    expect(said).to_contain_text("as drafted: make it yours")
    warned = drawer(page).get_by_text("sample.json is as it was drafted.")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(warned).to_be_visible()
    (folder / "sample.json").write_text("[[0.5, 2.0]]")
    drawer(page).get_by_label("Message").fill("with a real sample")
    drawer(page).get_by_role("button", name="Look again").click()
    expect(warned).to_be_hidden()
    expect(drawer(page).get_by_label("Message")).to_have_value("with a real sample")


def test_message_that_was_just_typed_is_deployed_with(page, server, work, tmp_path):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    page.goto(f"{server.address}/models/churn")
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.get_by_role("button", name="Deploy", exact=True).click()
    deploy = drawer(page).get_by_role("button", name="Deploy churn on local")
    expect(deploy).to_be_focused()
    drawer(page).get_by_label("Message").press_sequentially("a first try")
    page.route("**/orders", lambda route: route.fulfill(body="Taken."))
    deploy.hover()
    page.mouse.down()
    with page.expect_request("**/orders") as ordered:
        page.mouse.up()
    assert ordered.value.post_data_json["message"] == "a first try"
    assert asked.count("plan") == 1, "the plan would be drawn anew under the pointer"


@pytest.mark.parametrize("meant", [True, False])
def test_plan_that_comes_while_its_button_is_pressed_does_not_take_it_away(
    page, server, work, tmp_path, meant
):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    versions.commit(work, "churn", "first")
    page.route("**/shadow/plan", lambda route: route.fulfill(body="<button>Start it</button>"))
    page.route("**/orders", lambda route: route.fulfill(body="Taken."))
    page.goto(server.address)
    page.evaluate("htmx.ajax('GET', '/models/churn/shadow?to=local', '#drawer-body')")
    start = drawer(page).get_by_role("button", name="Start it")
    expect(start).to_be_visible()
    go_on = hold(page, "**/shadow/plan")
    drawer(page).get_by_label("Share of the requests").fill("20")
    start.hover()
    page.mouse.down()
    expect(drawer(page).locator("#plan")).to_contain_class("htmx-request")
    with page.expect_response("**/shadow/plan"):
        go_on()
    if not meant:
        page.mouse.move(5, 5)
    with page.expect_request("**/orders" if meant else "**/shadow/plan") as asked:
        page.mouse.up()
    assert asked.value.post_data_json["percent"] == "20"


def test_news_that_come_while_a_button_is_pressed_do_not_take_it_away(page, server, work, tmp_path):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    versions.commit(work, "churn", "first")
    page.goto(f"{server.address}/models/churn")
    button = page.get_by_role("button", name="Deploy v1…")
    expect(button).to_be_visible()
    slow = []
    page.route("**/models/churn?", lambda route: slow.append(route), times=1)
    with work.open_store() as store:
        store.instances.upsert(Instance("fraud", "local", 8101, "v1-a", 1, "stopped"))
    expect(page.locator("#dashboard")).to_contain_class("htmx-request")
    button.hover()
    page.mouse.down()
    slow[0].continue_()
    expect(page.locator("#dashboard")).not_to_contain_class("htmx-request")
    page.mouse.up()
    expect(page.get_by_role("heading", name="Deploy churn")).to_be_visible()


def test_news_that_comes_while_something_is_in_use_is_shown_afterwards(
    page, server, tmp_path, work
):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    held = []  # the look through a large folder
    page.route(
        "**/catalogue/changes*",
        lambda route: route.continue_() if held else held.append(route),
    )
    page.goto(server.address)
    expect(page.locator("#rows .htmx-request")).to_have_count(1)
    page.evaluate(
        "document.getElementById('rows').addEventListener('sse:models', () => console.log('news'))"
    )
    with page.expect_event("console", lambda line: line.text == "news"):
        models.add(work, write_model(tmp_path / "fraud", "fraud"))
    expect(page.locator("#model-fraud")).to_have_count(0)
    held[0].continue_()
    expect(page.locator("#model-fraud")).to_be_visible()

    page.get_by_label("More for churn").click()
    with page.expect_event("console", lambda line: line.text == "news"):
        models.remove(work, "fraud")
    expect(page.get_by_role("button", name="Remove…")).to_be_visible()
    expect(page.locator("#model-fraud")).to_be_visible()
    page.get_by_label("More for churn").click()
    expect(page.locator("#model-fraud")).to_have_count(0)


def hold(page, pattern):
    """Let no request to such an address go on; what is returned lets them go."""
    held = []
    page.route(pattern, lambda route: held.append(route))

    def go_on():
        for route in held:
            route.continue_()

    return go_on


def test_model_that_was_renamed_while_folders_were_looked_at_hides_no_other(
    page, server, tmp_path, work
):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    models.add(work, write_model(tmp_path / "fraud", "fraud"))
    go_on = hold(page, "**/catalogue/changes*")
    page.goto(server.address)
    expect(page.locator("#rows .htmx-request")).to_have_count(1)
    models.rename(work, "churn", "leaving")
    with page.expect_response("**/catalogue/changes*name=churn*"):
        go_on()
    expect(page.locator("#changed-fraud .chip-new")).to_be_visible()
    expect(page.locator("#model-leaving")).to_be_visible()
    expect(page.locator(".toast-problem")).to_have_count(0)


@pytest.mark.parametrize("asked", [True, False])
def test_refusal_of_what_was_replaced_meanwhile_is_told_to_whoever_asked(
    page, server, tmp_path, work, asked
):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    path, part, asks = (
        ("deploy?*", "#rows", "button") if asked else ("changes", "#dashboard", ".next")
    )
    go_on = hold(page, f"**/models/churn/{path}")
    page.goto(server.address if asked else f"{server.address}/models/churn")
    if asked:
        page.get_by_label("More for churn").click()
        page.get_by_role("button", name="Deploy…").click()
    expect(page.locator(f"{part} {asks}.htmx-request")).to_have_count(1)
    page.locator(part).evaluate("part => part.replaceChildren()")
    with work.open_store() as store, store.write():
        store.models.remove("churn")
    with page.expect_event("console", lambda line: "Status Error Code 404" in line.text):
        go_on()
    expect(page.locator(".toast-problem")).to_have_count(int(asked))
    expect(drawer(page)).to_be_hidden()


@pytest.mark.parametrize(
    "asks",
    [
        "htmx.ajax('GET', '/models/new', '#drawer-body')",  # as the desktop's menu does
        "document.querySelector('[hx-get=\"/models/new\"]').click()",  # as the palette does
        'drawIn(\'<p hx-get="/models/new" hx-trigger="load"></p>\')',  # as a plan
    ],
)
def test_each_refusal_of_what_somebody_asked_by_a_script_is_told(page, asks):
    said = '<p class="toast-problem"><button data-do="dismiss">No.</button></p>'
    page.route(
        "**/models/new",
        lambda route: route.fulfill(
            status=409, headers={"HX-Reswap": "none"}, body=said, content_type="text/html"
        ),
    )
    told = page.locator(".toast-problem")
    for _ in range(2):
        page.evaluate(asks)
        expect(told).to_have_count(1)
        told.get_by_role("button").click()
        expect(told).to_have_count(0)


def test_page_whose_news_are_refused_says_so_once(page, server, tmp_path, work):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    page.goto(server.address)
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local", 8101, "v1-a", 1, "serving"))
    expect(page.locator("#model-churn .place")).to_contain_text("local")  # its news were told
    page.goto(f"{server.address}/monitoring/churn/local")
    told = page.locator(".toast-problem")
    with work.open_store() as store:
        store.instances.remove("churn", "local")
    expect(told).to_have_count(1)
    page.get_by_label("Dismiss").click()
    with page.expect_response("**/monitoring/churn/local"):
        page.evaluate("htmx.trigger('#head', 'sse:instances')")
    expect(told).to_have_count(0)


def test_window_of_the_desktop_finds_and_saves_nothing_that_was_refused(page, server, tmp_path):
    server.window = SimpleNamespace(ask_where=lambda name: str(tmp_path / name))
    page.goto(f"{server.address}/settings")
    page.evaluate("desktop.find()")
    expect(page.locator("#palette-q")).to_be_focused()
    page.keyboard.press("Escape")
    link = page.get_by_role("link", name="OpenAPI document")
    link.click()
    expect(page.locator("#toasts")).to_contain_text("Saved: ")
    saved = tmp_path / "rhythmicml-openapi.json"
    saved.unlink()
    page.route("**/openapi.json", lambda route: route.fulfill(status=404, body="<p>Gone.</p>"))
    link.click()
    expect(page.locator("#toasts")).to_contain_text("Gone.")
    assert not saved.exists()


def test_status_that_was_kept_away_from_what_is_in_use_is_shown_afterwards(page, server, work):
    page.goto(f"{server.address}/status")
    part = page.locator("#status-instances")
    slow = []
    page.route("**/status/instances", lambda route: slow.append(route), times=1)
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local", 8101, "v1-a", 1, "stopped"))
    expect(part).to_contain_class("htmx-request")
    part.evaluate("part => part.insertAdjacentHTML('beforeend', '<details open></details>')")
    slow[0].continue_()
    expect(part).not_to_contain_class("htmx-request")
    expect(part).not_to_contain_text("churn")
    part.evaluate("part => part.lastElementChild.remove()")
    expect(part).to_contain_text("churn")


def test_part_that_asks_once_is_drawn_under_a_button_that_is_held(page, server, tmp_path, work):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    go_on = hold(page, "**/models/churn/changes")
    page.goto(f"{server.address}/models/churn")
    looking = page.get_by_text("Looking at the folder…")
    looking.hover()
    page.mouse.down()
    with page.expect_response("**/models/churn/changes"):
        go_on()
    page.mouse.up()
    expect(looking).to_have_count(0)
