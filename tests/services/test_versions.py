import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import pytest

from app import dependencies
from app.cli.models import difference_words, shown_words
from app.errors import NotFound, Problem
from app.services import models, snapshot, verifying, versions
from app.services.versions import parse_reference
from app.store import manifest
from app.workspace import Workspace

PROJECT = Path(__file__).parents[2]
ALPHA = "--no-index\n--find-links ./wheels\nalpha\n"
PREDICT = "def predict(model, inputs):\n    return inputs\n"


@pytest.fixture
def work(tmp_path):
    return Workspace(tmp_path / "home")


@pytest.fixture
def folder(tmp_path, work):
    """A small model, tracked as churn."""
    made = tmp_path / "churn"
    write(made, {"predict.py": PREDICT, "requirements.txt": "", "artifacts/weights": "1 2 3\n"})
    models.add(work, made)
    return made


def write(folder: Path, texts: dict[str, str]) -> None:
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def publish_alpha(folder: Path, version: str) -> None:
    """A package that is found without a network."""
    info = f"alpha-{version}.dist-info"
    (folder / "wheels").mkdir(exist_ok=True)
    with ZipFile(folder / "wheels" / f"alpha-{version}-py3-none-any.whl", "w") as wheel:
        metadata = f"Metadata-Version: 2.1\nName: alpha\nVersion: {version}\n"
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def commit(work, message=""):
    return versions.commit(work, "churn", message)


def paths(work, reference="churn"):
    return [file.path for file in versions.show(work, reference).files]


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


# Commit


def test_a_commit_makes_the_first_version(work, folder):
    made = versions.commit(work, "churn", "hello", author="ana")
    assert made.new
    assert (made.version.number, made.version.message, made.version.author) == (1, "hello", "ana")
    assert [(change.path, change.kind) for change in made.changes] == [
        ("artifacts/weights", "added"),
        ("predict.py", "added"),
        ("requirements.txt", "added"),
    ]
    assert (made.version.files, made.version.size) == (3, len(PREDICT) + 6)
    with work.open_store() as store:
        listed = store.blobs.read(made.version.manifest)
        assert store.blobs.read(made.version.lock) == b""
        assert all(store.blobs.verify(file.digest) for file in manifest.parse(listed))


def test_what_was_left_out_is_filled_in(work, folder):
    write(folder, {"sample.json": "[[1]]"})
    configuration = commit(work).version.configuration
    assert configuration.sample == "sample.json"
    assert configuration.python == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_nothing_changed_makes_no_version(work, folder):
    first = commit(work).version
    again = commit(work, "again")
    assert (again.new, again.version, again.changes) == (False, first, ())
    os.utime(folder / "predict.py")
    assert not commit(work).new


def test_changes_are_told(work, folder):
    commit(work)
    (folder / "artifacts" / "weights").write_text("4 5 6\n")
    (folder / "requirements.txt").write_text("# none\n")
    write(folder, {"new": "x"})
    made = commit(work)
    assert [(change.path, change.kind, change.before, change.after) for change in made.changes] == [
        ("artifacts/weights", "changed", 6, 6),
        ("new", "added", None, 1),
        ("requirements.txt", "changed", 0, 7),
    ]
    assert [version.number for version in versions.versions(work, "churn")] == [2, 1]


def test_a_bit_of_permission_or_a_link_is_a_change(work, folder):
    commit(work)
    (folder / "predict.py").chmod(0o755)
    assert commit(work).new
    (folder / "latest").symlink_to("artifacts/weights")
    assert commit(work).new
    (folder / "latest").unlink()
    (folder / "latest").symlink_to("artifacts")
    assert commit(work).new


def test_going_back_to_old_content_is_a_version_that_needs_no_new_blob(work, folder):
    commit(work)
    write(folder, {"x": "1"})
    commit(work)
    (folder / "x").unlink()
    assert commit(work).version.number == 3
    shown = [versions.show(work, f"churn@{number}").version.digest for number in (1, 2, 3)]
    assert shown[0] == shown[2] != shown[1]


