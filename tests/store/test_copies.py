"""A store of a newer program is only read; a damaged one has copies that can be put back."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from app.errors import Damaged, Problem
from app.services import reviving
from app.store import Store, copies
from app.store.database import Database
from app.store.looking import look
from app.store.migrations import MIGRATIONS, migrate, version
from app.store.recorded import Recorded
from app.workspace import Workspace


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


def age(path, days):
    then = time.time() - days * copies.DAY - 1
    os.utime(path, (then, then))


def test_copy_with_models_is_kept_when_the_store_has_none_any_more(home):
    copies.keep_daily(home)
    age(home / copies.DAILY, 1)
    (home / "store.sqlite").unlink()  # by mistake, say
    with Store.open(home):
        pass
    assert copies.keep_daily(home)
    assert sorted(each.models for each in copies.copies(home)) == [0, 1]


def test_copy_is_kept_when_the_store_is_put_aside(home):
    copies.keep_daily(home)
    age(home / copies.DAILY, 1)
    damage(home)
    copies.set_aside(home)
    with Store.open(home) as store:
        store.models.add("other", "/other")
        store.models.add("third", "/third")
    copies.keep_daily(home)
    assert sorted(each.models for each in copies.copies(home)) == [1, 2]


def test_copy_of_the_future_is_renewed(home):
    """The clock was set back since."""
    copies.keep_daily(home)
    age(home / copies.DAILY, -300)
    assert copies.keep_daily(home)


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE more(x)")
connection.executemany("INSERT INTO more VALUES(?)", [("x" * 4000,)] * 500)
os.kill(os.getpid(), 9)
"""


def test_commit_that_was_cut_off_is_no_damage(home):
    subprocess.run([sys.executable, "-c", KILLED, home / "store.sqlite"], check=False)
    assert (home / "store.sqlite-journal").stat().st_size > 1000
    assert look(home / "store.sqlite")["state"] == "unread"
    assert reviving.damage(Workspace(home)) is None
    assert look(home / "store.sqlite")["state"] == "ok"
    with Store.open(home) as store:
        assert store.check() == []
        assert [each.name for each in store.models.all()] == ["churn"]


def test_store_that_somebody_holds_is_no_damage(home):
    with closing(sqlite3.connect(home / "store.sqlite", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        assert look(home / "store.sqlite")["state"] == "unread"
        assert reviving.damage(Workspace(home)) is None


PUT_BACK = "import sys; from pathlib import Path; from app.store import copies\n" + (
    "copies.put_back(Path(sys.argv[1]), Path(sys.argv[2]))"
)


def test_there_is_a_store_at_every_moment_of_its_replacing(home):
    copy = copies.keep_daily(home)
    before = (home / "store.sqlite").read_bytes()
    environ = {**os.environ, "RHYTHMICML_CRASH_AT": "store-aside"}
    command = [sys.executable, "-c", PUT_BACK, home, copy]
    assert subprocess.run(command, env=environ, check=False).returncode == -signal.SIGKILL
    assert (home / "store.sqlite").read_bytes() == before
    assert copies.put_back(home, copies.copies(home)[0].path)
    assert not (home / ".store.sqlite.back").exists()
