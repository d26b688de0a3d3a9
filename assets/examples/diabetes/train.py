"""Trains the example pipeline: how far will diabetes have gone in a year?

Three models: `features` makes of ten measurements what the others take, `ridge` and `trees` each predict from that, and
`pipeline` asks them all and weighs the two predictions. Run this in an environment with the packages of
features/requirements.txt; it writes the artifacts and samples beside it.
The data is scikit-learn's copy of the diabetes study of Efron, Hastie, Johnstone and Tibshirani (2004), 442 patients.
"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent
WEIGHTS = {"ridge": 0.6, "trees": 0.4}

sys.path.insert(0, str(HERE / "features"))
from predict import TAKEN, predict as featurize  # noqa: E402


def main() -> None:
    rows, target = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    train, test, train_target, test_target = train_test_split(rows, target, test_size=0.25, random_state=7)
    scaler = StandardScaler().fit(train[TAKEN])
    features, test_features = featurize(scaler, train), featurize(scaler, test)
    models = {
        "ridge": RidgeCV(alphas=[0.1, 1, 10, 100]),
        "trees": GradientBoostingRegressor(n_estimators=60, max_depth=2, learning_rate=0.08, random_state=7),
    }
    keep("features", scaler, test[:2])
    blend = 0
    for name, model in models.items():
        model.fit(features, train_target)
        predicted = model.predict(test_features)
        blend = blend + WEIGHTS[name] * predicted
        print(f"{name}: R² {r2_score(test_target, predicted):.3f} on {len(test)} patients never seen")
        keep(name, model, test_features[:2].round(6))
    print(f"both, weighed: R² {r2_score(test_target, blend):.3f}")
    (HERE / "pipeline" / "sample.json").write_text(records(test[:2]))


def keep(name: str, model: object, sample) -> None:
    (HERE / name / "artifacts").mkdir(exist_ok=True)
    joblib.dump(model, HERE / name / "artifacts" / "model.joblib", compress=3)
    (HERE / name / "sample.json").write_text(records(sample))


def records(rows) -> str:
    lines = ",\n ".join(json.dumps(row) for row in rows.to_dict("records"))
    return f'{{"inputs": [\n {lines}\n]}}\n'


if __name__ == "__main__":
    main()
