"""Trains the two models of the benchmark; run in the models' environment: `models.py FOLDER`."""

import pickle
import sys
from pathlib import Path

from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODELS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "forest": RandomForestClassifier(n_estimators=100, random_state=0),
}


def main(folder):
    rows, labels = make_classification(2000, 30, n_informative=10, random_state=0)
    for name, model in MODELS.items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model.fit(rows, labels)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
