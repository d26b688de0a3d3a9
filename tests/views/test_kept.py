"""What the pages change and how it is taken back: names, defaults, versions, the whole store."""

import re

import pytest
from client import Client, write_model
from playwright.sync_api import expect

from app.services import backups, models, retention, versions

pytestmark = pytest.mark.browser


@pytest.fixture
def churn(work, tmp_path):
    folder = write_model(tmp_path / "churn", "churn")
    models.add(work, folder)
    versions.commit(work, "churn", "first")
    return folder


def drawer(page):
    return page.locator("#drawer")


def names(work):
    with work.open_store() as store:
        return [each.name for each in store.models.all()]


def test_name_is_changed_in_its_place_and_back(page, server, work, churn):
    page.goto(server.address)
    page.get_by_label("More for churn").click()
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_label("New name of churn")
    expect(field).to_be_focused()
    field.press("Escape")
    expect(page.get_by_role("link", name="churn", exact=True)).to_be_visible()

    page.get_by_label("More for churn").click()
    page.get_by_role("button", name="Rename").click()
    field.fill("Not A Name")
    field.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Call it not-a-name")
    field.fill("leavers")
    field.press("Enter")
    expect(page.get_by_role("link", name="leavers", exact=True)).to_be_visible()
    assert names(work) == ["leavers"]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="churn", exact=True)).to_be_visible()
    assert names(work) == ["churn"]

    page.goto(f"{server.address}/models/churn/files")
    page.get_by_role("button", name="Rename churn").click()
    page.get_by_label("New name of churn").fill("leavers")
    page.get_by_label("New name of churn").press("Enter")
    page.wait_for_url("**/models/leavers")
    page.get_by_role("button", name="Undo").click()  # it outlasted the change of page
    page.wait_for_url("**/models/churn")
    assert names(work) == ["churn"]


def test_restored_version_is_taken_back(page, server, work, churn):
    write_model(churn, "churn", factor=5.0)
    versions.commit(work, "churn", "second")
    page.goto(f"{server.address}/models/churn/versions")
    page.locator("#v1").get_by_role("button", name="Restore…").click()
    page.get_by_role("button", name="Restore v1").click()
    expect(drawer(page)).to_contain_text("v1 is back in the folder")
    assert "2" in (churn / "artifacts" / "weights.json").read_text()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts")).to_contain_text("Taken back.")
    assert "5" in (churn / "artifacts" / "weights.json").read_text()


def save_workers(page, server, count):
    page.goto(f"{server.address}/models/churn/configuration")
    page.get_by_label("workers", exact=True).fill(count)
    expect(page.locator("#verdict")).to_contain_text("Not saved yet.")  # it has been scrolled to
    page.get_by_role("button", name="Save rhythmicml.toml").click()
    expect(page.locator("#toasts")).to_contain_text("The configuration of churn is saved.")


def test_saved_configuration_and_metadata_are_taken_back(page, server, work, churn):
    toml = churn / "rhythmicml.toml"
    first = toml.read_text()
    save_workers(page, server, "3")
    assert "workers = 3" in toml.read_text()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("workers", exact=True)).to_have_value("")
    assert toml.read_text() == first

    page.get_by_role("link", name="Metadata").click()
    page.get_by_label("Tags").fill("q3")
    page.get_by_role("button", name="Save metadata").click()
    expect(page.locator("#toasts")).to_contain_text("The metadata of churn is saved.")
    assert "q3" in toml.read_text()
    page.get_by_role("navigation", name="Main").get_by_text(
        "Catalogue"
    ).click()  # it outlasts a change of page
    page.get_by_role("button", name="Undo").click()
    page.wait_for_url("**/models/churn/metadata")
    expect(page.get_by_label("Tags")).to_have_value("")
    assert toml.read_text() == first


def test_configuration_that_was_changed_meanwhile_is_not_taken_back(page, server, work, churn):
    save_workers(page, server, "3")
    toml = churn / "rhythmicml.toml"
    later = toml.read_text() + "# by hand\n"
    toml.write_text(later)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#toasts .toast-problem")).to_contain_text("was changed since")
    assert "Taken back." not in page.locator("#toasts").inner_text()
    assert toml.read_text() == later


def test_what_is_taken_back_waits_for_nothing_else_of_the_page(page, server, work, churn):
    save_workers(page, server, "3")
    page.route("**/settings/theme", lambda route: None)  # it is never answered
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("workers", exact=True)).to_have_value("")


