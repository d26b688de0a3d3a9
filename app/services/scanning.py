"""What a folder holds that somebody wants to add: its parts, and what is missing of a model."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app import config
from app.errors import Problem
from app.models import Model
from app.services import models, starters
from app.services.artifacts import Artifact, among
from app.services.predictors import may_be_drafted
from app.store.folder import scan as scan_folder
from app.workspace import Workspace

PARTS = {
    "predict.py": "the prediction script",
    "requirements.txt": "the packages it needs",
    config.FILE: "the configuration",
    "sample.json": "a sample request, which proves each release",
}
DRAFTED = ("predict.py", "requirements.txt", "sample.json")
SHOWN = 8


@dataclass(frozen=True)
class Scanned:
    """A folder as a model. known: the model's name if it is tracked already. size [bytes].

    missing: file → what it is for. drafts: of those present, what is still as it was drafted.
    serves: the artifact that a predict.py which was drafted, or will be, predicts with, if any.
    problem: why it cannot be added, if it cannot.
    """

    folder: str
    name: str
    known: str = ""
    files: int = 0
    size: int = 0
    artifacts: tuple[Artifact, ...] = ()
    present: tuple[str, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    drafts: tuple[str, ...] = ()
    serves: str = ""
    problem: Problem | None = None


def scan(work: Workspace, folder: Path) -> Scanned:
    """Look at a folder, changing nothing."""
    name = models.slug(folder.name)
    try:
        real = models.whole(folder)
        folder = folder.expanduser()
        with work.open_store() as store:
            tracked = store.models.in_folder(str(real))
        if not folder.is_absolute():
            raise Problem("That is not a whole path.", remedy=f"Such as {Path.home() / folder}.")
        if not real.is_dir():
            raise Problem(f'The folder "{folder}" is not there.', remedy=_nearest(real))
        found, said = scan_folder(real), config.read_configuration(folder)
    except Problem as problem:
        return Scanned(str(folder), name, problem=problem)
    artifacts, looked = among(real, found), starters.Looked(real)
    paths = {each.path for each in found}
    wanted = PARTS.keys() - ({"predict.py", "requirements.txt"} if said.stages else set())
    return Scanned(
        str(folder),
        said.name or name,
        tracked.name if tracked else "",
        len(found),
        sum(each.stat.size for each in found),
        tuple(artifacts[:SHOWN]),
        tuple(part for part in PARTS if part in paths),
        tuple((part, why) for part, why in PARTS.items() if part in wanted - paths),
        _drafts(looked, paths, artifacts),
        "" if said.stages else starters.of_artifacts(looked, "", artifacts).serves,
    )


def drafted_sample(work: Workspace, model: Model) -> bool:
    """Whether its folder's sample is what was drafted, so that a release may fail only by it.

    What else is in the folder says so for sure, but it may be much: only a sample that may be one
    is worth a look at all of it.
    """
    folder = Path(model.folder)
    try:
        sample = (folder / "sample.json").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return may_be_drafted(sample) and "sample.json" in scan(work, folder).drafts


def _nearest(folder: Path) -> str:
    """Where somebody may have meant, who named a folder that is not there."""
    there = next(each for each in folder.parents if each.is_dir())
    name = folder.relative_to(there).parts[0]
    try:
        names = sorted(each.name for each in there.iterdir() if each.is_dir())
    except OSError:
        names = []
    meant = difflib.get_close_matches(name, names, n=1)
    return f"Is it {there / meant[0]}?" if meant else f'In {there} there is no "{name}".'


def _drafts(looked: starters.Looked, paths: set[str], found: Sequence[Artifact]) -> tuple[str, ...]:
    """The parts that still say what `init` wrote, so that nobody has made them the model's own."""
    there = [part for part in DRAFTED if part in paths]
    texts = starters.as_drafted(looked, found) if there else {}
    return tuple(part for part in there if _is_draft(looked.folder / part, texts[part]))


def _is_draft(path: Path, texts: set[str]) -> bool:
    try:
        likely = path.stat().st_size in {len(text.encode()) for text in texts}
        return likely and path.read_text("utf-8") in texts
    except (OSError, UnicodeDecodeError):
        return False
