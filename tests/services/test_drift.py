"""PSI and Kolmogorov–Smirnov, against SciPy's own results in an environment made for it."""

import json
import random
import subprocess

import pytest
from scoring.conftest import environment

from app.scoring import sketch, summaries
from app.services import drift

PROGRAM = """
import json, sys
from scipy.stats import entropy, ks_2samp
said = json.load(sys.stdin)
ks = [ks_2samp(a, b).statistic for a, b in said["pairs"]]
psi = [entropy(a, b) + entropy(b, a) for a, b in said["counts"]]
json.dump({"ks": ks, "psi": psi}, sys.stdout)
"""


def spread(one):
    return [bucket.middle for bucket in sketch.buckets(one) for _ in range(bucket.n)]


def floored(counts):
    """An empty bin has a floor, for SciPy too: else both would be infinite."""
    return [max(n, drift.FLOOR * sum(counts)) for n in counts]


@pytest.fixture(scope="module")
def samples():
    dice = random.Random(7)
    normal = [dice.gauss(50, 10) for _ in range(2000)]
    return [
        (normal, [dice.gauss(52, 12) for _ in range(1500)]),
        ([dice.gauss(0, 1) for _ in range(800)], [dice.gauss(0.5, 1) for _ in range(900)]),
        (
            [dice.lognormvariate(0, 2) for _ in range(900)],
            [dice.expovariate(1) for _ in range(700)],
        ),
        (normal, normal),
    ]


@pytest.fixture(scope="module")
def scipys(samples):
    pairs = [drift.common(sketch.of(a), sketch.of(b)) for a, b in samples]
    middles = [(spread(a), spread(b)) for a, b in pairs]
    counts = [[floored(side) for side in drift.binned(*pair)] for pair in pairs]
    python = environment(("numpy", "pandas", "scikit-learn")) / "bin" / "python"
    said = json.dumps({"pairs": [*middles, *samples], "counts": counts})
    answer = subprocess.run(
        [python, "-c", PROGRAM], input=said, capture_output=True, text=True, check=True
    )
    return pairs, json.loads(answer.stdout)


def test_ks_is_scipys_on_the_middles_of_buckets(scipys):
    pairs, said = scipys
    assert [drift.ks(*pair) for pair in pairs] == pytest.approx(said["ks"][: len(pairs)], abs=1e-12)


def test_ks_is_near_scipys_on_the_values_themselves(scipys):
    pairs, said = scipys
    assert [drift.ks(*pair) for pair in pairs] == pytest.approx(said["ks"][len(pairs) :], abs=0.02)


def test_psi_is_scipys_sum_of_both_relative_entropies(scipys):
    pairs, said = scipys
    ours = [drift.psi(*drift.binned(*pair)) for pair in pairs]
    assert ours == pytest.approx(said["psi"], abs=1e-12)
    assert ours[-1] == 0.0


def test_sketches_of_different_width_are_compared_by_the_wider():
    values = [1.1**n for n in range(200)]
    assert drift.ks(*drift.common(sketch.of(values, most=16), sketch.of(values))) == 0.0


def test_years_are_told_by_their_mean():
    def of(values):
        column = summaries.of(values)
        column.add(values)
        return column.as_json()

    said = drift.compare(of([2000, 2001, 2002] * 50), of([2020, 2021, 2022] * 50))
    assert said["blind"]
    assert said["score"] > 0.25
    assert drift.compare(of([2000, 2001] * 50), of([2000, 2001] * 80))["score"] < 0.01


def test_words_are_compared_by_their_counts():
    one = {"count": 100, "nulls": 0, "top": [["a", 50], ["b", 50]], "distinct_more": 0}
    other = {"count": 200, "nulls": 100, "top": [["a", 80], ["b", 20]], "distinct_more": 0}
    said = drift.compare(one, other)
    assert said["psi"] == pytest.approx(0.3 * 0.4700036 + 0.3 * 0.9162907, abs=1e-6)
    assert said["nulls"] == 0.5
    assert drift.compare(one, one)["score"] == 0.0