def test_a_rewrite_of_same_size_and_time_is_noticed(work, folder):
    weights = folder / "artifacts" / "weights"
    time.sleep(0.15)
    commit(work)
    status = weights.stat()
    weights.write_text("7 8 9\n")
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert commit(work).new


def test_an_unchanged_file_is_not_read_again(work, folder):
    time.sleep(0.15)
    commit(work)
    with work.open_store() as store:
        model = store.models.get("churn")
        cached = store.stats.all(model)
        assert set(cached) == {"predict.py", "requirements.txt", "artifacts/weights"}
    (folder / "artifacts" / "weights").unlink()
    commit(work)
    with work.open_store() as store:
        assert set(store.stats.all(model)) == {"predict.py", "requirements.txt"}


def test_what_was_read_of_a_model_that_is_gone_is_not_remembered(work, folder):
    with work.open_store() as store:
        model = store.models.get("churn")
        taken = snapshot.look(store, model)
        assert taken.read
        models.remove(work, "churn")
        snapshot.remember(store, model, taken)
        assert store.stats.all(model) == {}
    assert versions.uncommitted(work, ["churn"]) == {}


def test_ten_thousand_files_are_committed_and_found_unchanged(work, folder):
    for number in range(10_000):
        path = folder / "many" / str(number % 100)
        path.mkdir(parents=True, exist_ok=True)
        (path / str(number)).write_text(str(number % 2000))
    time.sleep(0.15)
    assert commit(work).version.files == 10_003
    assert not commit(work).new


def test_a_blob_that_went_missing_is_put_back(work, folder):
    time.sleep(0.15)
    commit(work)
    with work.open_store() as store:
        lost = {file.path: file.digest for file in versions.show(work, "churn").files}["predict.py"]
        store.blobs.path(lost).unlink()
        assert not commit(work).new
        assert store.blobs.verify(lost)


def test_a_new_python_or_lock_is_a_new_version(work, folder):
    commit(work)
    write(folder, {"rhythmicml.toml": '[dependencies]\npython = "3.12"\n'})
    assert commit(work).version.configuration.python == "3.12"


def test_unchanged_requirements_are_not_resolved_again(work, folder, monkeypatch):
    publish_alpha(folder, "1.0")
    write(folder, {"requirements.txt": ALPHA})
    commit(work)
    monkeypatch.setattr(dependencies, "find_uv", lambda: Path("/no/uv/here"))
    write(folder, {"new": "x"})
    assert commit(work).new
    with pytest.raises(Problem, match="uv could not be started"):
        versions.commit(work, "churn", relock=True)
    write(folder, {"requirements.txt": f"{ALPHA}# changed\n"})
    with pytest.raises(Problem, match="uv could not be started"):
        commit(work)
    assert versions.versions(work, "churn")[0].number == 2


def test_excluded_files_are_versioned(work, folder):
    write(folder, {"rhythmicml.toml": '[deploy]\nexclude = ["*.ipynb"]\n', "a.ipynb": "{}"})
    commit(work)
    assert "a.ipynb" in paths(work)


# What cannot be committed


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("predict.py", None, "prediction script"),
        ("predict.py", "def predict(:\n", "is not valid Python"),
        ("predict.py", "x = '\0'", "is not valid Python"),
        ("predict.py", "def score(): ...\n", 'no function "predict"'),
        ("requirements.txt", None, '"requirements.txt" is not in'),
        ("requirements.txt", "alpha >== 1\n", "cannot be understood"),
        ("sample.json", "{", "is not valid JSON"),
        ("sample.json", "[" * 100_000, "is not valid JSON"),
        ("rhythmicml.toml", '[predict]\nsample = "gone.json"\n', 'sample ".*gone.json" cannot'),
        ("rhythmicml.toml", "[predict\n", "is not valid TOML"),
        (".rhythmicmlignore", "predict.py\n", '"predict.py" is ignored'),
        (".rhythmicmlignore", "*.txt\n", '"requirements.txt" is ignored'),
    ],
)
def test_what_could_not_be_deployed_is_refused_and_nothing_is_kept(work, folder, path, text, said):
    if text is None:
        (folder / path).unlink()
    else:
        write(folder, {path: text})
    with pytest.raises(Problem, match=said) as raised:
        commit(work)
    assert raised.value.remedy
    assert versions.versions(work, "churn") == []


