"""Editing a model's `rhythmicml.toml`: as a form or as text, overwriting nobody else's edit."""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import config, portable
from app.config import KEYS
from app.configuration.values import Fault, OneOf
from app.errors import Problem, Stale
from app.meanings import MEANINGS, Meaning
from app.models import Version
from app.store import manifest
from app.store.folder import TEMPORARY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from app.workspace import Workspace

LONGEST = 1 << 20
"""Bytes of a configuration that is edited here."""

Values = dict[tuple[str, str], str]
"""(section, key) → what stands in its field; empty where the key is left out."""


@dataclass(frozen=True)
class Source:
    """The file as it was read. digest: SHA-256 of its bytes; empty where there is none."""

    text: str
    digest: str


@dataclass(frozen=True)
class Field:
    """One key in a form. kind: text, lines (one item a line), choice, toml (a value as TOML)."""

    section: str
    key: str
    kind: str
    value: str
    choices: tuple[str, ...]
    meaning: Meaning

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}"


# The file


def read(work: Workspace, name: str) -> Source:
    """The configuration in the model's folder."""
    path = _path(work, name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise Problem(
                f'The folder "{path.parent}" is not there.',
                remedy=f"Put it back, or say where it is now: rhythmicml add FOLDER --name {name}",
            ) from None
        return Source("", "")
    except OSError as error:
        raise Problem(f'"{path}" cannot be read.', cause=error.strerror or str(error)) from error
    if len(content) > LONGEST:
        raise Problem(f'"{path}" is too long to be edited here.', remedy="Use an editor.")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Problem(f'"{path}" is not UTF-8 text.', remedy="Save it as UTF-8.") from error
    return Source(text.replace("\r\n", "\n"), hashlib.sha256(content).hexdigest())


def of_version(work: Workspace, version: Version) -> str:
    """The configuration as a version has it; empty where it has no such file."""
    with work.open_store() as store:
        listed = manifest.parse(store.blobs.read(version.manifest))
        digest = next((each.digest for each in listed if each.path == config.FILE), "")
        return store.blobs.read(digest).decode("utf-8", "replace") if digest else ""


def save(work: Workspace, name: str, text: str, digest: str) -> Source:
    """Replace the file that had this digest by a text, whole or not at all.

    Raises Stale, having changed nothing, when the file is another one by now; Problem when the
    text is no configuration.
    """
    if faults := check(text):
        raise Problem(
            faults[0].words,
            remedy="Correct it, then save again.",
            detail="\n".join(fault.words for fault in faults[1:]),
        )
    path = _path(work, name)
    _write(path, text, lambda: _must_be(work, name, digest))
    return read(work, name)


def _must_be(work: Workspace, name: str, digest: str) -> None:
    if read(work, name).digest != digest:
        raise Stale(
            f"{config.FILE} of {name} was changed since it was opened here.",
            remedy="Look at both, then save what you want to keep.",
        )


def _write(path: Path, text: str, agreed: Callable[[], None]) -> None:
    """Put a text in a file's place, if it is agreed at the last moment; its line ends stay."""
    final = Path(os.path.realpath(path))
    temporary = final.with_name(f"{TEMPORARY}{os.urandom(16).hex()}")
    ends = "\r\n" if final.is_file() and b"\r\n" in final.read_bytes() else "\n"
    try:
        with temporary.open("x", encoding="utf-8", newline=ends) as file:
            if final.is_file():
                portable.set_mode(file.fileno(), final.stat().st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        agreed()
        temporary.replace(final)
    except OSError as error:
        raise Problem(f'"{path}" cannot be written.', cause=error.strerror or str(error)) from error
    finally:
        temporary.unlink(missing_ok=True)


def _path(work: Workspace, name: str) -> Path:
    with work.open_store() as store:
        return Path(store.models.get(name).folder) / config.FILE


# The text


def check(text: str) -> list[Fault]:
    """All that is wrong with a configuration."""
    try:
        return config.faults_of(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        return [Fault("", "", f"This is not valid TOML: {error}.")]


def fields(text: str) -> dict[str, list[Field]]:
    """Section → its keys with what a text says of them. Raises Problem when it is no TOML."""
    said = parsed(text)
    return {
        section: [_field(section, key, said.get(section)) for key in keys]
        for section, keys in KEYS.items()
    }


def parsed(text: str) -> dict[str, Any]:
    """What a text says, checked only to be TOML. Raises Problem where it is not."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Problem("The file is not valid TOML.", remedy="Correct it in the file.") from error


def with_fields(text: str, values: Values) -> str:
    """The text with these keys as they were typed; comments, order and all else stay.

    A key is touched only where its field says another thing than the text does.
    """
    shown = {(f.section, f.key): f.value for group in fields(text).values() for f in group}
    changed = {at: value for at, value in values.items() if value.strip() != shown[at].strip()}
    return with_values(
        text, {at: typed(*at, value) if value.strip() else None for at, value in changed.items()}
    )


def with_values(text: str, values: Mapping[tuple[str, str], Any]) -> str:
    """The text with these keys set or, by None, taken out. Raises Problem where that cannot be."""
    import tomlkit

    wanted = parsed(text)
    if not values:
        return text
    document = tomlkit.parse(text)
    for (section, key), value in values.items():
        for each in (document, wanted):
            _put(each, section, key, value)
    made = str(tomlkit.dumps(document))
    if parsed(made) != wanted:
        raise Problem(
            "The form cannot make this change in the file as it is written.",
            remedy="Make it in the file itself: Configuration, File.",
        )
    return made


def typed(section: str, key: str, value: str) -> Any:
    """What a field's text stands for; as text where it can be nothing else."""
    value = value.strip()
    kind = MEANINGS[section][key].kind
    if kind == "list" and not value.startswith("["):
        return [line.strip() for line in value.splitlines() if line.strip()]
    if kind in ("text", "path") or (kind == "text or list" and not value.startswith("[")):
        return value
    return value_of(value)


def value_of(text: str) -> Any:
    """A TOML value, such as 0.91, true, [1, 2]; text, where it is none."""
    try:
        said = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return said["value"] if len(said) == 1 else text


def literal(value: Any) -> str:
    """A value as TOML writes it, in one line."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_name(key)} = {literal(held)}" for key, held in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value) if math.isfinite(value) else str(float(value))
    import tomlkit

    return str(tomlkit.item(value).as_string())


def _field(section: str, key: str, held: Any) -> Field:
    meaning, reader = MEANINGS[section][key], KEYS[section][key]
    value = held.get(key) if isinstance(held, dict) else None
    if isinstance(reader, OneOf):
        kind, choices = "choice", reader.choices
    elif meaning.kind == "true or false":
        kind, choices = "choice", ("true", "false")
    elif meaning.kind == "list":
        kind, choices = "lines", ()
    else:
        kind, choices = ("toml" if "table" in meaning.kind else "text"), ()
    return Field(section, key, kind, _shown(kind, value), choices, meaning)


def _shown(kind: str, value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    plain = isinstance(value, list) and all(
        isinstance(e, str) and e == e.strip() and e and "\n" not in e for e in value
    )
    if kind == "lines" and plain and value and not value[0].startswith("["):
        return "\n".join(value)
    return literal(value)


def _put(document: Any, section: str, key: str, value: Any) -> None:
    """Set or, by None, take out a key; of a table that has its own lines only what differs."""
    if not isinstance(document.get(section), Mapping):
        if value is None:
            return
        document[section] = {}
    table = document[section]
    if value is None:
        table.pop(key, None)
    elif isinstance(value, dict) and isinstance(table.get(key), Mapping):
        _follow(table[key], value)
    else:
        with _before_last_comments(table, key):
            table[key] = value if not isinstance(value, dict) else _inline(table, value)


@contextmanager
def _before_last_comments(table: Any, key: str) -> Iterator[None]:
    """A new key goes after the last one: what is commented out below is another section's."""
    from tomlkit.items import Comment, Table

    body = table.value.body if isinstance(table, Table) and key not in table else []
    last = next((at for at in range(len(body), 0, -1) if body[at - 1][0] is not None), 0)
    below = body[last:]
    among_tables = last > 0 and isinstance(body[last - 1][1], Table)
    if among_tables or not any(isinstance(item, Comment) for _, item in below):
        yield
        return
    del body[last:]
    yield
    body.extend(below)


def _follow(table: Any, wanted: Mapping[str, Any]) -> None:
    for name in [name for name in table if name not in wanted]:
        del table[name]
    for name, value in wanted.items():
        if isinstance(value, dict) and isinstance(table.get(name), Mapping):
            _follow(table[name], value)
        elif name not in table or table[name] != value or type(value) is bool:
            table[name] = value if not isinstance(value, dict) else _inline(table, value)


def _inline(table: Any, value: dict[str, Any]) -> Any:
    """A table as a value in one line, where it is put into a document of tomlkit's."""
    if type(table) is dict:
        return value
    import tomlkit

    return tomlkit.value(literal(value))


def _name(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else literal(key)
