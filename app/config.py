"""Where things are on this machine, and `rhythmicml.toml`: what may stand in it, a first one."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from app import frozen
from app.errors import Problem
from app.models import Batch, Configuration, Gate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = "rhythmicml.toml"
INPUTS = ("dataframe", "ndarray", "json", "bytes")
SIZE = re.compile(r"([1-9][0-9]*)([KMGT]?)", re.IGNORECASE)
DURATION = re.compile(r"([0-9]{1,5}(?:\.[0-9]+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


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
    root = frozen.UNPACKED if frozen.FROZEN else Path(__file__).parent.parent
    return root / "assets" / path


class Wrong(ValueError):
    """What is the matter with one value, as the end of a sentence: 'must be …'."""


class Fault(NamedTuple):
    """What is wrong with a key, as a sentence. No key: with the section; nor a section: it all."""

    section: str
    key: str
    words: str


Reader = Callable[[Any], Any]


# Readers: each takes what TOML gave and returns the checked value, or raises Wrong.


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be text in quotes, not {_said(value)}")
    if "\0" in value:
        raise Wrong("must not hold a NUL character")
    return value


def inside(value: Any) -> str:
    """A path that stays in the model's folder, with forward slashes."""
    path = PurePosixPath(text(value))
    if not value or path.is_absolute() or ".." in path.parts:
        raise Wrong(f"must be a path inside the model's folder, not {_said(value)}")
    return str(path)


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {_said(value)}")
    return value


class OneOf:
    """Reads one of some words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def __call__(self, value: Any) -> str:
        if value not in self.choices:
            raise Wrong(f"must be one of {', '.join(self.choices)}, not {_said(value)}")
        return str(value)


def whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(f"must be a whole number from {low} to {high}, not {_said(value)}")
        return value

    return read


def seconds(high: float) -> Reader:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= high:
            raise Wrong(f"must be seconds, above 0 and at most {high:g}, not {_said(value)}")
        return float(value)

    return read


def duration(value: Any) -> float:
    """Seconds, from a number or from text such as "10s"; 0 is none at all, a day the most."""
    length: Any = value
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        length = float(match[1]) * SECONDS[match[2]]
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 <= length <= 86_400:
        raise Wrong(
            f'must be a time such as "200ms", "10s" or "2m", at most "1d", not {_said(value)}'
        )
    return float(length)


def share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Wrong(f"must be a share, from 0 to 1, not {_said(value)}")
    return float(value)


def ratio(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise Wrong(f"must be a number above 0, such as 1.5, not {_said(value)}")
    return float(value)


def tolerance(value: Any) -> list[float]:
    """[relative, absolute], from both or from the relative one alone."""
    said = value if isinstance(value, dict) else {"relative": value}
    if not said or set(said) - {"relative", "absolute"}:
        raise Wrong(f"must be {{ relative = 1e-6, absolute = 1e-9 }}, not {_said(value)}")
    both = said.get("relative", Gate().tolerance[0]), said.get("absolute", Gate().tolerance[1])
    for each in both:
        if isinstance(each, bool) or not isinstance(each, int | float) or not 0 <= each < math.inf:
            raise Wrong(f"must be a number such as 1e-6, not {_said(each)}")
    return [float(each) for each in both]


def memory(value: Any) -> str:
    if not isinstance(value, str) or not SIZE.fullmatch(value):
        raise Wrong(f'must be a size such as "512M" or "2G", not {_said(value)}')
    return value.upper()


def size(value: Any) -> int:
    """Bytes, from a number or from text such as "100M"."""
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        return int(match[1]) * UNITS[match[2].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise Wrong(f'must be a size such as "100M", or a number of bytes, not {_said(value)}')
    return value


def python(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"3\.(9|[1-9][0-9])", value):
        raise Wrong(f'must be a Python such as "3.11" (3.9 or later), not {_said(value)}')
    return value


def batch(value: Any) -> Batch | None:
    if isinstance(value, bool):
        return Batch() if value else None
    if not isinstance(value, dict) or set(value) - {"max_rows", "wait"}:
        raise Wrong(f"must be {{ max_rows = 256, wait = 0.0 }} or false, not {_said(value)}")
    wait = value.get("wait", 0)
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= 1:
        raise Wrong(f"must have a wait of 0 to 1 seconds, not {_said(wait)}")
    return Batch(whole(1, 1_000_000)(value.get("max_rows", Batch().max_rows)), float(wait))


def environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Wrong(f'must be a table such as {{ NAME = "value" }}, not {_said(value)}')
    for name, held in value.items():
        if not VARIABLE.fullmatch(name):
            raise Wrong(f'holds "{name}", which is no name for an environment variable')
        if not isinstance(held, str) or "\0" in held or "\n" in held:
            raise Wrong(f"must give {name} one line of text in quotes, not {_said(held)}")
    return value


VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def secret_names(value: Any) -> tuple[str, ...]:
    """Names only: what is written in the folder is versioned and shipped."""
    for name in texts(value):
        if not VARIABLE.fullmatch(name):
            raise Wrong(f'must list names such as "DB_PASSWORD", not {_said(name)}')
    return tuple(dict.fromkeys(value))


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Wrong(f'must be a list of texts such as ["notebooks/"], not {_said(value)}')
    return tuple(value)


def places(value: Any) -> str:
    """One location or group, or a list of them, which becomes their names with commas."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise Wrong(f'must be a location such as "prod", or a list of them, not {_said(value)}')
    return text(value)


