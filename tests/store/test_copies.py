"""A store of a newer program is only read; a damaged one has copies that can be put back."""

import os
import time
from contextlib import closing

import pytest

from app.errors import Damaged, Problem
from app.store import Store, copies
from app.store.database import Database
from app.store.migrations import MIGRATIONS, migrate, version
from app.store.recorded import Recorded


@pytest.fixture
def home(tmp_path):
    with Store.open(tmp_path / "home") as store:
        store.models.add("churn", "/churn")
        store.settings.set("theme", "dark")
    return tmp_path / "home"


def newer(path):
    with closing(Database(path)) as database:
        database.execute("ALTER TABLE models ADD COLUMN colour TEXT")
        database.execute("PRAGMA user_version = 999")
    return path.read_bytes()


def test_a_newer_store_can_be_read_and_not_changed(home):
    before = newer(home / "store.sqlite")
    with Store.open(home) as store:
        assert "newer RhythmicML" in store.refusal.what
        assert "999" in store.refusal.detail
        assert [each["name"] for each in store.models.overview()] == ["churn"]
        assert store.settings.get("theme") == "dark"
        for change in (
            lambda: store.settings.set("theme", "light"),
            lambda: store.models.add("other", "/other"),
            lambda: store.jobs.add("deploy", "churn"),
            store.collect,
        ):
            with pytest.raises(Problem, match="newer RhythmicML: it can be read, not changed"):
                change()
    assert (home / "store.sqlite").read_bytes() == before


def test_what_was_recorded_by_a_newer_program_can_be_read(home):
    with Recorded(home) as recorded:
        recorded.heard("local", 1.0, 0.0)
    with closing(Database(home / "monitoring.sqlite")) as database:
        database.execute("PRAGMA user_version = 999")
    with Recorded(home) as recorded:
        assert list(recorded.hosts()) == ["local"]
        with pytest.raises(Problem, match="newer"):
            recorded.heard("local", 2.0, 0.0)


def test_the_copy_before_a_migration_is_whole_and_can_be_put_back(home):
    with closing(Database(home / "store.sqlite")) as database:
        migrate(database, (*MIGRATIONS, "DROP TABLE settings"))
    [copy] = copies.copies(home)
    assert (copy.path.name, copy.models) == (f"store.sqlite.before-{len(MIGRATIONS) + 1}", 1)
    (home / "store.sqlite").write_bytes(b"gone" * 2000)
    aside = copies.put_back(home, copy.path)
    with Store.open(home) as store:
        assert store.settings.get("theme") == "dark"
    assert (aside / "store.sqlite").read_bytes() == b"gone" * 2000
    assert (home / "store.sqlite").stat().st_mode & 0o077 == 0


def test_without_room_for_the_copy_nothing_is_migrated(home):
    blocked = home / f"store.sqlite.before-{len(MIGRATIONS) + 1}"
    blocked.mkdir()  # what cannot be written
    with closing(Database(home / "store.sqlite")) as database:
        with pytest.raises((Problem, OSError)):
            migrate(database, (*MIGRATIONS, "DROP TABLE settings"))
        assert version(database) == len(MIGRATIONS)


def test_a_copy_is_kept_once_a_day(home):
    assert copies.keep_daily(home) == home / copies.DAILY
    assert copies.keep_daily(home) is None
    long_ago = time.time() - copies.DAY - 1
    os.utime(home / copies.DAILY, (long_ago, long_ago))
    with Store.open(home) as store:
        store.models.add("second", "/second")
    assert copies.keep_daily(home)
    assert copies.copies(home)[0].models == 2


def test_a_damaged_store_does_not_take_the_place_of_its_copy(home):
    copies.keep_daily(home)
    long_ago = time.time() - copies.DAY - 1
    os.utime(home / copies.DAILY, (long_ago, long_ago))
    damage(home)
    assert copies.keep_daily(home) is None
    assert copies.copies(home)[0].models == 1


def damage(home):
    """As a disk does: some pages in the middle are something else."""
    path = home / "store.sqlite"
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = os.urandom(len(content) - 8192)
    path.write_bytes(content)


def test_a_damaged_store_names_the_newest_copy(home):
    copies.keep_daily(home)
    damage(home)
    with pytest.raises(Damaged) as raised, Store.open(home) as store:
        store.models.overview()
    assert raised.value.remedy.endswith(f'restore-store "{home / copies.DAILY}"')


@pytest.mark.parametrize("content", [b"", b"no store" * 1000])
def test_what_is_no_sound_copy_is_not_put_back(home, content):
    before = (home / "store.sqlite").read_bytes()
    bad = home / "store.sqlite.daily"
    bad.write_bytes(content)
    assert copies.copies(home) == []
    with pytest.raises(Problem, match="no sound copy"):
        copies.put_back(home, bad)
    assert (home / "store.sqlite").read_bytes() == before
