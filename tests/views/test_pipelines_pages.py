"""Pipelines in the pages: begun, built, tried, deployed with their stages, and kept whole."""

import re
import shutil
from pathlib import Path

import pytest
import tomllib
from accessible import findings_in_both_themes as findings
from client import Client, write_model
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "assets" / "examples" / "diabetes"
FEATURES = (
    "def predict(model, inputs: list):\n    return [{'%s': r['a'] + r['b']} for r in inputs]\n"
)
TIMES = "def predict(model, inputs: list):\n    return [2.0 * r['total'] for r in inputs]\n"


def model(folder, name, script, *, taken="", given="", sample="[]"):
    """A model without packages that says what it takes and gives."""
    write_model(folder, name, script=script)
    toml = folder / "rhythmicml.toml"
    text = toml.read_text()
    for side, column in (("inputs", taken), ("outputs", given)):
        text += f'[schema.{side}]\n{column} = {{ type = "float64" }}\n' if column else ""
    toml.write_text(text)
    (folder / "sample.json").write_text(sample)
    return str(folder)


@pytest.fixture
def client(work, tmp_path):
    """Two models, each with a version, deployed nowhere."""
    client = Client(work.home).settled()
    request = '[{"a": 1, "b": 2}, {"a": 3, "b": 4}]'
    client("add", model(tmp_path / "sums", "sums", FEATURES % "total", given="total",
                        sample=request))  # fmt: skip
    client("add", model(tmp_path / "twice", "twice", TIMES, taken="total",
                        sample='[{"total": 1.5}]'))  # fmt: skip
    for name in ("sums", "twice"):
        client("commit", name)
    yield client
    client.undeploy_all()


def begin(page, server, tmp_path):
    page.goto(f"{server.address}/pipelines")
    page.locator("main").get_by_role("button", name="New pipeline").click()
    page.get_by_label("Name", exact=True).fill("both")
    page.get_by_label("sums", exact=True).check()
    page.get_by_label("Folder").fill(str(tmp_path / "both"))
    page.get_by_role("button", name="Make the pipeline").click()
    page.wait_for_url("**/models/both/stages")


def add_stage(page):
    page.get_by_role("button", name="Add stage").click()
    page.get_by_label("Model", exact=True).select_option("twice")


def test_a_pipeline_is_built_tried_and_deployed_in_the_pages(page, server, client, tmp_path):
    begin(page, server, tmp_path)
    toml = tmp_path / "both" / "rhythmicml.toml"
    kept = toml.read_text()

    add_stage(page)
    verdict, columns = page.locator("#stage-verdict"), page.get_by_label("Columns")
    expect(verdict.get_by_role("row", name="total")).to_contain_text("float64")
    columns.fill("sums.totle")
    expect(verdict).to_contain_text('"sums" gives total. Meant: sums.total?')
    columns.fill("other = sums.total")
    expect(verdict.get_by_role("row", name="total").first).to_contain_text("not given")
    columns.fill("nobody.total")
    expect(verdict).to_contain_text('Stage "twice": there is no stage "nobody".')
    columns.fill("total = sums.total")
    expect(verdict.get_by_role("row", name="total")).to_contain_text("sums")
    page.get_by_role("button", name="Add to rhythmicml.toml").click()
    graph = page.locator("svg.graph")
    expect(graph.get_by_role("link")).to_have_count(2)
    assert [line for line in kept.splitlines() if line not in toml.read_text().splitlines()] == []
    assert 'columns = { total = "sums.total" }' in toml.read_text()

    page.get_by_label("Change twice").click()
    page.get_by_role("button", name="Take out").click()
    expect(page.get_by_text("The stage is taken out")).to_be_visible()
    expect(graph.get_by_role("link")).to_have_count(1)
    assert toml.read_text() == kept
    page.get_by_role("button", name="Undo").click()
    expect(graph.get_by_role("link")).to_have_count(2)

    page.get_by_role("button", name="Run all stages").click()
    expect(page.locator("#drawer .job-state")).to_have_text("done", timeout=60_000)
    assert rows(page.locator("#drawer .outputs")) == ['{"total": 3}\n{"total": 7}', "6.0\n14.0"]
    deploy_with_stages(page, client)
    page.goto(f"{server.address}/models/both/stages")
    page.get_by_role("button", name="Ask it on local").click()
    expect(page.locator("#traced li")).to_have_count(2)
    assert rows(page.locator("#traced")) == ['{"total": 3}\n{"total": 7}', "6.0\n14.0"]
    refused(page, server, client, tmp_path)


def rows(shown):
    return [text.strip() for text in shown.locator("pre").all_inner_texts()]


def deploy_with_stages(page, client):
    """The drawer says what is missing, offers to deploy it first, and plans that."""
    client("commit", "both")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_label("Version", exact=True).select_option("both")
    expect(page.get_by_label("Deploy missing stages first")).to_be_visible()
    page.get_by_label("Version", exact=True).select_option("both@1")
    expect(page.locator("#plan .problem")).to_contain_text("sums is not deployed on local")
    page.get_by_role("button", name="Deploy missing stages first").click()
    expect(page.locator("#plan .line").first).to_have_text("Deploy sums v1 on local")
    page.get_by_role("button", name="Deploy both v1").click()
    expect(page.locator("#drawer .job-state")).to_have_text("done", timeout=90_000)
    expect(page.locator("#drawer .cli")).to_contain_text("--with-stages")


