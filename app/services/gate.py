"""Golden inputs of a model, what the gate asks of a release, and what is made of its report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from app.deployer.agent.judging import changed_share
from app.errors import GateFailed, NotFound
from app.models import Configuration, Deployment, Gate
from app.words import counted, size, told

if TYPE_CHECKING:
    from app.deployer.plan import Step, Wanted
    from app.workspace import Workspace

FOLDER = "samples"
RECORDED = ".expected.json"
PASSES = 3
"""How often in a row a release must answer well before it takes traffic."""


def golden(paths: Iterable[str], kind: str = "") -> list[tuple[str, str | None]]:
    """(input, recorded answer or None) of a model's files, by name.

    Inputs are the files of `samples/` that end in .json; of a model that takes bytes, all of them.
    """
    here = {path for path in paths if str(PurePosixPath(path).parent) == FOLDER}
    inputs = sorted(path for path in here if not path.endswith(RECORDED) and _is_input(path, kind))
    return [(path, own if (own := recorded_of(path)) in here else None) for path in inputs]


def _is_input(path: str, kind: str) -> bool:
    name = PurePosixPath(path).name
    return not name.startswith(".") and (kind == "bytes" or name.endswith(".json"))


def recorded_of(path: str) -> str:
    """`samples/young.json` → `samples/young.expected.json`."""
    return path.removesuffix(".json") + RECORDED


def gate_of(configuration: Configuration) -> Gate:
    said = dict(configuration.gate)
    if "tolerance" in said:
        said["tolerance"] = tuple(said["tolerance"])
    return Gate(**said)


def asked(configuration: Configuration, inputs: list[tuple[str, str | None]]) -> dict[str, Any]:
    """What the agent is told to ask of a new release, and within which limits."""
    gate = gate_of(configuration)
    return {
        "golden": inputs,
        "declared": configuration.schema.get("outputs", {}),
        "limits": gate.limits(),
        "passes": PASSES,
        "time": gate.time,
        "beside": True,
        "watch": gate.watch,
    }


# What is made of the answers


class Unsteady(GateFailed):
    """A release that failed after the switch: the one before it has to come back."""


def heed(wanted: Wanted, place: str, step: Step, answer: Any) -> None:
    """Stop at a gate that was not passed, or at production that did not stay up."""
    if step.do == "gate" and not answer["passed"]:
        raise GateFailed(
            f"{wanted.name} {told(wanted.release)} did not pass its gate.",
            cause=" ".join(answer["over"][:5]),
            remedy=f"See the report: rhythmicml report {wanted.name} --to {place}. "
            "Production is as it was.",
            detail=answer.get("log", ""),
            report=answer,
        )
    if step.do == "watch" and not answer["steady"]:
        raise Unsteady(
            f"{wanted.name} {told(wanted.release)} failed {answer['after']:g} s after the switch.",
            cause=f"{answer['why'][:1].upper()}{answer['why'][1:]}.",
            remedy="The lines of its log below show where.",
            detail=answer["log"],
        )


def brief(report: Mapping[str, Any]) -> list[str]:
    """A passed gate in one to three lines."""
    if not report:
        return []
    lines, new = [], report["latency"]["new"]
    against = told(report["against"] or "")
    if held := [each for each in report["inputs"] if each["recorded"]]:
        rows = sum(each["recorded"]["rows"] for each in held)
        differ = sum(each["recorded"]["differ"] for each in held)
        as_recorded = "all as recorded" if not differ else f"{differ:,} not as recorded"
        lines.append(
            f"{counted(len(held), 'golden input')}, {counted(rows, 'row')}: {as_recorded}."
        )
    if against and (beside := _beside(report, against)):
        lines.append(beside)
    if new:
        memory = report["memory"]["new"]
        words = f"It answers in {_ms(new['median'])}"
        words += f" and takes {size(memory)} of memory" if memory else ""
        was = report["latency"]["current"]
        words += f" ({against}: {_ms(was['median'])}" if was and against else ""
        if was and against:
            before = report["memory"]["current"]
            words += f", {size(before)})" if before else ")"
        lines.append(f"{words}.")
    return lines


def _beside(report: Mapping[str, Any], against: str) -> str:
    """How its answers differ; empty where nothing was asked."""
    differ, rows = changed_share(report["inputs"])
    refused = [each for each in report["inputs"] if "cannot" in (each["current"] or {})]
    if not rows and not refused:
        return ""
    verb = "differs" if rows == 1 else "differ"
    words = f"{differ:,} of {counted(rows, 'row')} {verb} from {against}"
    if refused:
        words += f", which cannot take {counted(len(refused), 'input')} of it"
    return f"{words}."


def row_words(row: Mapping[str, Any]) -> str:
    """A differing row: `row 3 label: "yes" -> "no"`."""
    place = f"row {row['row']}" + (f" {row['path']}" if row["path"] else "")
    if row["kind"] == "missing":
        return f"{place}: missing, was {_shown(row['wanted'])}"
    if row["kind"] == "more":
        return f"{place}: new, {_shown(row['got'])}"
    return f"{place}: {_shown(row['wanted'])} -> {_shown(row['got'])}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"


def last_report(
    work: Workspace, name: str, to: str | None = None
) -> tuple[Deployment, dict[str, Any]]:
    """What the gate found when a model was deployed last, and which deployment that was."""
    with work.open_store() as store:
        found = store.gates.last(name, to)
        if found is None:
            store.models.get(name)
            raise NotFound(
                f"No release of {name} has been at the gate.", remedy=f"rhythmicml deploy {name}"
            )
        return found
