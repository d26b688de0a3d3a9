"""Durations of many requests: few are looked at, and what is said of all is still right."""

import random

import pytest

from app.scoring import sketch
from app.scoring.sketch import Sketch
from app.scoring.tap import TOGETHER, Tap


def spans(tap, durations, spans):
    """A sketch, and how many values were looked at, for each of so many spans between two cuts."""
    part = len(durations) // spans
    for number in range(spans):
        for seconds in durations[number * part : (number + 1) * part]:
            tap.answered("score", seconds)
        tap.flush()
        made, looked = Sketch(160), 0
        while not tap.queue.empty():
            said = tap.queue.get()
            if said.of == "latency":
                made.add(said.values, said.each)
                looked += len(said.values)
        yield made.as_json(), looked


@pytest.mark.parametrize("many", [100, 4_000, 300_000])
def test_few_are_looked_at_and_all_are_spoken_of(many):
    chance = random.Random(1128)
    durations = [chance.lognormvariate(-7, 0.5) for _ in range(3 * many)]
    for number, (made, looked) in enumerate(spans(Tap(), durations, 3)):
        assert looked <= 8 * TOGETHER
        assert sketch.count(made) == pytest.approx(many, rel=0.01)
        truth = sorted(durations[number * many : (number + 1) * many])
        if many >= 4_000:
            for share in (0.5, 0.95, 0.99):
                wanted = truth[int(share * (many - 1))]
                assert sketch.quantile(made, share) == pytest.approx(wanted, rel=0.05)
    assert looked == many or looked < 2 * TOGETHER, "the more there were, the fewer are looked at"


def test_what_was_left_out_is_looked_at_again_when_there_are_few():
    tap = Tap()
    list(spans(tap, [0.001] * 300_000, 1))
    looked = [looked for _, looked in spans(tap, [0.001] * 1200, 12)]
    assert looked[0] < 100
    assert looked[-1] == 100


def test_what_nobody_asked_from_outside_is_not_counted():
    tap = Tap()
    tap.answered("probe", 0.001)
    tap.flush()
    assert tap.queue.get().values == []
