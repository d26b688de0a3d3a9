"""What can be seen to be wrong with a model's folder without running anything of it."""

from __future__ import annotations

import ast
import json
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from app import dependencies
from app.config import FILE, read_configuration
from app.errors import Problem
from app.models import Configuration
from app.services import pipelines

SAMPLE = "sample.json"
ENTRIES = ("predict", "Model", "ModelWrapper")


def checked_configuration(folder: Path) -> Configuration:
    """What the folder says of itself, with what it left out filled in: its Python, its sample.

    Raises Problem at the first thing that would keep it from being deployed.
    """
    if not folder.is_dir():
        raise Problem(
            f'The folder "{folder}" is not there.',
            remedy="Put it back, or say where it is now: rhythmicml add FOLDER --name MODEL",
        )
    configuration = filled_in(folder, read_configuration(folder))
    if configuration.runs_script:
        _check_script(folder / configuration.script, configuration.python)
        dependencies.read(folder, configuration.requirements)
    if configuration.sample:
        _check_sample(folder / configuration.sample, configuration)
    return configuration


def filled_in(folder: Path, configuration: Configuration) -> Configuration:
    sample = configuration.sample
    if sample is None and (folder / SAMPLE).is_file():
        sample = SAMPLE
    python = dependencies.python_of(configuration)
    filled = replace(configuration, python=python, sample=sample)
    return pipelines.filled_in(filled) if filled.stages else filled


def check_versioned(configuration: Configuration, paths: Iterable[str]) -> None:
    """The files that the configuration names must be among those that are versioned."""
    versioned = set(paths)
    own = (configuration.script, configuration.requirements) if configuration.runs_script else ()
    for name in (*own, configuration.sample):
        if name and name not in versioned:
            raise Problem(
                f'"{name}" is ignored, so it would not be part of a version.',
                remedy='Take the pattern that matches it out of ".rhythmicmlignore".',
            )


def _check_script(path: Path, python: str) -> None:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise Problem(
            f'The prediction script "{path}" cannot be read.',
            remedy="Create it (rhythmicml init writes a first one), or name another as script in "
            f"[predict] of {FILE}.",
            cause=error.strerror or str(error),
        ) from error
    tree = _parsed(path, source, python)
    if tree and not {"*", *ENTRIES} & set(_names(tree.body)):
        raise Problem(
            f'"{path}" has no function "predict" and no class "Model" or "ModelWrapper".',
            remedy="Write one: def predict(model, inputs): …",
        )


def _parsed(path: Path, source: bytes, python: str) -> ast.Module | None:
    """The script's syntax tree; None when a newer Python than ours has to judge it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, str(path))
    except (SyntaxError, ValueError) as error:
        if tuple(map(int, python.split("."))) > sys.version_info[:2]:
            return None
        raise Problem(
            f'"{path}" is not valid Python.', remedy="Correct the script.", detail=_place(error)
        ) from error


def _place(error: SyntaxError | ValueError) -> str:
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return ""
    return f"line {error.lineno}: {(error.text or '').strip()}"


def _names(body: Iterable[ast.stmt]) -> Iterator[str]:
    """What a module's statements define or import; `*` when that cannot be known."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in statement.names)
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            yield from (node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _names(_inner(statement))


def _inner(statement: ast.If | ast.Try | ast.With) -> Iterator[ast.stmt]:
    for node in ast.iter_child_nodes(statement):
        if isinstance(node, ast.stmt):
            yield node
        elif isinstance(node, ast.ExceptHandler):
            yield from node.body


def _check_sample(path: Path, configuration: Configuration) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Problem(
            f'The sample "{path}" cannot be read.',
            remedy=f"Create it, or take sample out of [predict] in {FILE}.",
            cause=error.strerror or str(error),
        ) from error
    if configuration.input == "bytes":
        return
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Problem(f'The sample "{path}" is not valid JSON.', remedy="Correct it.") from error
