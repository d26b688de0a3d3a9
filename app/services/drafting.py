"""A first pipeline from models that are known: `pipeline init`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app import config
from app.configuration.stages import COMBINERS, INPUT, STAGE
from app.configuration.starter import pipeline_starter
from app.errors import Problem
from app.models import Model
from app.services import trials, trying
from app.services.models import Initialised, checked_name, slug, write_starters

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

SAMPLE = "sample.json"


@dataclass(frozen=True)
class Drafted:
    """A stage as it will be written: it asks an instance, or combines."""

    name: str
    instance: str
    after: tuple[str, ...]
    combine: str = ""


def init(
    work: Workspace, folder: Path, steps: Sequence[str], combine: str = "", name: str | None = None
) -> Initialised:
    """Write a pipeline into a folder, made if need be. What is there already stays as it is.

    steps: models, or their folders, which are tracked from then on, in the order in which they are
    asked; "ridge,trees" are asked at once. combine:
    how what several last ones give becomes one answer; "mean" when left out.
    """
    if combine and combine not in COMBINERS:
        raise Problem(
            f'"{combine}" is no way to combine outputs.', remedy=f"Use {', '.join(COMBINERS)}."
        )
    folder = folder.expanduser().absolute()
    name = checked_name(name) if name else slug(folder.name)
    known = [[trials.named(work, model) for model in _models(step)] for step in steps]
    with work.open_store() as store:
        sample = _sample(store, known[0][0])
    stages = drafted([[model.name for model in step] for step in known], combine)
    if combine == "script":
        raise Problem(
            "A script that combines has to be written first.",
            remedy='Leave --combine out, then set combine = "script" in '
            f"{config.FILE} and write predict.py: docs/pipelines.md shows one.",
        )
    starters = {config.FILE: pipeline_starter(name, stages), SAMPLE: sample}
    return Initialised(folder, name, write_starters(folder, starters))


def _models(step: str) -> list[str]:
    named = [each.strip() for each in step.split(",") if each.strip()]
    if not named:
        raise Problem(
            f'"{step}" names no model.', remedy="Name models, those asked at once with commas."
        )
    return named


def drafted(steps: Sequence[Sequence[str]], combine: str = "") -> list[Drafted]:
    """The stages: each step after the one before; several last ones are combined. Pure."""
    made: list[Drafted] = []
    before: tuple[str, ...] = (INPUT,)
    taken = {INPUT, STAGE}
    for step in steps:
        names = tuple(free_name(model, taken) for model in step)
        made += [Drafted(name, model, before) for name, model in zip(names, step, strict=True)]
        before = names
    if len(before) > 1 or combine:
        how = combine or "mean"
        made.append(Drafted(free_name(how, taken), "", before, how))
    return made


def free_name(model: str, taken: set[str]) -> str:
    """A name for a stage that asks the model: like it, as far as a stage may be called that."""
    plain = re.sub(r"[^a-z0-9_]", "_", model)
    plain = (plain if plain[0].isalpha() else f"m{plain}")[:29]
    name = next(
        each for number in range(1, 1000)
        if (each := plain if number == 1 else f"{plain}_{number}") not in taken
    )  # fmt: skip
    taken.add(name)
    return name


def _sample(store: Store, model: Model) -> str:
    """What the first model is tried with is what the pipeline may be tried with."""
    if version := store.versions.latest(model):
        return trying.sample_of(store, model, version)
    path = Path(model.folder) / SAMPLE
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return '{"inputs": []}\n'
