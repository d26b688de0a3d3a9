"""A backup of the store has everything, is checked byte by byte, and comes back whole or not."""

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess

import pytest
from client import Client, Failed, write_model

from app import jobs
from app.errors import Busy, Problem
from app.services import backups, models, orders, verifying, versions
from app.services.orders import Order
from app.store.database import Database
from app.store.migrations import MIGRATIONS, migrate
from app.workspace import Workspace


def backup(work, folder):
    *_, result = backups.backup(work, folder)
    return result.data


def restore(work, folder=None):
    *_, result = backups.restore(work, folder)
    return result.data


def commit(work, folder, factor):
    write_model(folder, folder.name, factor=factor)
    versions.commit(work, folder.name, f"times {factor}")


@pytest.fixture
def work(tmp_path):
    """Two models, the first with two versions."""
    work = Workspace(tmp_path / "home")
    for name in ("churn", "fraud"):
        models.add(work, write_model(tmp_path / name, name))
        commit(work, tmp_path / name, 2.0)
    commit(work, tmp_path / "churn", 3.0)
    return work


@pytest.fixture
def client(work):
    return Client(work.home)


@pytest.fixture
def kept(work, tmp_path):
    backup(work, tmp_path / "kept")
    return tmp_path / "kept"


@pytest.fixture
def other(tmp_path):
    """A machine that has nothing yet."""
    return Workspace(tmp_path / "other")


def everything(work):
    """What the program says of all that it remembers."""
    with work.open_store() as store:
        found = {each.name: (each, store.versions.all(each)) for each in store.models.all()}
    return {name: (*said, versions.show(work, name)) for name, said in found.items()}


def findings(work):
    *_, result = verifying.verify(work)
    return result.data["findings"]


def blobs_of(folder):
    return sorted(path for path in (folder / "blobs").glob("??/*"))


def spoil(path):
    path.chmod(0o600)
    path.write_bytes(b"x")


def test_new_machine_has_it_all_from_a_backup(client, work, tmp_path, other):
    """As a person does it, by two commands."""
    client("backup", str(tmp_path / "kept"))
    (tmp_path / "churn" / "predict.py").unlink()
    done = Client(other.home)("restore-store", str(tmp_path / "kept"))
    assert (done["models"], done["versions"]) == (2, 3)
    assert everything(other) == everything(work)
    assert findings(other) == []
    versions.restore(other, "churn@1", discard=True)
    assert (tmp_path / "churn" / "predict.py").exists()
    models.add(other, write_model(tmp_path / "third", "third"))
    assert versions.commit(other, "third").version.number == 1


def test_second_backup_copies_what_is_new_and_drops_what_nothing_needs(work, kept, tmp_path, other):
    before = {path: path.stat().st_mtime_ns for path in blobs_of(kept)}
    commit(work, tmp_path / "churn", 9.0)
    models.remove(work, "fraud")
    done = backup(work, kept)
    after = {path: path.stat().st_mtime_ns for path in blobs_of(kept)}
    assert len(after) == done["blobs"] + len(done["files"])
    assert before.keys() - after.keys()  # what only fraud had, and the rows of before
    assert {path: before[path] for path in before.keys() & after.keys()}.items() <= after.items()
    restore(other, kept)
    assert everything(other) == everything(work)


def test_restore_is_taken_back_and_taken_back_again(work, kept, tmp_path, client):
    old = everything(work)
    commit(work, tmp_path / "churn", 9.0)
    models.remove(work, "fraud")
    new = everything(work)
    restore(work, kept)
    assert everything(work) == old
    client("restore-store", "--undo")
    assert everything(work) == new
    assert findings(work) == []
    restore(work)
    assert everything(work) == old
    assert findings(work) == []


