"""What a run stands on: environments by uv, trained models, release folders, all in a cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SCORING = ROOT / "app" / "scoring"
CACHE = Path.home() / ".cache" / "rhythmicml-bench" / "scoring"
MODEL = ("numpy==2.4.6", "scikit-learn==1.9.1")
PREDICT = """
import pickle
from pathlib import Path

import numpy as np


def load(artifacts: Path):
    return pickle.loads((artifacts / "model.pickle").read_bytes())


def predict(model, inputs: np.ndarray):
    return model.predict(inputs)
"""


def environment(name: str, packages: tuple[str, ...], *options: str) -> Path:
    """An environment with these packages, built when it is not there."""
    content = [Path(option).read_text() for option in options if Path(option).is_file()]
    key = sha256(repr((packages, content, sys.version_info[:2])).encode()).hexdigest()[:8]
    folder = CACHE / "envs" / f"{name}-{key}"
    if not (folder / ".complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv([*("venv", "-q", "--python", sys.executable), folder])
        uv([*("pip", "install", "-q", "--python", folder / "bin" / "python"), *options, *packages])
        (folder / ".complete").touch()
    return folder


def uv(words: list[str | Path]) -> None:
    beside = Path(sys.executable).with_name("uv")
    subprocess.run([beside if beside.exists() else "uv", *words], check=True)


def models(python: Path) -> Path:
    """The folder of the trained models."""
    folder = CACHE / "models"
    if not (folder / "forest.pickle").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, Path(__file__).with_name("models.py"), folder], check=True)
    return folder


def release(
    name: str,
    model_env: Path,
    runtime_env: Path,
    artifact: Path | None = None,
    script: str = PREDICT,
    **scoring: Any,
) -> Path:
    """The folder of an instance whose current release has this script, artifact and settings."""
    instance = CACHE / "instances" / name
    shutil.rmtree(instance, ignore_errors=True)
    folder = instance / "releases" / "v1-000000000000"
    program = folder / "runtime" / "program"
    (folder / "files" / "artifacts").mkdir(parents=True)
    program.mkdir(parents=True)
    if artifact is not None:
        os.link(artifact, folder / "files" / "artifacts" / "model.pickle")
    (folder / "files" / "predict.py").write_text(script)
    (folder / "files" / "sample.json").write_bytes(body())
    (folder / "env").symlink_to(model_env)
    (folder / "runtime" / "env").symlink_to(runtime_env)
    shutil.copytree(SCORING, program / "scoring", ignore=shutil.ignore_patterns("__pycache__"))
    (program / "__main__.py").write_text("from scoring.main import main\nmain()\n")
    (folder / "release.json").write_text(json.dumps(manifest(name, folder.name, scoring)))
    os.symlink(folder.name, instance / "releases" / "current")
    return instance


def manifest(name: str, release_id: str, scoring: dict[str, Any]) -> dict[str, Any]:
    usual = {
        "script": "predict.py",
        "artifacts": "artifacts",
        "input": None,
        "batch": {"max_rows": 256},
        "sample": "sample.json",
        "timeout": 30.0,
        "workers": 1,
        "max_body": 104857600,
    }
    return {
        "format": 1,
        "id": release_id,
        "model": name,
        "version": 1,
        "python": "3.11",
        "scoring": {**usual, **scoring},
    }


def rows(count: int) -> list[list[float]]:
    """Rows of 30 numbers, no two of the first thousand alike."""
    return [
        [round(((number + 1 + row) * 37 * (1 + row) % 101) / 17 - 3, 6) for number in range(30)]
        for row in range(count)
    ]


def body(count: int = 1) -> bytes:
    """That many rows, as `POST /score` takes them."""
    return json.dumps({"inputs": rows(count)}).encode()
