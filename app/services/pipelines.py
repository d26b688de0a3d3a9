"""Pipelines: models whose configuration has stages. What can be said of one before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from app.config import FILE
from app.errors import NotFound, Problem
from app.models import Configuration, Version
from app.scoring.pipeline import graph as graphs
from app.scoring.pipeline.graph import Graph, Stage
from app.scoring.schema import Schema
from app.scoring.schema import parse as parse_schema
from app.services import fitting

if TYPE_CHECKING:
    from app.store import Store

INPUTS = {"columns": "dataframe", "matrix": "ndarray", "json": "json", "bytes": "bytes"}
"""What `input` says of a model whose schema is of that kind."""


def graph_of(configuration: Configuration) -> Graph:
    """Its stages and who waits for whom. Raises Problem when they cannot be put in order."""
    return graph_from({"stages": configuration.stages, "pipeline": configuration.pipeline})


def graph_from(scoring: Mapping[str, Any]) -> Graph:
    """The graph of a release, by the "scoring" of its release.json."""
    try:
        return graphs.parse(scoring)
    except ValueError as error:
        raise Problem(
            _sentence(str(error)), remedy=f"Correct {FILE}; docs/pipelines.md shows how."
        ) from None


def _sentence(words: str) -> str:
    return words if words.endswith((".", "?")) else f"{words}."


def filled_in(configuration: Configuration) -> Configuration:
    """With what its stages leave out: what each follows, and what the request has to be."""
    graph = graph_of(configuration)
    stages = tuple(
        {**each, "after": list(graph.stages[each["name"]].after)} for each in configuration.stages
    )
    taken = configuration.input or ("dataframe" if graph.names_input else None)
    python = configuration.python if configuration.runs_script else ""
    return replace(configuration, stages=stages, input=taken, python=python)


# Known models


def check(store: Store, name: str, configuration: Configuration) -> None:
    """Raise Problem at a stage whose model is not known here, or that asks itself in the end."""
    graph = graph_of(configuration)
    for stage in graph.stages.values():
        if stage.instance:
            check_known(store, name, stage)
    _check_depth(store, name, configuration.stages, graph.max_hops)


def kind_of(store: Store, configuration: Configuration) -> str | None:
    """What it takes, as its configuration or the stage says that is handed the request whole."""
    schemas = schemas_known(store, configuration.stages, configuration.location)
    asked = fitting.takes(graph_of(configuration), schemas)
    return configuration.input or (INPUTS[asked.kind] if asked else None)


def check_known(store: Store, name: str, stage: Stage) -> None:
    """Raise NotFound where the model that a stage asks, or its version, is not known here."""
    instance, version = stage.instance, stage.version
    model = store.models.find(instance)
    if model is None:
        names = [each.name for each in store.models.all() if each.name != name]
        close = get_close_matches(instance, names, n=1)
        raise NotFound(
            f'Stage "{stage.name}" asks "{instance}", and no model is called so.',
            cause=f"Known are: {', '.join(names)}." if names else "",
            remedy=f'Meant: instance = "{close[0]}"?'
            if close
            else "Track its folder first: rhythmicml add FOLDER; or take it over from its "
            "server: rhythmicml adopt",
        )
    if version is not None and all(each.number != version for each in store.versions.all(model)):
        latest = store.versions.latest(model)
        there = f"The newest is v{latest.number}." if latest else "It has none yet."
        raise NotFound(
            f'Stage "{stage.name}" is pinned to v{version} of {instance}, which is not there.',
            cause=there,
            remedy=f"rhythmicml versions {instance} lists them.",
        )


def _check_depth(store: Store, name: str, stages: Iterable[Mapping[str, Any]], most: int) -> None:
    """No pipeline may come back to itself, nor go deeper than its requests are passed on."""
    for path in _paths(store, stages, (name,)):
        if path[-1] in path[:-1]:
            raise Problem(
                f"{name} would ask itself: {' → '.join(path)}.",
                remedy=f"Let one of them ask another model, in its {FILE}.",
            )
        if len(path) > most + 1:
            raise Problem(
                f"{name} goes {len(path) - 1} pipelines deep, and its max_hops is {most}: "
                f"{' → '.join(path)}.",
                remedy="Set max_hops higher in [pipeline], or ask the inner models directly.",
            )


def _paths(
    store: Store, stages: Iterable[Mapping[str, Any]], path: tuple[str, ...]
) -> Iterator[tuple[str, ...]]:
    """Each way from a pipeline down to a model, or to where it comes back to itself."""
    for instance in dict.fromkeys(str(each["instance"]) for each in stages if each["instance"]):
        here = (*path, instance)
        version = _newest(store, instance)
        inner = version.configuration.stages if version and instance not in path else ()
        if inner:
            yield from _paths(store, inner, here)
        else:
            yield here


def _newest(store: Store, name: str) -> Version | None:
    model = store.models.find(name)
    return store.versions.latest(model) if model else None


def version_asked(store: Store, stage: Mapping[str, Any], location: str | None) -> Version | None:
    """The version that a stage gets its answers from: pinned, else production's, else the last.

    location: where the pipeline is; None where that is not known.
    """
    model = store.models.find(str(stage["instance"]))
    if model is None:
        return None
    every = {each.number: each for each in store.versions.all(model)}
    place = stage.get("location") or location
    deployed = [e for e in store.instances.all(model=model.name) if place in (None, e.location)]
    number = stage.get("version") or (deployed[0].version if deployed else None)
    return every.get(number or max(every, default=0))


def schemas_known(
    store: Store, stages: Sequence[Mapping[str, Any]], location: str | None
) -> dict[str, Schema]:
    """Stage → what its model takes and gives, where that is known."""
    found = {}
    for stage in stages:
        version = version_asked(store, stage, location) if stage["instance"] else None
        if version and version.schema:
            found[str(stage["name"])] = parse_schema(version.schema)
    return found


# Whether they fit


def refuse_misfits(store: Store, configuration: Configuration, asked: Schema) -> None:
    """Raise Problem when a stage cannot take what it is given, by what is known here."""
    schemas = schemas_known(store, configuration.stages, configuration.location)
    refuse(fitting.judge(graph_of(configuration), schemas, asked).misfits)


def refuse(found: Sequence[fitting.Misfit]) -> None:
    if not found:
        return
    lines = [f'Stage "{each.stage}": {each.words}' for each in found]
    raise Problem(
        f'Stage "{found[0].stage}" does not fit what it is given.',
        cause=found[0].words,
        remedy=f"Choose or rename its columns with `columns` in {FILE}, or correct the model.",
        detail="\n".join(lines[1:]),
    )


# As it runs


SHOWN = ("name", "instance", "combine", "weights", "after", "when", "optional", "timeout")


def described(
    configuration: Configuration, location: str | None, rows: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The stages in the order in which they are asked. rows: those of instances.status.

    location: where the pipeline is, if it is anywhere.
    """
    return described_of(graph_of(configuration), configuration.stages, location, rows)


def described_of(
    graph: Graph,
    written: Iterable[Mapping[str, Any]],
    location: str | None,
    rows: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The same of a graph and the stages that it was made of."""
    known = {(row["model"], row["location"]): row for row in rows}
    stages = {each["name"]: each for each in written}
    made = []
    for level, names in enumerate(graph.levels, 1):
        for name in names:
            stage = stages[name]
            place = stage.get("location") or location
            row = known.get((stage["instance"], place))
            made.append(
                {
                    **{key: stage[key] for key in SHOWN},
                    "after": list(graph.stages[name].after),
                    "level": level,
                    "pinned": stage["version"],
                    "location": place if stage["instance"] else None,
                    "version": row["version"] if row else None,
                    "state": row["state"] if row else "",
                }
            )
    return made
