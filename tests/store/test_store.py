import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.errors import Busy, NotFound, Problem
from app.models import Configuration, Event, FileEntry, Instance, Location
from app.store import Store, manifest
from app.store.blobs import Stat, Stored
from app.store.database import Database
from app.store.migrations import ADOPTED, MIGRATIONS, migrate, version

ROOT = os.geteuid() == 0


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def store(home):
    with Store.open(home, patience=0.2) as opened:
        yield opened


def add_version(store, model, files=(), **kept):
    listed = store.blobs.put_bytes(manifest.render(files))
    lock = store.blobs.put_bytes(b"")
    values = {"digest": listed, "manifest": listed, "lock": lock, "size": 0, "files": len(files)}
    return store.versions.add(model, **values | {"configuration": Configuration()} | kept)


# Opening


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_the_user_may_look_inside_whatever_the_umask(home, mask):
    before = os.umask(mask)
    try:
        with Store.open(home) as store, store.write():
            store.settings.set("a", 1)
            store.blobs.put_bytes(b"x")
            modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in home.rglob("*")}
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.name.startswith("store")} == {0o600}
    assert any(path.name in ("store.sqlite-journal", "store.sqlite-wal") for path in modes)


def test_a_store_that_others_could_read_is_closed_to_them(home):
    with Store.open(home):
        pass
    home.chmod(0o755)
    (home / "store.sqlite").chmod(0o644)
    with Store.open(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert stat.S_IMODE((home / "store.sqlite").stat().st_mode) == 0o600


def test_the_connection_is_set_as_the_design_demands(store):
    def pragma(name):
        return store._database.tuples(f"PRAGMA {name}")[0][0]

    safe = sqlite3.sqlite_version_info >= (3, 51, 3)
    assert pragma("journal_mode") == ("wal" if safe else "truncate")
    assert (pragma("synchronous"), pragma("foreign_keys"), pragma("trusted_schema")) == (2, 1, 0)
    assert store.check() == []


@pytest.mark.parametrize("content", [b"not a database at all, but text" * 100, b"\0" * 5000])
def test_what_is_no_store_is_said_so_and_kept(home, content):
    home.mkdir()
    (home / "store.sqlite").write_bytes(content)
    with pytest.raises(Problem, match=r"is not a store|is damaged"):
        Store.open(home)
    assert (home / "store.sqlite").read_bytes() == content


def test_a_home_that_cannot_be_made_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot be opened"):
        Store.open(tmp_path / "file" / "home")


def test_a_store_belongs_to_its_thread(store):
    faults = []

    def look():
        try:
            store.models.all()
        except Problem as problem:
            faults.append(problem)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert "thread" in faults[0].cause


# Migrations

TWO = (*MIGRATIONS, "ALTER TABLE models ADD COLUMN note TEXT;\nCREATE TABLE extra (a);\n")
BROKEN = (*MIGRATIONS, "CREATE TABLE extra (a);\nCREATE TABLE models (a);\n")


def test_an_older_store_is_copied_then_migrated(home):
    with Store.open(home) as store:
        store.models.add("churn", "/churn")
    with closing(Database(home / "store.sqlite")) as database:
        migrate(database, TWO)
        assert version(database) == len(TWO)
        assert database.query("SELECT name, note FROM models") == [{"name": "churn", "note": None}]
    copy = home / f"store.sqlite.before-{len(TWO)}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(Database(copy)) as database:
        assert version(database) == len(MIGRATIONS)


def test_a_migration_that_fails_changes_nothing(home):
    with Store.open(home):
        pass
    with closing(Database(home / "store.sqlite")) as database:
        with pytest.raises(Problem):
            migrate(database, BROKEN)
        assert version(database) == len(MIGRATIONS)
        assert database.query("SELECT name FROM sqlite_master WHERE name = 'extra'") == []


@pytest.mark.parametrize("shape", [0, 1], ids=["new", "older"])
def test_processes_that_open_a_store_at_once_all_succeed(home, shape):
    home.mkdir(mode=0o700)
    with closing(Database(home / "store.sqlite")) as database:
        migrate(database, MIGRATIONS[:shape])
    code = "import sys; from pathlib import Path; from app.store import Store\n"
    code += "with Store.open(Path(sys.argv[1])) as store: store.settings.set(sys.argv[2], 1)"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(home), f"s{number}"])
        for number in range(6)
    ]
    assert [one.wait() for one in running] == [0] * 6
    with Store.open(home) as store:
        assert len(store.settings.all()) == 6
    assert [copy.name for copy in home.glob("*before*")] == ["store.sqlite.before-2"][:shape]


