"""What a report of a fault has in it, and what it must not have; the logs it shows the end of."""

import json
import subprocess

import pytest
from client import Client

from app import log
from app.services import doctor, machine, redacting
from app.store.store import Store

SECRETS = {
    "kept in the file": "hunter2-hunter2-hunter2",
    "of a URL": "s3cr3t-in-a-url",
    "of a header": "eyJhbGciOiJIUzI1NiJ9.e30",
    "of a setting": "pa55word-of-a-setting",
    "of a key": "MIIEpAIBAAKCAQEAx",
}


@pytest.fixture
def client(work, tmp_path, monkeypatch):
    """Somebody with a server, secrets, and a log in which all that should not be there is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with work.open_store() as store:
        store.models.add("churn", str(tmp_path / "churn"))
        store._database.execute(
            "INSERT INTO locations VALUES('prod','ssh','ssh://ana@ml.example.org:22','','auto','',"
            "0,'','auto')"
        )
    (work.home / "secrets.json").write_text(json.dumps({"a": SECRETS["kept in the file"]}))
    (work.home / "ui-token").write_text("the-token-of-the-pages-0123456789")
    (work.home / "ui-token").chmod(0o600)
    said = (
        f"GET http://ana:{SECRETS['of a URL']}@ml.example.org/\n"
        f"Authorization: Bearer {SECRETS['of a header']}\n"
        f"DB_PASSWORD='{SECRETS['of a setting']}' and {SECRETS['kept in the file']}\n"
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRETS['of a key']}\n-----END RSA PRIVATE KEY-----\n"
        f"the-token-of-the-pages-0123456789 {tmp_path}/churn ValueError: no such column"
    )
    log.keep(work.home, ValueError(said), "rhythmicml deploy")
    return Client(work.home)


def test_report_has_what_is_needed_and_no_secrets(client, tmp_path):
    done = subprocess.run(
        client.argv("doctor"), env=client.environ, capture_output=True, text=True, check=True
    )
    for words in (
        *("RhythmicML 0.1.0", "python", "paramiko", "keyring", "store.sqlite  ", "models 1"),
        *("prod  kind ssh", "log/errors.log", "no such column", "rhythmicml deploy"),
    ):
        assert words in done.stdout
    hidden = [*SECRETS.values(), "the-token-of-the-pages", "ml.example.org", "ana@", str(tmp_path)]
    assert [each for each in hidden if each in done.stdout] == []
    said = client("doctor")
    assert [each for each in hidden if each in json.dumps(said)] == []
    assert said["store"]["store.sqlite"].startswith("ok")
    assert [each["name"] for each in said["locations"]] == ["local", "prod"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"not a store" * 500, "damaged"), (None, "none"), ("newer", "newer")]
)
def test_report_is_made_whatever_the_store_is(work, content, words):
    path = work.home / "store.sqlite"
    with work.open_store() as store:
        store._database.execute("PRAGMA user_version = 99")
    if content is None:
        path.unlink()
    elif content != "newer":
        path.write_bytes(content)
    before = path.read_bytes() if path.exists() else None
    report = doctor.examine(work)
    assert report["store"]["store.sqlite"].startswith(words)
    assert "log/ui.log" in doctor.words(report)
    assert before == (path.read_bytes() if path.exists() else None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ssh://me:pw@host/", "ssh://me:•••@host/"),
        ('{"api_key": "abc def"}', '{"api_key": •••}'),
        ("?code=Xyz123&a=1", "?code=•••&a=1"),
        ("Cookie: a=b; c", "Cookie: •••; c"),
        ("exit code 1, version 3", "exit code 1, version 3"),
        ("-----BEGIN KEY-----\nabc", "•••"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, shown):
    assert redacting.redacted(text) == shown


def test_logs_stay_small(work, monkeypatch):
    monkeypatch.setattr(log, "LARGEST", 20_000)
    for number in range(200):
        log.keep(work.home, ValueError("x" * 500), f"number {number}")
    files = sorted((work.home / "log").iterdir())
    assert [each.name for each in files] == ["errors.log", "errors.log.1"]
    assert sum(each.stat().st_size for each in files) < 3 * 20_000
    assert all(each.stat().st_mode & 0o077 == 0 for each in files)
    assert any("number 199" in line for line in log.tail(work.home, log.ERRORS, 10))


def test_a_mistake_of_a_command_is_told_with_the_way_to_report_it(work, monkeypatch):
    from app.cli import output

    monkeypatch.setenv("RHYTHMICML_HOME", str(work.home))
    with pytest.raises(SystemExit), output.problems(False):
        raise RuntimeError("a mistake")
    assert "a mistake" in "\n".join(log.tail(work.home, log.ERRORS, 20))
    work.home.joinpath("log", "errors.log").unlink()
    work.home.joinpath("log").rmdir()
    work.home.joinpath("log").write_text("a file, so that no log can be written")
    with pytest.raises(SystemExit), output.problems(False):
        raise RuntimeError("another one")


def test_what_this_machine_lacks_comes_with_its_remedy():
    found = {each.name: each for each in machine.needs()}
    assert list(found) == ["Window", "Keyring", "SSH key", "Python"]
    assert found["Python"].met
    assert all(each.words for each in found.values())
    assert all(each.met or " " in each.remedy for each in found.values())


def test_look_does_not_wait_for_who_writes(work):
    """A report is made while a command is at work."""
    with Store.open(work.home) as store, store.write():
        store.settings.set("a", 1)
        assert doctor.examine(work)["store"]["store.sqlite"].startswith("ok")