def test_a_syntax_error_names_its_line(work, folder):
    write(folder, {"predict.py": "import os\n\ndef predict(:\n"})
    with pytest.raises(Problem) as raised:
        commit(work)
    assert raised.value.detail == "line 3: def predict(:"


@pytest.mark.parametrize(
    "script",
    [
        "class Model: ...",
        "class ModelWrapper: ...",
        "from model import predict",
        "from model import run as predict",
        "from model import *",
        "predict = lambda model, inputs: inputs",
        "try:\n    from a import predict\nexcept ImportError:\n    def predict(m, i): ...",
        "if True:\n    def predict(m, i): ...",
        "import re\nre.compile('\\d')\nasync def predict(m, i): ...",
    ],
)
def test_every_way_to_write_a_predict_is_found(work, folder, script):
    write(folder, {"predict.py": script})
    assert commit(work).new


def test_the_script_is_never_run(work, folder):
    write(folder, {"predict.py": f"open({str(folder / 'ran')!r}, 'w')\n{PREDICT}"})
    commit(work)
    assert not (folder / "ran").exists()


def test_a_bytes_sample_need_not_be_json(work, folder):
    toml = '[predict]\ninput = "bytes"\nsample = "cat.png"\n'
    write(folder, {"rhythmicml.toml": toml, "cat.png": "not json"})
    assert commit(work).new


def test_a_missing_folder_is_a_problem(work, folder):
    folder.rename(folder.with_name("moved"))
    with pytest.raises(Problem, match="is not there"):
        commit(work)


def test_an_unknown_model_is_a_problem(work):
    with pytest.raises(NotFound, match='No model "gone"'):
        versions.commit(work, "gone")


# References, show


@pytest.mark.parametrize(
    ("reference", "meant"),
    [("churn", ("churn", None)), ("churn@3", ("churn", 3)), ("churn@v12", ("churn", 12))],
)
def test_references_name_a_model_and_perhaps_a_version(reference, meant):
    assert parse_reference(reference) == meant


@pytest.mark.parametrize("reference", ["", "@3", "churn@", "churn@x", "churn@-1", "a@1@2"])
def test_what_is_no_reference_is_a_problem(reference):
    with pytest.raises(Problem, match="names no version"):
        parse_reference(reference)


def test_show_gives_the_last_version_unless_asked_for_another(work, folder):
    with pytest.raises(NotFound, match="has no version yet"):
        versions.show(work, "churn")
    commit(work)
    write(folder, {"new": "x"})
    commit(work)
    assert versions.show(work, "churn").version.number == 2
    assert "new" not in paths(work, "churn@1")
    with pytest.raises(NotFound, match='"churn" has no version 9'):
        versions.show(work, "churn@9")


# Diff


def test_two_versions_are_compared_in_all_they_hold(work, folder):
    toml = "[model]\nmetadata = {{ auc = {} }}\n[deploy]\nworkers = {}\n"
    write(folder, {"rhythmicml.toml": toml.format(0.9, 1), "binary": "a\0b", "old": "x"})
    commit(work)
    (folder / "old").unlink()
    write(folder, {"rhythmicml.toml": toml.format(0.91, 2), "binary": "a\0c", "big": "y" * 300_000})
    write(folder, {"predict.py": PREDICT.replace("inputs\n", "[inputs]\n")})
    commit(work)
    found = versions.diff(work, "churn@1", "churn@2")
    assert (found.before, found.after) == ("churn@1", "churn@2")
    files = {change.path: change for change in found.files}
    assert {path: change.kind for path, change in files.items()} == {
        "big": "added",
        "binary": "changed",
        "old": "removed",
        "predict.py": "changed",
        "rhythmicml.toml": "changed",
    }
    assert "-    return inputs\n+    return [inputs]" in files["predict.py"].text
    assert files["binary"].text == files["big"].text == ""
    assert [(change.name, change.before, change.after) for change in found.configuration] == [
        ("metadata.auc", 0.9, 0.91),
        ("workers", 1, 2),
    ]
    assert found.packages == ()