def anything(value: Any) -> dict[str, Any]:
    """A table of what JSON can hold too; dates become text."""
    if not isinstance(value, dict):
        raise Wrong(f"must be a table such as {{ auc = 0.91 }}, not {_said(value)}")
    return {name: _plain(held) for name, held in value.items()}


def absolute(value: Any) -> str:
    """A path on this machine, outside the model's folder: what must not be versioned."""
    path = Path(text(value)).expanduser()
    if not path.is_absolute():
        raise Wrong(f'must be a whole path such as "/etc/ssl/me.pem", not {_said(value)}')
    return str(path)


def origins(value: Any) -> tuple[str, ...]:
    for origin in texts(value):
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
            raise Wrong(f'must list origins such as "https://app.example", not {_said(origin)}')
    return tuple(value)


COLUMN = {"type", "shape", "nullable", "values", "min", "max"}
TYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "string", "category", "datetime", "bytes", "json"),
)


def columns(value: Any) -> dict[str, dict[str, Any]]:
    """Column → what is declared of it: `{ type = "float64", min = 0 }`."""
    if not isinstance(value, dict):
        raise Wrong(f'must be a table such as {{ age = {{ type = "int64" }} }}, not {_said(value)}')
    return {name: _column(name, declared) for name, declared in value.items()}


def _column(name: str, declared: Any) -> dict[str, Any]:
    if not isinstance(declared, dict) or (unknown := sorted(set(declared) - COLUMN)):
        known = ", ".join(sorted(COLUMN))
        what = _said(unknown[0]) if isinstance(declared, dict) else _said(declared)
        raise Wrong(f'must describe "{name}" by {known}, not by {what}')
    try:
        return _checked_column(declared)
    except Wrong as wrong:
        raise Wrong(f'describes "{name}", whose {wrong}') from None


def _checked_column(declared: dict[str, Any]) -> dict[str, Any]:
    said = dict(declared)
    if "type" not in said:
        raise Wrong(f"type is missing; use one of {', '.join(TYPES)}")
    numeric = said["type"].startswith(("int", "uint", "float")) if said["type"] in TYPES else None
    if numeric is None:
        raise Wrong(f"type must be one of {', '.join(TYPES)}, not {_said(said['type'])}")
    shape = said.get("shape", [])
    if not isinstance(shape, list) or not all(type(n) is int and (n > 0 or n == -1) for n in shape):
        raise Wrong(f"shape must be a list of sizes such as [3, 224, 224], not {_said(shape)}")
    if "nullable" in said:
        truth_of("nullable", said["nullable"])
    if "values" in said and (not isinstance(said["values"], list) or not said["values"]):
        raise Wrong(f"values must be a list of what is allowed, not {_said(said['values'])}")
    for bound in ("min", "max"):
        held = said.get(bound, 0)
        if isinstance(held, bool) or not isinstance(held, int | float) or not math.isfinite(held):
            raise Wrong(f"{bound} must be a finite number, not {_said(held)}")
        if bound in said and not numeric:
            raise Wrong(f"{bound} makes sense for numbers only")
    if said.get("min", -math.inf) > said.get("max", math.inf):
        raise Wrong("min is above max")
    return said


