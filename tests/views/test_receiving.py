"""Folders and archives that come to the Catalogue: by hand-made forms, and dropped in Chromium."""

import os
import re
import shutil
from contextlib import suppress
from stat import S_ISREG
from urllib.parse import quote

import pytest
from accessible import findings
from client import write_model
from playwright.sync_api import expect
from screen import until
from test_faults_local import ask, change

NAMES = (
    "a",
    "sub/b",
    "sub/deep/c d.bin",
    "ünï/ç",
    "%41",
    'quo"te',
    "new\nline",
    "a;b=c",
    "<b>&amp;",
)


@pytest.fixture
def into(tmp_path, monkeypatch):
    """Where folders are put in this test."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    (tmp_path / "person").mkdir()
    return tmp_path / "person" / "RhythmicML"


def form(*parts, boundary="limit"):
    """[(field, file name or None, content)] as a multipart body."""
    body = b""
    for field, name, content in parts:
        file = "" if name is None else f'; filename="{name}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def send(server, body, kind="multipart/form-data; boundary=limit"):
    headers = change(server, **{"Content-Type": kind, "HX-Request": "true"})
    status, _, said = ask(server, "POST", "/receive", headers, body)
    return status, said.decode()


def test_files_arrive_under_their_names_whatever_these_are(server, into):
    content = {name: name.encode() * 40_000 for name in NAMES} | {
        "empty": b"",
        "ends": b"\r\n--lim",
    }
    parts = [("file", quote(f"churn/{name}", safe=""), data) for name, data in content.items()]
    status, said = send(server, form(("name", None, b"churn"), *parts))
    assert status == 200
    assert str(into / "churn") in said
    there = {str(p.relative_to(into / "churn")): p for p in into.rglob("*") if p.is_file()}
    assert {name: path.read_bytes() for name, path in there.items()} == content


HOSTILE = [
    ((("file", quote("../evil", safe=""), b"x"),), "leads outside"),
    ((("file", quote("/etc/evil", safe=""), b"x"),), "not relative"),
    ((("file", "a", b"x"), ("file", "a", b"y")), "comes twice"),
    ((("file", "a", b"x"), ("file", quote("a/b", safe=""), b"y")), "comes twice"),
    ((("file", "n" * 5000, b"x"),), "too long"),
    ((("archive", "a.zip", b"no zip"),), "cannot be read"),
    ((("archive", "a.rar", b"x"),), "no archive"),
    ((("name", None, b"x"),), "no file in it"),
    ((("other", "a", b"x"),), "no file in it"),
    ((("file", "<img src=x onerror=alert(1)>/../../..", b"x"),), "&lt;img"),
]


def test_f05_hostile_form_is_a_problem_and_leaves_nothing(server, into):
    for parts, words in HOSTILE:
        status, said = send(server, form(*parts))
        assert (status, words in said) == (400, True), said
        assert list(into.iterdir()) == []
        assert list(into.parent.iterdir()) == [into]


def test_broken_forms_are_a_problem(server, into):
    whole = form(("file", "a", b"x" * 1000))
    for body, kind in (
        (whole[:-30], "multipart/form-data; boundary=limit"),
        (whole, "multipart/form-data; boundary=another"),
        (whole, "multipart/form-data"),
        (b"", "multipart/form-data; boundary=limit"),
        (b"name=churn", "application/x-www-form-urlencoded"),
    ):
        status, said = send(server, body, kind)
        assert status == 400, said
        assert "RhythmicML made a mistake" not in said
    assert list(into.rglob("*")) == []


# In Chromium, as a person drops them


def drop(page, *paths, kind=("dragEnter", "dragOver", "drop")):
    files = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for each in kind:
        files.send("Input.dispatchDragEvent", {"type": each, "x": 600, "y": 400, "data": data})


@pytest.mark.browser
def test_dropped_folder_becomes_a_model(page, server, into, tmp_path):
    folder = write_model(tmp_path / "Churn 2", "churn")
    for number in range(150):  # more than a browser tells at once
        (folder / "artifacts" / f"{number}.txt").write_text(str(number))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("left out")
    drop(page, folder, kind=["dragEnter"])
    expect(page.locator("#drop")).to_contain_text("Drop a folder")
    page.locator("#drop").dispatch_event("dragleave")  # the tool's own drag leaves no window
    expect(page.locator("#drop")).to_be_hidden()
    drop(page, folder)
    drawer = page.locator("#drawer")
    expect(drawer).to_contain_text("155 files")
    expect(page.locator("#drop")).to_be_hidden()
    expect(drawer.get_by_label("Folder", exact=True)).to_have_value(str(into / "churn-2"))
    drawer.get_by_role("button", name="Add churn").click()
    page.wait_for_url("**/models/churn")
    assert not (into / "churn-2" / "__pycache__").exists()
    assert (into / "churn-2" / "artifacts" / "149.txt").read_text() == "149"


@pytest.mark.browser
def test_dropped_archive_becomes_a_model(page, server, into, tmp_path):
    write_model(tmp_path / "packed" / "fraud", "fraud")
    archive = shutil.make_archive(str(tmp_path / "any"), "zip", tmp_path / "packed")
    drop(page, archive)
    page.get_by_role("button", name="Add fraud").click()
    page.wait_for_url("**/models/fraud")
    assert (into / "fraud" / "predict.py").exists()


@pytest.mark.browser
def test_what_cannot_be_taken_is_said_and_nothing_stays(page, server, into, tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.zip").write_bytes(b"PK no zip")
    for paths, words in (
        ([tmp_path / "notes.txt"], "neither a folder nor a .zip"),
        ([tmp_path / "bad.zip"], "The archive cannot be read"),
        ([tmp_path / "bad.zip", tmp_path / "notes.txt"], "Drop one folder, or one archive."),
    ):
        drop(page, *paths)
        expect(page.locator("#toasts")).to_contain_text(words)
        expect(page.locator("#drop")).to_be_hidden()
    assert not into.exists() or list(into.iterdir()) == []


def bodies():
    """Bytes of what this process holds in files without a name."""
    size = 0
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            held = os.fstat(int(fd))
            size += held.st_size if S_ISREG(held.st_mode) and not held.st_nlink else 0
    return size


@pytest.mark.browser
def test_copying_shows_how_far_it_is_and_can_be_cancelled(page, server, into, tmp_path):
    folder = write_model(tmp_path / "big", "big")
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(300 << 20)
    network = page.context.new_cdp_session(page)
    network.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4 << 20}
    network.send("Network.emulateNetworkConditions", slow)
    before = bodies()
    drop(page, folder)
    expect(page.locator("#drop")).to_contain_text("Copying big")
    expect(page.locator(".drop-more")).to_have_text(re.compile(r"[1-9].* of 314\.6 MB"))
    assert findings(page) == []
    assert 0 < page.locator("#drop progress").evaluate("bar => bar.value") < 1
    assert bodies() > before + (1 << 20)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#drop")).to_be_hidden()
    until(lambda: bodies() == before)
    expect(page.locator("#toasts")).to_contain_text("Cancelled. Nothing was kept.")
    assert not into.exists() or list(into.iterdir()) == []
