"""Three Ray Serve deployments asked by handles, each with @serve.batch: `chain_ray.py PORT`."""

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import ray
from ray import serve

FOLDER = Path(os.environ["BENCH_MODELS"])
ROOM = {"num_replicas": 1, "max_ongoing_requests": 1000, "ray_actor_options": {"num_cpus": 0.4}}


def model(name):
    return pickle.loads((FOLDER / f"{name}.pickle").read_bytes())  # noqa: S301 (made by us)


def split(answers, inputs):
    return np.split(answers, np.cumsum([len(rows) for rows in inputs])[:-1])


@serve.deployment(**ROOM)
class Features:
    def __init__(self):
        self.model = model("features")

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0)
    async def __call__(self, inputs):
        return split(self.model.transform(np.concatenate(inputs)), inputs)


@serve.deployment(**ROOM)
class Predictor:
    def __init__(self, name):
        self.model = model(name)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=0)
    async def __call__(self, inputs):
        return split(self.model.predict_proba(np.concatenate(inputs))[:, 1], inputs)


@serve.deployment(**ROOM)
class Scoring:
    def __init__(self, features, logistic, forest):
        self.features, self.models = features, (logistic, forest)

    async def __call__(self, request):
        inputs = np.array((await request.json())["inputs"])
        features = self.features.remote(inputs)  # handles wait for it themselves
        both = await asyncio.gather(*(one.remote(features) for one in self.models))
        return {"predictions": np.mean(both, axis=0).tolist()}


async def until_told_to_end():
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    stages = (
        Features.bind(),
        Predictor.options(name="Logistic").bind("logistic"),
        Predictor.options(name="Forest").bind("forest"),
    )
    serve.run(Scoring.bind(*stages), route_prefix="/score", logging_config=quiet)
    asyncio.run(until_told_to_end())
    serve.shutdown()
    ray.shutdown()