# Writing


def test_what_is_written_together_happens_or_not(store):
    def fail():
        with store.write():
            store.settings.set("a", 1)
            with store.write():
                store.settings.set("b", 2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.settings.all() == {}


def locked(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_store_locked_by_another_is_busy(home):
    with Store.open(home, patience=0.1) as store:
        with closing(locked(home / "store.sqlite")):
            with pytest.raises(Busy, match="in use by another process"):
                store.settings.set("a", 1)
            with pytest.raises(Busy):
                Store.open(home, patience=0.1)
        store.settings.set("a", 1)


def test_threads_that_read_then_write_lose_nothing(home):
    with Store.open(home) as store:
        store.settings.set("count", 0)

    def count():
        with Store.open(home) as mine:
            for _ in range(20):
                with mine.write():
                    mine.settings.set("count", mine.settings.get("count") + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store.open(home) as store:
        assert store.settings.get("count") == 80


@contextmanager
def small_disk(folder: Path, size: str):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.skipif(not ROOT, reason="only root can mount a small disk")
def test_a_full_disk_is_said_so_and_leaves_no_half_rows(home):
    with small_disk(home, "4m"), Store.open(home) as store:
        store.models.add("churn", "/churn")
        (home / "ballast").write_bytes(os.urandom(3_500_000))
        with pytest.raises(Problem, match=r"disk .*is full|disk is full"):
            store.blobs.put_bytes(os.urandom(2_000_000))
        with pytest.raises(Problem, match="disk is full"):
            store.settings.set("big", "x" * 2_000_000)
        assert store.settings.all() == {}
        (home / "ballast").unlink()
        store.settings.set("a", 1)
        assert store.check() == []
        assert list(store.blobs.all()) == []


@pytest.mark.skipif(not ROOT, reason="only root can mount a disk read-only")
def test_a_read_only_disk_is_said_so(home):
    with small_disk(home, "8m"):
        with Store.open(home) as store:
            blobs = store.blobs
        subprocess.run(["mount", "-o", "remount,ro", home], check=True)
        with pytest.raises(Problem, match="read-only"):
            blobs.put_bytes(b"x")
        with pytest.raises(Problem, match="cannot be opened") as raised:
            Store.open(home)
        assert raised.value.cause == "Read-only file system"


# Repositories


def test_models_are_added_renamed_moved_and_removed(store):
    churn = store.models.add("churn", "/churn")
    assert (churn.name, churn.folder) == ("churn", "/churn")
    assert store.models.get("churn") == store.models.in_folder("/churn") == churn
    assert store.models.rename("churn", "left").id == churn.id
    assert store.models.rename("left", "left").name == "left"
    assert store.models.move("left", "/there").folder == "/there"
    assert store.models.find("churn") is None
    store.models.remove("left")
    assert store.models.all() == []
    with pytest.raises(NotFound, match='No model "left" is known'):
        store.models.remove("left")


def test_names_are_unique(store):
    store.models.add("a", "/a")
    store.models.add("b", "/b")
    with pytest.raises(Problem, match='"a" is there already'):
        store.models.add("a", "/c")
    with pytest.raises(Problem, match='"a" is there already'):
        store.models.rename("b", "a")


def test_versions_are_numbered_from_one_per_model(store):
    a, b = store.models.add("a", "/a"), store.models.add("b", "/b")
    assert store.versions.latest(a) is None
    configuration = Configuration(name="a", batch=None, exclude=("x",))
    first = add_version(store, a, message="hello", author="ana", configuration=configuration)
    assert (first.number, first.message, first.configuration) == (1, "hello", configuration)
    assert [add_version(store, a).number, add_version(store, b).number] == [2, 1]
    assert [version.number for version in store.versions.all(a)] == [2, 1]
    assert store.versions.get(a, 1) == first
    assert store.versions.latest(a).number == 2
    with pytest.raises(NotFound, match='"a" has no version 3'):
        store.versions.get(a, 3)


def test_local_is_always_there(store):
    assert [place.name for place in store.locations.all()] == ["local"]
    assert store.locations.default().name == "local"
    with pytest.raises(Problem, match='"local" is this machine'):
        store.locations.remove("local")


def test_locations_are_added_changed_and_removed(store):
    place = store.locations.add(Location("srv", url="ssh://root@srv", default=True))
    assert place.default
    assert place.created
    assert [known.default for known in store.locations.all()] == [False, True]
    changed = store.locations.update(Location("srv", url="ssh://ana@srv", privilege="user"))
    assert (changed.url, changed.default, changed.created) == (
        "ssh://ana@srv",
        True,
        place.created,
    )
    with pytest.raises(Problem, match='"srv" is there already'):
        store.locations.add(Location("srv"))
    store.locations.remove("srv")
    assert store.locations.default().name == "local"
    for act in (store.locations.get, store.locations.remove, store.locations.set_default):
        with pytest.raises(NotFound, match='No location "srv"'):
            act("srv")
    with pytest.raises(NotFound):
        store.locations.update(Location("srv"))


def test_history_outlives_what_it_tells_of(store):
    store.models.add("churn", "/churn")
    number = store.deployments.start("churn", "local", "deploy", version=1, who="ana")
    assert store.deployments.last("churn").result == ""
    ended = store.deployments.finish(number, "done", "all well")
    assert (ended.result, ended.detail, ended.version) == ("done", "all well", 1)
    other = store.deployments.start("churn", "srv", "rollback")
    store.models.remove("churn")
    assert [one.id for one in store.deployments.for_model("churn")] == [other, number]
    assert store.deployments.for_model("churn", "local") == [ended]
    assert store.deployments.for_model("churn", limit=1)[0].id == other
    assert store.deployments.last("churn", "local") == ended
    assert store.deployments.last("nobody") is None


def test_history_and_instances_follow_a_new_name(store):
    store.models.add("churn", "/churn")
    store.deployments.start("churn", "local", "deploy")
    store.instances.upsert(Instance("churn", "local", 8101))
    store.models.rename("churn", "left")
    assert len(store.deployments.for_model("left")) == 1
    assert store.instances.get("left", "local").port == 8101


def test_instances_are_remembered_one_per_place(store):
    kept = store.instances.upsert(Instance("churn", "local", 8101, "v1-a", 1, "running"))
    assert kept.seen
    assert store.instances.get("churn", "local") == kept
    store.instances.upsert(Instance("churn", "local", 8101, "v2-b", 2, "running"))
    store.instances.upsert(Instance("churn", "srv"))
    assert [one.version for one in store.instances.all(model="churn")] == [2, None]
    assert store.instances.all(location="srv")[0].model == "churn"
    store.instances.remove("churn", "local")
    assert store.instances.get("churn", "local") is None


def test_versions_that_were_adopted_are_known_by_notes_of_before(tmp_path):
    """Of a store that knew it by the model's name then, which was changed twice since."""
    path = tmp_path / "older.sqlite"
    older = Database(path)
    migrate(older, MIGRATIONS[: MIGRATIONS.index(ADOPTED)])
    columns = "model_id, number, digest, message, author, created, manifest, lock, configuration"
    for model, name in enumerate(("last", "other"), 1):
        older.execute("INSERT INTO models(name, folder, created) VALUES(?, ?, 'x')", [name, name])
        for number in (1, 2, 12):
            older.execute(
                f"INSERT INTO versions({columns}, size, files)"
                f" VALUES({model}, {number}, '', '', '', '', '', '', '{{}}', 1, 1)"
            )
    for action, name, detail in (
        ("rename", "first", "from other to first"),
        ("adopt", "first", "v2, v12"),
        ("rename", "then", "from first to then"),
        ("rename", "last", "from then to last"),
    ):
        row = [action, name, detail]
        columns = "at, who, location, action, model, detail"
        older.execute(f"INSERT INTO notes({columns}) VALUES('', '', '', ?, ?, ?)", row)
    migrate(older)
    found = older.tuples("SELECT model_id, number FROM versions WHERE adopted ORDER BY number")
    older.close()
    assert found == [(1, 2), (1, 12)]


def test_a_job_keeps_what_it_said(store):
    job = store.jobs.add("deploy", "churn@3")
    assert (job.state, job.subject, job.cancelling) == ("running", "churn@3", False)
    events = [Event("step", "Send"), Event("progress", done=1, total=2, unit="B"), Event("done")]
    assert [store.jobs.heard(job.id, event) for event in events] == [1, 2, 3]
    assert store.jobs.events(job.id) == list(enumerate(events, 1))
    assert store.jobs.events(job.id, after=2) == [(3, events[2])]
    store.jobs.cancel(job.id)
    assert store.jobs.get(job.id).cancelling
    ended = store.jobs.finish(job.id, "done", {"port": 8101})
    assert (ended.state, ended.outcome, bool(ended.ended)) == ("done", {"port": 8101}, True)
    assert store.jobs.unfinished() == []
    assert store.jobs.all() == [ended]
    with pytest.raises(NotFound):
        store.jobs.get(99)


def test_only_jobs_of_dead_processes_are_marked_interrupted(home, store):
    mine = store.jobs.add("deploy")
    code = "import sys; from pathlib import Path; from app.store import Store\n"
    code += "with Store.open(Path(sys.argv[1])) as store: store.jobs.add('deploy')"
    subprocess.run([sys.executable, "-c", code, str(home)], check=True)
    assert [job.id for job in store.jobs.unfinished()] == [mine.id, mine.id + 1]
    assert [job.id for job in store.jobs.mark_interrupted()] == [mine.id + 1]
    assert store.jobs.get(mine.id + 1).state == "interrupted"
    assert store.jobs.unfinished() == [mine]


def test_settings_hold_any_json(store):
    assert store.settings.get("theme", "light") == "light"
    for value in ("dark", [1, None], {"a": True}):
        store.settings.set("theme", value)
        assert store.settings.get("theme") == value


def test_stats_are_not_kept_of_files_that_just_changed(store):
    model, now = store.models.add("a", "/a"), time.time_ns()
    second = 1_000_000_000

    def stored(changed: int) -> Stored:
        return Stored("d", Stat(1, changed, changed, 7), read_at_ns=now)

    settled, fresh = stored(now - 2 * second - 1), stored(now - 1000)
    whole = stored((now // second - 1) * second)
    kept = [("settled", settled), ("fresh", fresh), ("whole", whole)]
    store.stats.keep(model, kept)
    assert store.stats.all(model) == {"settled": (settled.stat, "d")}
    store.stats.forget(model, ["settled"])
    assert store.stats.all(model) == {}


# Clearing


def test_only_what_nothing_names_is_cleared(store):
    model = store.models.add("a", "/a")
    kept, lost = store.blobs.put_bytes(b"kept"), store.blobs.put_bytes(b"lost")
    locked = store.blobs.put_bytes(b"locked")
    store.locks.set("key", locked)
    add_version(store, model, [FileEntry("a", kept, 4)])
    assert store.collect().trashed == 0
    assert store.collect(grace=0).trashed_bytes == 4
    assert not store.blobs.has(lost)
    assert store.blobs.has(kept)
    assert store.blobs.has(locked)
    assert store.collect(grace=0).freed_bytes == 4


def test_the_files_of_a_removed_model_are_cleared(store):
    model = store.models.add("a", "/a")
    kept = store.blobs.put_bytes(b"kept")
    add_version(store, model, [FileEntry("a", kept, 4), FileEntry("link", target="a")])
    store.models.remove("a")
    assert store.collect(grace=0).trashed == 3
    assert list(store.blobs.all()) == []
