"""What fronts recorded, brought here by the agent of a local base: real files, a real agent."""

import time

import pytest

from app.deployer.road import open_local
from app.models import Instance
from app.scoring import samples
from app.scoring.recording import File
from app.scoring.recording import Sample as Row
from app.scoring.tap import Event
from app.services import collecting
from app.services.collecting import following, skew_of

NOW = int(time.time()) // 900 * 900


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base" / "instances").mkdir(parents=True)
    return tmp_path / "base"


@pytest.fixture
def road(base):
    with open_local(base) as opened:
        yield opened


@pytest.fixture
def bring(work, road):
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local", 8080, "v1-a", 1, "serving"))

    def brought(page=None):
        collecting._bring(work, road, "local", {"churn"})
        with work.open_recorded() as recorded:
            source = recorded.find("churn", "local")
            rows = recorded.samples(source, NOW - 86400 * 30, NOW + 86400)
            return [(row.step, row.at - NOW, row.requests) for row in rows]

    return brought


def record(base, rows, now=NOW, events=()):
    file = File(base / "instances" / "churn" / "run" / "metrics.sqlite", 4 << 20)
    bodies = [
        Row(10, NOW + at, "v1-a", 1, {**samples.empty(), "seconds": 10.0, "requests": {"200": n}})
        for at, n in rows
    ]
    assert file.write(bodies, events, now=now)
    file.close()


def test_only_what_is_newer_comes(base, bring, work):
    record(base, [(0, 1), (10, 2)], events=[Event(NOW + 1.0, "ready", {})])
    assert bring() == [(10, 0, 1), (10, 10, 2)]
    record(base, [(20, 3)])
    assert bring()[-1] == (10, 20, 3)
    with work.open_recorded() as recorded:
        (source,) = recorded.sources()
        assert source["cursor"]["sample"] == 3
        assert source["cursor"]["event"] == 1
        assert [each.kind for each in recorded.happened(source["id"], NOW, NOW + 9)] == ["ready"]
        assert recorded.hosts()["local"]["skew"] == 0.0


def test_a_row_that_grew_is_replaced(base, bring):
    record(base, [(0, 1)])
    bring()
    record(base, [(0, 4)])
    assert bring() == [(10, 0, 5)]


def test_thinned_rows_replace_the_fine_ones(base, bring):
    record(base, [(0, 1), (10, 2), (60, 4)])
    bring()
    record(base, [(86400 + 120, 9)], now=NOW + 86400 + 120)
    assert bring() == [(60, 0, 3), (60, 60, 4)]


def test_a_gap_is_filled_page_by_page_and_nothing_is_lost(base, bring, monkeypatch, work):
    monkeypatch.setattr(collecting, "PAGE", 1000)
    monkeypatch.setattr(collecting, "PAGES", 2)
    record(base, [(n * 10, n + 1) for n in range(30)])
    first = bring()
    assert first[-1] == (10, 290, 30)
    assert len(first) < 30
    record(base, [((30 + n) * 10, n + 31) for n in range(20)])
    for _ in range(60):
        found = bring()
    assert found == [(10, n * 10, n + 1) for n in range(50)]
    with work.open_recorded() as recorded:
        assert recorded.sources()[0]["cursor"]["gap"] is None


def test_another_file_is_read_from_its_beginning(base, bring):
    record(base, [(0, 1)])
    bring()
    (base / "instances" / "churn" / "run" / "metrics.sqlite").unlink()
    record(base, [(10, 2)])
    assert bring() == [(10, 0, 1), (10, 10, 2)]


def test_a_damaged_file_is_said_of_that_instance(base, bring, work):
    record(base, [(0, 1)])
    bring()
    path = base / "instances" / "churn" / "run" / "metrics.sqlite"
    path.write_bytes(b"no database at all" * 500)
    assert bring() == [(10, 0, 1)]
    with work.open_recorded() as recorded:
        assert "DatabaseError" in recorded.sources()[0]["error"]


@pytest.mark.parametrize("body", [b"", b"nonsense", samples.pack({"requests": 7}), b"x" * 900])
def test_rows_of_a_hostile_host_are_left_out(body):
    good = samples.pack({**samples.empty(), "seconds": 10.0})
    rows = [[1, 10, NOW, "v1-a", 1, body], [2, 7, NOW, "v1-a", 1, good]]
    assert collecting.read([*rows, [3, 10, NOW, "v1-a", 1, good]], 0.0)[0].seconds == 10.0
    assert len(collecting.read(rows, 0.0)) == 0


def test_a_body_that_would_not_end_is_cut():
    import zlib

    bomb = zlib.compress(b" " * (64 << 20))
    assert len(bomb) < 1 << 20
    with pytest.raises(ValueError, match="not a body"):
        samples.unpack(bomb)


@pytest.mark.parametrize(
    ("there", "skew"), [(100.0, 0.0), (101.0, 0.0), (104.0, 3.5), (99.0, -1.5)]
)
def test_a_clock_is_right_as_long_as_it_may_be(there, skew):
    assert skew_of(there, 100.0, 101.0) == skew


def test_a_page_without_rows_moves_nothing():
    cursor = {"file": "f", "sample": 7, "event": 2, "gap": {"sample": 3, "before": 5}}
    page = {"file": "f", "samples": [], "events": [], "more": False}
    assert following(cursor, page) == cursor
    assert following(cursor, {**page, "of_gap": True})["gap"] is None
    assert following(cursor, {**page, "file": ""}) == cursor
