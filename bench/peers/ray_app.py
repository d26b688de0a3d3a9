"""A Ray Serve deployment with @serve.batch: `python ray_app.py PORT`."""

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path

import numpy as np
import ray
from ray import serve


@serve.deployment(
    num_replicas=int(os.environ["BENCH_WORKERS"]),
    max_ongoing_requests=1000,
    ray_actor_options={"num_cpus": 0.5},
)
class Scoring:
    def __init__(self, path):
        self.model = pickle.loads(Path(path).read_bytes())  # noqa: S301 (made by us)

    @serve.batch(max_batch_size=32, batch_wait_timeout_s=float(os.environ.get("BENCH_WAIT", 0)))
    async def predict(self, inputs):
        sizes = np.cumsum([len(rows) for rows in inputs])
        return np.split(self.model.predict(np.concatenate(inputs)), sizes[:-1])

    async def __call__(self, request):
        inputs = np.array((await request.json())["inputs"])
        return {"predictions": (await self.predict(inputs)).tolist()}


async def until_told_to_end():
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    quiet = {"log_level": "ERROR", "enable_access_log": False}
    serve.run(Scoring.bind(os.environ["BENCH_MODEL"]), route_prefix="/score", logging_config=quiet)
    asyncio.run(until_told_to_end())
    serve.shutdown()
    ray.shutdown()