def test_offer_to_take_back_outlasts_an_older_one(page):
    offer = """words => document.dispatchEvent(
        new CustomEvent("undoable", { detail: { words, post: "/", values: {} } }))"""
    page.clock.install()
    page.evaluate(offer, "the older")
    page.clock.fast_forward(11_000)
    page.evaluate(offer, "the newer")
    page.clock.fast_forward(2_000)
    assert "the newer" in page.evaluate("sessionStorage.getItem('undo') || ''")


def test_model_that_runs_is_taken_away_and_removed_in_one_go(page, server, work, churn):
    client = Client(work.home).settled()
    client("deploy", "churn", "--to", "local")
    try:
        page.goto(server.address)
        page.get_by_label("More for churn").click()
        page.get_by_role("button", name="Remove…").click()
        button = page.get_by_role(
            "button", name="Undeploy from local, and remove churn with 1 version"
        )
        page.get_by_label("Type churn to go on").fill("chrun")
        button.click()
        expect(page.locator("#toasts")).to_contain_text('Type "churn" to remove it.')
        assert names(work) == ["churn"]
        page.get_by_label("Type churn to go on").fill("churn")
        button.click()
        expect(drawer(page).locator(".result")).to_contain_text("It was taken off local.")
        expect(page.get_by_text("A folder becomes an endpoint")).to_be_visible()
        assert client("status") == []
    finally:
        client.undeploy_all()


def test_unfolded_versions_lead_to_their_dashboards(page, server, work, churn):
    for number in range(2, 24):
        (churn / "note.txt").write_text(f"{number}\n")
        versions.commit(work, "churn", f"the {number}th")
    page.goto(server.address)
    page.get_by_label("Versions of churn").click()
    unfolded = page.locator("#model-churn .unfolded")
    expect(unfolded.locator("li")).to_have_count(20)
    expect(unfolded.get_by_role("link", name="All 23 versions")).to_be_visible()
    unfolded.get_by_role("link", name="v4", exact=True).click()
    expect(page.locator(".banner")).to_contain_text("This is v4, as it was committed.")
    assert page.get_by_role("button", name=re.compile("Commit|Save")).count() == 0


def test_store_is_verified_backed_up_and_put_back_from_the_settings(
    page, server, work, churn, tmp_path
):
    page.goto(f"{server.address}/settings")
    store = page.locator("section.part", has=page.get_by_role("heading", name="Store"))
    store.get_by_role("button", name="Verify…").click()
    page.get_by_role("button", name="Read again what is kept on this machine").click()
    expect(drawer(page).locator(".result")).to_contain_text("is as it should be")
    page.keyboard.press("Escape")

    store.get_by_role("button", name="Back up").click()
    page.get_by_label("Folder, better on another disk").fill(str(tmp_path / "kept"))
    page.get_by_role("button", name="Back up", exact=True).click()
    expect(drawer(page).locator(".result")).to_contain_text("1 model, 1 version")
    page.keyboard.press("Escape")

    models.remove(work, "churn")
    store.get_by_role("button", name="Back up").click()
    page.get_by_label("Folder of the backup").fill(str(tmp_path / "kept"))
    page.get_by_role("button", name="Put it in place of the store").click()
    expect(drawer(page).locator(".result")).to_contain_text(
        re.compile(r"The store is as it was on \d{4}-\d\d-\d\d at \d\d:\d\d \(just now\)")
    )
    assert names(work) == ["churn"]
    page.goto(server.address)
    expect(page.get_by_role("link", name="churn", exact=True)).to_be_visible()

    page.goto(f"{server.address}/settings")
    store.get_by_role("button", name="Back up").click()
    page.get_by_role("button", name="Take the last one back").click()
    expect(drawer(page).locator(".result")).to_contain_text("0 models")
    assert names(work) == []
    assert backups.last_undo(work)["models"] == 1


def test_damaged_store_makes_its_verification_fail(page, server, work, churn):
    blob = max((work.home / "blobs").glob("??/*"), key=lambda path: path.stat().st_size)
    blob.chmod(0o600)
    blob.write_bytes(b"x")
    page.goto(f"{server.address}/confirm?verb=verify&subject=")
    page.goto(f"{server.address}/settings")
    page.locator("section.part", has=page.get_by_role("heading", name="Store")).get_by_role(
        "button", name="Verify…"
    ).click()
    page.get_by_role("button", name="Read again what is kept on this machine").click()
    expect(drawer(page).locator(".job-state")).to_have_text("failed")
    expect(drawer(page)).to_contain_text("holds something else than its name")


