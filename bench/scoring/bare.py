"""A model without any server, in the model's environment.

`bare.py predict PICKLE ROWS.json SECONDS`: the predictions and the median of a bare call, as JSON.
`bare.py load PICKLE`: says so when Python has imported the model's packages and loaded it.
"""

import json
import pickle
import sys
from pathlib import Path
from time import perf_counter
from typing import Any


def load(path: str) -> Any:
    return pickle.loads(Path(path).read_bytes())  # noqa: S301 (made by us)


def predict(path: str, rows: str, seconds: float) -> None:
    """median: seconds of a predict. with_copy: of a copy of the rows' bytes and a predict."""
    import numpy as np

    model, inputs = load(path), np.array(json.loads(Path(rows).read_text()))
    raw = inputs.tobytes()

    def copied() -> Any:
        received = bytearray(raw)
        return model.predict(np.frombuffer(received).reshape(inputs.shape))

    said = {
        "predictions": model.predict(inputs).tolist(),
        "median": median(lambda: model.predict(inputs), seconds / 2),
        "with_copy": median(copied, seconds / 2),
    }
    print(json.dumps(said))


def median(call: Any, seconds: float) -> float:
    times: list[float] = []
    end = perf_counter() + seconds
    while not times or perf_counter() < end:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(sys.argv[2])
        print("loaded", flush=True)
    else:
        predict(sys.argv[2], sys.argv[3], float(sys.argv[4]))
