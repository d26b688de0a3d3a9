"""Whether the stages of a pipeline fit each other, by their schemas. Pure.

Nothing is run: what a stage is given follows from what the stages before it give. What is not
known (outputs of a model that was never deployed) is not held against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from math import prod
from typing import NamedTuple

from app.scoring.pipeline.expressions import EVERY, Reference
from app.scoring.pipeline.graph import INPUT, Graph, Stage
from app.scoring.schema import FLOATS, UNNAMED, Field, Schema, whole

Fields = dict[str, Field]
TEXTS = ("string", "category", "datetime")


class Misfit(NamedTuple):
    """A stage that cannot work, and why as a sentence."""

    stage: str
    words: str


@dataclass
class Flow:
    """What each stage gives, by the names of its columns; None: it is not known.

    schemas: of each stage's instance, where it is known.
    """

    graph: Graph
    schemas: Mapping[str, Schema]
    gives: dict[str, Fields | None] = field(default_factory=dict)
    misfits: list[Misfit] = field(default_factory=list)


def judge(graph: Graph, schemas: Mapping[str, Schema], asked: Schema | None = None) -> Flow:
    """Follow the columns from the request to the answer.

    schemas: by stage, where they are known. asked: what the pipeline's request holds, if that is
    known.
    """
    flow = Flow(graph, schemas, {INPUT: _by_name(asked.inputs) if asked else None})
    for name in graph.order:
        stage = graph.stages[name]
        flow.misfits += _misfits(flow, stage)
        flow.gives[name] = _given_by(flow, stage)
    return flow


def takes(graph: Graph, schemas: Mapping[str, Schema]) -> Schema | None:
    """What the stages that are given the request whole take, if that is one thing and known."""
    found = [
        schemas[name]
        for name, stage in graph.stages.items()
        if stage.takes_input and name in schemas
    ]
    if not found or any(each.kind != found[0].kind for each in found):
        return None
    fields = {each.name: each for schema in found for each in schema.inputs}
    return Schema(found[0].kind, tuple(fields.values()))


def _by_name(fields: Iterable[Field]) -> Fields | None:
    found = {each.name: each for each in fields}
    return found or None


# What a stage gives


def _given_by(flow: Flow, stage: Stage) -> Fields | None:
    if stage.combine:
        return _combined(flow, stage)
    schema = flow.schemas.get(stage.name)
    return _outputs(stage.name, schema) if schema else None


def _outputs(name: str, schema: Schema) -> Fields | None:
    """The columns of an answer; what has no name is called after its stage.

    Rows of any JSON may be objects, whose keys are not known but where they are declared.
    """
    named = [each for each in schema.outputs if each.name != UNNAMED or each.type != "json"]
    if len(named) != 1 or named[0].name != UNNAMED:
        return _by_name(named)
    only = named[0]
    if len(only.shape) != 1 or only.shape[0] < 0:
        return {name: only._replace(name=name)} if not only.shape else None
    titles = [f"{name}_{number}" for number in range(only.shape[0])]
    return {title: only._replace(name=title, shape=()) for title in titles}


def _combined(flow: Flow, stage: Stage) -> Fields | None:
    if stage.script:
        schema = flow.schemas.get(stage.name)
        return _outputs(stage.name, schema) if schema else None
    parts = [(name, flow.gives.get(name)) for name in stage.after]
    known = [(name, fields) for name, fields in parts if fields is not None]
    if stage.combine == "concat":
        return _joined(known) if len(known) == len(parts) else None
    if not known:
        return None
    name, fields = known[0]
    if stage.combine in ("mean", "weighted"):
        fields = {title: one._replace(type="float64") for title, one in fields.items()}
    return _renamed(fields, name, stage.name)


def _renamed(fields: Fields, before: str, after: str) -> Fields:
    """Columns that had no name but their stage's are called after the stage they are in now."""
    made = {}
    for title, one in fields.items():
        own = title == before or (
            title.startswith(f"{before}_") and title[len(before) + 1 :].isdigit()
        )
        title = after + title[len(before) :] if own else title
        made[title] = one._replace(name=title)
    return made


def _joined(parts: Iterable[tuple[str, Fields]]) -> Fields:
    """Side by side; a name that is there already gets its stage in front."""
    made: Fields = {}
    for stage, fields in parts:
        for title, one in fields.items():
            name = f"{stage}_{title}" if title in made else title
            made[name] = one._replace(name=name)
    return made


# What a stage is given


def given_to(flow: Flow, stage: Stage) -> dict[str, tuple[str, Field]] | None:
    """Column → whose it is (as a person would say it), and what; None where it is not known."""
    made: dict[str, tuple[str, Field]] = {}
    if stage.columns is None:
        parts = {name: flow.gives.get(name) for name in stage.after}
        if any(fields is None for fields in parts.values()):
            return None
        for name, fields in parts.items():
            for title, one in (fields or {}).items():
                made[f"{name}_{title}" if title in made else title] = (name, one)
    for new, wanted in stage.columns or ():
        picked = _picked(flow, wanted)
        if picked is None:
            return None
        for title, one in picked.items():
            name = new or (f"{wanted.stage}_{title}" if title in made else title)
            made[name] = (wanted.stage, one)
    for title, value in stage.constants.items():
        made[title] = ("constants", Field(title, _type_of(value)))
    return made


def _picked(flow: Flow, wanted: Reference) -> Fields | None:
    """The columns that a reference means; None when that is not known or there are none."""
    fields = flow.gives.get(wanted.stage)
    if fields is None or wanted.column == EVERY:
        return fields
    if not wanted.column:
        return fields
    title = wanted.column
    if title.isdigit() and title not in fields:
        title = f"{wanted.stage}_{title}"
    return {title: fields[title]} if title in fields else None