@pytest.mark.parametrize("seed", range(5))
def test_one_wrong_byte_anywhere_is_found_and_changes_nothing(work, kept, seed):
    chance = random.Random(seed)
    models.remove(work, "fraud")
    before = everything(work)
    hurt = chance.choice([path for path in blobs_of(kept) if path.stat().st_size])
    content = bytearray(hurt.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    hurt.chmod(0o600)
    hurt.write_bytes(content)
    with pytest.raises(Problem, match="cannot be read as written"):
        restore(work, kept)
    assert everything(work) == before
    assert findings(work) == []


def test_damaged_files_of_a_backup_are_mended_by_the_next_one(work, kept, other):
    for hurt in blobs_of(kept):
        spoil(hurt)
    backup(work, kept)
    restore(other, kept)
    assert everything(other) == everything(work)


def test_damaged_file_of_the_store_is_not_kept_as_if_it_were_whole(work, tmp_path):
    spoil(max(blobs_of(work.home), key=lambda path: path.stat().st_size))
    with pytest.raises(Problem, match="is damaged"):
        backup(work, tmp_path / "kept")
    assert not (tmp_path / "kept" / "backup.json").exists()


def test_what_never_was_here_hinders_neither_backup_nor_restore(work, tmp_path, other):
    """As after `adopt`: what `exclude` never shipped is named by a version, and nowhere."""
    write_model(tmp_path / "fraud", "fraud")
    (tmp_path / "fraud" / "notebook.ipynb").write_text("{}")
    versions.commit(work, "fraud", "")
    gone = hashlib.sha256(b"{}").hexdigest()
    (work.home / "blobs" / gone[:2] / gone).unlink()
    *_, result = backups.backup(work, tmp_path / "kept")
    assert result.data["missing"] == [gone]
    assert "1 file is missing here, so not in it: rhythmicml verify" in result.text
    assert restore(other, tmp_path / "kept")["missing"] == [gone]
    assert everything(other) == everything(work)
    assert restore(other, tmp_path / "kept")["missing"] == [gone], "what is here is kept first"
    restore(other)
    assert everything(other) == everything(work)


def test_killed_in_the_middle_of_the_change_leaves_the_store_as_it_was(client, work, kept):
    models.remove(work, "fraud")
    before = everything(work)
    client.environ["RHYTHMICML_CRASH_AT"] = "rows-replaced"
    killed = client.start("restore-store", str(kept))
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert everything(work) == before
    restore(work, kept)
    assert sorted(everything(work)) == ["churn", "fraud"]


def test_killed_while_it_copies_leaves_the_backup_of_before(client, work, kept, tmp_path, other):
    old = json.loads((kept / "backup.json").read_text())
    commit(work, tmp_path / "churn", 9.0)
    client.environ["RHYTHMICML_CRASH_AT"] = "blobs-renamed"
    killed = client.start("backup", str(kept))
    killed.communicate(timeout=60)
    assert killed.returncode == -9
    assert json.loads((kept / "backup.json").read_text()) == old
    restore(other, kept)
    assert [each.number for each in versions.versions(other, "churn")] == [2, 1]


@pytest.mark.parametrize("place", ["home", "home/inside", "full", "a-file", "a-file/below"])
def test_folders_that_are_no_place_for_a_backup_are_refused(work, tmp_path, place):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    (tmp_path / "a-file").write_text("mine")
    with pytest.raises(Problem, match=str(tmp_path / place)):
        backup(work, tmp_path / place)
    assert os.listdir(tmp_path / "full") == ["thesis.tex"]


@pytest.mark.parametrize("said", [b"", b"[]", b'{"format": 1}', b'{"files": 1}'])
def test_what_is_no_backup_is_a_problem(work, client, tmp_path, said):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "backup.json").write_bytes(said)
    with pytest.raises(Failed) as refused:
        client("restore-store", str(folder))
    assert "is no backup that can be read" in refused.value.problem["what"]
    with pytest.raises(Problem, match="nothing can be taken back"):
        restore(work)


@pytest.mark.parametrize("key", ["made", "models", "versions", "bytes"])
@pytest.mark.parametrize("value", [None, []])
def test_backup_that_does_not_say_what_it_is_changes_nothing(work, kept, tmp_path, key, value):
    commit(work, tmp_path / "churn", 9.0)
    before = everything(work)
    said = json.loads((kept / "backup.json").read_text())
    del said[key]
    (kept / "backup.json").write_text(json.dumps(said if value is None else {**said, key: value}))
    with pytest.raises(Problem, match="is no backup that can be read"):
        restore(work, kept)
    assert everything(work) == before