def test_locked_packages_are_compared(work, folder):
    for version in ("1.0", "2.0"):
        publish_alpha(folder, version)
        write(folder, {"requirements.txt": f"{ALPHA}alpha=={version}\n"})
        commit(work)
    found = versions.diff(work, "churn@1", "churn@2")
    assert [(one.name, one.before, one.after) for one in found.packages] == [
        ("alpha", "1.0", "2.0")
    ]
    assert versions.show(work, "churn").packages == {"alpha": "2.0"}


def test_the_folder_is_compared_with_its_last_version(work, folder):
    commit(work)
    assert not versions.diff(work, "churn")
    write(folder, {"new": "x\n"})
    found = versions.diff(work, "churn")
    assert [change.text for change in found.files] == ["--- a/new\n+++ b/new\n@@ -0,0 +1 @@\n+x"]
    with work.open_store() as store:
        assert not any(store.blobs.read(digest) == b"x\n" for digest in store.blobs.all())


def test_requirements_not_resolved_yet_are_said_so(work, folder):
    commit(work)
    write(folder, {"requirements.txt": "numpy\n"})
    found = versions.diff(work, "churn")
    assert found
    assert found.packages is None


# Restore


def test_a_version_is_put_back_whole(work, folder):
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "latest").symlink_to("artifacts/weights")
    before = contents(folder)
    commit(work)
    (folder / "run.sh").unlink()
    (folder / "latest").unlink()
    write(folder, {"artifacts/weights": "changed", "deep/er/new": "x"})
    commit(work)
    restored = versions.restore(work, "churn@1")
    assert contents(folder) == before
    assert restored.written == ("artifacts/weights", "latest", "run.sh")
    assert restored.removed == ("deep/er/new",)
    assert (folder / "run.sh").stat().st_mode & 0o111 == 0o111
    assert os.readlink(folder / "latest") == "artifacts/weights"
    assert not (folder / "deep").exists()
    assert not versions.diff(work, "churn@1")


def test_what_was_deleted_comes_back_without_a_question(work, folder):
    commit(work)
    before = contents(folder)
    (folder / "predict.py").unlink()
    versions.restore(work, "churn@1")
    assert contents(folder) == before
    shutil.rmtree(folder)
    versions.restore(work, "churn@1")
    assert contents(folder) == before


@pytest.mark.parametrize("broken", ["[model", "[deploy]\nworker = 2\n"])
def test_a_broken_configuration_can_be_looked_at_and_undone(work, folder, broken):
    before = contents(folder)
    commit(work)
    write(folder, {"rhythmicml.toml": broken, "mine": "x"})
    found = versions.diff(work, "churn")
    assert "rhythmicml.toml" in found.broken
    assert {"mine", "rhythmicml.toml"} <= {each.path for each in found.files}
    with pytest.raises(Problem) as refused:
        versions.restore(work, "churn@1")
    assert "--discard" in refused.value.remedy
    with pytest.raises(Problem, match=r"rhythmicml\.toml"):
        versions.restore(work, "churn@1", commit_first=True)
    assert versions.restore(work, "churn@1", discard=True).committed is None
    assert contents(folder) == before
    assert not versions.diff(work, "churn@1")


def test_uncommitted_work_is_refused_or_committed_first(work, folder):
    commit(work)
    write(folder, {"mine": "precious"})
    with pytest.raises(Problem, match="changes that are in no version"):
        versions.restore(work, "churn@1")
    assert (folder / "mine").read_text() == "precious"
    restored = versions.restore(work, "churn@1", commit_first=True)
    assert restored.committed.number == 2
    assert not (folder / "mine").exists()
    assert "mine" in paths(work, "churn@2")
    versions.restore(work, "churn@2")
    assert (folder / "mine").read_text() == "precious"


def test_going_back_and_forth_needs_no_commit(work, folder):
    for number in "123":
        write(folder, {"artifacts/weights": number})
        commit(work)
    for number in "1323":
        versions.restore(work, f"churn@{number}")
        assert (folder / "artifacts" / "weights").read_text() == number


