"""A LitServe API that joins waiting requests: `python litserve_app.py PORT`."""

import os
import pickle
import sys
from pathlib import Path

import litserve
import numpy as np


class Scoring(litserve.LitAPI):
    def setup(self, device):
        path = Path(os.environ["BENCH_MODEL"])
        self.model = pickle.loads(path.read_bytes())  # noqa: S301 (made by us)

    def decode_request(self, request):
        return np.array(request["inputs"])

    def batch(self, inputs):
        self.sizes = [len(rows) for rows in inputs]
        return np.concatenate(inputs)

    def predict(self, inputs):
        return self.model.predict(inputs)

    def unbatch(self, output):
        return np.split(output, np.cumsum(self.sizes)[:-1])

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    workers = int(os.environ["BENCH_WORKERS"])
    api = Scoring(
        max_batch_size=int(os.environ.get("BENCH_BATCH", 32)),
        batch_timeout=float(os.environ.get("BENCH_WAIT", 0)),
        api_path="/score",
    )
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=workers,
        fast_queue=os.environ.get("BENCH_FAST") == "1",
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=int(os.environ.get("BENCH_SERVERS", 1)),
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
