"""Where things are on this machine, and `rhythmicml.toml`: what may stand in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from app import frozen
from app.configuration import values
from app.configuration.columns import columns
from app.configuration.stages import STAGE, STAGE_KEYS, read_stages
from app.configuration.values import (
    Fault,
    OneOf,
    Reader,
    Wrong,
    seconds,
    spelt,
    text,
    truth,
    whole,
)
from app.errors import Problem
from app.models import Configuration

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "rhythmicml.toml"
INPUTS = ("dataframe", "ndarray", "json", "bytes")


def folders() -> Path:
    """Where folders of models are put that come from elsewhere, each under its name."""
    return Path.home() / "RhythmicML"


def home() -> Path:
    """Where this user's data is: RHYTHMICML_HOME, else the platform's place for it."""
    if chosen := os.environ.get("RHYTHMICML_HOME"):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("rhythmicml", appauthor=False)


def asset(path: str) -> Path:
    """A file that comes with the program: beside the code, or inside the single-file build."""
    top = f"assets/{path.partition('/')[0]}"
    if top in frozen.FOLDERS_LATE:
        frozen.folder(top)
    return frozen.ROOT / "assets" / path


KEYS: dict[str, dict[str, Reader]] = {
    "model": {
        "name": text,
        "description": text,
        "metadata": values.anything,
    },
    "predict": {
        "script": values.inside,
        "artifacts": values.inside,
        "input": OneOf(*INPUTS),
        "batch": values.batch,
        "sample": values.inside,
        "timeout": seconds(86_400),
        "job_timeout": seconds(86_400 * 7),
    },
    "dependencies": {
        "requirements": values.inside,
        "python": values.python,
        "allow_yanked": truth,
    },
    "deploy": {
        "location": values.places,
        "port": whole(1, 65_535),
        "workers": whole(1, 256),
        "memory": values.memory,
        "start_timeout": seconds(86_400),
        "keep_warm": values.duration,
        "preload": truth,
        "recycle_requests": whole(1, 1_000_000_000),
        "recycle_memory": values.size,
        "queue": whole(1, 65_536),
        "max_body": values.size,
        "max_request_rows": whole(1, 100_000_000),
        "max_connections": whole(1, 100_000),
        "expose": OneOf("loopback", "public"),
        "certificate": values.absolute,
        "certificate_key": values.absolute,
        "cors": values.origins,
        "access_log": OneOf("errors", "all", "none"),
        "env": values.environment,
        "exclude": values.texts,
        "keep": whole(1, 10_000),
        "secrets": values.secret_names,
    },
    "gate": {
        "tolerance": values.tolerance,
        "must_match": truth,
        "max_changed": values.share,
        "max_latency": values.duration,
        "max_latency_ratio": values.ratio,
        "max_memory_ratio": values.ratio,
        "time": values.duration,
        "watch": values.duration,
    },
    "monitor": {
        "size": values.room,
    },
    "log": {
        "sample": values.share,
        "redact": values.texts,
        "keep": values.days,
    },
    "schema": {
        "inputs": columns,
        "outputs": columns,
    },
    "pipeline": {
        "output": text,
        "parallel": whole(1, 64),
        "max_hops": whole(1, 16),
    },
}
GATHERED = ("schema", "gate", "monitor", "log", "pipeline")
"""Sections that are one field of Configuration each."""


def read_configuration(folder: Path) -> Configuration:
    """What the folder's `rhythmicml.toml` says; the defaults where there is none."""
    path = folder / FILE
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return Configuration()
    except tomllib.TOMLDecodeError as error:
        raise Problem(f'"{path}" is not valid TOML.', remedy=f"Correct {FILE}.") from error
    except UnicodeDecodeError as error:
        raise Problem(f'"{path}" is not UTF-8 text.', remedy=f"Save {FILE} as UTF-8.") from error
    except OSError as error:
        raise Problem(f'"{path}" cannot be read.', cause=error.strerror or str(error)) from error
    return _checked(path, document)


def _checked(path: Path, document: dict[str, Any]) -> Configuration:
    found: dict[str, Any] = {}
    faults = [f'"{path}": {fault.words}' for fault in _read_sections(document, found)]
    if faults:
        raise Problem(
            faults[0],
            remedy=f"Correct {FILE}; docs/configuration.md lists every key.",
            detail="\n".join(faults[1:]),
        )
    return Configuration(**found)


def faults_of(document: dict[str, Any]) -> list[Fault]:
    """All that is wrong with what a `rhythmicml.toml` holds."""
    return list(_read_sections(document, {}))


def _read_sections(document: dict[str, Any], found: dict[str, Any]) -> Iterator[Fault]:
    """Put what is right into `found`; give what is wrong."""
    for section, held in document.items():
        if section == STAGE:
            found["stages"], faults = read_stages(held)
            yield from faults
        elif section not in KEYS:
            yield Fault(section, "", _unknown_section(section))
        elif not isinstance(held, dict):
            words = f"{section} must be a section, [{section}], not {spelt(held)}."
            yield Fault(section, "", words)
        else:
            yield from _read_keys(section, held, found)
    if "pipeline" in document and STAGE not in document:
        words = "[pipeline] is of use only where there is a [[stage]], and there is none."
        yield Fault("pipeline", "", words)


def _read_keys(section: str, held: dict[str, Any], found: dict[str, Any]) -> Iterator[Fault]:
    for name, value in held.items():
        if name not in KEYS[section]:
            words = f"{name} in [{section}] is not a key.{_meant(section, name)}"
            yield Fault(section, name, words)
            continue
        try:
            read = KEYS[section][name](value)
        except Wrong as wrong:
            yield Fault(section, name, f"{name} in [{section}] {wrong}.")
        else:
            if section in GATHERED:
                found.setdefault(section, {})[name] = read
            elif name in Configuration.__dataclass_fields__:
                found[name] = read


def _unknown_section(name: str) -> str:
    if where := _home_of(name):
        return f"{name} belongs into {where}."
    shown = {each: f"[{each}]" for each in KEYS} | {STAGE: f"[[{STAGE}]]"}
    close = get_close_matches(name, shown, n=1) or list(shown)
    return f"[{name}] is not a section. Meant: {' or '.join(shown[one] for one in close)}?"


def _meant(section: str, name: str) -> str:
    """A guess at which key a misspelled one was to be."""
    if where := _home_of(name):
        return f" It belongs into {where}."
    close = get_close_matches(name, KEYS[section], n=1)
    return f" Meant: {close[0]}?" if close else f" Known there: {', '.join(KEYS[section])}."


def _home_of(name: str) -> str | None:
    """The section that has a key of this name."""
    sections = (f"[{section}]" for section, keys in KEYS.items() if name in keys)
    return next(sections, f"a [[{STAGE}]]" if name in STAGE_KEYS else None)