def truth_of(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise Wrong(f"{name} must be true or false, not {_said(value)}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, list):
        return [_plain(held) for held in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(f"must hold finite numbers, not {value}")
    return value


def _said(value: Any) -> str:
    """A value as it would stand in the file, cut short."""
    if isinstance(value, bool):
        return str(value).lower()
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


KEYS: dict[str, dict[str, Reader]] = {
    "model": {
        "name": text,
        "description": text,
        "metadata": anything,
    },
    "predict": {
        "script": inside,
        "artifacts": inside,
        "input": OneOf(*INPUTS),
        "batch": batch,
        "sample": inside,
        "timeout": seconds(86_400),
        "job_timeout": seconds(86_400 * 7),
    },
    "dependencies": {
        "requirements": inside,
        "python": python,
        "allow_yanked": truth,
    },
    "deploy": {
        "location": places,
        "port": whole(1, 65_535),
        "workers": whole(1, 256),
        "memory": memory,
        "start_timeout": seconds(86_400),
        "keep_warm": duration,
        "preload": truth,
        "recycle_requests": whole(1, 1_000_000_000),
        "recycle_memory": size,
        "queue": whole(1, 65_536),
        "max_body": size,
        "max_request_rows": whole(1, 100_000_000),
        "max_connections": whole(1, 100_000),
        "expose": OneOf("loopback", "public"),
        "certificate": absolute,
        "certificate_key": absolute,
        "cors": origins,
        "access_log": OneOf("errors", "all", "none"),
        "env": environment,
        "exclude": texts,
        "keep": whole(1, 10_000),
        "secrets": secret_names,
    },
    "gate": {
        "tolerance": tolerance,
        "must_match": truth,
        "max_changed": share,
        "max_latency": duration,
        "max_latency_ratio": ratio,
        "max_memory_ratio": ratio,
        "time": duration,
        "watch": duration,
    },
    "schema": {
        "inputs": columns,
        "outputs": columns,
    },
}


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
    values: dict[str, Any] = {}
    faults = [f'"{path}": {fault.words}' for fault in _read_sections(document, values)]
    if faults:
        raise Problem(
            faults[0],
            remedy=f"Correct {FILE}; docs/configuration.md lists every key.",
            detail="\n".join(faults[1:]),
        )
    return Configuration(**values)


def faults_of(document: dict[str, Any]) -> list[Fault]:
    """All that is wrong with what a `rhythmicml.toml` holds."""
    return list(_read_sections(document, {}))


def _read_sections(document: dict[str, Any], values: dict[str, Any]) -> Iterator[Fault]:
    """Put what is right into `values`; give what is wrong."""
    for section, held in document.items():
        if section not in KEYS:
            yield Fault(section, "", _unknown_section(section))
        elif not isinstance(held, dict):
            words = f"{section} must be a section, [{section}], not {_said(held)}."
            yield Fault(section, "", words)
        else:
            yield from _read_keys(section, held, values)


def _read_keys(section: str, held: dict[str, Any], values: dict[str, Any]) -> Iterator[Fault]:
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
            if section in ("schema", "gate"):
                values.setdefault(section, {})[name] = read
            elif name in Configuration.__dataclass_fields__:
                values[name] = read


def _unknown_section(name: str) -> str:
    if where := _home_of(name):
        return f"{name} belongs into [{where}]."
    close = get_close_matches(name, KEYS, n=1) or list(KEYS)
    return f"[{name}] is not a section. Meant: {' or '.join(f'[{one}]' for one in close)}?"


def _meant(section: str, name: str) -> str:
    """A guess at which key a misspelled one was to be."""
    if where := _home_of(name):
        return f" It belongs into [{where}]."
    close = get_close_matches(name, KEYS[section], n=1)
    return f" Meant: {close[0]}?" if close else f" Known there: {', '.join(KEYS[section])}."


def _home_of(name: str) -> str | None:
    """The section that has a key of this name."""
    return next((section for section, keys in KEYS.items() if name in keys), None)


def starter(name: str, *, python: str = "") -> str:
    """A first `rhythmicml.toml`: what one usually sets, and the rest as comments."""
    python = python or frozen.python_version()
    return f'''\
# What RhythmicML should know about this model. Every key: docs/configuration.md

[model]
name = "{name}"
description = ""
# metadata = {{ dataset = "2026-10", auc = 0.91 }}   # any key and value

[predict]
script = "predict.py"                 # load(artifacts) once, predict(model, inputs) per batch
# artifacts = "artifacts"             # what load is given
input = "json"                        # dataframe, ndarray, json or bytes
# batch = {{ max_rows = 256 }}          # or false
sample = "sample.json"                # golden input: warms up, proves, and gates every switch
# timeout = 30                        # seconds for one prediction

[dependencies]
requirements = "requirements.txt"
python = "{python}"

[deploy]
# location = "prod"                   # else the default location
# port = 8101
# workers = 1
# memory = "2G"
# env = {{ TOKENIZERS_PARALLELISM = "false" }}
exclude = ["notebooks/", "*.ipynb"]   # versioned, not shipped

# [gate]                              # what a release must show before it takes traffic
# max_changed = 0.05                  # share of rows of samples/ that may differ from production's
# max_latency_ratio = 1.5             # and how much slower than production it may be

# [schema.inputs]                     # what a request must look like, beyond what the sample says
# age = {{ type = "int64", min = 0, max = 120 }}
'''
