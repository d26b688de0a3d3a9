"""MLServer with its scikit-learn runtime: `python mlserver_app.py PICKLE FOLDER PORT`."""

import json
import os
import socket
import sys
from pathlib import Path

from mlserver.cli.main import root

MODEL = {
    "name": "scoring",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "max_batch_size": int(os.environ.get("BENCH_BATCH", 32)),
    "max_batch_time": float(os.environ.get("BENCH_WAIT", 0.001)),
}
SETTINGS = {
    "debug": False,
    "host": "127.0.0.1",
    "parallel_workers": int(os.environ["BENCH_WORKERS"]),
    "metrics_endpoint": None,
    "gzip_enabled": False,
}


def run(pickle: str, folder: Path, port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {"uri": pickle, "version": "1"}
    (folder / "model-settings.json").write_text(json.dumps({**MODEL, "parameters": parameters}))
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps({**SETTINGS, **ports}))
    os.chdir(folder)
    root(["start", str(folder)])


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
