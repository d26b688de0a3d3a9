"""Answers compared: numbers with tolerance, all else exactly, rows by their place."""

import math

import pytest

from app.deployer.agent.comparing import Tolerance, compare, differences, misfits, rows_of

NAN = math.nan


def same(wanted, got, **tolerance):
    return not list(differences(wanted, got, Tolerance(**tolerance)))


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (1.0, 1.0 + 1e-7),
        (1e9, 1e9 + 1.0),
        (0.0, 1e-10),
        (0.0, -0.0),
        (3, 3.0),
        (NAN, NAN),
        (math.inf, math.inf),
        ("a", "a"),
        (None, None),
        ({"a": [1.0, {"b": NAN}]}, {"a": [1.0 + 1e-9, {"b": NAN}]}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_same(wanted, got):
    assert same(wanted, got)
    assert same(got, wanted)


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        (1.0, 1.0 + 1e-5),
        (0.0, 1e-8),
        (NAN, 0.0),
        (math.inf, -math.inf),
        (math.inf, 1e308),
        (10_000_001, 10_000_002),  # names of classes, say
        (True, 1),
        (False, None),
        ("1", 1),
        ("a", "A"),
        ([1], 1),
        ({}, []),
        ([1, 2], [2, 1]),
    ],
)
def test_different(wanted, got):
    assert not same(wanted, got)
    assert not same(got, wanted)


def test_tolerance_is_relative_or_absolute():
    assert same(100.0, 101.0, relative=0.01)
    assert not same(100.0, 102.0, relative=0.01)
    assert same(0.001, 0.002, relative=0, absolute=0.001)
    assert not same(0.001, 0.0021, relative=0, absolute=0.001)


def test_places_are_named():
    wanted = {"label": "yes", "scores": [0.1, 0.2], "old": 1, "deep": {"x": 1.0}}
    got = {"label": "no", "scores": [0.1, 0.3, 0.4], "new": 2, "deep": {"x": 1.0}}
    assert [tuple(each) for each in differences(wanted, got, Tolerance())] == [
        ("label", "changed", "yes", "no"),
        ("scores[1]", "changed", 0.2, 0.3),
        ("scores[2]", "more", None, 0.4),
        ("old", "missing", 1, None),
        ("new", "more", None, 2),
    ]


def test_rows_of_every_kind_of_answer():
    assert rows_of({"predictions": [1, 2]}) == [1, 2]
    assert rows_of({"predictions": {"a": [1, 2], "b": ["x", "y"]}}) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    assert rows_of({"predictions": {"a": [1, 2], "b": [1]}}) == [{"a": [1, 2], "b": [1]}]
    assert rows_of({"predictions": {}}) == [{}]
    assert rows_of({"predictions": 3}) == [3]
    assert rows_of({"sha256": "ab"}) == [{"sha256": "ab"}]


def test_answers_are_compared_row_by_row():
    found = compare(
        {"predictions": [1.0, 2.0, 3.0]}, {"predictions": [1.0, 2.5, 3.0, 4.0]}, Tolerance()
    )
    assert (found["rows"], found["differ"]) == (4, 2)
    changed, more = found["first"]
    assert (changed["row"], changed["wanted"], changed["got"]) == (2, 2.0, 2.5)
    assert (more["row"], more["kind"], more["got"]) == (4, "more", 4.0)
    many = compare({"predictions": [0] * 1000}, {"predictions": [1] * 1000}, Tolerance(), most=3)
    assert (many["differ"], len(many["first"])) == (1000, 3)


def test_declared_outputs_are_held_against_the_answer():
    declared = {"label": {"type": "string"}, "score": {"type": "float64", "max": 1}}
    assert misfits(declared, {"predictions": [{"label": "a", "score": 0.5}]}) == []
    said = misfits(declared, {"predictions": [{"label": "a", "score": 0.5}, {"score": 2.0}]})
    assert said == [
        'Row 2 has no "label", which [schema] declares.',
        '"score" of row 2 is 2.0, beyond the bounds in [schema].',
    ]
    assert "no record" in misfits(declared, {"predictions": [0.5]})[0]
    assert misfits({"p": {"type": "int64"}}, {"predictions": [1, 2.0]}) == []
    assert "declares int64" in misfits({"p": {"type": "int64"}}, {"predictions": [0.5]})[0]
    assert "declares float64" in misfits({"p": {"type": "float64"}}, {"predictions": ["x"]})[0]
