"""What is built once before a run: environments, trained models, rows, the right answers."""

from __future__ import annotations

import json
import subprocess
from functools import cached_property
from pathlib import Path
from typing import Any

from . import ground

MODELS = ("logistic", "forest")
THOUSAND = 1000
CONSTANT = """
import numpy as np


def predict(inputs: np.ndarray):
    return np.zeros(len(inputs), dtype="int64")
"""


class Stand:
    """The ground of one run; everything is made when it is first asked for."""

    @cached_property
    def model_env(self) -> Path:
        return ground.environment("model", ground.MODEL)

    @cached_property
    def runtime_env(self) -> Path:
        return ground.environment("runtime", (), "-r", str(ground.SCORING / "runtime.lock"))

    @cached_property
    def models(self) -> Path:
        return ground.models(self.model_env / "bin" / "python")

    def pickle(self, model: str) -> Path:
        return self.models / f"{model}.pickle"

    def release(self, name: str, **settings: Any) -> Path:
        return ground.release(name, self.model_env, self.runtime_env, **settings)

    def model_release(self, model: str) -> Path:
        """An instance of ours that serves this model, or the one that computes nothing."""
        if model == "constant":
            return self.release(model, script=CONSTANT)
        return self.release(model, artifact=self.pickle(model))

    def bare_words(self, *words: object) -> list[str]:
        python = self.model_env / "bin" / "python"
        return [str(word) for word in (python, Path(__file__).with_name("bare.py"), *words)]

    def bare(self, model: str, count: int, seconds: float) -> dict[str, Any]:
        """What bare.py says of a prediction of that many rows."""
        rows = ground.CACHE / f"rows-{count}.json"
        rows.write_text(json.dumps(ground.rows(count)))
        words = self.bare_words("predict", self.pickle(model), rows, seconds)
        said: dict[str, Any] = json.loads(subprocess.check_output(words))
        return said

    def expected(self, model: str) -> list[int]:
        """The right predictions of a thousand rows; the first is that of a single row."""
        if model == "constant":
            return [0] * THOUSAND
        if model not in self._expected:
            self._expected[model] = self.bare(model, THOUSAND, 0.0)["predictions"]
        return self._expected[model]

    @cached_property
    def _expected(self) -> dict[str, list[int]]:
        return {}
