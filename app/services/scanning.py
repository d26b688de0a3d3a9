"""What a folder holds that somebody wants to add: its parts, and what is missing of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app import config
from app.errors import Problem
from app.services import models
from app.store.folder import scan as scan_folder
from app.workspace import Workspace

KINDS = {
    "scikit-learn or joblib": (".joblib", ".pkl", ".pickle", ".skops"),
    "ONNX": (".onnx",),
    "PyTorch": (".pt", ".pth", ".safetensors", ".ckpt"),
    "XGBoost": (".ubj", ".xgb", ".bst"),
    "LightGBM": (".lgb",),
    "TensorFlow": (".h5", ".keras", ".tflite", ".pb"),
    "table": (".csv", ".parquet", ".feather", ".npy", ".npz"),
}
PARTS = {
    "predict.py": "the prediction script",
    "requirements.txt": "the packages it needs",
    config.FILE: "the configuration",
    "sample.json": "a sample request, which proves each release",
}
SHOWN = 8


@dataclass(frozen=True)
class Artifact:
    """A file that looks like something learned. size [bytes]."""

    path: str
    kind: str
    size: int


@dataclass(frozen=True)
class Scanned:
    """A folder as a model. known: the model's name if it is tracked already. size [bytes].

    missing: file → what it is for. problem: why it cannot be added, if it cannot.
    """

    folder: str
    name: str
    known: str = ""
    files: int = 0
    size: int = 0
    artifacts: tuple[Artifact, ...] = ()
    present: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    problem: Problem | None = None


def scan(work: Workspace, folder: Path) -> Scanned:
    """Look at a folder, changing nothing."""
    name = models.slug(folder.name)
    try:
        real = models.whole(folder)
        folder = folder.expanduser()
        with work.open_store() as store:
            tracked = store.models.in_folder(str(real))
        found = scan_folder(real) if folder.is_absolute() else None
        named = config.read_configuration(folder).name if found is not None else ""
    except Problem as problem:
        return Scanned(str(folder), name, problem=problem)
    if found is None:
        return Scanned(str(folder), name, problem=Problem("That is not a whole path."))
    artifacts = [Artifact(f.path, kind, f.stat.size) for f in found if (kind := kind_of(f.path))]
    paths = {each.path for each in found}
    return Scanned(
        str(folder),
        named or name,
        tracked.name if tracked else "",
        len(found),
        sum(each.stat.size for each in found),
        tuple(sorted(artifacts, key=lambda each: -each.size)[:SHOWN]),
        tuple(part for part in PARTS if part in paths),
        tuple((part, why) for part, why in PARTS.items() if part not in paths),
    )


def kind_of(path: str) -> str:
    """What a file's name says it was made by; empty when it says nothing."""
    ending = Path(path).suffix.lower()
    return next((kind for kind, endings in KINDS.items() if ending in endings), "")
