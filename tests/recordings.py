"""Rows as fronts record them, put where what was collected is kept."""

import time

from app.models import Instance
from app.scoring import samples, sketch
from app.store.recorded import Sample

NOW = 1_800_000_000
MADE = {"requests": {"200": 90, "404": 5, "500": 5}, "seconds": 10.0, "cpu": 5.0, "memory": 1000}


def row(at, step=10, release="v1-a", version=1, skew=0.0, **body):
    body = {**samples.empty(), **MADE, "latency": sketch.of([0.1] * 90 + [2.0] * 10), **body}
    counts = body["requests"]
    failed = counts.get("500", 0)
    seconds = body["seconds"]
    total = sum(counts.values())
    packed = samples.pack(body)
    return Sample(step, at, release, version, skew, seconds, total, failed, False, packed)


def keep(work, rows, happened=(), skew=0.0):
    with work.open_store() as store:
        store.instances.upsert(Instance("churn", "local", 8080, "v1-a", 1, "serving"))
    with work.open_recorded() as recorded, recorded.write():
        recorded.put(recorded.source("churn", "local"), rows, happened)
        recorded.heard("local", time.time(), skew)
