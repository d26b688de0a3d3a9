"""What the other two models take: the measurements that matter, in units of their spread."""

from pathlib import Path

import joblib
import pandas as pd

TAKEN = ["bmi", "bp", "s3", "s5", "s6"]


def load(artifacts: Path):
    return joblib.load(artifacts / "model.joblib")


def predict(model, inputs: pd.DataFrame) -> pd.DataFrame:
    """One row of features for each patient; inputs: age, sex, bmi, bp, and six of the blood serum."""
    scaled = pd.DataFrame(model.transform(inputs[TAKEN]), columns=TAKEN, index=inputs.index)
    return scaled.rename(columns={"s3": "hdl", "s5": "ltg", "s6": "glucose"}).assign(
        strain=scaled["bmi"] * scaled["bp"]
    )
