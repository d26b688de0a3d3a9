"""The status window and its twin in the terminal: what they show, what they do."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import urllib.request
from contextlib import contextmanager

import psutil
import pytest
from accessible import findings
from client import Client, write_model
from playwright.sync_api import expect
from screen import PICTURES, screen, until
from test_window import kept, opened

from app import jobs
from app.cli import glance as twin
from app.models import Event
from app.services import collecting, glance

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """Two models on this machine, one of which was stopped, and a server that nobody answers at."""
    home = tmp_path_factory.mktemp("status")
    client = Client(home / "home").settled()
    for name in ("churn", "fraud"):
        client("deploy", str(write_model(home / name, name)))
    client("deploy", str(write_model(home / "churn", "churn", factor=3.0)))
    client("stop", "fraud")
    row = next(each for each in client("status") if each["model"] == "churn")
    ask(row["port"], 40)
    yield client
    client.undeploy_all()


def ask(port, times):
    body = json.dumps({"inputs": [[1, 2, 3]]}).encode()
    for _ in range(times):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/score", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


@pytest.fixture
def work(deployed):
    from app.workspace import Workspace

    return Workspace(deployed.home)


@contextmanager
def running(work, words="Send 2 files, 5.1 MB of 212 MB", share=0.4):
    """A job that goes on until the block ends."""
    ends = []

    def task():
        yield Event("step", words)
        yield Event("progress", done=share * 100, total=100, unit="B")
        while not ends:
            time.sleep(0.05)
            yield Event("log", "…")

    number = jobs.start(work, "deploy", "churn@2", task)
    try:
        yield number
    finally:
        ends.append(True)
        until(lambda: not jobs.unfinished())


def small(browser, server, **more):
    context = browser.new_context(viewport={"width": 360, "height": 520}, **more)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.goto(server.invitation("/status"))
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_is_shown_at_a_glance(browser, server, work, scheme):
    collecting.collect(work)
    with work.open_recorded() as recorded:
        for each in recorded.alerts.all(open_only=True):
            recorded.alerts.end(each["id"], 1.0)
        recorded.alerts.add(
            {"rule": "p95", "model": "churn", "location": "local", "subject": "", "value": 1.2,
             "words": "churn on local: one request in 20 takes over 1 s", "began": time.time()}
        )  # fmt: skip
    with running(work):
        page = small(browser, server, color_scheme=scheme)
        rows = page.get_by_role("list", name="Instances").get_by_role("listitem")
        expect(rows).to_have_count(2)
        expect(rows.nth(0)).to_contain_text(re.compile(r"churn\s+local.*v2", re.S))
        expect(rows.nth(1)).to_contain_text("stopped")
        expect(page.get_by_text("1 serving")).to_be_visible()
        expect(page.get_by_text("one request in 20 takes over 1 s")).to_be_visible()
        expect(page.locator(".status-jobs")).to_contain_text("Deploy churn v2")
        expect(page.locator(".status-jobs progress")).to_have_attribute("value", "0.4")
        expect(page.locator(".status-machines")).to_contain_text("This machine")
        expect(page.get_by_role("progressbar", name="Memory of This machine")).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, "nothing sticks out"
        page.screenshot(path=PICTURES / f"status-{scheme}.png")
        assert findings(page) == []
        rows.nth(0).hover()
        page.wait_for_timeout(200)
        page.screenshot(path=PICTURES / f"status-hover-{scheme}.png")
        page.context.close()


def test_instance_is_restarted_and_rolled_back_after_a_question(browser, server, work):
    page = small(browser, server)
    row = page.get_by_role("list", name="Instances").get_by_role("listitem").nth(0)
    row.hover()
    page.get_by_role("button", name="Restart churn on local").click()
    expect(page.get_by_role("heading", name="Restart churn on local?")).to_be_visible()
    expect(page.locator("#drawer")).to_have_css("opacity", "1")
    page.screenshot(path=PICTURES / "status-confirm.png")
    page.get_by_role("button", name="Leave it").click()
    expect(page.locator("#drawer")).to_be_hidden()
    row.hover()
    page.get_by_role("button", name="Roll churn on local back").click()
    page.get_by_role("button", name="Roll churn back on local").click()
    expect(page.locator("#drawer .job-done")).to_be_visible()
    page.screenshot(path=PICTURES / "status-job.png")
    page.get_by_role("button", name="Close").click()
    expect(row).to_contain_text("v1")
    expect(row.get_by_title("v2 is newer")).to_be_visible()
    page.context.close()


def test_page_is_opened_in_a_window_of_its_own(browser, server):
    page = small(browser, server)
    with page.context.expect_page() as opened_page:
        page.get_by_role("list", name="Instances").get_by_role("listitem").nth(0).hover()
        page.get_by_role("button", name="Open churn").click()
    expect(opened_page.value).to_have_url(re.compile("/models/churn$"))
    page.context.close()


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_an_invitation_leads_to_our_own_pages_only(server, path):
    client = server.application.test_client()
    answer = client.get("/bootstrap", query_string={"code": server.keys.make_code(), "to": path})
    assert answer.headers["Location"] == "/"


# In the terminal


def test_twin_shows_the_same_once_where_there_is_no_terminal(deployed):
    done = subprocess.run(
        deployed.argv("status", "--watch"), env=deployed.environ, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    for words in ("● serving", "○ stopped", "churn", "this machine"):
        assert words in done.stdout


def test_twin_goes_on_in_a_terminal_until_it_is_stopped(deployed):
    mine, its = pty.openpty()
    environ = {**deployed.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    program = subprocess.Popen(
        deployed.argv("status", "--watch"), env=environ, stdin=its, stdout=its, stderr=its,
        start_new_session=True,
    )  # fmt: skip
    os.close(its)
    said = b""
    end = time.monotonic() + 60
    while said.count(b"this machine") < 2 and time.monotonic() < end:
        if select.select([mine], [], [], 1)[0]:
            said += os.read(mine, 65536)
    program.send_signal(signal.SIGINT)
    while True:
        try:
            if not os.read(mine, 65536):
                break
        except OSError:  # it hung up
            break
    assert program.wait(20) == 0
    os.close(mine)
    assert said.count(b"this machine") >= 2
    assert "● serving" in said.decode("utf-8", "replace")


def test_twin_shows_it_once_in_a_terminal_that_cannot_be_drawn_on_anew(deployed):
    mine, its = pty.openpty()
    program = subprocess.Popen(
        deployed.argv("status", "--watch"), env={**deployed.environ, "TERM": "dumb"}, stdin=its,
        stdout=its, stderr=its, start_new_session=True,
    )  # fmt: skip
    try:
        assert program.wait(60) == 0
    finally:
        program.kill()
        os.close(its)
    said = os.read(mine, 65536)
    os.close(mine)
    assert b"this machine" in said
    assert b"\x1b" not in said


def test_twin_draws_whatever_there_is(work):
    from rich.console import Console

    said = glance.look(work)
    server = {
        **{**dict.fromkeys(glance.FIGURES), "cpu": 0.5, "memory": 1, "memory_total": 2},
        **{"location": "prod [b]", "state": "unreachable", "error": "It does not answer."},
    }
    said["locations"] = [server]
    said["alerts"] = [{"words": "churn [red]is slow"}]
    said["jobs"] = [{"words": "Deploy a", "state": "running", "share": None, "step": "Send",
                     "amount": "", "problem": ""}]  # fmt: skip
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(twin.shown(said))
    drawn = console.export_text()
    console.file.close()
    for words in ("prod [b]", "It does not answer.", "churn [red]is slow", "50% of 2 B"):
        assert words in drawn


@pytest.mark.parametrize(("height", "number"), [(24, 14), (10, 1), (2, 1), (60, 30)])
def test_twin_leaves_out_instances_rather_than_what_is_below_them(work, height, number):
    """A screen crops what has no room on it, and says so nowhere."""
    from rich.console import Console

    said = {**glance.look(work), "alerts": [], "locations": []}
    like = said["instances"][0]
    said["instances"] = [{**like, "model": f"m{n:02}", "error": ""} for n in range(30)]
    said["jobs"] = [{"words": "Deploy a", "state": "running", "share": None, "step": "Send",
                     "amount": "", "problem": ""}]  # fmt: skip
    console = Console(width=80, height=height, record=True, file=io.StringIO())
    console.print(twin.fitting(said, console))
    drawn = console.export_text()
    assert re.findall(r"^m(\d\d)", drawn, re.MULTILINE) == [f"{n:02}" for n in range(number)]
    assert ("and 16 more" in drawn) == (number == 14)
    assert "this machine" in drawn
    assert "Deploy a" in drawn
    assert drawn.count("\n") <= height or number == 1


# The window itself

TITLE = "RhythmicML status"


@pytest.fixture
def display(tmp_path):
    with screen(tmp_path) as shown:
        yield shown


def test_window_opens_alone_leads_to_the_pages_and_stays_on_top(work, display, deployed):
    command = deployed.argv("status", "--window")
    with opened(work, display.name, command=command) as program:
        until(lambda: display.windows(TITLE))
        until(lambda: drawn(display))
        (small_one,) = display.windows(TITLE)
        assert display.place(small_one)[2:] == (360, 520)
        display.picture(PICTURES / "status-window.png")
        press(display, small_one, 338, 22)  # the pin
        before = under_the_pointer(display)
        press(display, small_one, 22, 22)  # the icon: the pages
        until(display.windows)
        with opened(work, display.name) as again:  # a second start brings them to the front
            assert again.wait(30) == 0
        assert under_the_pointer(display) == before, "the small one lies on top"
        display.keys("alt+F4")
        until(lambda: not display.windows())
        assert program.poll() is None, "the small one is still there"
        with opened(work, display.name, command=command) as again:
            assert again.wait(30) == 0
        display.keys("alt+F4", title=TITLE)
        assert program.wait(20) == 0
    assert json.loads((work.home / "window" / "status.json").read_text())["on_top"]
    assert not kept(work)["on_top"]


def drawn(display):
    """Whether our icon is there, which comes with the page."""
    return display.pixels().count(b"\x85\x72\x0b") > 100


def press(display, window, x, y):
    display.do("mousemove", "--window", window, str(x), str(y), "click", "1")


def under_the_pointer(display):
    said = display.do("getmouselocation", "--shell")
    return re.search(r"WINDOW=(\d+)", said)[1]


def test_window_is_opened_beside_the_pages_from_their_menu(work, display):
    with opened(work, display.name) as program:
        until(lambda: display.windows() and display.colours() > 50)
        time.sleep(1)
        display.keys("F10", "Right", "Right", "Down", "Down", "Down", "Down", "Return")
        until(lambda: display.windows(TITLE))
        assert display.windows()
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0


@pytest.mark.faults
def test_window_beside_pages_that_are_open_in_a_browser(work, display, deployed):
    """Then it is a program of its own, which ends by itself."""
    with opened(work, display.name, "--no-window") as program:
        assert program.stdout.readline().startswith("RhythmicML")
        with opened(work, display.name, command=deployed.argv("status", "--window")) as small_one:
            until(lambda: display.windows(TITLE))
            until(lambda: drawn(display))
            display.keys("alt+F4", title=TITLE)
            assert small_one.wait(20) == 0
        assert psutil.pid_exists(program.pid)
        assert program.poll() is None
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
