"""Three BentoML services and one that depends on them; adaptive batching in each of the three."""

import asyncio
import os
import pickle
from pathlib import Path

import bentoml
import numpy as np

FOLDER = Path(os.environ["BENCH_MODELS"])
COMMON = {
    "traffic": {"timeout": 60},
    "logging": {"access": {"enabled": False}},
    "metrics": {"enabled": False},
}
BATCHED = {"batchable": True, "batch_dim": 0, "max_batch_size": 1024, "max_latency_ms": 1000}


def model(name):
    return pickle.loads((FOLDER / f"{name}.pickle").read_bytes())  # noqa: S301 (made by us)


@bentoml.service(**COMMON)
class Features:
    def __init__(self):
        self.model = model("features")

    @bentoml.api(**BATCHED)
    def transform(self, inputs: np.ndarray) -> np.ndarray:
        return self.model.transform(inputs)


@bentoml.service(**COMMON)
class Logistic:
    def __init__(self):
        self.model = model("logistic")

    @bentoml.api(**BATCHED)
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(inputs)[:, 1]


@bentoml.service(**COMMON)
class Forest:
    def __init__(self):
        self.model = model("forest")

    @bentoml.api(**BATCHED)
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return self.model.predict_proba(inputs)[:, 1]


@bentoml.service(**COMMON)
class Scoring:
    features = bentoml.depends(Features)
    logistic = bentoml.depends(Logistic)
    forest = bentoml.depends(Forest)

    @bentoml.api
    async def score(self, inputs: np.ndarray) -> np.ndarray:
        features = await self.features.to_async.transform(inputs)
        both = await asyncio.gather(
            self.logistic.to_async.predict(features), self.forest.to_async.predict(features)
        )
        return np.mean(both, axis=0)
