"""What makes the client run on other systems, and what can be shown of Windows on Linux."""

import ast
import json
import os
import subprocess
import sys
import threading

import pytest
import without_unix
from client import ROOT, write_model

sys.path.insert(0, str(ROOT / "tests" / "deployer"))
from sshd import SSHD, Sshd, make_key

from app import portable

ON_HOSTS = ("app/scoring/", "app/deployer/agent/")
ONE_MODULE = "app/portable.py"
LINUX_ONLY = {"app/desktop/displays.py": {"AF_UNIX"}}
"""After they have asked which system it is."""


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """What came of the client's ordinary work in a Python without what Windows lacks.

    It shows that nothing of ours is imported or asked for that Python does not have there, while
    every module of the client is imported and these commands run; that locks keep others out, and
    that no file is renamed, deleted or synced in a way that Windows refuses. It cannot show what
    Windows itself does: its paths (`pathlib` and `os.path` stay those of Linux), its text files and
    code pages, its console, WebView2, nor what other people's packages do there: they were
    imported before anything was taken away, with what they found then.
    """
    if SSHD is None:
        pytest.skip("there is no sshd here")
    folder = tmp_path_factory.mktemp("windows")
    model = write_model(folder / "churn", "churn")
    (model / "artifacts" / "large.bin").write_bytes(os.urandom(9 << 20))
    (folder / "there").mkdir()
    with Sshd(folder / "sshd", f"SetEnv HOME={folder}/there PATH=/usr/bin:/bin") as sshd:
        sshd.admit(make_key(folder / "key"))
        server = [sshd.url, "--identity", str(folder / "key"), "--accept-key", sshd.fingerprint]
        done = subprocess.run(
            [sys.executable, without_unix.__file__, str(folder), *server],
            env=os.environ | {"HOME": str(folder), "RHYTHMICML_HOME": str(folder / "home")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def client_files():
    """Paths of all modules that the client imports there, from the root."""
    found = (path.relative_to(ROOT).as_posix() for path in (ROOT / "app").rglob("*.py"))
    return [path for path in found if not path.startswith(ON_HOSTS)]


def test_every_module_of_the_client_is_imported_without_what_windows_lacks(windows):
    files = {path.removesuffix(".py").removesuffix("/__init__") for path in client_files()}
    assert {name.replace(".", "/") for name in windows["modules"]} == files - {"app"}


@pytest.mark.parametrize(
    "command",
    [
        *("version", "doctor", "example", "add", "commit", "unchanged", "restore", "versions"),
        *("backup", "again", "back", "verify", "token", "server", "check"),
    ],
)
def test_commands_do_their_work_there(windows, command):
    code, said = windows[command]
    assert code == 0, said


def test_what_is_kept_there_is_whole(windows):
    assert [each["number"] for each in windows["versions"][1]] == [1]
    assert windows["commit"][1]["version"]["files"] == 6
    assert windows["unchanged"][1]["new"] is False
    assert windows["restored"] != "# lost"
    assert windows["backup"][1]["bytes"] > 9 << 20


def test_the_pages_are_served_there_by_one_program(windows):
    assert windows["pages"]["status"] == 200, windows["pages"]
    assert "<title>Catalogue" in windows["pages"]["page"]
    assert "churn" in windows["pages"]["page"]
    assert windows["pages"]["alone"] is False
    assert windows["pages"]["code"] == 0


def test_that_this_machine_cannot_run_instances_is_said(windows):
    code, said = windows["local"]
    assert code == 1
    assert said["error"]["what"] == "Nothing can be deployed to this machine: it runs Windows."
    assert "location add" in said["error"]["remedy"]


def test_without_webview2_there_is_no_window_and_that_is_said(windows):
    assert windows["window"].startswith(".NET cannot be used: ")


def test_a_server_is_looked_at_from_there_and_what_it_cannot_be_sent_is_said(windows):
    assert windows["check"][1]["os"] == "linux"
    code, said = windows["deploy"]
    assert code == 1
    assert said["error"]["what"] == "What srv has to be sent cannot be made on Windows."


# Where it may be said


def unix_only(path):
    """What a module names of that which Windows lacks: (line, name)."""
    gone = {
        "os": {*without_unix.OF_OS, "readlink", "open"},
        "signal": set(without_unix.OF_SIGNAL),
        "socket": set(without_unix.OF_SOCKET),
        "select": set(without_unix.OF_SELECT),
    }
    for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name in without_unix.MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in without_unix.MODULES:
            yield node.lineno, node.module
        elif isinstance(node, ast.ImportFrom):
            named = gone.get(node.module or "", set())
            yield from ((node.lineno, a.name) for a in node.names if a.name in named)
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in gone.get(node.value.id, ())
        ):
            yield node.lineno, node.attr


def test_only_one_module_of_the_client_names_what_windows_lacks():
    """`os.open` and `os.readlink` too: bare, they would damage bytes and paths there."""
    found = [
        f"{path}:{line}: {name}"
        for path in [*client_files(), "main.py"]
        if path != ONE_MODULE
        for line, name in unix_only(path)
        if name not in LINUX_ONLY.get(path, ())
    ]
    assert found == []
    assert {name for _, name in unix_only(ONE_MODULE)} >= {"fcntl", "fchmod", "open", "readlink"}


# What it does


def test_a_lock_keeps_others_out_until_its_file_is_closed(tmp_path):
    with (tmp_path / "lock").open("wb") as one, (tmp_path / "lock").open("rb") as other:
        assert portable.locked(one)
        assert not portable.locked(other)
        one.close()
        assert portable.locked(other)


def test_who_waits_for_a_lock_gets_it(tmp_path):
    with (tmp_path / "lock").open("wb") as one, (tmp_path / "lock").open("wb") as other:
        assert portable.locked(one)
        waiting = threading.Thread(target=portable.locked, args=(other,), kwargs={"wait": True})
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        one.close()
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_folder_takes_no_name_that_somebody_has(tmp_path):
    for name in ("source", "taken"):
        (tmp_path / name).mkdir()
    with pytest.raises(FileExistsError):
        portable.move_folder(tmp_path / "source", tmp_path / "taken")
    portable.move_folder(tmp_path / "source", tmp_path / "free")
    assert (tmp_path / "free").is_dir()
    assert not (tmp_path / "source").exists()


@pytest.mark.parametrize(
    ("paths", "unfit"),
    [
        (["predict.py", "artifacts/model.pkl", "a b/ü.txt", ".hidden", "a/.b/console.txt"], ""),
        (["nullable.csv", "a/com10", "common/aux1", "x.con"], ""),
        (["notes:v1.txt"], "notes:v1.txt"),
        (["artifacts/what?.csv"], "artifacts/what?.csv"),
        (["a\\b"], "a\\b"),
        (["tab\tbed"], "tab\tbed"),
        (["artifacts/aux.json"], "artifacts/aux.json"),
        (["con/predict.py"], "con/predict.py"),
        (["a/COM1"], "a/COM1"),
        (["a/Nul .tar.gz"], "a/Nul .tar.gz"),
        (["ends./x"], "ends./x"),
        (["ends "], "ends "),
        (["Model.pkl", "model.pkl"], "model.pkl"),
    ],
)
def test_names_that_windows_cannot_hold_are_known(paths, unfit):
    assert portable.unfit_on_windows(paths) == unfit
    assert portable.unfit_here(paths) == ""


def test_where_a_link_leads_is_said_as_it_is_written(tmp_path):
    (tmp_path / "link").symlink_to("./there/../here")
    assert portable.target_of(tmp_path / "link") == "./there/../here"


def test_a_part_of_a_file_is_read_from_its_place(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    fd = portable.opened(tmp_path / "file", os.O_RDONLY)
    assert (portable.read_at(fd, 3, 5), portable.read_at(fd, 3, 9)) == (b"567", b"9")
    os.close(fd)
