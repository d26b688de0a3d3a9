"""History: who did what, from which machine, from what to what; as text, JSON, CSV and a page."""

import csv
import io
import json
import sqlite3
import subprocess

import pytest
from client import Client, Failed, write_model

from app.services import history, models, person, secrets, versions
from app.store.database import Database
from app.store.migrations import MIGRATIONS, NOTES, migrate


@pytest.fixture
def folder(work, tmp_path):
    folder = write_model(tmp_path / "churn", "churn")
    text = (folder / "rhythmicml.toml").read_text()
    (folder / "rhythmicml.toml").write_text(f'{text}[deploy]\nsecrets = ["API_KEY"]\n')
    models.add(work, folder)
    versions.commit(work, "churn", "=first()")
    return folder


@pytest.fixture
def switched(work, folder):
    with work.open_store() as store:
        number = store.deployments.start(
            "churn", "local", "switch", version=2, release="v2-bb", previous="v1-aa",
            who="ana@laptop", steps=[("place", "Put it together"), ("switch", "Switch")],
        )  # fmt: skip
        store.deployments.note(number, 0, "began")
        store.deployments.note(number, 0, "ended")
        store.deployments.note(number, 1, "began")
        store.deployments.finish(number, "failed", "It did not.")


def test_everything_is_told_by_whom_and_never_a_value(work, folder, tmp_path):
    secrets.set_value(work, "churn", "API_KEY", "hush-hush", into_file=lambda: True)
    secrets.remove(work, "churn", "API_KEY")
    versions.restore(work, "churn@1")
    models.rename(work, "churn", "left")
    told = [(each["action"], each["to"], each["detail"]) for each in history.lines(work, "left")]
    assert told == [
        ("rename", None, "from churn to left"),
        ("restore", 1, str(folder)),
        ("secret remove", None, "API_KEY"),
        ("secret set", None, "API_KEY"),
        ("commit", 1, "=first()"),
    ]
    everything = json.dumps(history.lines(work))
    assert "hush-hush" not in everything
    assert {f"{each['user']}@{each['machine']}" for each in history.lines(work)} == {person.who()}
    models.remove(work, "left")
    assert history.lines(work, "left")[0]["action"] == "remove"


def test_from_to_and_its_log(work, switched):
    line, commit = history.lines(work, "churn")
    assert (line["from"], line["to"], line["user"], line["machine"]) == (1, 2, "ana", "laptop")
    assert [each["seconds"] is None for each in line["steps"]] == [False, True]
    assert (commit["from"], commit["to"], commit["location"]) == (None, 1, "")
    assert [each["action"] for each in history.lines(work, "churn", to="local")] == ["switch"]
    assert [each["action"] for each in history.lines(work, "churn", limit=1)] == ["switch"]


def test_the_command_as_text_json_and_csv(work, switched):
    client = Client(work.home)
    (found, _) = client("history", "churn")
    assert found["machine"] == "laptop"

    def said(*words):
        argv = client.argv("history", *words)
        return subprocess.run(argv, env=client.environ, capture_output=True, text=True)

    assert "v1 → v2" in said("churn").stdout
    assert "MODEL" in said().stdout
    lines = list(csv.DictReader(io.StringIO(said("--csv").stdout)))
    assert [each["action"] for each in lines] == ["switch", "commit"]
    assert lines[1]["detail"] == "'=first()", "a message is no formula"
    assert lines[0]["log"].splitlines()[1].endswith("- Switch")
    assert said("--csv", "--json").returncode == 2
    with pytest.raises(Failed):
        client("history", "nobody")


def test_commits_from_before_are_told_too(tmp_path):
    """Of a store that had no notes yet."""
    path = tmp_path / "store.sqlite"
    older = Database(path)
    migrate(older, MIGRATIONS[: MIGRATIONS.index(NOTES)])
    older.execute("INSERT INTO models(name, folder, created) VALUES('churn', '/c', 'x')")
    columns = "model_id, number, digest, message, author, created, manifest, lock, configuration"
    older.execute(
        f"INSERT INTO versions({columns}, size, files)"
        " VALUES(1, 1, 'd', 'first', 'ana', '2026-01-01T00:00:00.000Z', 'm', 'l', '{}', 1, 1)"
    )
    migrate(older)
    older.close()
    rows = sqlite3.connect(path).execute(
        "SELECT at, who, model, action, version, detail FROM notes"
    )
    assert rows.fetchall() == [("2026-01-01T00:00:00.000Z", "ana", "churn", "commit", 1, "first")]


@pytest.mark.browser
def test_the_page_has_the_log_and_the_export(page, server, work, switched):
    page.goto(f"{server.address}/models/churn/history")
    rows = page.get_by_role("table", name="History").get_by_role("row")
    rows.nth(1).get_by_text("Log").click()
    for words in ("Switch v1 → v2", "laptop", "It did not.", "did not end"):
        page.get_by_text(words).first.wait_for()
    text = page.request.get(f"{server.address}/models/churn/history.csv").text()
    assert [each["action"] for each in csv.DictReader(io.StringIO(text))] == ["switch", "commit"]
    found = page.request.get(f"{server.address}/models/churn/history.json").json()
    assert [each["action"] for each in found] == ["switch", "commit"]
