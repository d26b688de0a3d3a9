"""A version's files a folder at a time, beside what the whole manifest says."""

import random

import pytest

from app.errors import Problem
from app.models import FileEntry
from app.store import listing, manifest

HARD = (
    *('a"],["b', "a\\", 'x",5,true,', "new\nline", "ümläut/Größe.txt", "t/\x01", "😀/😀"),
    *("x],[", 'y"],[', "z/],[", "w],[\\"),
    *("data.csv", "data/a.csv", "data/b/c.csv", "data-old/a.csv", "data/b-c.csv", "data0"),
)


@pytest.fixture
def opened(tmp_path):
    def of(files):
        (tmp_path / "blob").write_bytes(manifest.render(files))
        return listing.opened((tmp_path / "blob").open("rb"))

    return of


def files_of(paths):
    dice = random.Random(3)
    return [
        FileEntry(path, "" if n % 5 == 0 else f"{n:064x}", dice.randrange(10**6), n % 2 == 0,
                  dice.choice(['to,",",', "to],[", 'to"],[']) if n % 5 == 0 else "")
        for n, path in enumerate(paths)
    ]  # fmt: skip


def all_of(listed, folder, most):
    found, page = [], listed.under(folder, "", most)
    found += page.entries
    while page.more:
        page = listed.under(folder, page.entries[-1].path, most)
        found += page.entries
    return found


def expected(files, folder):
    below = {}
    for file in sorted(files, key=lambda each: each.path):
        if file.path.startswith(folder):
            name, *more = file.path.removeprefix(folder).split("/", 1)
            below.setdefault(folder + name + "/" * bool(more), []).append(file)
    return [
        listing.Folder(path, len(held), sum(each.size for each in held))
        if path.endswith("/") else held[0]
        for path, held in below.items()
    ]  # fmt: skip


@pytest.mark.parametrize("most", [1, 2, 1000])
def test_each_folder_holds_what_the_manifest_says(opened, most):
    dice = random.Random(1)
    some = {"/".join(dice.choices(["a", "b", "ü", 'q"', "-", "0"], k=dice.randint(1, 4)))
            for _ in range(300)}  # fmt: skip
    folders = {path.rpartition("/")[0] + "/" for path in some if "/" in path}
    paths = {path for path in some if path + "/" not in folders
             and not any(each.startswith(path + "/") for each in some)} | set(HARD)  # fmt: skip
    files = files_of(sorted(paths))
    with opened(files) as listed:
        for folder in ("", "data/", "data/b/", "nowhere/", "ümläut/", *sorted(folders)):
            assert all_of(listed, folder, most) == expected(files, folder), folder


def test_a_text_is_found_in_paths_alone_and_all_are_counted(opened):
    files = files_of(HARD)
    with opened(files) as listed:
        found = listed.having("GRÖSSE", 10)
        assert [each.path for each in found.entries] == ["ümläut/Größe.txt"]
        assert listed.having("0000", 10).entries == ()
        assert listed.having('"],["', 10).files == 1
        found = listed.having("data", 2)
        assert (len(found.entries), found.more, found.files) == (2, True, 6)
        assert found.size == sum(each.size for each in files if "data" in each.path)


def test_a_version_without_files_has_none(opened):
    with opened([]) as listed:
        assert listed.under("", "", 5) == listing.Page((), False)
        assert listed.having("a", 5) == listing.Page((), False, 0, 0)


@pytest.mark.parametrize("held", [b"", b"[]", b'{"files":[["a",1', b"\xff" * 40])
def test_a_damaged_one_is_said_to_be(tmp_path, held):
    (tmp_path / "blob").write_bytes(held)
    with (
        pytest.raises(Problem, match="damaged"),
        listing.opened((tmp_path / "blob").open("rb")) as listed,
    ):
        listed.under("", "", 5)
