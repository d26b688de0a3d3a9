"""What speaks against a release at the gate."""

import pytest

from app.deployer.agent.judging import over
from app.models import Gate


def compared(rows, differ):
    return {"rows": rows, "differ": differ, "first": []}


def asked(name="samples/a.json", **found):
    each = {"name": name, "sample": False, "rows": 10, "status": 200, "cause": "", "steady": True}
    return {**each, "misfits": [], "recorded": compared(10, 0), "current": compared(10, 0), **found}


def report(*inputs, **found):
    took = {"median": 0.01, "p99": 0.02, "requests": 9}
    return {
        "against": "v1-aa", "late": False, "died": 0, "inputs": inputs or [asked()],
        "latency": {"new": took, "current": took}, "memory": {"new": 200e6, "current": 100e6},
        **found,
    }  # fmt: skip


SLOW = {"new": {"median": 0.03, "p99": 0.5, "requests": 9}, "current": {"median": 0.01, "p99": 1}}


@pytest.mark.parametrize(
    ("found", "limits"),
    [
        (report(), {}),
        (report(asked(recorded=compared(10, 1))), {"must_match": False}),
        (report(asked(recorded=None, status=422, cause="no such column")), {}),
        (report(asked(current={"cannot": "column x is missing"})), {"max_changed": 0.0}),
        (report(asked(current=compared(10, 5))), {}),
        (report(asked(current=compared(10, 1)), asked()), {"max_changed": 0.05}),
        (report(latency=SLOW), {}),
        (report(latency={"new": SLOW["new"], "current": None}), {"max_latency_ratio": 1.0}),
        (report(), {"max_memory_ratio": 2.0}),
    ],
)  # fmt: skip
def test_passes(found, limits):
    assert over(found, Gate(**limits).limits()) == []


@pytest.mark.parametrize(
    ("found", "limits", "said"),
    [
        (report(asked(recorded=compared(10, 1))), {}, "1 of 10 rows of samples/a.json"),
        (report(asked(status=500, cause="boom")), {}, "It answered samples/a.json with 500: boom"),
        (report(asked(status=0, recorded=None, sample=True)), {"must_match": False}, "nothing"),
        (report(asked(steady=False)), {}, "differently from one time to the next"),
        (report(asked(misfits=["Row 1 has no label."])), {}, "Row 1 has no label."),
        (report(asked(current=compared(10, 2))), {"max_changed": 0.1}, "2 of 10 rows differ"),
        (report(late=True), {}, "raise `time` under [gate]"),
        (report(died=1), {}, "1 worker of it died"),
        (report(latency=SLOW), {"max_latency": 0.4}, "max_latency allows 400 ms"),
        (report(latency=SLOW), {"max_latency_ratio": 2.0}, "Its median is 30 ms, v1's 10 ms"),
        (report(), {"max_memory_ratio": 1.5}, "It took 200 MB of memory, v1 100 MB"),
    ],
)  # fmt: skip
def test_does_not_pass(found, limits, said):
    [sentence] = over(found, Gate(**limits).limits())
    assert said in sentence
