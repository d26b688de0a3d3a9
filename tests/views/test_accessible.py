"""axe finds nothing on any page, in both themes (WCAG 2.2 A and AA); each fits narrow and wide."""

import pytest
from accessible import findings, findings_in_both_themes
from client import Client, write_model
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

OPENED = (
    ("/", "Keys", "This list"),
    ("/", "Find anything", "choose"),
    ("/settings", "Add location", "Connect and add"),
    ("/settings", "Edit…", "Save local"),
    ("/settings", "Check", "There and back"),
    ("/settings", "Back up, put back…", "Put a backup in place"),
    ("/settings", "Report a fault…", "Look through it"),
    ("/settings", "Set…", "It is shown nowhere"),
    ("/models/churn/instances", "Stop", "Leave it"),
    ("/models/churn/instances", "Log", "Log of churn"),
    ("/models/churn/versions", "Restore…", "Put v2 back"),
    ("/models/churn/versions", "gate passed", "What it was asked"),
    ("/models/churn/try", "Ask it", "with the way"),
)
"""What is opened on a page by a button, and words that are there when it is."""
TABS = ("", "/files", "/versions", "/configuration", "/metadata", "/try", "/instances", "/history")

BOXES = """([name, state]) => [["a", name], ["*", state]].map(([kind, text]) => {
  const found = [...document.querySelectorAll(".models tr.row " + kind)];
  return found.filter((each) => each.textContent.includes(text)).pop().getBoundingClientRect();
})"""
"""Where the link and the innermost element of the state are, at one moment: news draw rows anew."""


@pytest.fixture
def filled(work, tmp_path):
    """A store with a model of two versions, one that has none, one with a secret."""
    client = Client(work.home).settled()
    folder = write_model(tmp_path / "churn", "churn")
    toml = folder / "rhythmicml.toml"
    toml.write_text(
        toml.read_text().replace(
            "[dependencies]",
            'description = "Who leaves"\nmetadata = { tags = ["q3"], auc = 0.9 }\n[dependencies]',
        )
    )
    client("deploy", str(folder))
    write_model(folder, "churn", factor=3.0)
    client("commit", "churn", "-m", "retrained")
    (folder / "more.txt").write_text("not committed")
    client("add", str(write_model(tmp_path / "new", "new")))
    told = write_model(tmp_path / "told", "told")
    with (told / "rhythmicml.toml").open("a") as file:
        file.write('[deploy]\nsecrets = ["API_KEY"]\n')
    client("add", str(told))
    client("commit", "told")
    yield client
    client.undeploy_all()


def test_axe_finds_nothing(page, server, filled):
    paths = ("/", "/jobs", "/settings", "/nowhere", "/?q=zzz", *(f"/models/churn{t}" for t in TABS))
    told = {}
    for path in (*paths, "/models/churn?v=1"):
        page.goto(server.address + path)
        told[path] = findings_in_both_themes(page)
    page.goto(server.address)
    page.get_by_label("Versions of churn").click()
    expect(page.locator(".brief")).to_be_visible()
    told["unfolded"] = findings_in_both_themes(page)
    for button, ready in (("Add model", "#folder"),):
        page.get_by_role("button", name=button).click()
        expect(page.locator(ready)).to_be_visible()
        told[button] = findings_in_both_themes(page)
    for path, button, ready in OPENED:
        page.goto(server.address + path)
        page.get_by_role("button", name=button, exact=True).first.click()
        expect(page.get_by_text(ready).first).to_be_visible()
        told[f"{path} {button}"] = findings_in_both_themes(page)
    page.goto(server.address)
    page.get_by_role("link", name="Jobs").click()
    expect(page.locator("#drawer #jobs")).to_be_visible()
    told["jobs"] = findings_in_both_themes(page)
    page.goto(f"{server.address}/models/churn/versions")
    page.get_by_label("More for v1", exact=True).click()
    told["menu"] = findings_in_both_themes(page)
    page.get_by_role("button", name="Delete…").click()
    expect(page.get_by_role("heading", name="Delete v1 of churn?")).to_be_visible()
    told["delete"] = findings_in_both_themes(page)
    page.goto(f"{server.address}/models/churn/compare?v=1&v=2")
    told["compare"] = findings_in_both_themes(page)
    page.goto(f"{server.address}/models/churn/configuration")
    page.get_by_label("workers", exact=True).fill("many")
    expect(page.locator("#verdict")).to_contain_text("to correct")
    told["wrong key"] = findings_in_both_themes(page)
    page.goto(f"{server.address}/models/churn")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator("#plan .btn-primary")).to_be_visible(timeout=30_000)
    told["plan"] = findings_in_both_themes(page)
    page.locator("#plan .btn-primary").click()
    expect(page.locator("#drawer .job-state")).to_have_text("done", timeout=60_000)
    told["job"] = findings_in_both_themes(page)
    assert {place: found for place, found in told.items() if found} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_toasts(page, server, work, tmp_path, theme):
    page.emulate_media(color_scheme=theme)
    Client(work.home)("add", str(write_model(tmp_path / "new", "new")))
    page.goto(server.address)
    page.get_by_label("More for new").click()
    page.get_by_role("button", name="Rename", exact=True).click()
    page.get_by_label("New name of new").fill("newer")
    page.keyboard.press("Enter")
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    told = {"undo": findings(page)}
    undo.click()
    expect(page.get_by_text("newer is called new now.")).to_be_visible()
    told["back again"] = findings(page)
    page.goto(f"{server.address}/settings")
    page.get_by_role("button", name="Add location").click()
    page.get_by_label("Name", exact=True).fill("prod")
    page.get_by_label("Address", exact=True).fill("ssh://ana@127.0.0.1:1")
    page.get_by_role("button", name="Connect and add").click()
    expect(page.locator(".toast-problem")).to_be_visible()
    told["problem"] = findings(page)
    assert {place: found for place, found in told.items() if found} == {}


def test_rows_of_a_narrow_catalogue_can_be_read(page, server, work, tmp_path):
    """Name and state stand beside each other, neither over the other."""
    name = "review-scorer-of-the-shop"
    Client(work.home)("add", str(write_model(tmp_path / name, name)))
    page.set_viewport_size({"width": 360, "height": 600})
    page.goto(server.address)
    expect(page.locator(".models tr.row").get_by_text("not deployed")).to_be_visible()
    link, beside = page.evaluate(BOXES, [name, "not deployed"])
    assert link["width"] > 80
    assert link["x"] + link["width"] <= beside["x"] + 1
    assert beside["x"] + beside["width"] <= 360


# 640 is 1,280 at a zoom of 200 %; 360 is a telephone, or a window at the edge of a screen
@pytest.mark.parametrize("width", [360, 640, 900, 2560])
def test_no_page_is_wider_than_its_window(page, server, work, tmp_path, width):
    client = Client(work.home)
    name = "a-model-with-a-name-as-long-as-a-name-can-be-here"[:48].rstrip("-")
    folder = write_model(tmp_path / name, name)
    (folder / ("long" * 50)).write_text("x")
    client("add", str(folder))
    client("commit", name, "-m", "w" * 500)
    (folder / "rhythmicml.toml").write_text("[model]\n#" + "x" * 500)
    page.set_viewport_size({"width": width, "height": 600})
    wider = {}
    own = [f"/models/{name}{tab}" for tab in TABS]
    for path in ("/", "/jobs", "/monitoring", "/settings", *own):
        page.goto(server.address + path)
        page.wait_for_timeout(100)
        over = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        wider.update({path: over} if over > 0 else {})
    assert wider == {}
