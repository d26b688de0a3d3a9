"""Texts beside each other, and versions that are forgotten."""

import difflib

import pytest
from client import write_model

from app.errors import Problem
from app.services import models, versions
from app.services.differences import side_by_side


@pytest.mark.parametrize(
    ("old", "new"),
    [("a\nb\nc", "a\nB\nc"), ("", "a\nb"), ("a\nb", ""), ("a\n-b\n+c", "-b\n\n+d"), ("x", "x\ny")],
)
def test_both_texts_are_read_back_from_their_sides(old, new):
    before, after = old.splitlines(), new.splitlines()
    pairs = side_by_side("\n".join(difflib.unified_diff(before, after, "a", "b", lineterm="")))
    assert [(p.number, p.before) for p in pairs if p.number] == list(enumerate(before, 1))
    assert [(p.new_number, p.after) for p in pairs if p.new_number] == list(enumerate(after, 1))


def test_places_far_apart_keep_their_numbers():
    before = [str(number) for number in range(1, 41)]
    after = ["new", *before[:34], "other", *before[35:]]
    pairs = side_by_side("\n".join(difflib.unified_diff(before, after, "a", "b", lineterm="")))
    assert [p.kind for p in pairs].count("at") == 1
    changed = [p for p in pairs if p.kind == "changed"]
    assert [(p.number, p.new_number) for p in changed] == [(None, 1), (35, 36)]
    assert all(p.before == before[p.number - 1] for p in pairs if p.number)


def test_forgotten_version_takes_its_files_and_no_number_is_given_twice(work, tmp_path):
    folder = write_model(tmp_path / "churn", "churn")
    models.add(work, folder)
    for text in ("one", "two", "three"):
        (folder / "note.txt").write_text(text)
        versions.commit(work, "churn")
    digests = {number: digest_of(work, number) for number in (1, 2, 3)}
    with pytest.raises(Problem, match="the newest"):
        versions.remove(work, "churn@3")
    with work.open_store() as store:
        store.deployments.start("churn", "local", "deploy", version=1)
    with pytest.raises(Problem, match="being deployed"):
        versions.remove(work, "churn@1")
    assert versions.remove(work, "churn@2").number == 2
    assert [each.number for each in versions.versions(work, "churn")] == [3, 1]
    with work.open_store() as store:
        store.collect(grace=0)
        assert [store.blobs.has(digests[number]) for number in (1, 2, 3)] == [True, False, True]
    assert not versions.commit(work, "churn").new
    (folder / "note.txt").write_text("four")
    assert versions.commit(work, "churn").version.number == 4


def digest_of(work, number):
    files = versions.show(work, f"churn@{number}").files
    return next(each.digest for each in files if each.path == "note.txt")
