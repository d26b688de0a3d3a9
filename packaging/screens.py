"""Pictures of every page and state, light and dark, into build/screens/.

    python packaging/screens.py [PART OF A NAME, OR PARTS WITH | BETWEEN]
    SCALE=2 …                       two pixels for each one, as for those in docs/pictures

What is on them is real: packaging/scenery.py makes it with the product itself, and what is pressed
here is done.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from scenery import ROOT, Scenery, scenery
from sshd import Sshd

from app.views.server import Server
from app.workspace import Workspace

OUT = ROOT / "build" / "screens"
WIDTH, HEIGHT = 1280, 800
SCALE = int(os.environ.get("SCALE", "1"))
THEMES = ("light", "dark")

Step = Callable[[Page, Scenery], None]


@dataclass(frozen=True)
class Scene:
    """A page, and what is done on it before it is pictured. after: what is put right again."""

    path: str
    steps: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()
    widths: tuple[int, ...] = field(default=(WIDTH,))


def click(*names: str) -> Step:
    """Press buttons, links or summaries by what they say, one after the other."""

    def step(page: Page, _: Scenery) -> None:
        for name in names:
            seen = page.locator("button:visible, a:visible, summary:visible")
            seen.filter(has_text=name).first.click()
            page.wait_for_timeout(300)

    return step


def press_button(name: str) -> Step:
    return lambda page, _: page.get_by_role("button", name=name, exact=True).last.click()


def open_menu(label: str) -> Step:
    return lambda page, _: page.get_by_label(label, exact=True).click()


def fill(label: str, text: str) -> Step:
    return lambda page, _: page.get_by_label(label, exact=True).fill(text)


def press(*keys: str) -> Step:
    def step(page: Page, _: Scenery) -> None:
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(200)

    return step


def tick(*labels: str) -> Step:
    def step(page: Page, _: Scenery) -> None:
        for label in labels:
            page.get_by_label(label, exact=True).check()

    return step


def see(words: str, seconds: float = 30) -> Step:
    """Wait until a text is there."""
    return lambda page, _: page.get_by_text(words).first.wait_for(timeout=seconds * 1000)


def see_traced(page: Page, _: Scenery) -> None:
    """Wait until it is there what each stage gave."""
    page.locator("#traced li").first.wait_for(timeout=30_000)


def bring(heading: str) -> Step:
    """Have a part of the page at the top of the window."""
    top = "(part) => part.scrollIntoView()"
    return lambda page, _: page.get_by_role("heading", name=heading, exact=True).evaluate(top)


def see_button(words: str) -> Step:
    return lambda page, _: page.get_by_role("button", name=words).wait_for(timeout=30_000)


def hold(name: str) -> Step:
    """Have a model take its time to load."""
    return lambda _, made: (made.flags / name).write_text("")  # type: ignore[func-returns-value]


def choose_folder(name: str) -> Step:
    """Type the path of a folder that has only weights in it."""

    def step(page: Page, made: Scenery) -> None:
        folder = made.folder / name
        (folder / "artifacts").mkdir(parents=True, exist_ok=True)
        (folder / "artifacts" / "weights.safetensors").write_bytes(bytes(2_400_000))
        page.get_by_label("Folder", exact=True).fill(str(folder))

    return step


def rewrite(_: Page, made: Scenery) -> None:
    """Something new to commit, whatever was committed before."""
    made.write("fraud", calls=time.time())


def edit_elsewhere(page: Page, made: Scenery) -> None:
    """The configuration is changed in the file while it is open in the page."""
    path = made.folder / "churn" / "rhythmicml.toml"
    kept = path.read_text()
    path.write_text(kept.replace('owner = "ana"', 'owner = "retention"'))
    page.get_by_label("description", exact=True).fill("Who is likely to leave next month")
    page.get_by_role("button", name="Save rhythmicml.toml").click()
    page.get_by_text("Draft of both").wait_for()
    path.write_text(kept)


def drawn(page: Page, _: Scenery) -> None:
    """Wait until charts have their numbers."""
    page.locator("#charts[aria-busy=false]").wait_for(timeout=10_000)


def point(page: Page, _: Scenery) -> None:
    page.locator("[data-chart=latency] .u-over").hover()


def rename(name: str, new: str) -> Step:
    def step(page: Page, _: Scenery) -> None:
        page.get_by_label(f"More for {name}", exact=True).click()
        page.get_by_role("button", name="Rename", exact=True).locator("visible=true").click()
        page.locator(".rename input[name=name]").fill(new)
        page.keyboard.press("Enter")

    return step


def describe(page: Page, _: Scenery) -> None:
    """Metadata is changed and saved."""
    page.get_by_label("Description", exact=True).fill("Who is likely to leave next month")
    page.get_by_role("button", name="Save metadata").click()
    page.get_by_role("button", name="Undo").wait_for()


def astray(page: Page, _: Scenery) -> None:
    """A server is added where none listens."""
    page.get_by_label("Address", exact=True).fill("ssh://ana@127.0.0.1:1")
    page.get_by_role("button", name="Connect and add").click()
    page.locator(".toast-problem").wait_for(timeout=20_000)


def meet(page: Page, made: Scenery) -> None:
    """A server is added that nobody here has met."""
    folder = made.folder / f"server-{time.time()}"
    with Sshd(folder) as server:
        page.get_by_role("button", name="Add location").click()
        page.get_by_label("Name", exact=True).fill("prod")
        page.get_by_label("Address", exact=True).fill(server.url)
        page.get_by_role("button", name="Connect and add").click()
        page.get_by_text("Is this the server?").wait_for(timeout=20_000)


def drag(*kinds: str) -> Step:
    """A folder of 300 MB comes over the page, and is dropped on it if `drop` is among the kinds."""

    def step(page: Page, made: Scenery) -> None:
        folder = made.write("prices").with_name("embeddings")
        folder.mkdir(exist_ok=True)
        with (folder / "weights.bin").open("wb") as file:
            file.truncate(300 << 20)
        browser = page.context.new_cdp_session(page)
        browser.send("Network.enable")
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1}
        browser.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 40 << 20})
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        for kind in kinds:
            browser.send(
                "Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 400, "data": data}
            )
        page.wait_for_timeout(1500)

    return step


CANCEL: tuple[Step, ...] = (click("Cancel"), lambda page, _: page.wait_for_timeout(1500))
ALL = (900, WIDTH, 2560)
FIND = "Find a model, a version, a page, an action"

SCENES: dict[str, Scene] = {
    "catalogue": Scene("/", widths=ALL),
    "catalogue-searched": Scene("/?q=chu"),
    "catalogue-none": Scene("/?q=nothing"),
    "catalogue-unfolded": Scene("/", (open_menu("Versions of churn"),)),
    "catalogue-menu": Scene("/", (open_menu("More for churn"),)),
    "catalogue-keys": Scene("/", (press("j", "j"),)),
    "remove": Scene("/", (open_menu("More for prices"), click("Remove…"))),
    "remove-deployed": Scene("/", (open_menu("More for churn"), click("Remove…"))),
    "rename": Scene("/", (open_menu("More for prices"), click("Rename"))),
    "toast-undo": Scene("/", (rename("prices", "rents"), see("Undo")), (click("Undo"),)),
    "toast-undo-settings": Scene("/models/churn/metadata", (describe,), (click("Undo"),)),
    "toast-problem": Scene("/settings", (click("Add location"), fill("Name", "prod"), astray)),
    "drop": Scene("/", (drag("dragEnter"),)),
    "drop-copying": Scene("/", (drag("dragEnter", "dragOver", "drop"),), CANCEL),
    "help": Scene("/", (press("?"),)),
    "palette": Scene("/", (press("Control+k"), fill(FIND, "chu"))),
    "palette-none": Scene("/", (press("Control+k"), fill(FIND, "zzz"))),
    "add": Scene("/", (click("Add model"),)),
    "add-missing": Scene("/", (click("Add model"), choose_folder("receipts"), see("missing"))),
    "add-wrong": Scene("/", (click("Add model"), fill("Folder", "/no/such/folder"))),
    "dashboard": Scene("/models/churn", widths=ALL),
    "dashboard-old": Scene("/models/churn?v=1"),
    "dashboard-new": Scene("/models/prices"),
    "dashboard-failing": Scene("/models/ocr"),
    "dashboard-unreachable": Scene("/models/demand"),
    "dashboard-outdated": Scene("/models/fraud"),
    "files": Scene("/models/churn/files"),
    "files-diff": Scene("/models/churn/files", (click("weights.json"),)),
    "files-committed": Scene("/models/fraud/files", (rewrite, click("Commit v"), see("is kept"))),
    "versions": Scene("/models/churn/versions", widths=ALL),
    "versions-menu": Scene("/models/churn/versions", (open_menu("More for v1"),)),
    "versions-ticked": Scene("/models/churn/versions", (tick("Compare v1", "Compare v3"),)),
    "versions-none": Scene("/models/prices/versions"),
    "delete": Scene("/models/slow/versions", (open_menu("More for v1"), click("Delete"))),
    "restore": Scene("/models/churn/versions", (click("Restore"),)),
    "gate": Scene("/models/churn/versions", (click("gate passed"),)),
    "compare": Scene("/models/churn/compare?v=1&v=3"),
    "configuration": Scene("/models/churn/configuration", widths=ALL),
    "configuration-wrong": Scene(
        "/models/churn/configuration",
        (fill("workers", "many"), see("to correct")),
    ),
    "configuration-file": Scene("/models/churn/configuration", (click("File"),)),
    "configuration-merge": Scene("/models/churn/configuration", (edit_elsewhere,)),
    "metadata": Scene("/models/churn/metadata"),
    "try": Scene("/models/churn/try", widths=ALL),
    "try-answered": Scene("/models/churn/try", (click("Ask it"), see("with the way"))),
    "try-refused": Scene(
        "/models/churn/try", (fill("Request", "[1,"), click("Ask it"), see("not JSON"))
    ),
    "try-none": Scene("/models/prices/try"),
    "instances": Scene("/models/churn/instances"),
    "instances-none": Scene("/models/prices/instances"),
    "instances-failing": Scene("/models/ocr/instances"),
    "instances-unreachable": Scene("/models/demand/instances"),
    "instances-stop": Scene("/models/churn/instances", (click("Stop"),)),
    "instances-undeploy": Scene("/models/churn/instances", (click("Undeploy"),)),
    "log": Scene("/models/ocr/instances", (press_button("Log"), see("Log of"))),
    "history": Scene("/models/churn/history"),
    "history-none": Scene("/models/prices/history"),
    "deploy": Scene("/models/fraud", (click("Deploy"), see_button("Deploy fraud v"))),
    "deploy-nothing": Scene("/models/churn", (click("Deploy"), see("Nothing to do"))),
    "deploy-unreachable": Scene("/models/demand", (click("Deploy"), see("accepts no connection"))),
    "deploy-failed": Scene(
        "/models/broken",
        (
            click("Deploy"),
            see_button("Deploy broken v1"),
            click("Deploy broken v1"),
            see("vocabulary.json", 90),
        ),
    ),
    "deploy-running": Scene(
        "/models/slow",
        (
            hold("slow"),
            click("Deploy"),
            see_button("Deploy slow v1"),
            click("Deploy slow v1"),
            see("Start v1"),
        ),
    ),
    "pipelines": Scene("/pipelines", widths=ALL),
    "pipelines-new": Scene("/pipelines", (click("New pipeline"),)),
    "stages": Scene("/models/outlook/stages", (see("p95 "),), widths=ALL),
    "stages-asked": Scene("/models/outlook/stages", (click("Ask it"), see_traced)),
    "stages-building": Scene("/models/offers/stages", widths=ALL),
    "stages-menu": Scene("/models/outlook/stages", (open_menu("Change fraud"),)),
    "stages-form": Scene(
        "/models/outlook/stages", (open_menu("Change fraud"), click("Change…"), see("Takes"))
    ),
    "stages-wrong": Scene(
        "/models/outlook/stages",
        (
            *(open_menu("Change fraud"), click("Change…"), see("Takes")),
            *(fill("Columns (one a line; empty: all)", "nobody.tenure"), see("there is no stage")),
        ),
    ),
    "deploy-stages": Scene("/models/offers", (click("Deploy"), see("Deploy missing stages"))),
    "monitoring": Scene("/monitoring", widths=ALL),
    "monitoring-chosen": Scene("/monitoring?state=unreachable"),
    "monitoring-none": Scene("/monitoring?q=nothing"),
    "instance": Scene("/monitoring/churn/local?range=24h", (drawn,), widths=ALL),
    "instance-hour": Scene("/monitoring/fraud/local", (drawn,)),
    "instance-crosshair": Scene("/monitoring/churn/local?range=24h", (drawn, point)),
    "instance-versions": Scene("/monitoring/churn/local?range=7d&a=2&b=3", (drawn,)),
    "instance-table": Scene(
        "/monitoring/churn/local?range=24h",
        (drawn, click("Table"), see("CSV of these")),
    ),
    "instance-failing": Scene("/monitoring/ocr/local", (drawn,)),
    "instance-unreachable": Scene("/monitoring/demand/lab", (drawn,)),
    "hosts": Scene("/hosts", widths=ALL),
    "host": Scene("/hosts/local?range=24h", (drawn,)),
    "host-unreachable": Scene("/hosts/lab", (drawn,)),
    "jobs-running": Scene("/jobs", (see("running"),)),
    "job-interrupted": Scene("/jobs", (click("fraud v1"),)),
    "job-cancelled": Scene("/jobs", (click("slow v1"), *CANCEL)),
    "jobs": Scene("/jobs"),
    "jobs-drawer": Scene("/", (click("Jobs"), see("All on a page"))),
    "status": Scene("/status", widths=(360,)),
    "settings": Scene("/settings"),
    "settings-checked": Scene("/settings", (click("Check"), see("There and back"))),
    "settings-unreachable": Scene(
        "/settings",
        (press_button("Check"), see("accepts no")),
    ),
    "settings-foot": Scene("/settings", (press("End"),)),
    "settings-alerts": Scene("/settings", (bring("Alerts"),)),
    "report": Scene("/settings", (click("Report a fault"), see("Copy the report"))),
    "location-add": Scene("/settings", (click("Add location"),)),
    "location-trust": Scene("/settings", (meet,)),
    "location-forget": Scene("/settings", (click("Forget"),)),
    "no-page": Scene("/nothing"),
}
EMPTY = {
    "first-run": Scene("/", widths=ALL),
    "pipelines-none": Scene("/pipelines"),
    "monitoring-empty": Scene("/monitoring"),
    "hosts-none": Scene("/hosts"),
    "jobs-none": Scene("/jobs"),
    "status-none": Scene("/status", widths=(360,)),
}


@contextmanager
def window(browser: Browser, work: Workspace, theme: str) -> Iterator[tuple[Page, str]]:
    """A window that was let in, and the address of the pages."""
    serving = Server(work)
    serving.start()
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        device_scale_factor=SCALE,
        color_scheme=theme,
        reduced_motion="reduce",
    )
    try:
        page = context.new_page()
        page.set_default_timeout(5000)
        page.goto(serving.invitation())
        yield page, serving.address
    finally:
        context.close()
        serving.close()


def picture(page: Page, made: Scenery, address: str, name: str, scene: Scene, theme: str) -> None:
    for width in scene.widths:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.goto(address + scene.path)
        for step in scene.steps:
            step(page, made)
        page.wait_for_timeout(500)
        size = "" if width == WIDTH else f"-{width}"
        page.screenshot(path=OUT / f"{name}{size}-{theme}.png")
        for step in scene.after:
            step(page, made)
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def main() -> None:
    wanted = "".join(sys.argv[1:2])
    if not wanted:
        shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rhythmicml-")))
        os.environ["HOME"] = str(folder)
        made = stack.enter_context(scenery(folder))
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for theme in THEMES:
            for work, scenes in ((made.empty, EMPTY), (made.work, SCENES)):
                with window(browser, work, theme) as (page, address):
                    for name, scene in scenes.items():
                        if not re.search(wanted, name):
                            continue
                        try:
                            picture(page, made, address, name, scene, theme)
                        except PlaywrightError as error:
                            failed.append(f"{name} {theme}: {error}")
                            page.screenshot(path=OUT / f"{name}-{theme}.png")
        browser.close()
    for each in failed:
        print(each)
    print(f"{len(list(OUT.iterdir()))} pictures in build/screens")


if __name__ == "__main__":
    main()
