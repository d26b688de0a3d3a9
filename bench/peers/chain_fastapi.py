"""Three services by hand, one process each: `uvicorn chain_fastapi:app`, BENCH_STAGE says which.

The featurizer is asked by the client; it asks both models at once over kept connections and takes
the mean.
"""

import asyncio
import os
import pickle
from pathlib import Path

import aiohttp
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

STAGE = os.environ["BENCH_STAGE"]
PATH = Path(os.environ["BENCH_MODELS"]) / f"{STAGE}.pickle"
model = pickle.loads(PATH.read_bytes())  # noqa: S301 (made by us)
app = FastAPI()
session = None


class Body(BaseModel):
    inputs: list[list[float]]


async def ask(port, features):
    global session
    session = session or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    url = f"http://127.0.0.1:{port}/score"
    async with session.post(url, json={"inputs": features}) as answer:
        answer.raise_for_status()
        return np.array((await answer.json())["predictions"])


async def chained(body: Body):
    features = model.transform(np.array(body.inputs)).tolist()
    ports = os.environ["BENCH_NEXT"].split(",")
    both = await asyncio.gather(*(ask(port, features) for port in ports))
    return {"predictions": np.mean(both, axis=0).tolist()}


def predicted(body: Body):
    return {"predictions": model.predict_proba(np.array(body.inputs))[:, 1].tolist()}


app.post("/score")(chained if STAGE == "features" else predicted)
