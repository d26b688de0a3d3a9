"""What people write by hand: a model behind a FastAPI endpoint. Run by uvicorn.

`/raw` is the quick way by hand for many rows: a body of float64s, no JSON to read.
"""

import os
import pickle
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Request
from pydantic import BaseModel

model = pickle.loads(Path(os.environ["BENCH_MODEL"]).read_bytes())  # noqa: S301 (made by us)
app = FastAPI()


class Body(BaseModel):
    inputs: list[list[float]]


@app.post("/score")
def score(body: Body) -> dict[str, list[int]]:
    return {"predictions": model.predict(np.array(body.inputs)).tolist()}


@app.post("/raw")
async def raw(request: Request) -> dict[str, list[int]]:
    inputs = np.frombuffer(await request.body()).reshape(-1, 30)
    return {"predictions": model.predict(inputs).tolist()}
