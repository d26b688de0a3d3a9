"""The stages of a pipeline and who waits for whom, from release.json's "scoring". Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from . import expressions
from .expressions import EVERY, Expression, Reference, reference

INPUT = "input"  # the request's own rows, as a stage that is always there
COMBINES = ("mean", "weighted", "vote", "concat", "first", "script")
MOST_STAGES = 64
PARALLEL, MAX_HOPS = 0, 4
_NAME = re.compile("[a-z][a-z0-9_]{0,31}").fullmatch


class Stage(NamedTuple):
    """One step. columns: what it is given, each with its new name ("": the one it has); None: all
    that `after` gives, whole. reach: how its instance is asked, as release.json has it."""

    name: str
    instance: str = ""
    version: int | None = None
    after: tuple[str, ...] = ()
    columns: tuple[tuple[str, Reference], ...] | None = None
    constants: Mapping[str, Any] = {}
    when: Expression | None = None
    timeout: float | None = None
    idempotent: bool = False
    optional: bool = False
    combine: str = ""
    weights: tuple[float, ...] | None = None
    reach: Mapping[str, Any] | None = None

    @property
    def references(self) -> tuple[Reference, ...]:
        """The columns it names: those it is given, and those of `when`."""
        named = [one for _, one in self.columns or ()]
        return (*named, *(self.when.references if self.when else ()))

    @property
    def takes_input(self) -> bool:
        """Whether it is given the request's own rows and nothing else, so that their faults are
        the caller's."""
        return self.after == (INPUT,) and self.columns is None and not self.constants

    @property
    def script(self) -> bool:
        return self.combine == "script"


class Graph(NamedTuple):
    """stages: by name, as written. order: each after what it needs. levels: those that can run at
    once, from the input on. output: the stage whose output is the answer.
    parallel: batches on their way at once; 0 where nothing is said of that."""

    stages: Mapping[str, Stage]
    order: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    output: str
    parallel: int = PARALLEL
    max_hops: int = MAX_HOPS

    def needs(self, stage: str) -> tuple[str, ...]:
        """What it waits for: stages, and "input"."""
        return _needs(self.stages[stage])

    @property
    def names_input(self) -> bool:
        """Whether columns of the request's input are spoken of, which thus must be a table."""
        return any(
            one.stage == INPUT and one.column
            for stage in self.stages.values()
            for one in stage.references
        )


def parse(scoring: Mapping[str, Any], *, whole: bool = True) -> Graph:
    """The graph of the "stages" and "pipeline" in it. Raises ValueError with a sentence.

    whole: whether something has to take what each stage gives; not so while it is being built.
    """
    said, about = scoring.get("stages") or (), scoring.get("pipeline") or {}
    if not said:
        raise ValueError("A pipeline needs a [[stage]].")
    if len(said) > MOST_STAGES:
        raise ValueError(f"A pipeline may have {MOST_STAGES} stages; this one has {len(said)}.")
    stages: dict[str, Stage] = {}
    for one in said:
        stage = _stage(one, next(reversed(stages), INPUT))
        if stage.name in stages:
            raise ValueError(f'Two stages are called "{stage.name}".')
        stages[stage.name] = stage
    _check_names(stages)
    levels = _levels(stages)
    output = str(about.get("output") or next(reversed(stages)))
    _check_output(stages, output, whole)
    order = tuple(name for level in levels for name in level)
    parallel = _count(about, "parallel", PARALLEL)
    return Graph(stages, order, levels, output, parallel, _count(about, "max_hops", MAX_HOPS))


def _count(about: Mapping[str, Any], key: str, usual: int) -> int:
    value = about.get(key)
    if value is None:
        return usual
    if type(value) is not int or not 1 <= value <= 64:
        raise ValueError(f"{key} must be a number from 1 to 64.")
    return value


# One stage


def _stage(said: Mapping[str, Any], before: str) -> Stage:
    """before: the stage written before it, which it follows unless it says otherwise."""
    name = str(said.get("name") or "")
    if not _NAME(name) or name == INPUT:
        raise ValueError(
            f'"{name}" cannot be the name of a stage: small letters, digits and _, at most 32, '
            'a letter first, and not "input".'
        )
    try:
        stage = Stage(
            name,
            said.get("instance") or "",
            said.get("version"),
            tuple(said.get("after") or ()),
            _columns(said.get("columns")),
            dict(said.get("constants") or {}),
            expressions.parse(said["when"]) if said.get("when") else None,
            said.get("timeout"),
            bool(said.get("idempotent")),
            bool(said.get("optional")),
            said.get("combine") or "",
            tuple(said["weights"]) if said.get("weights") is not None else None,
            said.get("reach"),
        )
        if not stage.after:
            stage = stage._replace(after=_spoken_of(stage) or (before,))
        _check(stage)
    except ValueError as error:
        raise ValueError(f'Stage "{name}": {error}') from None
    return stage


