"""F01, F02, F05 in Chromium: what other pages, and what hostile words in the store, can do."""

import contextlib
import http.server
import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from client import Client, write_model
from hostile import PAYLOADS, TRACES
from playwright.sync_api import expect
from test_faults_local import ask, change, routes

pytestmark = pytest.mark.browser

ATTACK = (Path(__file__).parent / "attack.js").read_text()


@pytest.fixture
def state(work, tmp_path, monkeypatch):
    """All that an attack could have changed: the store's rows, and folders that were sent."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def found():
        with closing(sqlite3.connect(work.home / "store.sqlite")) as store:
            return [*store.iterdump(), *map(str, tmp_path.glob("RhythmicML/**"))]

    return found


@pytest.fixture
def logged_in(browser, server, work, tmp_path, state):
    """A browser in which the pages are open, that takes evil.test for this machine."""
    client = Client(work.home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn")
    window = browser.browser_type.launch(
        executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
        args=[
            *("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP evil.test 127.0.0.1"),
            # Else it is the browser that refuses; others do not.
            "--disable-features=LocalNetworkAccessChecks",
        ],
    )
    context = window.new_context()
    own = context.new_page()
    own.goto(server.invitation())
    expect(own.locator("#model-churn")).to_be_visible()
    yield context
    window.close()


@contextlib.contextmanager
def attacker():
    """Another program's page, on another port; what its visitors sent is kept."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.heard.append((self.path, dict(self.headers)))
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Nice page</title><body>hello")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as serving:
        serving.heard = []
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield serving
        finally:
            serving.shutdown()
            thread.join()


EACH = pytest.mark.parametrize(
    "some", [6, pytest.param(None, marks=pytest.mark.faults)], ids=["some", "every route"]
)


def attacked(page, target, server, some):
    """Let the page try everything: what it could read, and [(method, path, status)] as answered."""
    heard = []
    inner = server._server.application

    def spied(environ, start_response):
        def start(status, *more):
            heard.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], int(status[:3])))
            return start_response(status, *more)

        return inner(environ, start)

    server._server.application = spied
    posts = ["/settings/theme", *routes(server, "POST")][:some]
    gets = ["/jobs", *(path for path in routes(server, "GET") if "/static/" not in path)][:some]
    try:
        said = page.evaluate(ATTACK, [target, posts, gets])
    finally:
        server._server.application = inner
    asked = {(method, path) for method, path, _ in heard}
    assert asked >= {("POST", path) for path in posts} | {("GET", path) for path in gets}
    return said, heard


@pytest.mark.faults
def test_f01_rebound_name_reads_and_changes_nothing(logged_in, server, state):
    before = state()
    target = f"http://evil.test:{server.port}"
    page = logged_in.new_page()
    # The page itself is the attacker's, from before its name meant this machine.
    own = {"body": "<body>hello", "content_type": "text/html"}
    page.route(f"{target}/", lambda route: route.fulfill(**own))
    page.goto(f"{target}/")
    page.unroute(f"{target}/")
    said, answered = attacked(page, target, server, None)
    assert {status for _, _, status in answered} == {403}
    assert "This address is not RhythmicML's." in said["read /jobs"]  # it came to us, no further
    assert "churn" not in json.dumps(list(said.values()))
    assert logged_in.cookies(target) == []
    assert state() == before


@EACH
def test_f02_page_of_another_port_reads_and_changes_nothing(logged_in, server, state, some):
    before = state()
    with attacker() as serving:
        page = logged_in.new_page()
        page.goto(f"http://127.0.0.1:{serving.server_port}/")
        said, answered = attacked(page, server.address, server, some)
        with logged_in.expect_page() as opened:
            page.evaluate(f"window.other = window.open('{server.address}/settings')")
        opened.value.wait_for_load_state()
        reached = page.evaluate(
            "(() => { try { return other.document.title } catch { return '' } })()"
        )
    assert reached == ""
    assert state() == before
    unread = ("refused", "opaque ", "", "undefined")
    assert {name: text for name, text in said.items() if text not in unread} == {}
    changes = [each for each in answered if each[0] not in ("GET", "OPTIONS")]
    assert {status for _, _, status in changes} == {403}
    for method, path, status in answered:  # frames are let in as links are, and not shown
        assert status == 403 or (method == "GET" and path in routes(server, "GET")), path
    assert ask(server, "POST", "/settings/theme", change(server), b"theme=dark")[0] == 204
    assert state() != before


def test_f04_links_tell_nobody_where_they_come_from(logged_in, server):
    with attacker() as sink:
        page = logged_in.pages[0]
        page.goto(f"{server.address}/models/churn")
        page.evaluate(
            """(url) => { const link = document.createElement("a"); link.href = url;
               link.textContent = "away"; document.querySelector("main").append(link); }""",
            f"http://evil.test:{sink.server_port}/seen",
        )
        page.get_by_text("away").click()
        page.wait_for_url("**/seen")
    heard = [headers for path, headers in sink.heard if path == "/seen"]
    assert len(heard) == 1
    assert {"Referer", "Cookie", "Origin"}.isdisjoint(heard[0])


