"""What was collected, as rows and charts: made of rows as fronts write them."""

import time

import pytest
from client import write_model
from recordings import NOW, keep, row

from app.scoring import sketch
from app.services import latencies, models, monitoring, series, watched
from app.store.kept_logs import KeptLogs
from app.store.recorded import Happened


def test_a_chart_has_one_axis_and_a_gap_where_nothing_was_recorded(work):
    keep(work, [row(NOW), row(NOW + 10), row(NOW + 40)])
    said = monitoring.series(work, "churn", "local", NOW, NOW + 60)
    assert said["at"] == list(range(NOW, NOW + 60, 10))
    assert said["requests"] == [10.0, 10.0, None, None, 10.0, None]
    assert said["errors"][0] == pytest.approx(0.05)
    assert said["cpu"][0] == pytest.approx(0.5)
    assert said["p50"][0] == pytest.approx(0.1, rel=0.01)
    assert said["p99"][0] == pytest.approx(2.0, rel=0.01)
    assert all(len(said[name]) == 6 for name in series.COLUMNS)


@pytest.mark.parametrize("days", [1 / 96, 0.25, 1, 7, 30, 90, 1000])
def test_a_chart_has_at_most_600_points(work, days):
    keep(work, [row(NOW)])
    said = monitoring.series(work, "churn", "local", NOW - days * 86400 + 13, NOW + 13)
    assert 1 < len(said["at"]) <= 600
    assert sum(each or 0 for each in said["requests"]) > 0


def test_wide_rows_are_spread_over_the_points_they_cover(work):
    keep(work, [row(NOW, 900, requests={"200": 1800}, seconds=900.0)])
    said = monitoring.series(work, "churn", "local", NOW - 600, NOW + 1500)
    inside = [
        v for at, v in zip(said["at"], said["requests"], strict=False) if NOW <= at < NOW + 900
    ]
    assert inside == pytest.approx([2.0] * len(inside))
    outside = [
        v for at, v in zip(said["at"], said["requests"], strict=False) if not NOW <= at < NOW + 900
    ]
    assert set(outside) == {None}


def test_a_coarser_row_takes_the_place_of_the_finer_ones(work):
    keep(work, [row(NOW + n) for n in (0, 10, 20, 60)])
    keep(work, [row(NOW, 60, requests={"200": 300}, seconds=30.0)])
    with work.open_recorded() as recorded:
        found = recorded.samples(1, NOW, NOW + 900)
    assert [(each.step, each.at, each.requests) for each in found] == [
        (60, NOW, 300),
        (10, NOW + 60, 100),
    ]


def test_rows_of_columns_alone_replace_nothing_and_count_nothing(work):
    keep(work, [row(NOW), row(NOW, 900, requests={}, seconds=0)])
    with work.open_recorded() as recorded:
        assert [each.step for each in recorded.samples(1, NOW, NOW + 10)] == [10]


def test_fronts_beside_each_other_are_one_point(work):
    keep(work, [row(NOW), row(NOW, release="v2-b", version=2)])
    said = monitoring.series(work, "churn", "local", NOW, NOW + 10)
    assert (said["requests"], said["memory"]) == ([20.0], [2000])
    only = monitoring.series(work, "churn", "local", NOW, NOW + 10, version=2)
    assert (only["requests"], only["memory"]) == ([10.0], [1000])


def test_a_clock_that_is_ahead_is_corrected(work):
    skew = 3600.0
    event = Happened("f", 1, NOW + skew + 5, skew, "worker", '{"how": "killed by SIGKILL"}')
    keep(work, [row(NOW + 3600, skew=skew)], [event], skew)
    said = monitoring.series(work, "churn", "local", NOW, NOW + 20)
    assert said["requests"] == [10.0, None]
    assert [(m["at"], m["words"]) for m in said["marks"]] == [
        (NOW + 5, "a worker has ended: killed by SIGKILL")
    ]
    assert said["skew"] == skew