def _type_of(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "int64" if type(value) is int else "float64"


# What does not fit


def _misfits(flow: Flow, stage: Stage) -> Iterator[Misfit]:
    lost = list(_not_there(flow, stage))
    yield from lost
    if stage.combine and not stage.script:
        yield from _uneven(flow, stage)
    elif stage.name in flow.schemas and not lost:
        given = given_to(flow, stage)
        if given is not None:
            yield from _unfit(stage, flow.schemas[stage.name], given)


def _not_there(flow: Flow, stage: Stage) -> Iterator[Misfit]:
    """References to columns that a stage is known not to give."""
    for wanted in stage.references:
        fields = flow.gives.get(wanted.stage)
        if not wanted.column or wanted.column == EVERY or fields is None:
            continue
        if _picked(flow, wanted) is None:
            close = get_close_matches(wanted.column, fields, n=1)
            meant = f" Meant: {Reference(wanted.stage, close[0])}?" if close else ""
            words = f"It speaks of {wanted}; {_gives(wanted.stage, fields)}.{meant}"
            yield Misfit(stage.name, words)


def _gives(stage: str, fields: Fields) -> str:
    names = ", ".join(list(fields)[:12]) + (" …" if len(fields) > 12 else "")
    return f"the request has {names}" if stage == INPUT else f'"{stage}" gives {names}'


def _unfit(
    stage: Stage, schema: Schema, given: Mapping[str, tuple[str, Field]]
) -> Iterator[Misfit]:
    who = stage.instance or "the script"
    if schema.kind == "matrix":
        yield from _unfit_matrix(stage, who, schema, given)
    elif schema.kind in ("columns", "json"):
        for wanted in schema.inputs:
            if wanted.name not in given:
                words = (
                    f'{who} takes the column "{wanted.name}" ({words_of(wanted)}), which it is not '
                    f"given; it is given {_listed(given)}."
                )
                yield Misfit(stage.name, words)
                continue
            giver, one = given[wanted.name]
            if not _fits(wanted, one):
                words = (
                    f'{who} takes "{wanted.name}" as {words_of(wanted)}, and '
                    f"{_origin(giver, one)} is {words_of(one)}."
                )
                yield Misfit(stage.name, words)


def _unfit_matrix(
    stage: Stage, who: str, schema: Schema, given: Mapping[str, tuple[str, Field]]
) -> Iterator[Misfit]:
    for giver, one in given.values():
        if not _is_number(one):
            words = f"{who} takes numbers, and {_origin(giver, one)} is {words_of(one)}."
            yield Misfit(stage.name, words)
            return
    shape = schema.inputs[0].shape if schema.inputs else ()
    wide = sum(prod(one.shape) for _, one in given.values())
    known = all(size >= 0 for _, one in given.values() for size in one.shape)
    if len(shape) == 1 and shape[0] >= 0 and known and wide != shape[0]:
        words = f"{who} takes {shape[0]} numbers a row, and it is given {wide}: {_listed(given)}."
        yield Misfit(stage.name, words)


def _uneven(flow: Flow, stage: Stage) -> Iterator[Misfit]:
    """Outputs that cannot be combined, for they are not alike."""
    known = [(name, fields) for name in stage.after if (fields := flow.gives.get(name))]
    if stage.combine == "concat" or not known:
        return
    for name, fields in known:
        bad = [one for one in fields.values() if not _is_number(one)]
        if bad and stage.combine in ("mean", "weighted"):
            words = (
                f'combine = "{stage.combine}" takes numbers, and {_origin(name, bad[0])} is '
                f'{words_of(bad[0])}; combine = "vote" takes any.'
            )
            yield Misfit(stage.name, words)
            return
    first, fields = known[0]
    alike = {title: one.shape for title, one in _renamed(fields, first, "_").items()}
    for name, others in known[1:]:
        shapes = {title: one.shape for title, one in _renamed(others, name, "_").items()}
        if shapes != alike:
            words = (
                f'"{first}" and "{name}" cannot be combined, for their outputs differ: '
                f"{_gives(first, fields)}; {_gives(name, others)}."
            )
            yield Misfit(stage.name, words)


def _fits(wanted: Field, given: Field) -> bool:
    """Whether values of the one can be taken as the other; in doubt they can."""
    if "json" in (wanted.type, given.type):
        return True
    if prod(given.shape) != 1 and wanted.shape != given.shape:
        return False
    if _is_number(wanted):
        return _is_number(given) and not (whole(wanted.type) and given.type in FLOATS)
    if wanted.type in TEXTS:
        return given.type in TEXTS
    return wanted.type == given.type


def _is_number(one: Field) -> bool:
    return one.type in FLOATS or whole(one.type) or one.type == "bool"


def _origin(giver: str, one: Field) -> str:
    """A column with the stage that gives it."""
    if giver == "constants":
        return f'the constant "{one.name}"'
    return str(Reference(giver, "" if one.name == giver else one.name))


def words_of(one: Field) -> str:
    return one.type + (f" of shape {[*one.shape]}" if one.shape else "")


def _listed(given: Mapping[str, tuple[str, Field]]) -> str:
    names = list(given)
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "") or "nothing"


def outputs(flow: Flow) -> tuple[Field, ...]:
    """What the pipeline answers with, where that is known."""
    fields = flow.gives.get(flow.graph.output)
    return tuple(fields.values()) if fields else ()


def inputs_named(graph: Graph) -> tuple[str, ...]:
    """The columns of the request that stages speak of."""
    every = chain.from_iterable(stage.references for stage in graph.stages.values())
    named = (one.column for one in every if one.stage == INPUT)
    return tuple(dict.fromkeys(each for each in named if each not in ("", EVERY)))
