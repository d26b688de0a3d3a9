"""How what was learned is served, as far as its file tells: what a first predict.py does with it.

Pure: from an artifact's name, kind and bytes to a `Predictor`; None where only a person can know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.services import onnx, pickled
from app.services.artifacts import LIGHTGBM, ONNX, SKLEARN, XGBOOST, Artifact
from app.services.pickled import Pickled

MOST_FEATURES = 1000
"""A sample of more is not written, since nobody would read it."""
PACKAGES = {
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "lightgbm": "lightgbm",
    "catboost": "catboost",
    "imblearn": "imbalanced-learn",
    "statsmodels": "statsmodels",
}
"""Modules that a pickle may need → what is installed for them."""
ARRAYS = "import numpy as np"
IMPORTS = {"ndarray": (ARRAYS,), "dataframe": ("import pandas as pd",), "json": ()}
UNPICKLE = """\
with ({path}).open("rb") as file:
        return pickle.load(file)"""
BUILT_FOR_NUMPY_1 = (1, 4, 2)
OLD_NUMPY = "numpy<2  # scikit-learn before 1.4.2 was built for numpy 1"
UNPINNED = "scikit-learn  # pin the version it was trained with, which the file does not tell"
TEXT_READERS = ("CountVectorizer", "TfidfVectorizer", "HashingVectorizer")
OF_ANYTHING = (
    *("ColumnTransformer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder"),
    *("FunctionTransformer", "Vectorizer", "FeatureHasher"),
)
"""Ends of names of classes that may take more than numbers."""
WRAPPERS = ("Pipeline", "SearchCV")
TRANSFORMERS = re.compile(
    r"sklearn\.(preprocessing|impute|decomposition|feature_extraction|feature_selection"
    r"|compose\._column_transformer)\b.*"
)
"""Classes that transform a row, and predict nothing."""
OF_NUMBERS = re.compile(
    r"sklearn\.(linear_model|tree|svm|neighbors|naive_bayes|neural_network|discriminant_analysis"
    r"|gaussian_process|cluster|decomposition|impute|preprocessing"
    r"|ensemble\._(forest|gb|hist_gradient_boosting|weight_boosting|bagging|iforest))\b.*"
)
"""Classes that keep how many numbers they take before anything that was fitted inside them."""
FEATURES_OF_XGBOOST = re.compile(rb'num_feature(?:":"|SL.{8})(\d{1,6})["L]', re.DOTALL)
FEATURES_OF_LIGHTGBM = re.compile(rb"\nmax_feature_idx=(\d{1,6})\n")
NO_CATEGORIES = re.compile(rb"\npandas_categorical:(\[\]|null)\n")


@dataclass(frozen=True)
class Predictor:
    """How it is loaded and asked, and what it has to be installed and tried with.

    load: the body of a function, with {path} for the file. predict: of `model` and `inputs`.
    input: what predict is given. names: its columns, when known. features: how many numbers make
    a row; 0 when that is not known, or they may be something else. texts: a row is a text.
    """

    imports: tuple[str, ...]
    load: str
    predict: str
    packages: tuple[str, ...]
    input: str = "ndarray"
    answers: str = "One answer for each row."
    features: int = 0
    names: tuple[str, ...] = ()
    texts: bool = False

    @property
    def sample(self) -> str:
        """A request of the right shape, its values made up; empty when that is not known."""
        if self.texts:
            return '["Some text"]\n'
        if not 0 < self.features <= MOST_FEATURES:
            return ""
        values = [float(number + 1) for number in range(self.features)]
        return _request(dict(zip(self.names, values, strict=True)) if self.names else values)

    @property
    def blank(self) -> str:
        """A request with its columns alone; empty when they are not known."""
        return _request(dict.fromkeys(self.names)) if 0 < len(self.names) <= MOST_FEATURES else ""


def _request(row: object) -> str:
    return json.dumps([row], ensure_ascii=False) + "\n"


def may_be_drafted(sample: str) -> bool:
    """Whether a request may be one of these; what somebody has made the model's own hardly is."""
    try:
        [row] = json.loads(sample)
    except (ValueError, TypeError):
        return False
    values = list(row.values()) if isinstance(row, dict) else row
    if not isinstance(values, list):
        return bool(values == "Some text")
    return all(each in (number, None) for number, each in enumerate(values, 1))


def predictor(artifact: Artifact, data: bytes) -> Predictor | None:
    """How to serve it. data: the file, or its beginning and its end."""
    known: dict[str, Callable[[Artifact, bytes], Predictor | None]] = {
        SKLEARN: _pickled, ONNX: _onnx, XGBOOST: _xgboost, LIGHTGBM: _lightgbm,
    }  # fmt: skip
    return known[artifact.kind](artifact, data) if artifact.kind in known else None


