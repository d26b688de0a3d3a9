"""A version's schema: read from its sample and `[schema]`, without running anything of it."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from app.config import FILE
from app.errors import Problem
from app.models import Configuration
from app.scoring import schema as schemas
from app.scoring.errors import Refusal
from app.scoring.inputs import Inputs, Reader
from app.scoring.schema import Schema

WORDS = (("dataframe", "DataFrame"), ("ndarray", "ndarray"), ("bytes", "bytes"))


def read(folder: Path, configuration: Configuration) -> Schema:
    """What the model in a folder takes, as its front will learn it; outputs only as declared.

    Raises Problem when `[schema]` cannot be, or when the sample contradicts it.
    """
    kind = configuration.input or _kind_of(folder, configuration)
    said = configuration.schema.get("inputs", {})
    _check_declared(kind, said)
    try:
        reader = Reader(kind, said=said)
        outputs = schemas.outputs_of((), None, configuration.schema.get("outputs", {}))
    except ValueError as error:
        raise Problem(str(error), remedy=f"Correct {FILE}.") from error
    reader.learn(_sample(folder, configuration, reader))
    return reader.schema._replace(outputs=outputs)


def _kind_of(folder: Path, configuration: Configuration) -> str:
    """What the script is annotated with; a pipeline hands on what it is sent."""
    if configuration.stages:
        return "json"
    return annotated_kind((folder / configuration.script).read_bytes())


def _check_declared(kind: str, said: dict[str, Any]) -> None:
    if kind == "ndarray" and len(said) > 1:
        raise Problem(
            "[schema] inputs names several columns, and the model takes an ndarray.",
            remedy='Describe the array in one entry: inputs = { type = "float64", shape = […] }',
        )
    shaped = [name for name, each in said.items() if each.get("shape")]
    if shaped and kind != "ndarray":
        raise Problem(
            f'"{shaped[0]}" in [schema] has a shape, which only an ndarray has.',
            remedy=f"Take it out of {FILE}.",
        )


def _sample(folder: Path, configuration: Configuration, reader: Reader) -> Inputs | None:
    """The sample as it will be read; None without one, or when only the front can say more."""
    from app.scoring.http import Request
    from app.scoring.protocols import native

    if configuration.sample is None:
        return None
    try:
        body = (folder / configuration.sample).read_bytes()
        return native.read(Request(b"POST", b"/score", {}, body), reader).inputs
    except Refusal as refusal:
        if not configuration.schema.get("inputs"):
            return None
        raise Problem(
            f'The sample "{configuration.sample}" does not fit [schema] in {FILE}.',
            cause=refusal.sentence,
            remedy="Correct one of the two.",
        ) from refusal


def annotated_kind(source: bytes) -> str:
    """The input kind that the script's annotations speak of; json when they do not.

    The same rules as the worker's, which looks at what has been loaded.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return "json"
    functions = _functions(body)
    for statement in body:
        if isinstance(statement, ast.ClassDef) and statement.name == "Model":
            functions = _functions(statement.body)
    asked = functions.get("preprocess") or functions.get("predict")
    return _kind(asked) if asked else "json"


def _functions(body: Iterable[ast.stmt]) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    return {
        each.name: each for each in body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def _kind(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What the last parameter without a default is annotated with."""
    every = [*function.args.posonlyargs, *function.args.args]
    wanted = every[: len(every) - len(function.args.defaults)]
    said = wanted[-1].annotation if wanted else None
    text = ast.unparse(said) if said else ""
    return next((kind for kind, word in WORDS if word in text), "json")


def breaking(old: dict[str, Any] | None, new: dict[str, Any] | None) -> tuple[str, ...]:
    """What callers of the older version would stumble over; nothing where one is not known."""
    if not old or not new:
        return ()
    return tuple(schemas.changes(schemas.parse(old), schemas.parse(new)))