def test_secrets_are_set_and_forgotten_and_never_shown(page, server, work, churn):
    config = churn / "rhythmicml.toml"
    config.write_text(config.read_text() + '[deploy]\nsecrets = ["API_KEY"]\n')
    versions.commit(work, "churn", "asks somebody")
    page.goto(f"{server.address}/settings")
    secrets = page.get_by_role("table", name="Secrets")
    expect(secrets).to_contain_text("no value here yet")
    secrets.get_by_role("button", name="Set…").click()
    page.get_by_label("Value").fill("hush-4711")
    page.get_by_role("button", name="Keep API_KEY").click()
    expect(page.locator("#toasts")).to_contain_text("no keyring that we can use")
    page.get_by_label("Where there is no keyring").check()
    page.get_by_role("button", name="Keep API_KEY").click()
    expect(secrets).to_contain_text("in a file that only you may read")
    assert "hush-4711" not in page.content()
    assert "hush-4711" in (work.home / "secrets.json").read_text()
    secrets.get_by_role("button", name="Change…").click()
    page.get_by_role("button", name="Forget the value for what is chosen above").click()
    expect(secrets).to_contain_text("no value here yet")
    assert "hush-4711" not in (work.home / "secrets.json").read_text()


def test_settings_say_what_this_is_and_what_is_kept(page, server, work, churn):
    write_model(churn, "churn", factor=9.0)
    versions.commit(work, "churn", "second")
    versions.remove(work, "churn@1")
    page.goto(f"{server.address}/settings")
    expect(page.get_by_text("of which no version needs")).to_be_visible()
    page.get_by_role("button", name="Clear them").click()
    expect(page.locator(".said", has_text="put aside or freed")).to_be_visible()
    page.get_by_text("What is in it from others").click()
    expect(page.get_by_text("htmx.org 2.")).to_be_visible()
    expect(page.get_by_role("link", name="OpenAPI document")).to_be_visible()


def test_jobs_open_beside_any_page_and_live(page, server, work, churn):
    page.goto(f"{server.address}/models/churn/metadata")
    page.get_by_role("link", name="Jobs").click()
    expect(drawer(page)).to_contain_text("No jobs yet")
    page.keyboard.press("Escape")
    page.goto(f"{server.address}/models/churn/files")
    commit = page.get_by_role("button", name="Commit", exact=True)
    expect(commit).not_to_contain_class("btn-primary")
    expect(page.locator(".tab")).to_contain_text("Commit makes v2 once something is.")
    commit.click()
    expect(drawer(page).locator(".result")).to_contain_text("Nothing changed since v1.")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Jobs").click()
    expect(drawer(page).get_by_role("table", name="Jobs")).to_contain_text("Commit churn")
    drawer(page).get_by_role("button", name="Commit churn").click()
    expect(drawer(page).locator(".result")).to_contain_text("Nothing changed since v1.")


def test_files_say_what_is_left_out_and_commands_are_copied(page, server, work, churn):
    (churn / ".rhythmicmlignore").write_text("*.log\nnotebooks/\n")
    (churn / "train.log").write_text("x")
    (churn / "notebooks").mkdir()
    (churn / "notebooks" / "a.ipynb").write_text("{}")
    (churn / "__pycache__").mkdir()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{server.address}/models/churn/files")
    page.get_by_text("3 left out of versions").click()
    expect(page.locator(".left-out li")).to_have_text(["__pycache__/", "notebooks/", "train.log"])
    page.locator(".cli .copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "rhythmicml commit churn -m MESSAGE"


def test_how_many_releases_stay_is_set_and_taken_back(page, server, work):
    page.goto(f"{server.address}/settings")
    field = page.get_by_label("Good releases that stay on a location")
    expect(field).to_have_value("5")
    field.fill("3")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("3 good releases stay now.")).to_be_visible()
    expect(field).to_have_value("3")
    with work.open_store() as store:
        assert retention.default(store) == 3
    page.get_by_role("button", name="Undo").click()
    expect(field).to_have_value("5")
    with work.open_store() as store:
        assert retention.default(store) == 5
