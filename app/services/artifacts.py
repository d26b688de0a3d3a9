"""What was learned: which files of a folder hold it, and what made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.store.folder import Found

SKLEARN, ONNX, XGBOOST, LIGHTGBM = "scikit-learn or joblib", "ONNX", "XGBoost", "LightGBM"
TABLE = "table"
KINDS = {
    SKLEARN: (".joblib", ".pkl", ".pickle", ".skops"),
    ONNX: (".onnx",),
    "PyTorch": (".pt", ".pth", ".safetensors", ".ckpt"),
    XGBOOST: (".ubj", ".xgb", ".bst"),
    LIGHTGBM: (".lgb",),
    "TensorFlow": (".h5", ".keras", ".tflite", ".pb"),
    TABLE: (".csv", ".parquet", ".feather", ".npy", ".npz"),
}
SIGNS = {
    ".json": (XGBOOST, re.compile(rb'\s*\{.*?"learner"\s*:\s*\{', re.DOTALL)),
    ".txt": (LIGHTGBM, re.compile(rb"tree\r?\nversion=")),
}
"""Endings that say nothing by themselves, and how a model begins that has one of them."""
FIRST = 256
MOST_LOOKED_INTO = 100
HEAD, TAIL = 4 << 20, 1 << 20


@dataclass(frozen=True)
class Artifact:
    """A file that looks like something learned. size [bytes]."""

    path: str
    kind: str
    size: int


def among(folder: Path, files: Iterable[Found]) -> list[Artifact]:
    """The artifacts among the folder's files, largest first."""
    signed = _signed(folder, files := list(files))
    kinds = {each.path: kind_of(each.path) or signed.get(each.path, "") for each in files}
    found = [Artifact(f.path, kinds[f.path], f.stat.size) for f in files if kinds[f.path]]
    return sorted(found, key=lambda each: -each.size)


def kind_of(path: str) -> str:
    """What a file's name says it was made by; empty when it says nothing."""
    ending = Path(path).suffix.lower()
    return next((kind for kind, endings in KINDS.items() if ending in endings), "")


def _signed(folder: Path, files: Iterable[Found]) -> dict[str, str]:
    """Path → kind of those of which only the first bytes tell it."""
    doubtful = [each.path for each in files if Path(each.path).suffix.lower() in SIGNS]
    return dict(_looked_into(folder, doubtful[:MOST_LOOKED_INTO]))


def _looked_into(folder: Path, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        kind, sign = SIGNS[Path(path).suffix.lower()]
        if sign.match(_read(folder / path, FIRST, 0)):
            yield path, kind


def peek(path: Path) -> bytes:
    """The file; of a large one, its beginning and its end. Empty when it cannot be read."""
    return _read(path, HEAD, TAIL)


def _read(path: Path, head: int, tail: int) -> bytes:
    try:
        with path.open("rb") as file:
            first = file.read(head)
            file.seek(max(head, path.stat().st_size - tail))
            return first + file.read(tail)
    except OSError:
        return b""
