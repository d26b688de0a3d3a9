"""Trains the example: is a breast tumour malignant? 30 measurements of cell nuclei decide.

Run it in an environment with the packages of requirements.txt; it writes artifacts/model.joblib and sample.json.
The data is scikit-learn's copy of the Wisconsin Diagnostic Breast Cancer set (569 tumours).
"""

import json
from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent


def main() -> None:
    rows, benign = load_breast_cancer(return_X_y=True)
    train_rows, test_rows, train_labels, test_labels = train_test_split(
        rows, 1 - benign, test_size=0.25, random_state=7, stratify=benign
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(train_rows, train_labels)
    print(f"accuracy on {len(test_rows)} tumours never seen: {model.score(test_rows, test_labels):.3f}")
    (HERE / "artifacts").mkdir(exist_ok=True)
    joblib.dump(model, HERE / "artifacts" / "model.joblib", compress=3)
    (HERE / "sample.json").write_text(json.dumps({"inputs": test_rows[:2].tolist()}) + "\n")


if __name__ == "__main__":
    main()
