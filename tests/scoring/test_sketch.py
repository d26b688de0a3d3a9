"""Sketches and summaries: as exact as they say, and the same however they are put together."""

import json
import math
import random
import statistics

import pytest

from app.scoring import samples, sketch, summaries


def values(seed, count=2000):
    """Numbers of all sizes and signs, and zeros."""
    chance = random.Random(seed)
    kinds = (
        lambda: chance.gauss(0, 1),
        lambda: chance.lognormvariate(0, 4),
        lambda: -chance.expovariate(0.001),
        lambda: 0.0,
    )
    return [chance.choice(kinds)() for _ in range(count)]


def exact(ordered, share):
    return ordered[int(share * (len(ordered) - 1))]


def same(one, other):
    """Equal, but for what the order of additions does to floats."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return one == other


@pytest.mark.parametrize("seed", range(5))
def test_quantile_is_off_by_one_per_cent_at_most(seed):
    ordered = sorted(values(seed))
    found = sketch.of(ordered, most=10_000)
    assert sketch.count(found) == len(ordered)
    for share in (0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1):
        assert sketch.quantile(found, share) == pytest.approx(exact(ordered, share), rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_bounded_sketch_says_how_coarse_it_is_and_keeps_to_that(seed):
    ordered = sorted(values(seed))
    found = sketch.of(ordered, most=64)
    assert len(found["pos"]) + len(found["neg"]) <= 64
    off = 1 - 2 / (sketch.GAMMA ** (2 ** found["coarse"]) + 1)
    for share in (0.05, 0.5, 0.99):
        assert sketch.quantile(found, share) == pytest.approx(exact(ordered, share), rel=off * 1.01)


@pytest.mark.parametrize("seed", range(5))
def test_sketches_of_parts_add_up_to_that_of_the_whole(seed):
    whole = values(seed)
    cuts = sorted(random.Random(seed).sample(range(len(whole)), 2))
    parts = [whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]]
    one, two, three = (sketch.of(part, most=10_000) for part in parts)
    left = sketch.merge(sketch.merge(one, two, 10_000), three, 10_000)
    right = sketch.merge(one, sketch.merge(three, two, 10_000), 10_000)
    assert left == right == sketch.of(whole, most=10_000)


def test_sketches_of_different_coarseness_add_up():
    some = values(7)
    coarse, fine = sketch.of(some[:1000], most=32), sketch.of(some[1000:], most=500)
    both = sketch.merge(coarse, fine, 32)
    assert sketch.count(both) == 2000
    assert sketch.quantile(both, 0.5) == pytest.approx(exact(sorted(some), 0.5), rel=0.3)
    assert sketch.merge(fine, coarse, 32) == both


def test_sketch_survives_json_and_absurd_values():
    found = sketch.of([5e-324, 1e-150, 1e308, -1e308, 0.0, 1.0])
    assert json.loads(json.dumps(found)) == found
    assert sketch.count(found) == 6
    assert [bucket.n for bucket in sketch.buckets(found)] == [1, 2, 1, 1, 1]
    assert sketch.quantile(sketch.of(()), 0.5) is None


@pytest.mark.parametrize("seed", range(5))
def test_number_summaries_add_up(seed):
    whole = [None if index % 7 == 0 else value for index, value in enumerate(values(seed, 700))]
    at_once, bit_by_bit = summaries.Numbers(), summaries.Numbers()
    at_once.add(whole)
    for start in range(0, 700, 33):
        bit_by_bit.add(whole[start : start + 33])
    parts = []
    for part in (whole[:100], whole[100:650], whole[650:]):
        parts.append(summaries.Numbers())
        parts[-1].add(part)
    one, two, three = (part.as_json() for part in parts)
    merged = summaries.merge(summaries.merge(three, one), two)
    for found in (bit_by_bit.as_json(), merged):
        assert same({**found, "sketch": 0}, {**at_once.as_json(), "sketch": 0})
    known = [value for value in whole if value is not None]
    assert merged["nulls"] == 100
    assert merged["mean"] == pytest.approx(statistics.fmean(known))
    assert merged["m2"] / 600 == pytest.approx(statistics.pvariance(known))
    assert (merged["min"], merged["max"]) == (min(known), max(known))


def test_what_is_no_number_counts_as_null():
    found = summaries.Numbers()
    found.add([1, 2.5, None, math.nan, math.inf, "7", True, 10**400])
    assert found.as_json() | {"sketch": 0, "m2": 0, "mean": 0} == {
        "count": 8,
        "nulls": 5,
        "mean": 0,
        "m2": 0,
        "min": 1.0,
        "max": sketch.LARGEST,
        "sketch": 0,
    }
    json.dumps(found.as_json(), allow_nan=False)


def words(*given, hidden=False):
    found = summaries.Words(hidden)
    found.add(given)
    return found.as_json()


def test_words_are_counted_and_add_up():
    one, other = words(*"aabbbc", None), words(*"bbcc", "d", "d")
    assert one == {"count": 7, "nulls": 1, "top": [["b", 3], ["a", 2]], "distinct_more": 1}
    both = {"count": 13, "nulls": 1, "distinct_more": 1}
    both["top"] = [["b", 5], ["a", 2], ["c", 2], ["d", 2]]
    assert summaries.merge(one, other) == summaries.merge(other, one) == both


def test_only_the_most_frequent_values_are_kept():
    found = words(*[f"v{n:03}" for n in range(150) for _ in range(n + 1)])
    assert len(found["top"]) == summaries.TOP
    assert found["top"][0] == ["v149", 150]
    assert found["distinct_more"] == 130
    again = summaries.merge(found, words("v149", "v149"))
    assert again["top"][0] == ["v149", 152]
    assert again["distinct_more"] == 130


def test_ever_new_values_take_no_room_and_are_not_kept():
    found = summaries.Words()
    for n in range(5000):
        found.add([f"person-{n}@example.org"])
    assert len(found.seen) <= summaries.MOST_DISTINCT
    assert found.as_json()["top"] == []
    assert found.as_json()["distinct_more"] > 4000


def test_hidden_column_is_counted_only():
    assert words("a", "a", None, hidden=True) == {
        "count": 3,
        "nulls": 1,
        "top": [],
        "distinct_more": 0,
    }
    assert isinstance(summaries.of([1, 2], hidden=True), summaries.Words)


def test_two_kinds_of_one_column_keep_the_larger():
    numbers = summaries.Numbers()
    numbers.add([1, 2, 3])
    for both in ((numbers.as_json(), words("a")), (words("a"), numbers.as_json())):
        found = summaries.merge(*both)
        assert (found["count"], found["nulls"], found["max"]) == (4, 1, 3.0)


@pytest.mark.parametrize(
    ("hostile", "plain"),
    [
        ("\x1b[2J\x07", "\\x1b[2J\\x07"),
        ("a\nb\x00\u202e", "a\\x0ab\\x00\\u202e"),
        ("Zürich 東京", "Zürich 東京"),
        (["a", 1], '["a",1]'),
        (True, "true"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_a_terminal_acts_on_is_escaped(hostile, plain):
    assert summaries.shown(hostile) == plain


def test_long_names_are_cut_and_stay_apart():
    long = ["x" * 100_000 + end for end in "ab"]
    one, other = map(summaries.shown, long)
    assert one != other
    assert max(len(one), len(other)) <= summaries.LONGEST
    assert len(summaries.shown("\x00" * 59)) <= summaries.LONGEST


def body(seed):
    """A row in which something happened."""
    chance = random.Random(seed)
    numbers = summaries.Numbers()
    numbers.add(values(seed, 50))
    return {
        **samples.empty(),
        "seconds": 10.0,
        "requests": {"200": chance.randrange(100), str(chance.choice((400, 503))): 1},
        "latency": sketch.of([chance.expovariate(100) for _ in range(50)], samples.LATENCIES),
        "queue": {"most": chance.randrange(9), "refused": 1},
        "batches": {"count": 2, "rows": chance.randrange(50)},
        "cpu": chance.random(),
        "memory": chance.randrange(10**9),
        "files": 20,
        "host": {"cpu": chance.random(), "load": chance.random(), "memory": 1, "disk": None},
        "inputs": {"age": numbers.as_json(), f"c{seed % 2}": words("x", "x")},
    }


@pytest.mark.parametrize("seed", range(5))
def test_rows_add_up_in_any_order(seed):
    one, two, three = (body(seed + n) for n in range(3))
    left = samples.merge(samples.merge(one, two), three)
    right = samples.merge(three, samples.merge(two, one))
    assert same(left, right)
    assert left["seconds"] == 30.0
    assert sum(left["requests"].values()) == sum(
        sum(each["requests"].values()) for each in (one, two, three)
    )
    assert left["memory"] == max(each["memory"] for each in (one, two, three))
    assert left["host"]["cpu"] == pytest.approx(
        statistics.fmean(each["host"]["cpu"] for each in (one, two, three))
    )
    assert samples.unpack(samples.pack(left)) == left
    assert same(samples.merge(left, samples.empty()), left)


@pytest.mark.parametrize("packed", [b"", b"junk", None, "text", samples.pack({})[:-3]])
def test_what_is_no_row_is_refused(packed):
    with pytest.raises(ValueError, match="not a body"):
        samples.unpack(packed)


def test_many_add_up_as_one_by_one():
    every = [sketch.of([n * 1.7**k for k in range(40)], most=32) for n in (1, -2, 3)]
    one_by_one = sketch.merge(sketch.merge(every[0], every[1]), every[2])
    assert sketch.merge_many(every) == one_by_one
    assert sketch.merge_many([]) == sketch.of([])
