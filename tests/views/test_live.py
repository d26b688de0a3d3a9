"""The watch over the instances goes on whatever went wrong once."""

import sqlite3
import threading
import time

import pytest

from app.views.feed import Feed
from app.views.live import Live, until_asked


@pytest.mark.parametrize(("now", "wait"), [(100.0, 1.5), (101.0, 0.5), (101.5, 10.0), (109.0, 2.5)])
def test_hosts_are_asked_when_fronts_have_just_written(now, wait):
    assert until_asked(now) == pytest.approx(wait)


def test_watch_outlives_an_error_nobody_thought_of(work, server):
    with work.open_store():
        pass
    store = work.home / "store.sqlite"
    feed = Feed(work)
    live = Live(work, feed)
    watching = threading.Thread(target=live.watch, daemon=True)
    with sqlite3.connect(store) as opened:
        opened.execute("ALTER TABLE instances ADD COLUMN of_tomorrow")
        opened.execute("INSERT INTO instances VALUES ('a', 'local', 1, 'r', 1, 'x', '', '', '', 1)")
    watching.start()
    live.refresh()
    log = work.home / "log" / "ui.log"
    deadline = time.monotonic() + 20
    while not (log.is_file() and "could not be asked" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "of_tomorrow" in log.read_text()
    assert watching.is_alive()
    live.end()
    watching.join(20)
    assert not watching.is_alive()
