"""First files for a folder that is to become a model, fitting what was learned if it is known how.

What cannot be known without loading the model is left to a person, and the drafts say where.
"""

from __future__ import annotations

import json
import posixpath
import textwrap
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from app import config
from app.configuration.starter import starter
from app.errors import Problem
from app.models import Configuration
from app.services import artifacts
from app.services.artifacts import TABLE, Artifact
from app.services.predictors import Predictor, predictor
from app.store.folder import IGNORE_FILE
from app.store.folder import scan as scan_folder

HEAD = '"""How this model predicts. RhythmicML calls `load` once, then `predict` for each batch."""'
SUMS = f'''\
{HEAD}

from pathlib import Path

{{note}}
def load(artifacts: Path):
    """Give back what predict needs, such as joblib.load(artifacts / "model.joblib")."""
    return None


def predict(model, inputs):
    """One answer for each of the inputs. Replace the sum by your model's prediction."""
    return [sum(row) for row in inputs]
'''
SERVES = f'''\
{HEAD}

{{imports}}

{{note}}


def load(artifacts: Path):
    {{load}}


def predict(model, inputs{{annotation}}):
    """{{answers}}"""
    return {{predict}}
'''
ANNOTATIONS = {"ndarray": ": np.ndarray", "dataframe": ": pd.DataFrame", "json": ""}
STANDARD = "import pickle"
REQUIREMENTS = "# What predict.py imports, one a line, such as: scikit-learn==1.7.2\n"
SAMPLE = "[[1.0, 2.0, 3.0]]\n"
IGNORE = "# What is not part of a version, by the rules of .gitignore\n*.log\n*.tmp\n"
SHOWN = 3
MOST_ALONE = 8
"""Of several artifacts, so many are looked at for drafts of when each was the only one."""


@dataclass(frozen=True)
class Drafts:
    """files: path → text. serves: the artifact that predict.py predicts with.

    It is empty where the draft predicts with none, or somebody wrote a predict.py.
    """

    files: dict[str, str]
    serves: str = ""


class Looked:
    """A folder that something is drafted for. What it says is read once, however many drafts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._predictors: dict[str, Predictor | None] = {}

    @cached_property
    def configured(self) -> Configuration | None:
        """What `rhythmicml.toml` says; None where there is none, or none that can be read."""
        with suppress(Problem):
            there = (self.folder / config.FILE).exists()
            return config.read_configuration(self.folder) if there else None
        return None

    @cached_property
    def script(self) -> str | None:
        """The text of `predict.py`; None where there is none, empty where it cannot be read."""
        try:
            return (self.folder / "predict.py").read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return ""

    def predictor(self, learned: Sequence[Artifact]) -> Predictor | None:
        """For the one artifact that there is; which of several is the model a person knows."""
        if len(learned) != 1:
            return None
        [only] = learned
        if only.path not in self._predictors:
            held = artifacts.peek(self.folder / only.path)
            self._predictors[only.path] = predictor(only, held)
        return self._predictors[only.path]


def drafts(folder: Path, name: str) -> Drafts:
    """What may be written into the folder, for what is there now."""
    found: list[Artifact] = []
    with suppress(Problem):
        found = artifacts.among(folder, scan_folder(folder))
    return of_artifacts(Looked(folder), name, found)


def of_artifacts(looked: Looked, name: str, found: Sequence[Artifact]) -> Drafts:
    """The same, when it is known which artifacts there are."""
    learned, configured = _learned(found), looked.configured
    place = configured.artifacts if configured else _place(learned)
    how = looked.predictor(learned)
    if how and configured and configured.input not in (None, how.input):
        how = None
    files = serving(how, learned[0].path, place) if how else summing(learned, place)
    own = looked.script not in (None, files["predict.py"])
    fitting = starter(name, artifacts=_as_set(place), input=how.input if how else "json")
    files |= {config.FILE: starter(name) if own else fitting, IGNORE_FILE: IGNORE}
    return Drafts(files, learned[0].path if how and not own else "")


def as_drafted(looked: Looked, found: Sequence[Artifact]) -> dict[str, set[str]]:
    """Path → every text that `drafts` may have written there before, whatever was there then."""
    learned = tuple(_learned(found))
    texts: dict[str, set[str]] = {}
    for there in {(), learned, *((each,) for each in learned[:MOST_ALONE])}:
        for path, text in of_artifacts(looked, "", there).files.items():
            texts.setdefault(path, set()).add(text)
    return texts


def serving(how: Predictor, path: str, place: str) -> dict[str, str]:
    """Files of a model that predicts with what is at this path. place: what `load` is given."""
    standard = [each for each in how.imports if each == STANDARD] + ["from pathlib import Path"]
    others = sorted(each for each in how.imports if each != STANDARD)
    script = SERVES.format(
        imports="\n".join([*standard, "", *others] if others else standard),
        note=_comment(_about(how, path)),
        load=how.load.format(path=_expression(path, place)),
        annotation=ANNOTATIONS[how.input],
        answers=how.answers,
        predict=how.predict,
    )
    packages = "\n".join(["# What predict.py imports, one a line", *how.packages, ""])
    sample = how.sample or how.blank or SAMPLE
    return {"predict.py": script, "requirements.txt": packages, "sample.json": sample}


def summing(learned: Sequence[Artifact], place: str) -> dict[str, str]:
    """Files of a model that adds up, for somebody to go on from."""
    named = [_expression(each.path, place) for each in learned[:SHOWN]]
    more = f" and {len(learned) - SHOWN} more" if len(learned) > SHOWN else ""
    words = f"Found: {', '.join(named)}{more}. Only you know how to load this: do it in load."
    script = SUMS.format(note=_comment(words) + "\n\n" if named else "")
    return {"predict.py": script, "requirements.txt": REQUIREMENTS, "sample.json": SAMPLE}


def _learned(found: Sequence[Artifact]) -> list[Artifact]:
    return sorted((each for each in found if each.kind != TABLE), key=lambda each: each.path)


def _about(how: Predictor, path: str) -> str:
    """What the draft does not know, and what to do about it."""
    words = f"Drafted for {_quoted(path)}. "
    if how.sample:
        return (
            words + "sample.json has its shape, but values that are made up: put real ones there."
        )
    if how.blank:
        return (
            words + "sample.json has its columns; what is in them cannot be told from the file: "
            "put a real request there."
        )
    return (
        words
        + "What a row of it is cannot be told from the file: put a real request into sample.json."
    )


def _comment(words: str) -> str:
    return "\n".join(f"# {line}" for line in textwrap.wrap(words, 96))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _expression(path: str, place: str) -> str:
    """What names the file in `load(artifacts)`, wherever it lies."""
    parts = PurePosixPath(posixpath.relpath(f"/{path}", f"/{place}")).parts
    up = parts.count("..")
    below = "/".join(parts[up:])
    return "artifacts" + ".parent" * up + (f" / {_quoted(below)}" if below else "")


def _place(learned: Sequence[Artifact]) -> str:
    """The folder that all of it is in."""
    if not learned:
        return Configuration().artifacts
    return posixpath.commonpath([posixpath.dirname(f"/{each.path}") for each in learned])[1:] or "."


def _as_set(place: str) -> str:
    return "" if place == Configuration().artifacts else place
