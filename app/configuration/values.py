"""Readers of single values: each takes what TOML gave and returns it checked, or raises Wrong."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from app.models import Batch, Gate

SIZE = re.compile(r"([1-9][0-9]*)([KMGT]?)", re.IGNORECASE)
DURATION = re.compile(r"([0-9]{1,5}(?:\.[0-9]+)?)(ms|s|m|h|d)")
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Wrong(ValueError):
    """What is the matter with one value, as the end of a sentence: 'must be …'."""


class Fault(NamedTuple):
    """What is wrong with a key, as a sentence. No key: with the section; nor a section: it all."""

    section: str
    key: str
    words: str


Reader = Callable[[Any], Any]


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"must be text in quotes, not {spelt(value)}")
    if "\0" in value:
        raise Wrong("must not hold a NUL character")
    return value


def inside(value: Any) -> str:
    """A path that stays in the model's folder, with forward slashes."""
    path = PurePosixPath(text(value))
    if not value or path.is_absolute() or ".." in path.parts:
        raise Wrong(f"must be a path inside the model's folder, not {spelt(value)}")
    return str(path)


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"must be true or false, not {spelt(value)}")
    return value


class OneOf:
    """Reads one of some words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices

    def __call__(self, value: Any) -> str:
        if value not in self.choices:
            raise Wrong(f"must be one of {', '.join(self.choices)}, not {spelt(value)}")
        return str(value)


def whole(low: int, high: int) -> Reader:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Wrong(f"must be a whole number from {low} to {high}, not {spelt(value)}")
        return value

    return read


def seconds(high: float) -> Reader:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= high:
            raise Wrong(f"must be seconds, above 0 and at most {high:g}, not {spelt(value)}")
        return float(value)

    return read


def duration(value: Any) -> float:
    """Seconds, from a number or from text such as "10s"; 0 is none at all, a day the most."""
    length: Any = value
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        length = float(match[1]) * SECONDS[match[2]]
    if isinstance(length, bool) or not isinstance(length, int | float) or not 0 <= length <= 86_400:
        raise Wrong(
            f'must be a time such as "200ms", "10s" or "2m", at most "1d", not {spelt(value)}'
        )
    return float(length)


def days(value: Any) -> float:
    """Seconds, from text such as "7d"."""
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        length = float(match[1]) * SECONDS[match[2]]
        if 60 <= length <= 366 * 86_400:
            return length
    raise Wrong(f'must be a time such as "12h" or "7d", at most "366d", not {spelt(value)}')


def share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Wrong(f"must be a share, from 0 to 1, not {spelt(value)}")
    return float(value)


def ratio(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise Wrong(f"must be a number above 0, such as 1.5, not {spelt(value)}")
    return float(value)


def tolerance(value: Any) -> list[float]:
    """[relative, absolute], from both or from the relative one alone."""
    said = value if isinstance(value, dict) else {"relative": value}
    if not said or set(said) - {"relative", "absolute"}:
        raise Wrong(f"must be {{ relative = 1e-6, absolute = 1e-9 }}, not {spelt(value)}")
    both = said.get("relative", Gate().tolerance[0]), said.get("absolute", Gate().tolerance[1])
    for each in both:
        if isinstance(each, bool) or not isinstance(each, int | float) or not 0 <= each < math.inf:
            raise Wrong(f"must be a number such as 1e-6, not {spelt(each)}")
    return [float(each) for each in both]


def memory(value: Any) -> str:
    if not isinstance(value, str) or not SIZE.fullmatch(value):
        raise Wrong(f'must be a size such as "512M" or "2G", not {spelt(value)}')
    return value.upper()


def size(value: Any) -> int:
    """Bytes, from a number or from text such as "100M"."""
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        return int(match[1]) * UNITS[match[2].upper()]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise Wrong(f'must be a size such as "100M", or a number of bytes, not {spelt(value)}')
    return value


def room(value: Any) -> int:
    """Bytes that a file may take, 0 for no file."""
    if value == 0 and not isinstance(value, bool):
        return 0
    if (most := size(value)) < UNITS["M"]:
        raise Wrong(f'must be 0, or a size of "1M" or more, not {spelt(value)}')
    return most


def python(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"3\.(9|[1-9][0-9])", value):
        raise Wrong(f'must be a Python such as "3.11" (3.9 or later), not {spelt(value)}')
    return value


def batch(value: Any) -> Batch | None:
    if isinstance(value, bool):
        return Batch() if value else None
    if not isinstance(value, dict) or set(value) - {"max_rows", "wait"}:
        raise Wrong(f"must be {{ max_rows = 256, wait = 0.0 }} or false, not {spelt(value)}")
    wait = value.get("wait", 0)
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not 0 <= wait <= 1:
        raise Wrong(f"must have a wait of 0 to 1 seconds, not {spelt(wait)}")
    return Batch(whole(1, 1_000_000)(value.get("max_rows", Batch().max_rows)), float(wait))


def environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise Wrong(f'must be a table such as {{ NAME = "value" }}, not {spelt(value)}')
    for name, held in value.items():
        if not VARIABLE.fullmatch(name):
            raise Wrong(f'holds "{name}", which is no name for an environment variable')
        if not isinstance(held, str) or "\0" in held or "\n" in held:
            raise Wrong(f"must give {name} one line of text in quotes, not {spelt(held)}")
    return value


VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def secret_names(value: Any) -> tuple[str, ...]:
    """Names only: what is written in the folder is versioned and shipped."""
    for name in texts(value):
        if not VARIABLE.fullmatch(name):
            raise Wrong(f'must list names such as "DB_PASSWORD", not {spelt(name)}')
    return tuple(dict.fromkeys(value))


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Wrong(f'must be a list of texts such as ["notebooks/"], not {spelt(value)}')
    return tuple(value)


def places(value: Any) -> str:
    """One location or group, or a list of them, which becomes their names with commas."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise Wrong(f'must be a location such as "prod", or a list of them, not {spelt(value)}')
    return text(value)


def anything(value: Any) -> dict[str, Any]:
    """A table of what JSON can hold too; dates become text."""
    if not isinstance(value, dict):
        raise Wrong(f"must be a table such as {{ auc = 0.91 }}, not {spelt(value)}")
    return {name: plain(held) for name, held in value.items()}


def absolute(value: Any) -> str:
    """A path on this machine, outside the model's folder: what must not be versioned."""
    path = Path(text(value)).expanduser()
    if not path.is_absolute():
        raise Wrong(f'must be a whole path such as "/etc/ssl/me.pem", not {spelt(value)}')
    return str(path)


def origins(value: Any) -> tuple[str, ...]:
    for origin in texts(value):
        if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin):
            raise Wrong(f'must list origins such as "https://app.example", not {spelt(origin)}')
    return tuple(value)


def truth_of(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise Wrong(f"{name} must be true or false, not {spelt(value)}")


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: plain(held) for name, held in value.items()}
    if isinstance(value, list):
        return [plain(held) for held in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    finite(value)
    return value


def spelt(value: Any) -> str:
    """A value as it would stand in the file, cut short."""
    if isinstance(value, bool):
        return str(value).lower()
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"


def finite(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(f"must hold finite numbers, not {value}")
