"""The peers: what each is installed from, how it is started, asked and read, and how it was tuned.

Versions are the newest that could be installed on VERSIONS_OF. Each was tried at 32 connections
with one row a request, as said at each; what was clearly better was kept.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import ground

VERSIONS_OF = "2026-11-23"
APPS = ground.ROOT / "bench" / "peers"
UVICORN = ("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0")
QUIET = ("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools")

Rows = list[list[float]]
Command = list[Any]


def as_inputs(rows: Rows) -> bytes:
    return json.dumps({"inputs": rows}).encode()


def as_list(rows: Rows) -> bytes:
    return json.dumps(rows).encode()


def as_tensor(rows: Rows) -> bytes:
    """JSON of the Open Inference Protocol."""
    flat = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    tensor = {"name": "inputs", "shape": shape, "datatype": "FP64", "data": flat}
    return json.dumps({"inputs": [tensor]}).encode()


class Peer(NamedTuple):
    """One way to serve a model.

    command(environment, model, port) starts it; `workers` says, by model, how many processes
    predict. `path` takes what `body` makes of rows; `read` finds the predictions in the answer.
    `raw` is a path that takes the rows as float64s, if there is one. `tuned`: for the reader.
    """

    name: str
    packages: tuple[str, ...]
    command: Callable[[Path, Path, int], Command]
    path: str
    body: Callable[[Rows], bytes] = as_inputs
    read: Callable[[Any], list[Any]] = lambda said: said["predictions"]
    workers: Mapping[str, int] = {}
    variables: Mapping[str, str] = {}
    raw: str | None = None
    tuned: str = ""

    @property
    def version(self) -> str:
        return self.packages[0].partition("==")[2]

    @property
    def environment(self) -> Path:
        name = self.name.lower().replace(" ", "-")
        return ground.environment(name, (*ground.MODEL, *self.packages))

    def settings(self, model: str, path: Path) -> dict[str, str]:
        """The variables of the process that serves the model in that file."""
        workers = str(self.workers.get(model, 1))
        return {
            "BENCH_MODEL": str(path),
            "BENCH_WORKERS": workers,
            "WEB_CONCURRENCY": workers,  # uvicorn's --workers
            **self.variables,
        }


def by_uvicorn(app: str) -> Callable[[Path, Path, int], Command]:
    def command(env: Path, model: Path, port: int) -> Command:
        python = env / "bin" / "python"
        return [python, "-m", "uvicorn", app, "--app-dir", APPS, "--port", str(port), *QUIET]

    return command


def by_python(app: str) -> Callable[[Path, Path, int], Command]:
    return lambda env, model, port: [env / "bin" / "python", APPS / app, str(port)]


def mlflow(env: Path, model: Path, port: int) -> Command:
    """Saves the model in MLflow's form first, once."""
    saved = model.with_suffix(".mlflow")
    python = env / "bin" / "python"
    if not (saved / "MLmodel").exists():
        said = subprocess.run(
            [python, APPS / "mlflow_app.py", model, saved], capture_output=True, text=True
        )
        if said.returncode:
            raise RuntimeError(said.stderr.strip().splitlines()[-1])
    app = ["-m", "uvicorn", "mlflow_app:app", "--app-dir", APPS, "--port", str(port), *QUIET]
    return ["env", f"BENCH_MLFLOW_MODEL={saved}", python, *app]


def bentoml(env: Path, model: Path, port: int) -> Command:
    words = ["serve", "bentoml_app:Scoring", "--working-dir", APPS, "--host", "127.0.0.1"]
    return [env / "bin" / "bentoml", *words, "--port", str(port)]


def mlserver(env: Path, model: Path, port: int) -> Command:
    folder = ground.CACHE / "mlserver" / model.stem
    return [env / "bin" / "python", APPS / "mlserver_app.py", model, folder, str(port)]


PEERS = (
    Peer(
        "FastAPI",
        ("fastapi==0.165.0", *UVICORN),
        by_uvicorn("fastapi_app:app"),
        "/score",
        workers={"logistic": 2, "forest": 2},
        raw="/raw",
        tuned="uvicorn with uvloop and httptools; 1 worker and 2: 2 (1,407 to 3,696 requests/s "
        "from run to run; 1 worker: 1,417 to 1,813)",
    ),
    Peer(
        "MLflow",
        ("mlflow==3.17.2", *UVICORN),
        mlflow,
        "/invocations",
        workers={"logistic": 2, "forest": 2},
        tuned="uvicorn with uvloop and httptools; 1 worker and 2: 2 is twice as good",
    ),
    Peer(
        "BentoML",
        ("bentoml==1.4.39",),
        bentoml,
        "/score",
        read=lambda said: said,
        workers={"logistic": 2, "forest": 2},
        variables={"BENTOML_DO_NOT_TRACK": "true"},
        tuned="adaptive batching, no access log, no metrics; 1 worker and 2: 2 (half as much again "
        "for the logistic model, twice as much for the forest at 128 connections)",
    ),
    Peer(
        "LitServe",
        ("litserve==0.2.19",),
        by_python("litserve_app.py"),
        "/score",
        variables={"BENCH_FAST": "0", "BENCH_WAIT": "0"},
        tuned="batches of 32 and 128: 32; waits of 0, 1 and 5 ms: 0; fast queue and not: not; all "
        "these within noise; 1 worker and 2, 1 server process and 2: 1",
    ),
    Peer(
        "MLServer",
        ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
        mlserver,
        "/v2/models/scoring/infer",
        as_tensor,
        lambda said: said["outputs"][0]["data"],
        workers={"logistic": 0, "forest": 0},
        tuned="batches of 32 and 128: 32 (128 is better at 128 connections, worse at 32, neither "
        "by much); waits of 1 and 5 ms: 1; parallel workers 0 and 1: 0 (with 1 the model did not "
        "become ready in 20 s)",
    ),
    Peer(
        "vetiver",
        ("vetiver==0.2.6", *UVICORN),
        by_uvicorn("vetiver_app:app"),
        "/predict",
        as_list,
        lambda said: said["predict"],
        workers={"logistic": 2, "forest": 2},
        tuned="no prototype check, uvicorn with uvloop and httptools; 1 worker and 2: 2 (twice as "
        "good for the logistic model)",
    ),
    Peer(
        "Ray Serve",
        ("ray[serve]==2.60.0",),
        by_python("ray_app.py"),
        "/score",
        variables={"RAY_USAGE_STATS_ENABLED": "0"},
        tuned="@serve.batch of up to 32, no access log; waits of 0 and 3 ms: 0; 1 replica and 2: 1",
    ),
)