def test_what_a_file_manager_leaves_among_the_blobs_hinders_nothing(work, kept, tmp_path):
    for blobs in (work.home / "blobs", kept / "blobs"):
        folder = next(blobs.glob("[0-9a-f]?"))
        for name in (".DS_Store", "._x", f"{folder.name}~", "x" * 64, "f" * 63):
            (folder / name).write_bytes(b"not ours")
    commit(work, tmp_path / "churn", 9.0)
    versions.remove(work, "churn@1")
    models.remove(work, "fraud")
    backup(work, kept)
    assert findings(work) == []
    with work.open_store() as store:
        store.collect(0)
    assert len(list(kept.glob("blobs/??/.DS_Store"))) == 1, "nor is it ours to delete"


def test_backup_of_a_newer_program_is_refused(work, kept):
    path = kept / "backup.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(Problem, match="newer RhythmicML"):
        restore(work, kept)


def test_backup_of_an_older_program_is_brought_up_to_date(work, kept, tmp_path):
    old = tmp_path / "old.sqlite"
    database = Database(old)
    migrate(database, MIGRATIONS[:1])
    stamp = "2020-01-01T00:00:00.000Z"
    database.execute("INSERT INTO models VALUES (7, 'ancient', '/tmp/ancient', ?)", [stamp])
    database.close()
    digest = hashlib.sha256(old.read_bytes()).hexdigest()
    (kept / "blobs" / digest[:2]).mkdir(exist_ok=True)
    shutil.copy(old, kept / "blobs" / digest[:2] / digest)
    said = json.loads((kept / "backup.json").read_text())
    said["files"]["store.sqlite"] = digest
    (kept / "backup.json").write_text(json.dumps(said))
    restore(work, kept)
    with work.open_store() as store:
        assert [each.name for each in store.models.all()] == ["ancient"]
        assert store.models.add("next", "/tmp/next").id == 8


def test_nothing_in_it_is_secret_and_nobody_else_may_read_it(work, tmp_path):
    (work.home / "secrets.json").write_text('{"secret KEY of churn": "hush-4711"}')
    (work.home / "ui-token").write_text("token-4711")
    backup(work, tmp_path / "kept")
    kept = tmp_path / "kept"
    closed = [kept, *kept.iterdir()]  # what is within `blobs` can be reached by nobody else
    assert [path for path in closed if path.stat().st_mode & 0o077] == []
    assert [p for p in kept.rglob("*") if p.is_file() and b"4711" in p.read_bytes()] == []


def test_somebody_who_writes_meanwhile_loses_nothing(client, work, kept, tmp_path):
    with work.open_store() as store:
        stamp = store.copy_rows(tmp_path / "copy.sqlite")
        client("rename", "fraud", "thief")
        with pytest.raises(Busy):
            store.replace_rows(tmp_path / "copy.sqlite", stamp)
    assert sorted(everything(work)) == ["churn", "thief"]


def test_somebody_who_never_stops_writing_sees_it_whole_or_not_at_all(client, work, kept):
    models.rename(work, "fraud", "thief")
    argv = client.argv("restore-store", str(kept), "--json")
    running = subprocess.Popen(argv, env=client.environ, stdout=subprocess.PIPE, stderr=-3)
    while running.poll() is None:
        with work.open_store() as store:
            store.settings.set("seen", os.urandom(8).hex())
    said = json.loads(running.communicate()[0])
    names = sorted(everything(work))
    if running.returncode:
        assert (said["error"]["kind"], names) == ("Busy", ["churn", "thief"])
    else:
        assert names == ["churn", "fraud"]
    with sqlite3.connect(work.home / "store.sqlite") as rows:
        assert rows.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert rows.execute("PRAGMA foreign_key_check").fetchall() == []
    rows.close()


def test_jobs_stay_and_one_at_work_is_waited_for(work, kept):
    with work.open_store() as store:
        number = store.jobs.add("deploy", "churn").id
    with pytest.raises(Busy):
        restore(work, kept)
    with work.open_store() as store:
        store.jobs.finish(number, "done")
    job = orders.start(work, Order("restore-store", str(kept)))
    for thread in jobs.unfinished():
        thread.join(30)
    with work.open_store() as store:
        assert [store.jobs.get(each).state for each in (number, job)] == ["done", "done"]
        assert store.jobs.events(job)[-1][1].kind == "result"
