"""Pictures of every page and state, light and dark, into build/screens/.

    python packaging/screens.py [PART OF A NAME]

The store behind them is made by the product itself: three small models, one of them deployed on
this machine for as long as the pictures take.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.services import models, versions  # noqa: E402
from app.services.deployments import deploy, undeploy  # noqa: E402
from app.views.server import Server  # noqa: E402
from app.workspace import Workspace  # noqa: E402

OUT = ROOT / "build" / "screens"
SIZE = {"width": 1280, "height": 800}
PREDICT = '''"""Who leaves next month, by two weights."""
import json
from pathlib import Path


def load(artifacts):
    return json.loads((Path(artifacts) / "weights.json").read_text())


def predict(weights, inputs):
    return [round(weights["tenure"] * a + weights["calls"] * b, 3) for a, b in inputs]
'''
ABOUT = {
    "churn": "Who leaves next month",
    "fraud": "Card fraud, by transaction",
    "prices": "What a flat should cost",
}

Steps = Callable[[Page], None]


def click(*names: str) -> Steps:
    """Press buttons or links by what they say, one after the other."""

    def steps(page: Page) -> None:
        for name in names:
            page.locator("button:visible, a:visible, summary:visible").filter(
                has_text=name
            ).first.click()
            page.wait_for_timeout(300)

    return steps


def fill(label: str, text: str, keys: tuple[str, ...]) -> Steps:
    def steps(page: Page) -> None:
        press(*keys)(page)
        page.get_by_label(label).fill(text)

    return steps


def press(*keys: str) -> Steps:
    def steps(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)
            page.wait_for_timeout(200)

    return steps


def nothing(page: Page) -> None:
    """The page as it comes."""


SCENES: dict[str, tuple[str, Steps]] = {
    "catalogue": ("/", nothing),
    "catalogue-searched": ("/?q=chu", nothing),
    "catalogue-none": ("/?q=nothing", nothing),
    "catalogue-unfolded": ("/", lambda page: page.locator("#model-churn .unfold").click()),
    "catalogue-menu": ("/", lambda page: page.locator("details.menu summary").first.click()),
    "help": ("/", press("?")),
    "palette": (
        "/",
        fill("Find a model", "chu", ("Control+k",)),
    ),
    "add": ("/", click("Add model")),
    "dashboard": ("/models/churn", nothing),
    "dashboard-old": ("/models/churn?v=1", nothing),
    "dashboard-new": ("/models/prices", nothing),
    "files": ("/models/churn/files", nothing),
    "versions": ("/models/churn/versions", nothing),
    "configuration": ("/models/churn/configuration", nothing),
    "metadata": ("/models/churn/metadata", nothing),
    "compare": ("/models/churn/compare?v=1&v=2", nothing),
    "try": ("/models/churn/try", nothing),
    "try-answered": ("/models/churn/try", click("Ask it")),
    "instances": ("/models/churn/instances", nothing),
    "instances-stop": ("/models/churn/instances", click("Stop")),
    "history": ("/models/churn/history", nothing),
    "deploy": ("/models/churn", click("Deploy")),
    "jobs": ("/jobs", nothing),
    "settings": ("/settings", nothing),
    "location-add": ("/settings", click("Add location")),
    "no-page": ("/nothing", nothing),
}


def write(folder: Path, name: str, calls: float) -> None:
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    weights = {"tenure": -0.02, "calls": calls}
    (folder / "artifacts" / "weights.json").write_text(json.dumps(weights))
    (folder / "predict.py").write_text(PREDICT)
    (folder / "requirements.txt").write_text("")
    (folder / "sample.json").write_text('{"inputs": [[12.0, 3.0]]}')
    (folder / "rhythmicml.toml").write_text(
        f'[model]\nname = "{name}"\ndescription = "{ABOUT[name]}"\n'
        'metadata = { tags = ["q3"], owner = "growth" }\n[dependencies]\npython = "3.11"\n'
    )


@contextmanager
def store(folder: Path) -> Iterator[Workspace]:
    """A home with three models; churn's second version serves on this machine."""
    work = Workspace(folder / "home")
    for name in ABOUT:
        write(folder / name, name, 0.3)
        models.add(work, folder / name)
    for name, calls, message in (
        ("fraud", 0.3, "First model"),
        ("churn", 0.3, "First model"),
        ("churn", 0.4, "Retrained on October"),
    ):
        write(folder / name, name, calls)
        versions.commit(work, name, message)
    list(deploy(work, "churn@2"))
    write(folder / "churn", "churn", 0.45)
    try:
        yield work
    finally:
        list(undeploy(work, "churn", purge=True))


def main() -> None:
    wanted = "".join(sys.argv[1:2])
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    failed: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="rhythmicml-screens-") as folder,
        store(Path(folder)) as work,
        sync_playwright() as playwright,
    ):
        serving = Server(work)
        serving.start()
        path = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            context = browser.new_context(
                viewport=SIZE, color_scheme=theme, reduced_motion="reduce"
            )
            page = context.new_page()
            page.set_default_timeout(5000)
            page.goto(serving.invitation())
            for name, (address, steps) in SCENES.items():
                if wanted in name:
                    page.goto(f"{serving.address}{address}")
                    try:
                        steps(page)
                    except PlaywrightError as error:
                        failed.append(f"{name}: {error}")
                    page.wait_for_timeout(500)
                    page.screenshot(path=OUT / f"{name}-{theme}.png")
            context.close()
        browser.close()
        serving.close()
    for each in failed:
        print(each)
    print(f"{len(list(OUT.iterdir()))} pictures in build/screens")


if __name__ == "__main__":
    main()