# Pickles


def _pickled(artifact: Artifact, data: bytes) -> Predictor | None:
    ending, said = Path(artifact.path).suffix.lower(), pickled.read(data)
    if ending == ".skops" or said.gathered:
        return None
    by_joblib = ending == ".joblib" or said.by_joblib
    reads_text = _first_fitted(said).endswith(TEXT_READERS)
    kind = "json" if reads_text else "dataframe" if said.named else "ndarray"
    return Predictor(
        ("import joblib" if by_joblib else "import pickle", *IMPORTS[kind]),
        "return joblib.load({path})" if by_joblib else UNPICKLE,
        f"model.{_method(said)}(inputs)",
        _packages(said, by_joblib, kind),
        kind,
        features=_features(said, data),
        names=said.names if _is_whole(said) else (),
        texts=reads_text,
    )


def _method(said: Pickled) -> str:
    if _outermost(said) == "xgboost.core.Booster":
        return "inplace_predict"
    return "transform" if TRANSFORMERS.fullmatch(_outermost(said)) else "predict"


def _outermost(said: Pickled) -> str:
    return said.classes[0] if said.classes else ""


def _first_fitted(said: Pickled) -> str:
    """The class that is given the row: the first that does not only wrap others."""
    return next((each for each in said.classes if not each.endswith(WRAPPERS)), "")


def _features(said: Pickled, data: bytes) -> int:
    """How many numbers make a row; 0 when that is in doubt."""
    first = _first_fitted(said)
    if any(each.endswith(OF_ANYTHING) for each in said.classes):
        return 0
    if said.named and not _is_whole(said):
        return 0
    if first.startswith("xgboost."):
        return _features_of_xgboost(data)
    if first.startswith("lightgbm."):
        return _features_of_lightgbm(data)
    return said.features if OF_NUMBERS.fullmatch(first) else 0


def _is_whole(said: Pickled) -> bool:
    """Whether all names of its columns were read."""
    return len(set(said.names)) == said.features


def _packages(said: Pickled, by_joblib: bool, kind: str) -> tuple[str, ...]:
    needed = [PACKAGES[each] for each in PACKAGES if each in said.modules]
    if not needed or any(".sklearn." in each for each in said.classes):
        needed = list(dict.fromkeys(["scikit-learn", *needed]))
    lines = [_pinned(each, said.version) for each in needed] + ["joblib"] * by_joblib
    old = said.version and _number(said.version) < BUILT_FOR_NUMPY_1
    arrays = [OLD_NUMPY] if old else ["numpy"] if kind == "ndarray" else []
    return (*lines, *arrays, *(["pandas"] if kind == "dataframe" else []))


def _pinned(package: str, version: str) -> str:
    if package != "scikit-learn":
        return package
    return f"scikit-learn=={version}  # as it was trained with" if version else UNPINNED


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])


# Others


def _onnx(artifact: Artifact, data: bytes) -> Predictor | None:
    taken = onnx.inputs(data)
    if taken is not None and (len(taken) != 1 or not taken[0].dtype):
        return None
    shape = taken[0].shape if taken else ()
    dtype = taken[0].dtype if taken else "float32"
    return Predictor(
        (ARRAYS, "import onnxruntime"),
        "return onnxruntime.InferenceSession({path})",
        f"model.run(None, {{model.get_inputs()[0].name: np.asarray(inputs, np.{dtype})}})[0]",
        ("onnxruntime", "numpy"),
        answers="The model's first output, for each row; run gives a list of all of them.",
        features=shape[1] if len(shape) == 2 else 0,
    )


def _xgboost(artifact: Artifact, data: bytes) -> Predictor:
    return Predictor(
        (ARRAYS, "import xgboost"),
        "return xgboost.Booster(model_file={path})",
        "model.inplace_predict(inputs)",
        ("xgboost-cpu  # xgboost without what graphics cards need", "numpy"),
        answers="One answer for each row; of a classifier, probabilities.",
        features=_features_of_xgboost(data),
    )


def _lightgbm(artifact: Artifact, data: bytes) -> Predictor:
    return Predictor(
        ("import lightgbm", ARRAYS),
        "return lightgbm.Booster(model_file={path})",
        "model.predict(inputs)",
        ("lightgbm", "numpy"),
        answers="One answer for each row; of a classifier, probabilities.",
        features=_features_of_lightgbm(data),
    )


def _features_of_xgboost(data: bytes) -> int:
    found = FEATURES_OF_XGBOOST.search(data)
    return int(found[1]) if found else 0


def _features_of_lightgbm(data: bytes) -> int:
    found = FEATURES_OF_LIGHTGBM.search(data)
    return int(found[1]) + 1 if found and NO_CATEGORIES.search(data) else 0
