"""The drawing of a column then and now: pure."""

import re

from app.scoring import summaries
from app.views import histograms


def summary(values):
    found = summaries.of(values)
    found.add(values)
    return found.as_json()


def heights(path):
    """Of each step, from the ground up."""
    found = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", path)]
    return [histograms.TALL - y for y in found[:-1:2]]


def test_both_have_the_same_axis_and_the_tallest_fills_it():
    drawn = histograms.draw(summary([float(n) for n in range(1, 101)]), summary([50.0] * 7))
    assert (drawn.left, drawn.right) == ("1", "100")
    then, now = heights(drawn.then), heights(drawn.now)
    assert len(then) == len(now) == histograms.BINS
    assert max(now) == histograms.TALL - 2
    assert sum(1 for height in now if height) <= 2
    assert max(then) < max(now) / 5


def test_a_step_is_a_share_so_that_few_are_as_tall_as_many():
    one, two = summary([1.0, 2.0, 3.0] * 5), summary([1.0, 2.0, 3.0] * 500)
    drawn = histograms.draw(one, two)
    assert drawn.then == drawn.now


def test_values_that_are_words_have_bars_and_the_rest_share_one():
    then = summary(["a"] * 50 + ["b"] * 30 + ["c"] * 20)
    now = summary(["a"] * 10 + ["d"] * 90)
    drawn = histograms.draw(then, now)
    assert len(heights(drawn.now)) == 5
    assert drawn.words == "a 10%, b 0%, c 0%, d 90%, others 0%"


def test_one_value_stands_in_the_middle_though_a_sketch_knows_it_only_nearly():
    for value in (0.9416054246403489, 3.7, -0.9416):
        drawn = histograms.draw(None, summary([value] * 20))
        assert float(drawn.left) < value < float(drawn.right)
        assert 0 < heights(drawn.now).index(histograms.TALL - 2) < histograms.BINS - 1


def test_what_cannot_be_drawn_is_none():
    assert histograms.draw(summary([1.0]), summary(["a", "a"])) is None
    assert histograms.draw(None, summary([None])) is None
    assert histograms.draw(None, summary([5.0])).then == ""
