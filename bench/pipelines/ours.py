"""The pipeline as it runs on a host: an instance a stage, each kept by its keeper."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.scoring import ground, servers
from bench.scoring.stand import Stand

STAGES = ("features", "logistic", "forest")
PREDICT = """
import pickle
from pathlib import Path

import numpy as np


def load(artifacts: Path):
    return pickle.loads((artifacts / "model.pickle").read_bytes())


def predict(model, inputs: np.ndarray):
    return {}
"""
GIVES = {"features": "model.transform(inputs)"}
USUAL = "model.predict_proba(inputs)[:, 1]"


def models(stand: Stand) -> Path:
    """The folder of the trained models, and of what the pipeline predicts."""
    folder = ground.CACHE / "pipeline-models"
    if not (folder / "expected.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rows.json").write_text(json.dumps(ground.rows(1000)))
        program = Path(__file__).with_name("models.py")
        subprocess.run([stand.model_env / "bin" / "python", program, folder], check=True)
    return folder


def instances(stand: Stand, parallel: int | None = None) -> list[Path]:
    """The three stages and, last, the pipeline over them."""
    folder = models(stand)
    made = [
        stand.release(
            name,
            artifact=folder / f"{name}.pickle",
            script=PREDICT.format(GIVES.get(name, USUAL)),
        )
        for name in STAGES
    ]
    pipeline = {"output": "blend", "max_hops": 4}
    if parallel:
        pipeline["parallel"] = parallel
    scoring = {"input": "ndarray", "pipeline": pipeline, "stages": list(graph())}
    credit = stand.release("credit", **scoring)
    shutil.rmtree(ground.CACHE / "ask", ignore_errors=True)
    return [*made, credit]


def graph() -> Iterator[dict[str, Any]]:
    """The stages as release.json has them."""
    usual = {
        "instance": "",
        "version": None,
        "columns": None,
        "constants": {},
        "when": "",
        "timeout": None,
        "idempotent": False,
        "optional": False,
        "combine": "",
        "weights": None,
        "reach": None,
    }
    after = {"features": ["input"], "logistic": ["features"], "forest": ["features"]}
    for name in STAGES:
        stage = {"name": name, "instance": name, "after": after[name], "reach": {"socket": name}}
        yield {**usual, **stage}
    yield {**usual, "name": "blend", "combine": "mean", "after": ["logistic", "forest"]}


@contextmanager
def serving(made: list[Path]) -> Iterator[dict[str, int]]:
    """All of them up; name → port. The pipeline comes last, when its stages answer."""
    with ExitStack() as stack:
        ports = {}
        for instance in made:
            port = servers.free_port()
            stack.enter_context(servers.running(kept(instance, port), port))
            ports[instance.name] = port
        yield ports


def kept(instance: Path, port: int) -> list[Any]:
    """The keeper of an instance, which starts its front."""
    runtime = instance / "releases" / "current" / "runtime"
    keeper = [runtime / "env" / "bin" / "python", "-I", runtime / "program", "keeper"]
    return [*keeper, "--instance", instance, "--port", port]
