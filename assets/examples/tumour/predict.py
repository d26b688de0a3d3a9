"""How the model is asked: `load` once at start, `predict` for each batch of rows."""

from pathlib import Path

import joblib
import numpy as np


def load(artifacts: Path):
    return joblib.load(artifacts / "model.joblib")


def predict(model, inputs: np.ndarray):
    """The probability that each tumour is malignant; inputs: (rows, 30) measurements."""
    return model.predict_proba(inputs)[:, 1]