def test_ignored_files_stay(work, folder):
    write(folder, {".rhythmicmlignore": "*.log\n", "a.log": "mine", "deep/b.log": "mine"})
    commit(work)
    write(folder, {"deep/c": "x"})
    commit(work)
    versions.restore(work, "churn@1")
    assert (folder / "a.log").read_text() == "mine"
    assert (folder / "deep" / "b.log").read_text() == "mine"
    assert not (folder / "deep" / "c").exists()


def test_an_ignored_file_in_the_way_stops_it_before_anything_changes(work, folder):
    write(folder, {"data": "first"})
    commit(work)
    (folder / "data").unlink()
    write(folder, {".rhythmicmlignore": "data\n", "data": "mine", "artifacts/weights": "new"})
    commit(work)
    with pytest.raises(Problem, match='data" is in the way'):
        versions.restore(work, "churn@1")
    assert (folder / "data").read_text() == "mine"
    assert (folder / "artifacts" / "weights").read_text() == "new"


def test_nothing_is_written_through_an_ignored_link(work, folder, tmp_path):
    write(folder, {"data/x": "first"})
    commit(work)
    (folder / "data" / "x").unlink()
    (folder / "data").rmdir()
    write(folder, {".rhythmicmlignore": "data\n"})
    commit(work)
    (tmp_path / "elsewhere").mkdir()
    (folder / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Problem, match='data" is in the way'):
        versions.restore(work, "churn@1")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_becomes_a_folder_and_back(work, folder):
    write(folder, {"thing": "file"})
    commit(work)
    (folder / "thing").unlink()
    write(folder, {"thing/inside": "folder"})
    commit(work)
    versions.restore(work, "churn@1")
    assert (folder / "thing").read_text() == "file"
    versions.restore(work, "churn@2")
    assert (folder / "thing" / "inside").read_text() == "folder"


def test_a_version_whose_blobs_are_gone_changes_nothing(work, folder):
    commit(work)
    lost = next(file for file in versions.show(work, "churn").files if file.path == "predict.py")
    write(folder, {"predict.py": PREDICT + "\n"})
    commit(work)
    with work.open_store() as store:
        store.blobs.path(lost.digest).unlink()
    (folder / "artifacts" / "weights").write_text("1 2 3\n")
    with pytest.raises(NotFound, match="missing from the store"):
        versions.restore(work, "churn@1")
    assert (folder / "predict.py").read_text() == PREDICT + "\n"


# Crashes and races

COMMIT = """
import sys
from pathlib import Path
from app.services import versions
from app.workspace import Workspace
made = versions.commit(Workspace(Path(sys.argv[1])), "churn")
print(made.version.number, made.new)
"""


def commit_process(work, crash_at=""):
    return subprocess.Popen(
        [sys.executable, "-c", COMMIT, str(work.home)],
        cwd=PROJECT,
        env=os.environ | {"RHYTHMICML_CRASH_AT": crash_at},
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process) -> str:
    with process:
        return process.communicate()[0].strip()


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        ("blob-written", 1),
        ("blobs-renamed", 1),
        ("before-row", 1),
        ("row-written", 1),
        ("after-row", 2),
    ],
)
def test_a_commit_killed_at_any_step_leaves_a_whole_store(work, folder, step, kept):
    commit(work)
    write(folder, {"artifacts/weights": "new", "requirements.txt": "# new\n"})
    process = commit_process(work, crash_at=step)
    assert answer(process) == ""
    assert process.returncode == -9
    with work.open_store() as store:
        assert store.check() == []
        known = store.versions.all(store.models.get("churn"))
        assert len(known) == kept
        for version in known:
            files = manifest.parse(store.blobs.read(version.manifest))
            assert all(store.blobs.verify(file.digest) for file in files)
            assert store.blobs.verify(version.lock)
    assert commit(work).version.number == 2
    with work.open_store() as store:
        for left in store.blobs.incoming.iterdir():
            os.utime(left, (0, 0))
        store.collect(grace=0)
        assert list(store.blobs.incoming.iterdir()) == []


