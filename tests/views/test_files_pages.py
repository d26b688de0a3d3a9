"""The Files tab of a version with more files than a page, in a real browser."""

import pytest
from accessible import findings_in_both_themes
from client import write_model
from playwright.sync_api import expect

from app.models import Instance
from app.services import models, versions
from app.views import files

pytestmark = pytest.mark.browser


@pytest.fixture
def large(work, tmp_path, monkeypatch):
    """A model with 70 files, shown as one with thousands is."""
    for name, number in (("FLAT", 50), ("TOGETHER", 20), ("MANY", 50)):
        monkeypatch.setattr(files, name, number)
    folder = write_model(tmp_path / "large", "large")
    for name, count in (("a b&c", 5), ("Bilder/groß", 42), ("Bilder/klein", 18)):
        (folder / "data" / name).mkdir(parents=True)
        for number in range(count):
            (folder / "data" / name / f"{number:04}.txt").write_text(f"{name} {number}")
    models.add(work, folder)
    versions.commit(work, "large")
    return folder


def test_folders_are_closed_and_give_what_they_hold_when_opened(page, server, large):
    page.goto(f"{server.address}/models/large/files")
    expect(page.get_by_text("70 files, ")).to_be_visible()
    tree = page.get_by_role("list", name="Files")
    expect(tree.locator("> li")).to_have_count(6)
    summary = tree.locator("summary", has_text="data/")
    expect(summary).to_contain_text("65 files")
    summary.press("Enter")
    bilder = tree.locator("summary", has_text="Bilder/")
    expect(bilder).to_contain_text("60 files")
    bilder.press("Space")
    tree.locator("summary", has_text="groß/").click()
    below = tree.locator("details", has=page.locator("summary", has_text="groß/")).last
    expect(below.locator(".leaf")).to_have_count(20)
    more = below.get_by_role("link", name="Show more")
    more.press("Enter")
    expect(below.locator(".leaf")).to_have_count(40)
    expect(more).to_be_focused()
    more.press("Enter")
    expect(below.locator(".leaf")).to_have_count(42)
    expect(more).to_have_count(0)
    expect(below.locator(".leaf").last).to_contain_text("0041.txt")
    page.evaluate("scrollTo(0, 0)")  # no row half under the line at the top
    assert findings_in_both_themes(page) == []


def test_the_filter_finds_files_in_all_folders(page, server, large):
    page.goto(f"{server.address}/models/large/files")
    expect(page.get_by_text("Looking at the")).to_have_count(0)
    field = page.get_by_label("Filter files")
    field.fill("GROSS/000")
    expect(page.locator("#files")).to_contain_text("10 files found")
    expect(page.get_by_role("table", name="Files").locator("tbody tr")).to_have_count(10)
    field.fill(".txt")
    expect(page.locator("#files")).to_contain_text("66 files found")
    expect(page.locator("#files")).to_contain_text("the first 50 are shown")
    field.fill("<nowhere>")
    expect(page.locator("#files")).to_contain_text("0 files found")
    assert findings_in_both_themes(page) == []
    field.fill("")
    expect(page.locator(".tree > li")).to_have_count(6)


def test_news_leave_what_is_shown_of_the_same_files(page, server, large, work):
    for number in range(30):
        (large / f"{number}.txt").write_text("x")
    versions.commit(work, "large")
    page.goto(f"{server.address}/models/large/files")
    shown = page.locator(".tree > li")
    expect(shown).to_have_count(21)
    page.get_by_role("link", name="Show more").click()
    expect(shown).to_have_count(36)
    with work.open_store() as store:
        store.instances.upsert(Instance("large", "local", 8101, "v2-a", 2, "stopped"))
    expect(page.locator("#head")).to_contain_text("stopped v2")
    expect(shown).to_have_count(36)
    (large / "new.txt").write_text("new")
    versions.commit(work, "large")
    expect(page.get_by_role("heading", name="Files of v3")).to_be_visible()
    expect(shown).to_have_count(21)


def test_what_changed_is_said_when_the_folder_was_looked_at(page, server, large):
    (large / "data" / "new.txt").write_text("new")
    (large / "__pycache__").mkdir()
    page.goto(f"{server.address}/models/large/files")
    expect(page.locator(".changes")).to_contain_text("data/new.txt")
    expect(page.get_by_text("1 left out of versions")).to_be_visible()
    expect(page.get_by_text("Looking at the")).to_have_count(0)
    page.goto(f"{server.address}/models/large/files?v=1")
    expect(page.locator(".tree > li")).to_have_count(6)


def test_without_scripts_folders_and_the_filter_are_links_and_a_form(browser, server, large):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    context.add_cookies([{"name": server.cookie, "value": server.keys.session,
                          "url": server.address}])  # fmt: skip
    page.goto(f"{server.address}/models/large/files")
    page.locator("summary", has_text="data/").click()
    page.get_by_role("link", name="Open data/").click()
    page.locator("summary", has_text="a b&c/").click()
    page.get_by_role("link", name="Open a b&c/").click()
    expect(page.locator(".tree .leaf")).to_have_count(5)
    page.get_by_role("link", name="All files").click()
    page.get_by_label("Filter files").fill("klein/0017")
    page.get_by_label("Filter files").press("Enter")
    expect(page.locator("#files")).to_contain_text("1 file found")
    context.close()
