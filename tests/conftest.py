"""What all tests share, and windows to look at the pages of a store of their own."""

import os
import resource
import shutil

import pytest
from client import write_model

from app.models import Instance
from app.services import models
from app.views.server import Server
from app.workspace import Workspace

# Tests with hundreds of clients need more files than the 1,024 a login often has.
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

# Nothing of the tests gets into the keyring of whoever runs them, here or in programs started here.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

# The program is started thousands of times, as people start it: compiled once, not each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


LEFT_OUT = (
    *("WebUIOmniboxPopup", "WebUIOmniboxFullPopup", "WebUIOmniboxAimPopup"),
    # What Playwright leaves out itself, unless it is told what.
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *("HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding"),
    *("ThirdPartyStoragePartitioning", "AvoidCorsURLLoaderRestartOnRedirect", "AimEnabled"),
    *("OptimizationHints", "NetworkTimeServiceQuerying", "PreconnectToSearch"),
)
"""Features of Chromium, none of them of pages. What its address bar suggests is drawn by pages of
its own in each new window, which take half the time that a window takes."""


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path / "home")


@pytest.fixture
def log(work, tmp_path):
    """The log file of an instance on this machine, where no systemd keeps it."""
    models.add(work, write_model(tmp_path / "churn", "churn"))
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local", 8101, "v1-a", 1, "serving"))
    path = work.home / "local" / "instances" / "churn" / "log" / "v1-a.log"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def server(work):
    with work.open_store():
        pass
    serving = Server(work)
    serving.start()
    yield serving
    serving.close()


# One per file of tests: while it is open, its event loop counts as running in this thread, and a
# test in another file that runs one of its own would be refused.
@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # as the pages' own timeout below: machines may be busy
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("there is no Chromium")
    with sync_playwright() as playwright:
        window = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", f"--disable-features={','.join(LEFT_OUT)}"],
        )
        yield window
        window.close()


@pytest.fixture
def page(browser, server):
    """A window that was let in. Errors of its scripts and of its content policy fail the test."""
    said = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    page.set_default_timeout(20_000)
    page.goto(server.invitation())
    yield page
    context.close()
    refused_or_left = ("status of 4", "Status Error Code 4", "htmx:afterRequest", "htmx:send")
    assert [line for line in said if not any(e in line for e in refused_or_left)] == []
