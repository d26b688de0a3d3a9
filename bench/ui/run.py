"""How fast the pages are: 1,000 models of 20 versions, 50 instances, 12 windows open.

    python -m bench.ui.run

Milliseconds of the server for each page; from a key to the painted result in Chromium; seconds from
the start of the program to its first answer; its memory.
"""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

from app.models import Configuration, Instance
from app.workspace import Workspace

ROOT = Path(__file__).parents[2]
MODELS, VERSIONS, INSTANCES, WINDOWS, TIMES = 1000, 20, 50, 12, 31
PAGES = {
    "Catalogue": ("/", 150),
    "Catalogue, searched": ("/catalogue/rows?q=model-05", 150),
    "Dashboard, overview": ("/models/model-0100", 50),
    "Dashboard, versions": ("/models/model-0100/versions", 50),
    "Dashboard, configuration": ("/models/model-0100/configuration", 50),
    "Dashboard, history": ("/models/model-0100/history", 50),
    "Jobs": ("/jobs", 50),
    "Settings": ("/settings", 50),
}


def fill(home: Path) -> None:
    with Workspace(home).open_store() as store, store.write():
        manifest, lock = store.blobs.put_bytes(b'{"files":[]}'), store.blobs.put_bytes(b"")
        for number in range(MODELS):
            model = store.models.add(f"model-{number:04}", f"/nowhere/{number}")
            configuration = Configuration(
                name=model.name,
                description="Who leaves next month",
                python="3.11",
                metadata={"tags": ["q3"]},
            )
            for version in range(VERSIONS):
                store.versions.add(
                    model,
                    digest=f"{number:032x}{version:032x}",
                    manifest=manifest,
                    lock=lock,
                    configuration=configuration,
                    size=1_000_000,
                    files=3,
                    message="retrained",
                )
            if number < INSTANCES:
                store.instances.upsert(
                    Instance(model.name, "local", 8101 + number, "v1-0", 1, "serving")
                )


class Window:
    """Whoever was let in: a cookie."""

    def __init__(self, url: str) -> None:
        address, _, self.invitation = url.removeprefix("http://").partition("/")
        self.host, _, port = address.partition(":")
        self.port = int(port)
        self.cookie = ""

    def ask(self, path: str) -> tuple[int, float]:
        """Status, and seconds until the whole answer was there."""
        with closing(http.client.HTTPConnection(self.host, self.port)) as link:
            began = time.perf_counter()
            link.request("GET", path, headers={"Cookie": self.cookie})
            answer = link.getresponse()
            answer.read()
            took = time.perf_counter() - began
            if said := answer.headers.get("Set-Cookie"):
                self.cookie = said.partition(";")[0]
            return answer.status, took

    def listen(self) -> http.client.HTTPConnection:
        link = http.client.HTTPConnection(self.host, self.port)
        link.request("GET", "/feed", headers={"Cookie": self.cookie})
        assert link.getresponse().status == 200
        return link


def start(home: Path) -> tuple[subprocess.Popen[str], str, float]:
    """The program, its invitation, and the seconds until it printed that."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "ui", "--no-window"],
        env={**os.environ, "RHYTHMICML_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    url = process.stdout.readline().split()[-1]
    return process, url, time.perf_counter() - began


def milliseconds(window: Window, path: str) -> float:
    answers = [window.ask(path) for _ in range(TIMES)]
    assert {status for status, _ in answers} == {200}, path
    return statistics.median(took for _, took in answers) * 1000


TYPE = """async (text) => {
  const field = document.getElementById("q"), rows = document.getElementById("rows");
  const began = performance.now();
  const painted = new Promise((done) => new MutationObserver((_, watch) => {
    if (!rows.querySelector("mark")) return;
    watch.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
  }).observe(rows, { childList: true, subtree: true }));
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
  const took = await painted;
  return took;
}"""


def keystroke(url: str) -> float | None:
    """Milliseconds from a key in the search to the painted result; None without Chromium."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        times = []
        for number in range(11):
            times.append(page.evaluate(TYPE, f"model-{number:04}"))
            page.reload()
        browser.close()
    return statistics.median(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        fill(home)
        starts = []
        for _ in range(5):
            process, url, took = start(home)
            starts.append(took)
            process.terminate()
            process.wait()
        process, url, _ = start(home)
        try:
            report(process, url, statistics.median(starts), home)
        finally:
            process.terminate()
            process.wait()


def report(process: subprocess.Popen[str], url: str, started: float, home: Path) -> None:
    window = Window(url)
    window.ask(f"/{window.invitation}")
    alone = {name: milliseconds(window, path) for name, (path, _) in PAGES.items()}
    links = [window.listen() for _ in range(WINDOWS)]
    beside = {name: milliseconds(window, path) for name, (path, _) in PAGES.items()}
    memory = psutil.Process(process.pid).memory_info().rss / 1e6
    for link in links:
        link.close()
    again = subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "ui", "--no-window"],
        env={**os.environ, "RHYTHMICML_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    key = keystroke(again.stdout.split()[-1])
    print(f"{MODELS:,} models of {VERSIONS} versions, {INSTANCES} instances.\n")
    print(f"| page | ms | with {WINDOWS} windows open | goal |\n|---|---|---|---|")
    for name, (_, goal) in PAGES.items():
        print(f"| {name} | {alone[name]:.1f} | {beside[name]:.1f} | {goal} |")
    print("\n| what | found | goal |\n|---|---|---|")
    print(f"| from a key in the search to the painted result | {key or 0:.0f} ms | 100 ms |")
    print(f"| from the start of the program to its address | {started:.2f} s | 0.6 s |")
    print(f"| memory | {memory:.0f} MB | 120 MB |")


if __name__ == "__main__":
    main()
