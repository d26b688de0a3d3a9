"""Trains the three models of the pipeline; in the models' environment: `models.py FOLDER`.

Writes besides what the whole pipeline predicts for the rows of `rows.json` there.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


def main(folder):
    rows, labels = make_classification(2000, 30, n_informative=10, random_state=0)
    features = StandardScaler().fit(rows)
    scaled = features.transform(rows)
    logistic = LogisticRegression(max_iter=1000).fit(scaled, labels)
    forest = RandomForestClassifier(n_estimators=100, random_state=0).fit(scaled, labels)
    models = {"features": features, "logistic": logistic, "forest": forest}
    for name, model in models.items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
    asked = features.transform(np.array(json.loads((folder / "rows.json").read_text())))
    both = [model.predict_proba(asked)[:, 1] for model in (logistic, forest)]
    (folder / "expected.json").write_text(json.dumps(np.mean(both, axis=0).tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