def refused(page, server, client, tmp_path):
    """A switch that the pipeline could not go on with names it, and leads to it."""
    model(tmp_path / "sums", "sums", FEATURES % "sum", given="sum", sample='[{"a": 1, "b": 2}]')
    client("commit", "sums")
    page.goto(f"{server.address}/models/sums")
    page.get_by_role("button", name="Deploy", exact=True).click()
    problem = page.locator("#plan .problem")
    expect(problem).to_contain_text("v2 of sums would break the pipeline both on local")
    expect(problem).to_contain_text('Stage "twice": It speaks of sums.total; "sums" gives sum.')
    page.locator("#plan").get_by_role("link", name="Open the pipeline both").click()
    page.wait_for_url("**/models/both/stages")


def test_axe_finds_nothing(page, server, client, tmp_path):
    page.goto(f"{server.address}/pipelines")
    told = {"none": findings(page)}
    page.locator("main").get_by_role("button", name="New pipeline").click()
    expect(page.get_by_label("Name", exact=True)).to_be_visible()
    told["new"] = findings(page)
    begin(page, server, tmp_path)
    told["stages"] = findings(page)
    add_stage(page)
    page.get_by_label("Columns").fill("other = sums.total")
    expect(page.locator("#stage-verdict .lacks")).to_be_visible()
    told["form"] = findings(page)
    page.get_by_text("Combines what others gave").click()
    page.get_by_label("How").select_option("weighted")
    expect(page.locator("#stage-verdict .fault")).to_be_visible()
    told["combine"] = findings(page)
    page.goto(f"{server.address}/pipelines")
    told["pipelines"] = findings(page)
    assert {place: found for place, found in told.items() if found} == {}


@pytest.mark.parametrize("width", [640, 900, 2560])
def test_no_page_is_wider_than_its_window_and_none_moves(page, server, client, tmp_path, width):
    from test_looks import WATCH

    begin(page, server, tmp_path)
    page.add_init_script(WATCH)
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/pipelines", "/models/both/stages"):
        page.goto(server.address + path)
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert page.evaluate("window.moved") == []


def test_nodes_are_reached_by_the_keyboard_and_lead_to_their_dashboards(
    page, server, client, tmp_path
):
    begin(page, server, tmp_path)
    node = page.locator("svg.graph").get_by_role("link", name="sums: sums")
    page.get_by_label("The graph of both").focus()
    page.keyboard.press("Tab")
    expect(node).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/models/sums$"))


def test_another_edit_of_the_file_is_not_overwritten(page, server, client, tmp_path):
    begin(page, server, tmp_path)
    add_stage(page)
    toml = tmp_path / "both" / "rhythmicml.toml"
    toml.write_text(theirs := toml.read_text() + "# theirs\n")
    page.get_by_role("button", name="Add to rhythmicml.toml").click()
    expect(page.locator("#toasts")).to_contain_text("was changed since it was opened here")
    assert toml.read_text() == theirs


def test_a_change_keeps_what_it_is_not_about(page, server, client, tmp_path):
    begin(page, server, tmp_path)
    toml = tmp_path / "both" / "rhythmicml.toml"
    elsewhere = 'instance = "sums"\nlocation = "lab"\ntunnel = true\nidempotent = true'
    toml.write_text(toml.read_text().replace('instance = "sums"', elsewhere))
    page.reload()
    page.get_by_label("Change sums").click()
    page.get_by_role("button", name="Change…").click()
    expect(page.get_by_label("Through an SSH tunnel")).to_be_checked()
    page.get_by_label("timeout").fill("2.5")
    page.get_by_role("button", name="Save to rhythmicml.toml").click()
    expect(page.locator("#drawer")).to_be_hidden()
    said = tomllib.loads(toml.read_text())["stage"][0]
    assert (said["tunnel"], said["location"], said["idempotent"]) == (True, "lab", True)
    assert said["timeout"] == 2.5


@pytest.mark.faults
def test_the_example_shows_what_each_of_its_stages_gives(page, server, work, tmp_path):
    client, folder = Client(work.home), tmp_path / "diabetes"
    shutil.copytree(EXAMPLE, folder)
    for name in ("features", "ridge", "trees"):
        client("add", str(folder / name))
        client("commit", f"diabetes-{name}")
    try:
        client("deploy", str(folder / "pipeline"), "--with-stages", timeout=300)
        page.goto(f"{server.address}/models/diabetes/stages")
        expect(page.locator("svg.graph .asks")).to_have_text(
            ["diabetes-features@1", "diabetes-ridge@1", "diabetes-trees@1", "weighted 0.6, 0.4"]
        )
        expect(page.locator("svg.graph .node .mark-good")).to_have_count(3)
        page.get_by_role("button", name="Ask it on local").click()
        expect(page.locator("#traced li")).to_have_count(4)
        answer = [float(line) for line in rows(page.locator("#traced"))[-1].split()]
        assert [round(each, 2) for each in answer] == [96.05, 149.39]
        expect(page.locator("svg.graph .figure").first).to_contain_text("p95", timeout=40_000)
    finally:
        client.undeploy_all()
