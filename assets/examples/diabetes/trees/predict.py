"""How far the disease will have gone in a year, from features."""

from pathlib import Path

import joblib
import pandas as pd


def load(artifacts: Path):
    return joblib.load(artifacts / "model.joblib")


def predict(model, inputs: pd.DataFrame):
    """One number for each patient, from 25 (little) to 346 (much)."""
    return model.predict(inputs[model.feature_names_in_])
