"""What a worker says of an error that a sandbox may be behind, and when it says nothing."""

import errno
import os
import sqlite3
import urllib.error
import urllib.request

import pytest

from app.scoring import worker

HOSTS, FILES, SOCKETS = "reaches no other host", "writes only to", "only IP and Unix sockets"


@pytest.fixture
def user_unit(monkeypatch):
    monkeypatch.setenv("CACHE_DIRECTORY", "/home/ds/.cache/rhythmicml-churn")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


@pytest.fixture
def system_unit(monkeypatch):
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/rhythmicml-churn")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/rhythmicml-churn")


def failed(number):
    return OSError(number, os.strerror(number), "x")


def unknown_host():
    """What urllib makes of a name that is not found; the reserved one never is."""
    with pytest.raises(urllib.error.URLError) as caught:
        urllib.request.urlopen("http://host.invalid/", timeout=20)
    return caught.value


def read_only_database(folder):
    path = folder / "facts.db"
    sqlite3.connect(path).execute("create table facts (number)").connection.close()
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute("insert into facts values (1)")
    return caught.value


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EROFS, FILES),
        (errno.EAFNOSUPPORT, SOCKETS),
        (errno.EPERM, "sandbox may forbid it"),
        (errno.EACCES, "sandbox may forbid it"),
        (errno.ETIMEDOUT, HOSTS),
        (errno.ENETUNREACH, HOSTS),
    ],
)
def test_errors_of_the_system_are_explained(system_unit, number, said):
    assert said in worker.forbidden(failed(number))


def test_files_may_be_written_where_it_says(system_unit):
    assert "/var/cache/rhythmicml-churn" in worker.forbidden(failed(errno.EROFS))


def test_database_that_is_to_be_changed_is_explained(system_unit, tmp_path):
    assert "immutable=1" in worker.forbidden(read_only_database(tmp_path))


def test_other_hosts_are_out_of_reach_of_system_wide_services_alone(system_unit, monkeypatch):
    assert HOSTS in worker.forbidden(unknown_host())
    assert HOSTS in worker.forbidden(TimeoutError("timed out"))
    monkeypatch.delenv("STATE_DIRECTORY")
    assert worker.forbidden(unknown_host()) == ""


def test_what_it_was_raised_from_counts(user_unit):
    for how in ("__cause__", "__context__"):
        error = ValueError("no cache")
        setattr(error, how, failed(errno.EROFS))
        assert FILES in worker.forbidden(error)


def test_errors_in_a_circle_come_to_an_end(user_unit):
    one, other = ValueError(), KeyError()
    one.__context__, other.__context__ = other, one
    assert worker.forbidden(one) == ""


@pytest.mark.parametrize(
    "error", [ValueError("x"), failed(errno.ENOENT), sqlite3.OperationalError("no such table")]
)
def test_nothing_is_said_of_what_a_sandbox_has_no_part_in(system_unit, error):
    assert worker.forbidden(error) == ""


def test_nothing_is_said_where_there_is_no_sandbox(monkeypatch):
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    assert worker.forbidden(failed(errno.EROFS)) == ""
