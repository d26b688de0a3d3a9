"""What a server or a backup says cannot write outside the folder that it is put into."""

import hashlib
import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
from client import write_model

from app.errors import Problem
from app.models import Configuration, FileEntry
from app.services import adopting, backups, models, releases, versions
from app.store import manifest
from app.workspace import Workspace

CONTENT = b"[Desktop Entry]\nExec=evil\n"
HELLO = {"python": "3.11.1", "arch": "x86_64"}
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def file(path, digest=DIGEST):
    return FileEntry(path, digest, len(CONTENT))


def link(path, target):
    return FileEntry(path, target=target)


GOOD = [file("predict.py"), file("requirements.txt")]
BAD = {
    "up": [file("../evil.desktop")],
    "up, later": [file("a/../../evil.desktop")],
    "absolute": [file("/OUTSIDE/evil.desktop")],
    "of this folder": [file("./evil.desktop")],
    "empty": [file("")],
    "empty part": [file("a//evil.desktop")],
    "a folder": [file("a/")],
    "nul": [file("a\0b")],
    "through a link": [link("a", "b"), file("a/evil.desktop"), file("b/c")],
    "below a file": [file("a"), file("a/b/c")],
    "link outside": [link("a", "../OUTSIDE")],
    "absolute link": [link("a", "/OUTSIDE")],
    "link through a link": [link("here", "."), link("a/b", "../here/../OUTSIDE")],
    "link with nul": [link("a", "b\0")],
    "no digest": [file("a", "")],
    "bad digest": [file("a", "../../OUTSIDE/secret")],
    "capital digest": [file("a", DIGEST.upper())],
    "digest of a link": [FileEntry("a", DIGEST, 1, False, "b")],
}


@pytest.fixture(params=BAD)
def bad(request, tmp_path):
    """The entries of a version that nobody committed."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(CONTENT)
    outside = str(tmp_path / "outside")

    def there(text):
        return (outside + text[8:] if text.startswith("/") else text).replace("OUTSIDE", "outside")

    return [
        replace(each, path=there(each.path), target=there(each.target))
        for each in [*GOOD, *BAD[request.param]]
    ]


def everything(folder):
    return sorted(folder.rglob("*"))


def release(files, lock=DIGEST):
    """What a server says of a release, every digest as it should be."""
    digest = hashlib.sha256(manifest.render(files)).hexdigest()
    return {
        "id": "v1-x",
        "version": 1,
        "python": "3.11",
        "digest": manifest.version_digest(digest, lock, "3.11"),
        "files": manifest.rows(files),
        "origin": {
            "manifest": digest,
            "lock": lock,
            "unshipped": [],
            "message": "",
            "author": "",
            "created": "2026-01-01T00:00:00.000Z",
            "configuration": Configuration().as_dict(),
            "schema": None,
        },
        "scoring": {},
    }


class Server:
    """A server that has been taken over: it gives whatever is asked for."""

    place = "its.example"

    def __init__(self, said):
        self.said = said

    def call(self, op):
        facts = {"deployed": False, "stopped": False, "port": None, "current": None}
        return [{"name": "evil", **facts, "releases": [self.said], "history": []}]

    def send(self, op, digest, into):
        into.write(CONTENT)
        return self

    def result(self):
        return None


class Visiting(Workspace):
    """A workspace to whom every location is that server."""

    @contextmanager
    def reach(self, location, *, looking=False):
        yield Server(self.said)


def visiting(tmp_path, said):
    work = Visiting(tmp_path / "home")
    object.__setattr__(work, "said", said)
    with work.open_store():
        pass
    return work


def test_server_that_is_honest_is_adopted(tmp_path):
    files = [*GOOD, link("a/latest", "../predict.py"), link("loop", "loop"), link("b", "a/../x")]
    *_, result = adopting.adopt(visiting(tmp_path, release(files)), "local", into=tmp_path / "in")
    assert result.data["models"][0]["versions"] == [1]
    assert (tmp_path / "in" / "evil" / "a" / "latest").read_bytes() == CONTENT


def test_server_cannot_write_outside(tmp_path, bad):
    work = visiting(tmp_path, release(bad))
    before = everything(tmp_path)
    with pytest.raises(Problem, match="which no folder of a model can hold"):
        list(adopting.adopt(work, "local", into=tmp_path / "in"))
    assert everything(tmp_path) == before
    with work.open_store() as store:
        assert store.models.all() == []


@pytest.mark.parametrize("row", [[7, DIGEST], ["a", 7], ["a", "", 0, False, 7], ["a", []]])
def test_what_is_no_text_is_refused(row):
    with pytest.raises(Problem, match="which no folder of a model can hold"):
        manifest.checked([FileEntry(*row)])


def test_server_cannot_have_another_file_read_as_the_packages(tmp_path):
    work = visiting(tmp_path, release(GOOD, lock="../../outside/secret"))
    *_, result = adopting.adopt(work, "local", into=tmp_path / "in")
    assert result.data["models"][0]["versions"] == []


def forged(work, folder, files):
    """A version in the store that no commit made."""
    model = models.add(work, write_model(folder, "churn")).model
    versions.commit(work, "churn")
    content = json.dumps({"files": manifest.rows(files)}).encode()
    with work.open_store() as store:
        store.blobs.put_bytes(CONTENT)
        digest = store.blobs.put_bytes(content)
        with store.write():
            store._database.execute("UPDATE versions SET manifest = ?", [digest])
        return model, store.versions.latest(model)


def test_version_of_a_foreign_backup_cannot_write_outside(tmp_path, bad):
    work = Workspace(tmp_path / "home")
    model, version = forged(work, tmp_path / "churn", bad)
    before = everything(tmp_path)
    with pytest.raises(Problem, match="which no folder of a model can hold"):
        versions.restore(work, "churn@1", discard=True)
    assert everything(tmp_path) == before
    assert (tmp_path / "churn" / "predict.py").read_bytes() != CONTENT, "nothing is half inside"
    with work.open_store() as store, pytest.raises(Problem, match="which no folder of a model"):
        releases.wanted(store, model, version, HELLO, None)


def test_backup_cannot_call_another_file_content_that_is_missing(tmp_path):
    work, strange = Workspace(tmp_path / "home"), "../../outside/secret"
    forged(work, tmp_path / "churn", [*GOOD, file("a", strange)])
    *_, made = backups.backup(work, tmp_path / "kept")
    assert made.data["missing"] == [strange]
    with pytest.raises(Problem, match="cannot be read as written"):
        list(backups.restore(Workspace(tmp_path / "other"), tmp_path / "kept"))
