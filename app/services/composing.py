"""Building a pipeline stage by stage: `[[stage]]`s put into the text of `rhythmicml.toml`.

Comments, order and all else of the file stay (tomlkit), as for the form of the other keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import config
from app.configuration.stages import OF_INSTANCES, STAGE, STAGE_KEYS, read_stages
from app.configuration.values import Fault
from app.errors import NotFound, Problem
from app.models import Model
from app.scoring.pipeline import graph as graphs
from app.scoring.pipeline.graph import Graph, Stage
from app.scoring.schema import Field, Schema
from app.services import configuring, drafting, fitting, models, pipelines

if TYPE_CHECKING:
    from app.store import Store
    from app.workspace import Workspace

TEXTS = ("name", "instance", "location", "combine", "when")

ONLY_ASKING = (*OF_INSTANCES, "columns", "constants", "when", "timeout")
"""Keys that a stage that combines has not; what a form holds of them is of before."""

Values = Mapping[str, str]
"""Key of a stage → what stands in its field; `after` is in lines."""


@dataclass(frozen=True)
class Draft:
    """The stages that a text has. graph: None where they cannot be put in order.

    fault: why not, or why not deployed so, as a sentence.
    """

    stages: tuple[dict[str, Any], ...]
    graph: Graph | None
    fault: str


def draft(text: str) -> Draft:
    """What a text says of stages so far. Raises Problem where it is no TOML."""
    said = configuring.parsed(text)
    if STAGE not in said:
        return Draft((), None, "")
    stages, faults = read_stages(said[STAGE])
    if faults:
        return Draft(stages, None, faults[0].words)
    about = said.get("pipeline")
    scoring = {"stages": stages, "pipeline": about if isinstance(about, dict) else {}}
    fault = ""
    try:
        return Draft(stages, graphs.parse(scoring), "")
    except ValueError as error:
        fault = str(error)
    try:
        return Draft(stages, graphs.parse(scoring, whole=False), fault)
    except ValueError:
        return Draft(stages, None, fault)


def begin(work: Workspace, folder: Path, name: str, steps: Sequence[str]) -> Model:
    """A new pipeline in a folder, tracked from now on, that asks models one after the other."""
    made = drafting.init(work, folder, steps, name=name or None)
    return models.add(work, made.folder, made.name).model


# One stage as fields


def fields(stage: Mapping[str, Any]) -> dict[str, str]:
    """What a form shows of a stage, as it is written in the file."""
    shown = {key: _shown(key, stage[key]) for key in STAGE_KEYS if key in stage}
    return {**dict.fromkeys(STAGE_KEYS, ""), **shown}


def _shown(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if key == "columns" and isinstance(value, dict) and _plain(value.values()):
        return "\n".join(f"{new} = {taken}" for new, taken in value.items())
    if key in ("after", "columns") and isinstance(value, list) and _plain(value):
        return "\n".join(value)
    return configuring.literal(value)


def _plain(texts: Any) -> bool:
    return all(isinstance(each, str) and "\n" not in each for each in texts)


def typed(values: Values) -> dict[str, Any]:
    """What the fields stand for; keys whose field is empty are left out."""
    filled = {key: values[key].strip() for key in STAGE_KEYS if values.get(key, "").strip()}
    kept = ONLY_ASKING if filled.get("combine") else ()
    return {key: _typed(key, value) for key, value in filled.items() if key not in kept}


def _typed(key: str, value: str) -> Any:
    if key in TEXTS:
        return value
    lines = [line.strip() for line in value.splitlines() if line.strip()]
    if key == "after":
        return lines
    if key == "columns" and not value.startswith(("[", "{")):
        pairs = [line.partition(" = ") for line in lines]
        if all(equals for _, equals, _ in pairs):
            return {new.strip(): taken.strip() for new, _, taken in pairs}
        return lines
    return configuring.value_of(value)


# In the text


def with_stage(text: str, at: int | None, values: Values) -> str:
    """The text with a stage as it was typed: the one at a place, or a new last one."""
    import tomlkit

    wanted = typed(values)
    document = tomlkit.parse(text)
    if at is None:
        _append(document, wanted)
    else:
        _follow(_at(document, at), wanted)
    return str(tomlkit.dumps(document))


def without_stage(text: str, at: int) -> str:
    import tomlkit

    document = tomlkit.parse(text)
    _at(document, at)
    listed: Any = document[STAGE]
    del listed[at]
    if not len(listed):
        del document[STAGE]
    return str(tomlkit.dumps(document))


def _at(document: Any, at: int) -> Any:
    listed = document.get(STAGE)
    if not isinstance(listed, list) or not 0 <= at < len(listed):
        raise Problem("That stage is not in the file any more.", remedy="Open the page again.")
    return listed[at]


def _append(document: Any, wanted: Mapping[str, Any]) -> None:
    import tomlkit

    if STAGE not in document:
        document.append(STAGE, tomlkit.aot())
    table = tomlkit.table()
    for key, value in wanted.items():
        table.append(key, _item(value))
    document[STAGE].append(table)


def _follow(table: Any, wanted: Mapping[str, Any]) -> None:
    """Only what differs is touched."""
    for key in [key for key in table if key not in wanted]:
        del table[key]
    for key, value in wanted.items():
        if key not in table or table[key] != value or type(value) is bool:
            table[key] = _item(value)


def _item(value: Any) -> Any:
    import tomlkit

    return tomlkit.value(configuring.literal(value))


# What is wrong with it, and whether it fits


@dataclass(frozen=True)
class Column:
    """One column of what a stage is given and of what its model takes; empty: it is not there."""

    name: str
    given: str
    origin: str
    takes: str

    @property
    def lacks(self) -> bool:
        return bool(self.takes and not self.given)


@dataclass(frozen=True)
class Verdict:
    """What is said of a stage while it is typed.

    faults: what cannot be saved. unfinished: what can, but not be deployed so. misfits: what does
    not fit, by what is known. columns: given and taken beside each other; None: not known. gives:
    its own.
    """

    faults: list[Fault]
    unfinished: str
    misfits: list[str]
    columns: list[Column]
    kind: str
    given: bool
    gives: list[Field]


def judge(store: Store, text: str, name: str, location: str | None) -> Verdict:
    """What is to be said of the stage of that name in a text."""
    faults = configuring.check(text)
    found = draft(text)
    if faults or found.graph is None or name not in found.graph.stages:
        return Verdict(faults, found.fault, [], [], "", False, [])
    schemas = pipelines.schemas_known(store, found.stages, location)
    graph = found.graph
    flow = fitting.judge(graph, schemas, fitting.takes(graph, schemas))
    stage = graph.stages[name]
    misfits = [*_unknown(store, stage), *(e.words for e in flow.misfits if e.stage == name)]
    given = fitting.given_to(flow, stage)
    taken = schemas.get(name)
    gives = list((flow.gives.get(name) or {}).values())
    kind = taken.kind if taken else ""
    columns = _beside(given or {}, taken)
    return Verdict([], found.fault, misfits, columns, kind, given is not None, gives)


def _unknown(store: Store, stage: Stage) -> Iterator[str]:
    """That its model, or the version it is pinned to, is not known here."""
    try:
        if stage.instance:
            pipelines.check_known(store, "", stage)
    except NotFound as problem:
        yield " ".join(each for each in (problem.what, problem.cause) if each)


def _beside(given: Mapping[str, tuple[str, Field]], taken: Schema | None) -> list[Column]:
    """Those that are taken first, in their order, then what is given besides."""
    wanted = {each.name: each for each in taken.inputs} if taken else {}
    made = []
    for name in (*wanted, *(each for each in given if each not in wanted)):
        origin, one = given.get(name, ("", None))
        takes = fitting.words_of(wanted[name]) if name in wanted else ""
        made.append(Column(name, fitting.words_of(one) if one else "", origin, takes))
    return made


def check(text: str) -> None:
    """Raise Problem where a text cannot be saved."""
    if faults := configuring.check(text):
        raise Problem(faults[0].words, remedy=f"Correct it in the form, or in {config.FILE}.")