def _columns(said: Iterable[Sequence[str]] | None) -> tuple[tuple[str, Reference], ...] | None:
    if said is None:
        return None
    return tuple((new, reference(text)) for new, text in said)


def _spoken_of(stage: Stage) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.stage for one in stage.references))


def _check(stage: Stage) -> None:
    if bool(stage.instance) == bool(stage.combine):
        raise ValueError("It needs one of `instance` and `combine`.")
    if stage.combine and stage.combine not in COMBINES:
        raise ValueError(f'"{stage.combine}" is no way to combine: {", ".join(COMBINES)}.')
    if len(set(stage.after)) != len(stage.after):
        raise ValueError("`after` names a stage twice.")
    if stage.timeout is not None and not stage.timeout > 0:
        raise ValueError("`timeout` must be more than 0.")
    _check_columns(stage)
    if stage.combine and not stage.script:
        _check_combine(stage)
    elif stage.weights is not None:
        raise ValueError('`weights` are for combine = "weighted".')


def _check_columns(stage: Stage) -> None:
    if stage.columns is not None and not stage.columns and not stage.constants:
        raise ValueError("`columns` names none.")
    news = [new for new, _ in stage.columns or () if new]
    for name in (*news, *stage.constants):
        if (*news, *stage.constants).count(name) > 1:
            raise ValueError(f'It is given two columns called "{name}".')
    for new, wanted in stage.columns or ():
        if new and wanted.column == EVERY:
            raise ValueError(f'"{wanted}" is many columns, which cannot all be called "{new}".')


def _check_combine(stage: Stage) -> None:
    """What is combined here is taken whole."""
    for key in ("columns", "constants", "when", "timeout"):
        if getattr(stage, key):
            raise ValueError(f"`{key}` is not for a stage that combines.")
    if INPUT in stage.after and stage.combine != "concat":
        raise ValueError("The input is no prediction that could be combined.")
    if (stage.combine == "weighted") != (stage.weights is not None):
        raise ValueError('combine = "weighted" and `weights` need each other.')
    if stage.weights is not None:
        _check_weights(stage.weights, stage.after)


def _check_weights(weights: Sequence[float], after: Sequence[str]) -> None:
    if len(weights) != len(after):
        raise ValueError(f"It has {len(weights)} weights for {len(after)} stages.")
    if not all(isinstance(one, (int, float)) and 0 <= one < 1e300 for one in weights):
        raise ValueError("A weight must be a number, and at least 0.")
    if not sum(weights):
        raise ValueError("All its weights are 0.")


# All of them


def _needs(stage: Stage) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*stage.after, *_spoken_of(stage))))


def _check_names(stages: Mapping[str, Stage]) -> None:
    for name, stage in stages.items():
        for one in _needs(stage):
            if one != INPUT and one not in stages:
                raise ValueError(f'Stage "{name}": there is no stage "{one}".')


def _levels(stages: Mapping[str, Stage]) -> tuple[tuple[str, ...], ...]:
    """Raises ValueError when stages wait for each other."""
    levels: list[tuple[str, ...]] = []
    done = {INPUT}
    left = dict(stages)
    while left:
        level = tuple(name for name, stage in left.items() if done.issuperset(_needs(stage)))
        if not level:
            raise ValueError(f"Stages wait for each other: {' → '.join(_cycle(left))}.")
        levels.append(level)
        done.update(level)
        for name in level:
            del left[name]
    return tuple(levels)


def _cycle(left: Mapping[str, Stage]) -> list[str]:
    """Names along a cycle, the first again at the end. Each of `left` waits for another of it."""
    path = [next(iter(left))]
    while path[-1] not in path[:-1]:
        path.append(next(one for one in _needs(left[path[-1]]) if one in left))
    return path[path.index(path[-1]) :]


def _check_output(stages: Mapping[str, Stage], output: str, whole: bool) -> None:
    if output not in stages:
        raise ValueError(f'There is no stage "{output}", which [pipeline] has as `output`.')
    if whole:
        _check_used(stages, output)


def _check_used(stages: Mapping[str, Stage], output: str) -> None:
    used, more = {output}, [output]
    while more:
        found = set(_needs(stages[more.pop()])) - used - {INPUT}
        used |= found
        more += found
    for name in stages:
        if name not in used:
            raise ValueError(f'Stage "{name}": nothing takes what it gives.')