def test_a_row_that_is_no_row_is_left_out(work):
    keep(work, [row(NOW), row(NOW + 10)._replace(body=b"\x00nonsense")])
    said = monitoring.series(work, "churn", "local", NOW, NOW + 20)
    assert said["requests"] == [10.0, None]


def test_the_overview_says_how_it_is_now(work):
    now = int(time.time()) // 10 * 10
    keep(work, [row(now - 20), row(now - 10)])
    (said,) = monitoring.overview(work)
    assert (said["model"], said["requests"], said["stale"]) == ("churn", 10.0, False)
    assert said["p95"] == pytest.approx(2.0, rel=0.01)
    assert len(said["spark"]) == 30
    assert sum(each or 0 for each in said["spark"]) > 0
    assert monitoring.latest(work, "churn", "local")["versions"] == [1]


def test_the_overview_of_long_ago_has_no_figures_of_now(work):
    keep(work, [row(NOW - 100 * 86400)])
    (said,) = monitoring.overview(work)
    assert (said["requests"], said["stale"]) == (None, True)
    assert said["state"] == "serving", "as it was ordered from here"
    assert said["spark"] == [None] * 30


def test_the_overview_of_a_span_counts_what_was_recorded_in_it(work):
    now = int(time.time()) // 10 * 10
    coarse = row(now - 7200, 60, requests={"200": 540, "500": 60}, seconds=60.0)
    keep(work, [coarse, row(now - 3000), row(now - 10), row(now - 10, release="v2-b")])
    (said,) = monitoring.overview(work, monitoring.RANGES["6h"])
    assert said["errors"] == pytest.approx((60 + 3 * 5) / (600 + 3 * 100))
    assert said["requests"] == pytest.approx(900 / (60 + 10 + 10)), "of two fronts at once"
    spark = [each for each in said["spark"] if each is not None]
    assert spark == pytest.approx([10, 10, 20]), "of the time that was recorded, not of the whole"
    (said,) = monitoring.overview(work, monitoring.RANGES["15m"])
    assert said["errors"] == pytest.approx(0.05)
    assert said["requests"] == pytest.approx(20.0)


def test_the_state_is_the_one_that_was_judged_last(work):
    keep(work, [row(int(time.time()) - 20)])
    with work.open_recorded() as recorded:
        said = {"error": "5% are errors", "modified": True}
        recorded.keep_state("churn", "local", "degraded", time.time(), said)
    (said,) = monitoring.overview(work)
    assert watched.states(said) == ("degraded", "modified on host")
    assert watched.choose([said], state="modified on host") == [said]


def test_p95_of_the_last_hour_is_read_from_what_was_collected(work):
    now = int(time.time()) // 10 * 10
    keep(work, [row(now - 20), row(now - 7200, latency=sketch.of([9.0] * 1000))])
    found = latencies.p95(work, [("churn", "local"), ("nobody", "local")])
    assert found == {("churn", "local"): pytest.approx(2.0, rel=0.01)}


def test_a_renamed_model_keeps_what_was_recorded_and_said(work, tmp_path):
    models.add(work, write_model(tmp_path / "churn", "churn"))
    keep(work, [row(NOW)])
    KeptLogs(work.home).keep("churn", "local", 1.0, ["ready"])
    with work.open_store() as store:
        store.instances.remove("churn", "local")
    models.rename(work, "churn", "left")
    assert monitoring.history(work) == [("left", "local")]
    assert monitoring.series(work, "left", "local", NOW, NOW + 10)["requests"] == [10.0]
    assert KeptLogs(work.home).get("left", "local") == (1.0, ["ready"])


def test_what_was_never_asked_has_empty_columns(work):
    with work.open_store():
        pass
    assert monitoring.overview(work) == []
    said = monitoring.series(work, "nobody", "local", NOW, NOW + 100)
    assert set(said["p50"]) == {None}
    assert said["marks"] == []
    assert monitoring.latest(work, "nobody", "local")["at"] is None
