"""A BentoML service with a batchable API: adaptive batching joins waiting requests by rows."""

import os
import pickle
from pathlib import Path

import bentoml
import numpy as np

WORKERS = int(os.environ["BENCH_WORKERS"])


@bentoml.service(
    workers=WORKERS,
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Scoring:
    def __init__(self):
        path = Path(os.environ["BENCH_MODEL"])
        self.model = pickle.loads(path.read_bytes())  # noqa: S301 (made by us)

    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=1024, max_latency_ms=1000)
    def score(self, inputs: np.ndarray) -> np.ndarray:
        return self.model.predict(inputs)
