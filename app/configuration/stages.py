"""`[[stage]]`: the stages of a pipeline, in the form that release.json has.

What a stage is given when it says nothing of it (`after`) is filled in where its references are
read: app/services/pipelines.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from app.configuration.values import (
    Fault,
    OneOf,
    Reader,
    Wrong,
    finite,
    seconds,
    spelt,
    text,
    truth,
)

STAGE = "stage"
INPUT = "input"
"""What stages call the request; no stage may have its name."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
COMBINERS = ("mean", "weighted", "vote", "concat", "first", "script")
MOST = 64
"""Stages of one pipeline."""

DEFAULTS: dict[str, Any] = {
    "name": "",
    "instance": "",
    "version": None,
    "location": "",
    "tunnel": False,
    "after": [],
    "columns": None,
    "constants": {},
    "when": "",
    "timeout": None,
    "idempotent": False,
    "optional": False,
    "combine": "",
    "weights": None,
}


def name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise Wrong(
            "must be a name of a-z, 0-9 and _ that begins with a letter, at most 32, "
            f"not {spelt(value)}"
        )
    if value == INPUT:
        raise Wrong('must be another word: "input" is what the request is called')
    return value


def instance(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,47}", value):
        raise Wrong(
            f'must be the name of a model that is deployed, such as "churn", not {spelt(value)}'
        )
    return value


def version(value: Any) -> int | None:
    """A number pins it; "production" is the same as leaving it out."""
    if value == "production":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Wrong(
            f'must be the number of a version such as 3, or "production", not {spelt(value)}'
        )
    return value


def after(value: Any) -> list[str]:
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list) or not named or not all(isinstance(e, str) for e in named):
        raise Wrong(f'must list stages such as ["input", "features"], not {spelt(value)}')
    if twice := [each for each in named if named.count(each) > 1]:
        raise Wrong(f'names "{twice[0]}" twice')
    return list(named)


def chosen(value: Any) -> list[list[str]]:
    """Columns as pairs: the new name, or none, and where it is taken from."""
    if isinstance(value, dict) and value and all(isinstance(e, str) for e in value.values()):
        return [[new, taken] for new, taken in value.items()]
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return [["", taken] for taken in value]
    raise Wrong(
        'must be a list such as ["input.*", "features.total"] or a table such as '
        f'{{ total = "features.sum" }}, not {spelt(value)}'
    )


def constants(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Wrong(f'must be a table such as {{ currency = "EUR" }}, not {spelt(value)}')
    for column, held in value.items():
        if not isinstance(held, str | bool | int | float):
            raise Wrong(f"must give {column} one number, text or truth, not {spelt(held)}")
        finite(held)
    return dict(value)


def weights(value: Any) -> list[float]:
    if not isinstance(value, list) or not value or not all(map(_is_weight, value)):
        raise Wrong(f"must list numbers from 0 on such as [0.7, 0.3], not {spelt(value)}")
    if not sum(value):
        raise Wrong("must not all be 0")
    return [float(each) for each in value]


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e300


def condition(value: Any) -> str:
    if not text(value).strip():
        raise Wrong('must be a condition such as "triage.score >= 0.5", not empty')
    return str(value).strip()


STAGE_KEYS: dict[str, Reader] = {
    "name": name,
    "instance": instance,
    "version": version,
    "location": text,
    "tunnel": truth,
    "combine": OneOf(*COMBINERS),
    "weights": weights,
    "after": after,
    "columns": chosen,
    "constants": constants,
    "when": condition,
    "timeout": seconds(86_400),
    "idempotent": truth,
    "optional": truth,
}
OF_INSTANCES = ("version", "location", "tunnel", "idempotent")
OF_COMBINERS = ("weights",)

Read = tuple[tuple[dict[str, Any], ...], list[Fault]]


def read_stages(value: Any) -> Read:
    """The stages, and all that is wrong with what stands there of them."""
    if isinstance(value, dict):
        words = "[stage] has to be written [[stage]], with two brackets: there may be several."
        return (), [Fault(STAGE, "", words)]
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        words = f"stage must be sections, [[stage]] for each, not {spelt(value)}."
        return (), [Fault(STAGE, "", words)]
    faults: list[Fault] = []
    stages = tuple(_stage(held, _called(held, n), faults) for n, held in enumerate(value, 1))
    faults += _of_all(stages)
    return stages, faults


def _called(held: dict[str, Any], number: int) -> str:
    """How sentences call a stage: by its name, or which of them it is."""
    said = held.get("name")
    return f'stage "{said}"' if isinstance(said, str) and said else f"the {_ordinal(number)} stage"


def _ordinal(number: int) -> str:
    small = number % 10 if number % 100 not in (11, 12, 13) else 0
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(small, 'th') }"


def _stage(held: dict[str, Any], called: str, faults: list[Fault]) -> dict[str, Any]:
    stage = dict(DEFAULTS)

    def wrong(key: str, words: str) -> None:
        faults.append(Fault(STAGE, key, f"{called[:1].upper()}{called[1:]}: {words}."))

    for key, value in held.items():
        if key not in STAGE_KEYS:
            wrong(key, f"{key} is not a key of a [[stage]]{_meant(key)}")
            continue
        try:
            stage[key] = STAGE_KEYS[key](value)
        except Wrong as error:
            wrong(key, f"{key} {error}")
    for key, words in _lacking(held):
        wrong(key, words)
    return stage


def _meant(key: str) -> str:
    close = get_close_matches(key, STAGE_KEYS, n=1)
    return f"; meant: {close[0]}?" if close else f"; known there: {', '.join(STAGE_KEYS)}"


def _lacking(held: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What does not go together, or is not there."""
    if "name" not in held:
        yield "name", 'name is missing; give it one such as name = "features"'
    asks, combines = "instance" in held, "combine" in held
    if asks and combines:
        yield "combine", "it has both instance and combine; it either asks a model or combines"
    if not asks and not combines:
        yield (
            "instance",
            'it neither asks a model (instance = "churn") nor combines (combine = "mean")',
        )
    if combines and not asks:
        for key in OF_INSTANCES:
            if key in held:
                yield key, f"{key} is only for stages with an instance"
    if held.get("tunnel") is True and asks and not held.get("location"):
        yield "tunnel", "tunnel = true needs a location, which is the host it leads to"
    if "weights" in held and held.get("combine") != "weighted":
        yield "weights", 'weights are only for combine = "weighted"'
    if held.get("combine") == "weighted" and "weights" not in held:
        yield "weights", 'combine = "weighted" needs weights, one for each of `after`'


def _of_all(stages: tuple[dict[str, Any], ...]) -> Iterator[Fault]:
    """What is wrong with them together."""
    if not stages:
        yield Fault(STAGE, "", "There is no [[stage]] in the list of stages.")
    if len(stages) > MOST:
        yield Fault(STAGE, "", f"There are {len(stages)} stages; {MOST} are the most.")
    names = [stage["name"] for stage in stages if stage["name"]]
    for twice in dict.fromkeys(each for each in names if names.count(each) > 1):
        words = f'Two stages are called "{twice}"; give one of them another name.'
        yield Fault(STAGE, "name", words)
