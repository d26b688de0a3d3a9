"""Answers beside each other: what differs, and by how much. Pure."""

import math
import random

import pytest

from app.deployer.agent import comparing as at_the_gate
from app.scoring import comparing
from app.scoring.comparing import Tolerance, compare, rows_of
from app.scoring.outputs import Column, Outputs

EXACT = Tolerance(0.0, 0.0)


def test_same_rows_do_not_differ():
    found = compare([1.0, {"a": "x"}], [1.0, {"a": "x"}], Tolerance())
    assert (found.rows, found.differ, found.first) == (2, 0, [])


def test_distance_is_counted_also_within_the_tolerance():
    found = compare([1.0, 2.0], [1.5, 2.1], Tolerance(0.0, 0.2))
    assert found.differ == 1
    assert found.numbers == 2
    assert math.isclose(found.distance, 0.6)
    assert found.largest == 0.5


def test_first_rows_that_differ_are_shown_with_their_place():
    found = compare([{"p": [1, 2]}, {"p": [1, 2]}], [{"p": [1, 2]}, {"p": [1, 3]}], EXACT)
    assert found.first == [{"row": 2, "path": "p[1]", "wanted": "2", "got": "3"}]


def test_rows_that_only_one_has_differ():
    found = compare([1], [1, 2], EXACT)
    assert (found.rows, found.differ) == (2, 1)
    assert found.first[0]["wanted"] == "nothing"


def test_what_is_not_finite_has_no_distance():
    found = compare([math.nan, math.inf, math.nan], [math.nan, 1.0, 1.0], EXACT)
    assert (found.differ, found.numbers, found.largest) == (2, 0, 0.0)


def test_long_values_are_cut():
    found = compare(["a" * 1000], ["b" * 1000], EXACT)
    assert len(found.first[0]["wanted"]) == comparing.LONGEST


def test_rows_of_a_part_of_a_batch():
    column = Column("d", memoryview(bytearray(32)), (4,))
    assert rows_of(Outputs("array", None, (column,), (), 1, 3)) == [0.0, 0.0]
    table = Outputs("table", None, (column,), ("p",), 3, 4)
    assert rows_of(table) == [{"p": 0.0}]
    assert rows_of(Outputs("json", {"a": 1})) == [{"a": 1}]
    assert rows_of(Outputs("bytes", b"x")) == [b"x"]


VALUES = (0, 1, 1.0, 1.0 + 1e-12, 2, True, None, "a", math.nan, math.inf, [], [1], {}, {"a": 1})


def made(rng, depth=0):
    if depth < 2 and rng.random() < 0.4:
        inner = [made(rng, depth + 1) for _ in range(rng.randrange(3))]
        return inner if rng.random() < 0.5 else dict(zip("abc", inner, strict=False))
    return rng.choice(VALUES)


@pytest.mark.parametrize("seed", range(20))
def test_the_verdict_is_the_gates(seed):
    rng = random.Random(seed)
    for _ in range(200):
        wanted, got = ([made(rng) for _ in range(3)] for _ in range(2))
        here = compare(wanted, got, Tolerance(1e-6, 1e-9))
        there = at_the_gate.compare(wanted, got, at_the_gate.Tolerance(1e-6, 1e-9))
        assert (here.rows, here.differ) == (there["rows"], there["differ"])
