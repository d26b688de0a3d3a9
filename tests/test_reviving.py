"""From a store that cannot be read to one that can, by the command line."""

import os

import pytest
from client import Client, Failed, write_model

from app.services import reviving
from app.store import copies
from app.views.door import alone


@pytest.fixture
def client(work, tmp_path):
    """Somebody with a model that was committed, a copy of that, and a damaged store."""
    client = Client(work.home)
    client("add", str(write_model(tmp_path / "churn", "churn")))
    client("commit", "churn", "-m", "first")
    copies.keep_daily(work.home)
    client("backup", str(tmp_path / "backup"))
    path = work.home / "store.sqlite"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(8192))
    return client


def test_the_remedy_of_a_damaged_store_mends_it(client):
    with pytest.raises(Failed) as failed:
        client("list")
    assert failed.value.problem["kind"] == "Damaged"
    words = failed.value.problem["remedy"].split("rhythmicml ")[1].replace('"', "").split()
    said = client(*words)
    assert (said["models"], said["versions"]) == (1, 1)
    assert [each["name"] for each in client("list")] == ["churn"]
    assert client("verify")["findings"] == []


def test_a_backup_is_put_in_place_of_a_damaged_store(client, tmp_path):
    client("restore-store", str(tmp_path / "backup"))
    assert [each["name"] for each in client("list")] == ["churn"]
    assert list(client.home.glob("aside-*/store.sqlite"))


@pytest.mark.parametrize("folder", ["{home}", "~"])
def test_nothing_is_replaced_while_the_pages_are_open(client, work, folder):
    client.environ["HOME"] = str(work.home)
    copy = f"{folder.format(home=work.home)}/{copies.DAILY}"
    with alone(work.home), pytest.raises(Failed, match="RhythmicML is open"):
        client("restore-store", copy)
    assert client("restore-store", copy)["models"] == 1


def test_an_empty_store_can_be_begun_with(client, work):
    reviving.begin_anew(work)
    assert client("list") == []
    with pytest.raises(reviving.Problem, match="whole"):
        reviving.begin_anew(work)
