"""What the one file unpacks only when it is asked for. The file itself: tests/packaging."""

import fcntl
import io
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import frozen

NAMES = [f"app/scoring/deep/{number}.py" for number in range(200)]


@pytest.fixture
def packed():
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name in (*NAMES, "app/scoring_other/no.py"):
            archive.writestr(name, name)
    return zipfile.ZipFile(held)


@pytest.mark.parametrize("place", frozen.FOLDERS_LATE)
def test_folders_lie_in_the_sources(place):
    assert any(frozen.folder(place).rglob("*.*"))


def test_whoever_asks_finds_all_files_or_none(packed, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "UNPACKED", tmp_path)

    def found(_):
        frozen._unpack(packed, "app/scoring")
        return sum(1 for each in (tmp_path / "app/scoring").rglob("*.py"))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(found, range(16))) == [len(NAMES)] * 16
    assert (tmp_path / NAMES[7]).read_text() == NAMES[7]
    assert [each.name for each in tmp_path.iterdir()] == ["app"]
    assert [each.name for each in (tmp_path / "app").iterdir()] == ["scoring"]


def test_folder_that_is_in_use_is_locked_against_whoever_clears_tmp(tmp_path):
    """As systemd-tmpfiles looks, which passes over it then, however old it is."""
    own = tmp_path / "_MEIown"
    own.mkdir()
    frozen.sweep(own)
    fd = os.open(own, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)