def test_a_clearing_killed_in_the_middle_loses_nothing_named(work, folder):
    commit(work)
    code = "import sys; from pathlib import Path; from app.store import Store\n"
    code += "with Store.open(Path(sys.argv[1])) as store: store.collect(grace=0)"
    with work.open_store() as store:
        store.blobs.put_bytes(b"nobody's")
    killed = subprocess.run(
        [sys.executable, "-c", code, str(work.home)],
        cwd=PROJECT,
        env=os.environ | {"RHYTHMICML_CRASH_AT": "collected"},
        check=False,
    )
    assert killed.returncode == -9
    assert not versions.diff(work, "churn")
    with work.open_store() as store:
        assert all(store.blobs.verify(digest) for digest in store.blobs.all())


def test_processes_that_commit_the_same_at_once_make_one_version(work, folder):
    write(folder, {f"many/{number}": str(number) for number in range(200)})
    said = [answer(process) for process in [commit_process(work) for _ in range(4)]]
    assert sorted(said) == ["1 False", "1 False", "1 False", "1 True"]


def test_processes_that_commit_other_things_at_once_get_numbers_of_their_own(work, folder):
    numbers = []
    for turn in range(3):
        write(folder, {"turn": str(turn)})
        first = commit_process(work)
        write(folder, {"turn": f"{turn} more"})
        numbers += [answer(process) for process in (first, commit_process(work))]
    made = [int(said.split()[0]) for said in numbers if said.endswith("True")]
    assert sorted(made) == list(range(1, len(made) + 1))


def test_clearing_while_committing_loses_no_blob(work, folder):
    clear = "import sys; from pathlib import Path; from app.store import Store\n"
    clear += "for _ in range(200):\n"
    clear += "    with Store.open(Path(sys.argv[1])) as store: store.collect(grace=0)"
    clearing = subprocess.Popen([sys.executable, "-c", clear, str(work.home)], cwd=PROJECT)
    refused = 0
    with clearing:
        turn = 0
        while clearing.poll() is None:
            turn += 1
            write(folder, {"turn": f"{turn % 3}", f"many/{turn % 5}": str(turn)})
            try:
                commit(work)
            except Problem:
                refused += 1
    assert clearing.returncode == 0
    assert refused < turn
    with work.open_store() as store:
        for version in store.versions.all(store.models.get("churn")):
            files = manifest.parse(store.blobs.read(version.manifest))
            assert store.blobs.missing({version.lock, *(file.digest for file in files)}) == set()


def test_settings_are_shown_as_they_are_written(work, folder):
    (folder / "sample.json").write_text('[{"age": 41}]')
    column = '[schema.inputs]\nage = {{ type = "int64", max = {} }}\n'
    (folder / "rhythmicml.toml").write_text(column.format(120))
    commit(work)
    (folder / "rhythmicml.toml").write_text(column.format(110))
    commit(work)
    shown = shown_words(versions.show(work, "churn"))
    assert "{ max_rows = 256, wait = 0.0 }" in shown
    assert "()" not in shown
    said = difference_words(versions.diff(work, "churn@1", "churn@2")).splitlines()
    was, now = (f'{{ type = "int64", max = {most} }}' for most in (120, 110))
    assert f"~ schema.inputs.age: {was} → {now}" in said


def test_adopted_versions_are_known_whatever_their_model_is_called(work, folder):
    """What was never shipped is nowhere, and not missed; of other versions it would be."""
    write(folder, {"rhythmicml.toml": '[deploy]\nexclude = ["notes.md"]\n', "notes.md": "mine"})
    made = versions.commit(work, "churn").version
    with work.open_store() as store:
        entries = manifest.parse(store.blobs.read(made.manifest))
        store.blobs.drop(next(each.digest for each in entries if each.path == "notes.md"))
    models.rename(work, "churn", "sold")
    *_, missed = verifying.verify(work, None)
    assert [each["versions"] for each in missed.data["findings"]] == [["sold@1 (notes.md)"]]
    with work.open_store() as store:
        model = store.models.get("sold")
        store.versions.remove(model, 1)
        assert store.versions.adopt(model, made).adopted
    models.rename(work, "sold", "lent")
    *_, found = verifying.verify(work, None)
    assert found.data["findings"] == []
    assert "1 file that adopted versions never shipped" in found.data["not_judged"]
    assert versions.restore(work, "lent@1", discard=True).absent == ("notes.md",)