# F05


def text_of(payload):
    return payload.replace("\\", "\\\\").replace('"', '\\"').replace("\x1b", "").replace("\x07", "")


def write_hostile(folder):
    """A model in which everything a person or program can name is one of the forty."""
    said = json.dumps(PAYLOADS)
    script = (
        f"import json, logging, sys\nWORDS = json.loads({said!r})\n"
        "def load(artifacts):\n"
        "    for word in WORDS:\n"
        "        print(word, flush=True)\n"
        "        print(word, file=sys.stderr, flush=True)\n"
        "        logging.warning(word)\n"
        "def predict(model, inputs: list):\n"
        "    if inputs == ['fail']:\n"
        "        raise ValueError(' '.join(WORDS))\n"
        "    return WORDS\n"
    )
    write_model(folder, "evil", script=script)
    texts = [text_of(payload) for payload in PAYLOADS]
    metadata = "\n".join(f'"{text}" = "{text}"' for text in texts)
    tags = ", ".join(f'"{text}"' for text in texts)
    (folder / "rhythmicml.toml").write_text(
        f'[model]\nname = "evil"\ndescription = "{" ".join(texts)}"\n'
        f'[dependencies]\npython = "3.11"\n[predict]\nbatch = false\n'
        f"[model.metadata]\ntags = [{tags}]\n{metadata}\n"
    )
    for number, payload in enumerate(PAYLOADS):
        (folder / f"{number:02} {payload.replace('/', '⁄')}").write_text(payload * 3)
    return folder


def test_f05_texts_are_seen_where_they_are_more_than_text(browser):
    """Of the test below: what it looks for is what these texts would leave behind."""
    page = browser.new_page()
    seen = 0
    for payload in PAYLOADS:
        page.set_content(f"<main>{payload}</main>", wait_until="commit")
        seen += bool(page.locator(TRACES).count() or page.evaluate("window.hurt"))
    page.close()
    assert seen >= 30


@pytest.mark.faults
def test_f05_forty_hostile_texts_stay_text_on_every_page(page, server, work, tmp_path):
    client = Client(work.home)
    folder = write_hostile(tmp_path / "evil")
    client("add", str(folder))
    for number, payload in enumerate(PAYLOADS):
        (folder / "count").write_text(str(number))
        client("commit", "evil", "-m", payload.replace("\x1b", "").replace("\x07", ""))
    alerts = []
    page.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    looked = []

    def look(name):
        traces = "(traces) => [...document.body.querySelectorAll(traces)].map((e) => e.outerHTML)"
        found = page.evaluate(traces, TRACES)
        assert (name, found, page.evaluate("window.hurt")) == (name, [], None)
        looked.append(name)

    client("deploy", "evil@40", "--to", "local")
    try:
        model = "/models/evil"
        tabs = ("", "/files", "/versions", "/configuration", "/try", "/instances", "/history")
        parts = ("/deploy", "/remove", "/unfold", "/changes", "/logs?on=local", "/restore?v=1")
        paths = [
            *("/", "/jobs", "/settings", "/models/new", "/nowhere", f"{model}?v=3"),
            *(f"{model}{each}" for each in (*tabs, *parts, "/compare?v=1&v=40")),
            f"/models/scan?folder={quote(str(folder))}",
        ]
        for path in paths:
            page.goto(server.address + path)
            look(path)
        assert PAYLOADS[0] in page.evaluate(
            "fetch('/models/evil/logs?on=local').then((r) => r.text())"
            ".then((t) => new DOMParser().parseFromString(t, 'text/html').body.textContent)"
        )
        for payload in PAYLOADS:
            said = quote(payload, safe="")
            for path in (
                *(f"/?q={said}", f"/?tag={said}", f"/models/{said}", f"/{said}"),
                *(f"/models/scan?folder=/{said}", f"/confirm?verb=stop&subject={said}&to={said}"),
            ):
                page.goto(server.address + path)
                look(path)
        page.goto(f"{server.address}/models/evil/try")
        for body in ('["x"]', '["fail"]'):
            page.get_by_label("Request").fill(body)
            page.get_by_role("button", name="Ask it").click()
            page.wait_for_timeout(500)
            look(f"asked {body}")
        page.goto(server.address)
        page.get_by_label("Versions of evil").click()
        expect(page.locator(".brief")).to_be_visible()
        look("unfolded")
    finally:
        client("undeploy", "evil", "--purge", "--yes")
    assert alerts == []
    assert len(looked) == len(paths) + 6 * len(PAYLOADS) + 3
    print(f"{len(looked)} pages")
