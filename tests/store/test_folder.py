import os
import socket
import time

import pytest

from app.errors import Problem
from app.store.folder import scan


def write(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


def paths(folder):
    return [found.path for found in scan(folder)]


def test_every_file_is_found_hidden_ones_too_in_order(tmp_path):
    write(tmp_path, "b", "a/z", "a/.hidden", ".env", "ä/ö", "a.txt")
    assert paths(tmp_path) == [".env", "a.txt", "a/.hidden", "a/z", "b", "ä/ö"]


def test_what_is_never_versioned_is_left_out(tmp_path):
    write(tmp_path, "predict.py", ".git/HEAD", "a/__pycache__/x.pyc", ".venv/bin/python")
    write(tmp_path, "n/.ipynb_checkpoints/x", ".DS_Store", "a/.rhythmicml-writing-1")
    assert paths(tmp_path) == ["predict.py"]


def test_the_ignore_file_goes_by_gits_rules(tmp_path):
    write(tmp_path, "a.log", "keep.log", "data/x", "deep/data/y", "deep/a.log", "top", "deep/top")
    write(tmp_path, "b/only/c")
    rules = ["# comment", "", "*.log", "!keep.log", "data/", "/top", "b/**/c"]
    (tmp_path / ".rhythmicmlignore").write_text("\n".join(rules))
    assert paths(tmp_path) == [".rhythmicmlignore", "deep/top", "keep.log"]


def test_nothing_comes_back_from_an_ignored_folder(tmp_path):
    write(tmp_path, "data/x", "data/keep")
    (tmp_path / ".rhythmicmlignore").write_text("data/\n!data/keep\n")
    assert paths(tmp_path) == [".rhythmicmlignore"]


def test_an_unreadable_ignore_file_is_a_problem(tmp_path):
    (tmp_path / ".rhythmicmlignore").write_bytes(b"\xff")
    with pytest.raises(Problem, match="as text"):
        scan(tmp_path)


def test_executables_are_marked(tmp_path):
    write(tmp_path, "run.sh", "data")
    (tmp_path / "run.sh").chmod(0o755)
    assert [found.executable for found in scan(tmp_path)] == [False, True]


def test_links_inside_are_kept_as_links(tmp_path):
    write(tmp_path, "a/model", "b")
    (tmp_path / "a" / "up").symlink_to("../b")
    (tmp_path / "folder").symlink_to("a")
    (tmp_path / "nowhere").symlink_to("not-there")
    links = {found.path: found.target for found in scan(tmp_path) if found.target}
    assert links == {"a/up": "../b", "folder": "a", "nowhere": "not-there"}


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "a/../../outside", "hop"])
def test_links_that_lead_outside_are_refused(tmp_path, target):
    folder = tmp_path / "model"
    write(folder, "a/x")
    write(tmp_path, "outside")
    if target == "hop":
        (folder / "a" / "out").symlink_to(tmp_path)
        (folder / ".rhythmicmlignore").write_text("a/out\n")
        target = "a/out/outside"
    (folder / "link").symlink_to(target)
    with pytest.raises(Problem, match=r'link "link" leads outside'):
        scan(folder)


def test_a_folder_that_is_a_link_itself_is_fine(tmp_path):
    write(tmp_path / "real", "a")
    (tmp_path / "real" / "b").symlink_to("a")
    (tmp_path / "link").symlink_to("real")
    assert paths(tmp_path / "link") == ["a", "b"]


def test_sockets_and_pipes_are_refused_unless_ignored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(Problem, match='"pipe" is a pipe'):
        scan(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("door")
        (tmp_path / "pipe").unlink()
        with pytest.raises(Problem, match='"door" is a socket'):
            scan(tmp_path)
        (tmp_path / ".rhythmicmlignore").write_text("door\n")
        assert paths(tmp_path) == [".rhythmicmlignore"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_devices_are_refused(tmp_path):
    os.mknod(tmp_path / "null", 0o600 | 0o020000, os.makedev(1, 3))
    with pytest.raises(Problem, match="is a device"):
        scan(tmp_path)


def test_names_that_are_not_utf8_are_refused(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9")).write_text("x")
    with pytest.raises(Problem, match="is not UTF-8"):
        scan(tmp_path)


def test_a_missing_folder_is_a_problem(tmp_path):
    with pytest.raises(Problem, match="is not there"):
        scan(tmp_path / "gone")


def test_odd_names_are_names(tmp_path):
    odd = ["a b", "new\nline", "-rf", "*", "quo\"te'", "tab\t", "$HOME", "~"]
    write(tmp_path, *odd)
    assert paths(tmp_path) == sorted(odd)


def test_the_stat_tells_a_rewrite_of_the_same_size(tmp_path):
    write(tmp_path, "a")
    before = scan(tmp_path)[0].stat
    time.sleep(0.02)
    (tmp_path / "a").write_text("b")
    assert scan(tmp_path)[0].stat != before
