"""A model tried out on this machine and deployed nowhere, and answers recorded for the gate."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.deployer import plan as planning
from app.deployer.agent import fronts
from app.deployer.agent.comparing import Tolerance, compare
from app.deployer.apply import apply
from app.deployer.plan import Step, Wanted
from app.errors import GateFailed, Problem
from app.models import Event, Model, Version
from app.services import gate, places, references, releases, versions
from app.services.attempts import look
from app.services.instances import Through, front_of

if TYPE_CHECKING:
    from app.workspace import Workspace

Events = Iterator[Event]


def try_out(work: Workspace, what: str) -> Events:
    """Have a folder, a model or model@version prove itself here, as it would at the gate.

    A folder or a model is tried as it is, without making a version of it. The result is the report;
    GateFailed when it has not passed.
    """
    model, version = tried(work, what)
    report = yield from _try(work, model, version)
    _weigh(work, model, version, report)
    name = f"{model.name} v{version.number}" if version.id else model.name
    if not report["passed"]:
        raise GateFailed(
            f"{name} did not pass its test.",
            cause=" ".join(report["over"][:5]),
            remedy="Correct the model; or record its answers anew: "
            f"rhythmicml record {model.name} --force",
            detail=report["log"],
            report=report,
        )
    words = "\n".join((f"{name} passed its test.", *gate.brief(report)))
    yield Event("result", words, data={**report, "model": model.name})


def _weigh(work: Workspace, model: Model, version: Version, report: dict[str, Any]) -> None:
    """Keep what it took with the version that it is, if it is one."""
    if not report["memory"]["new"]:
        return
    with work.open_store() as store:
        for each in store.versions.all(model):
            if each.digest == version.digest:
                store.versions.weighed(model, each.number, report["memory"]["new"])


def record(work: Workspace, what: str, *, source: str | None = None, force: bool = False) -> Events:
    """Write the answers to the golden inputs of a model's folder beside them.

    source: the location whose instance answers; else the folder itself, tried here. Nothing is
    written when one input is not answered, or, without force, when an answer is no longer what was
    recorded.
    """
    model, _ = chosen(work, what)
    folder = Path(model.folder)
    with work.open_store() as store:
        version = versions.draft(store, model)
    kind = (version.schema or {}).get("kind", "")
    here = [f"{gate.FOLDER}/{each.name}" for each in (folder / gate.FOLDER).glob("*")]
    inputs = gate.golden(here, kind)
    if not inputs:
        raise Problem(
            f"{model.name} has no golden inputs.",
            remedy=f"Put requests into {folder / gate.FOLDER}, such as young.json, then again.",
        )
    if source:
        answers = yield from _asked_at(work, model, source, [name for name, _ in inputs])
    else:
        report = yield from _try(work, model, version)
        answers = {each["name"]: each for each in report["inputs"] if not each["sample"]}
    _refuse_unanswered(model, inputs, answers)
    limits = gate.gate_of(version.configuration)
    found = [
        _compared(folder, name, answers[name]["answer"], Tolerance(*limits.tolerance))
        for name, _ in inputs
    ]
    _refuse_overwriting(model, found, force)
    for each in found:
        if each["became"] != "same":
            _write(folder / each["file"], each.pop("text"))
        each.pop("text", None)
    words = "\n".join(f"{each['file']}: {each['became']}" for each in found)
    yield Event("result", words, data={"model": model.name, "recorded": found})


# Which model


def tried(work: Workspace, what: str) -> tuple[Model, Version]:
    model, number = chosen(work, what)
    with work.open_store() as store:
        return model, store.versions.get(model, number) if number else versions.draft(store, model)


def chosen(work: Workspace, what: str) -> tuple[Model, int | None]:
    """A model by its folder, which is tracked from then on, or by its name."""
    name, number = references.named(work, what)
    with work.open_store() as store:
        return store.models.get(name), number


def named(work: Workspace, what: str) -> Model:
    """A model by its folder, which is tracked from then on, or by its name."""
    return chosen(work, what)[0]


# Trying it here


def _try(work: Workspace, model: Model, version: Version) -> Generator[Event, None, dict[str, Any]]:
    """Build what it needs in the base folder of `local` and ask it there; returns the report."""
    with work.open_store() as store:
        local = store.locations.get("local")
    with work.reach(local) as road:
        road.call("prepare_trial")
        with work.open_store() as store:
            wanted, source = releases.wanted(store, model, version, road.hello, None)
        found = replace(look(road, wanted), release=False)
        steps = [each for each in planning.put_there(wanted, found) if each.do != "place"]
        answers = yield from apply([*steps, _trial(wanted)], road, model.name, source)
    report: dict[str, Any] = answers["trial"]
    return report


def _trial(wanted: Wanted) -> Step:
    scoring = wanted.manifest["scoring"]
    asked = {key: held for key, held in (wanted.gate or {}).items() if key != "watch"}
    args = {
        **asked,
        "manifest": wanted.manifest,
        "sample": scoring["sample"],
        "within": scoring["timeout"] + 5,
        "start_timeout": wanted.start_timeout,
        "answers": True,
    }
    return Step("Start it on its own and check its answers", "trial", args)


# Asking an instance


def _asked_at(
    work: Workspace, model: Model, source: str, names: list[str]
) -> Generator[Event, None, dict[str, dict[str, Any]]]:
    """The answers of the instance at a location: what `_try` gives, by name."""
    location = places.location_of(work, model.name, source)
    yield Event("step", f"Ask {model.name} on {location.name}")
    answers = {}
    with work.reach(location) as road:
        private = front_of(road, model.name, location)["private"]
        for name in names:
            body = (Path(model.folder) / name).read_bytes()
            reply = _ask(Through(road, private), body)
            answers[name] = {"status": reply.status, "cause": reply.cause, "answer": reply.value}
    yield Event("done", f"Ask {model.name} on {location.name}")
    return answers


def _ask(connection: Through, body: bytes) -> fronts.Reply:
    with closing(connection):
        connection.request("POST", "/score", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return fronts.reply(answer.status, answer.read(), 0.0)


def _refuse_unanswered(
    model: Model, inputs: list[tuple[str, str | None]], answers: dict[str, dict[str, Any]]
) -> None:
    bad = [
        f"{name}: {answers[name]['status'] or 'no answer'} {answers[name]['cause']}".strip()
        if name in answers
        else f"{name}: not answered in time"
        for name, _ in inputs
        if name not in answers or answers[name]["status"] != 200
    ]
    if bad:
        raise Problem(
            f"{model.name} does not answer all of its golden inputs; nothing was written.",
            cause=bad[0],
            remedy="Correct the inputs or the model, then record again.",
            detail="\n".join(bad),
        )


# Writing down


def _compared(folder: Path, name: str, answer: Any, tolerance: Tolerance) -> dict[str, Any]:
    """What writing the answer would do: {"file", "became": new, same or changed, "differ", …}."""
    file = gate.recorded_of(name)
    path = folder / file
    text = as_text(answer)
    if not path.exists():
        return {"file": file, "became": "new", "text": text}
    try:
        difference = compare(json.loads(path.read_bytes()), answer, tolerance, most=3)
    except ValueError:
        return {"file": file, "became": "changed", "text": text, "was": "no JSON"}
    became = "changed" if difference["differ"] else "same"
    return {"file": file, "became": became, "text": text, "difference": difference}


def _refuse_overwriting(model: Model, found: list[dict[str, Any]], force: bool) -> None:
    changed = [each for each in found if each["became"] == "changed"]
    if changed and not force:
        raise Problem(
            f"{model.name} answers differently from what was recorded; nothing was written.",
            cause=", ".join(each["file"] for each in changed),
            remedy=f"If that is as it should be: rhythmicml record {model.name} --force",
            detail="\n".join(_lines(changed)),
        )


def _lines(changed: list[dict[str, Any]]) -> Iterator[str]:
    for each in changed:
        for row in each.get("difference", {}).get("first", []):
            yield f"{each['file']} {gate.row_words(row)}"


def as_text(answer: Any) -> str:
    """JSON with a line for each row, so that a changed row is a changed line."""
    if not (isinstance(answer, dict) and isinstance(answer.get("predictions"), list)):
        return json.dumps(answer, ensure_ascii=False, indent=1) + "\n"
    rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in answer["predictions"])
    more = {key: held for key, held in answer.items() if key != "predictions"}
    rest = "".join(
        f",\n {json.dumps(key)}: {json.dumps(held, ensure_ascii=False)}"
        for key, held in more.items()
    )
    return f'{{\n "predictions": [\n{rows}\n ]{rest}\n}}\n'


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8", newline="\n")
    os.replace(temporary, path)
