"""Secrets of a model: named in its configuration, their values kept here and told to hosts only.

A value is in the keyring of the operating system or, by consent, in a file of ours (0600). One that
was set for a location comes before one that was set for all.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import config, portable
from app.deployer import keychain
from app.deployer.plan import Wanted
from app.errors import NotFound, Problem
from app.models import Location
from app.services import history

if TYPE_CHECKING:
    from app.workspace import Workspace

FILE = "secrets.json"
LONGEST = 64 * 1024
"""Bytes of a value; systemd hands over at most 1 MiB in all."""


def set_value(
    work: Workspace,
    model: str,
    name: str,
    value: str,
    *,
    to: str | None = None,
    into_file: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Keep a value. Where there is no keyring, in a file: if into_file() gives its consent."""
    _refuse_unnamed(work, model, name, to)
    if not value or "\0" in value or len(value.encode()) > LONGEST:
        raise Problem(
            f"The value of {name} is {'empty' if not value else 'not one that a variable holds'}.",
            remedy=f"Give 1 to {LONGEST:,} bytes of text without NUL.",
        )
    hint = f"rhythmicml secret set {model} {name} --file"
    where = keep(work.home, _key(model, name, to), value, into_file=into_file, hint=hint)
    return _noted(work, "secret set", model, name, to, kept=where)


def keep(home: Path, key: str, value: str, *, into_file: Callable[[], bool], hint: str = "") -> str:
    """Keep a value under a key: in the "keyring"; where there is none, in a "file" if into_file()
    gives its consent. hint: the command that gives it. Raises Problem."""
    try:
        keychain.store(key, value)
    except Problem as problem:
        if not into_file():
            raise Problem(
                "This machine has no keyring that we can use, so the secret was not kept.",
                remedy=f"{hint} keeps it, unencrypted, in a file that only you may read.",
            ) from problem
        _write(home, {**_read(home), key: value})
        return "file"
    _drop(home, key)
    return "keyring"


def value_of(home: Path, key: str) -> str | None:
    """What is kept under a key."""
    return _read(home).get(key) or keychain.fetch(key)


def drop(home: Path, key: str) -> None:
    """Forget what is kept under a key, if there is anything."""
    if not _drop(home, key) and keychain.fetch(key) is not None:
        keychain.forget(key)


def _noted(
    work: Workspace, action: str, model: str, name: str, to: str | None, **more: Any
) -> dict[str, Any]:
    """Write down that it was done, never to which value."""
    with work.open_store() as store:
        history.note(store, action, model, location=to or "", detail=name)
    return {"model": model, "name": name, "location": to, **more}


def list_secrets(work: Workspace, model: str) -> list[dict[str, Any]]:
    """Each secret that the model names, with where a value is kept here; never the value."""
    with work.open_store() as store:
        places = [None, *(each.name for each in store.locations.all())]
    known = _read(work.home)
    return [
        {"name": name, "location": place, "kept": _kept(known, _key(model, name, place))}
        for name in _named(work, model)
        for place in places
        if place is None or _kept(known, _key(model, name, place))
    ]


def remove(work: Workspace, model: str, name: str, *, to: str | None = None) -> dict[str, Any]:
    """Forget a value here. A host keeps the one it has while a release there names it."""
    key = _key(model, name, to)
    if not _kept(_read(work.home), key):
        raise NotFound(
            f"There is no value of {name} for {model} here{f' for {to}' if to else ''}.",
            remedy=f"rhythmicml secret list {model}",
        )
    drop(work.home, key)
    return _noted(work, "secret remove", model, name, to)


Kept = list[tuple[str, "str | None"]]


def kept_of(work: Workspace, model: str) -> Kept:
    """The secrets that any version of a model names, or its folder, for each location and for all.

    Asked before the model gets another name or goes, for `follow`.
    """
    with work.open_store() as store:
        places = [None, *(each.name for each in store.locations.all())]
        versions = store.versions.all(store.models.get(model))
    names = {name for each in versions for name in each.configuration.secrets}
    with contextlib.suppress(Problem):  # a configuration that cannot be read hinders nobody here
        names.update(_named(work, model))
    return [(name, place) for name in sorted(names) for place in places]


def follow(work: Workspace, model: str, kept: Kept, new: str | None) -> None:
    """Keep what is kept of a model under its new name; None: forget it."""
    for name, place in kept:
        _move(work.home, _key(model, name, place), _key(new, name, place) if new else None)


def _move(home: Path, old: str, new: str | None) -> None:
    known = _read(home)
    if old in known:
        value = known.pop(old)
        _write(home, {**known, **({new: value} if new else {})})
    elif value := keychain.fetch(old) or "":
        if new:
            keychain.store(new, value)
        keychain.forget(old)


def confided(work: Workspace, location: Location, wanted: Wanted) -> Wanted:
    """With the values that are known here of those that the release names."""
    found = {
        name: value
        for name in wanted.secret_names
        if (value := _value(work.home, wanted.name, name, location.name)) is not None
    }
    return replace(wanted, secrets=found, location=location.name)


def _value(home: Path, model: str, name: str, location: str) -> str | None:
    own = value_of(home, _key(model, name, location))
    return own if own is not None else value_of(home, _key(model, name, None))


def _key(model: str, name: str, location: str | None) -> str:
    return f"secret {name} of {model}{f' on {location}' if location else ''}"


def _kept(known: dict[str, str], key: str) -> str | None:
    if key in known:
        return "file"
    return "keyring" if keychain.fetch(key) is not None else None


def _named(work: Workspace, model: str) -> list[str]:
    """What the folder's configuration and that of the latest version name."""
    with work.open_store() as store:
        tracked = store.models.get(model)
        latest = store.versions.latest(tracked)
    folder = Path(tracked.folder)
    names: Iterable[str] = latest.configuration.secrets if latest else ()
    here = config.read_configuration(folder).secrets if folder.is_dir() else ()
    return list(dict.fromkeys((*here, *names)))


def _refuse_unnamed(work: Workspace, model: str, name: str, to: str | None) -> None:
    names = _named(work, model)
    if name not in names:
        known = f"It names {', '.join(names)}." if names else "It names none."
        raise NotFound(
            f"The configuration of {model} names no secret {name}.",
            cause=known,
            remedy=f'Write secrets = ["{name}"] under [deploy] in {config.FILE}.',
        )
    if to:
        with work.open_store() as store:
            store.locations.get(to)


# The file, for machines without a keyring


def in_file(home: Path) -> list[str]:
    """All values there, for whoever must not show one by mistake."""
    try:
        return [str(value) for value in _read(home).values()]
    except Problem:
        return []


def _read(home: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((home / FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Problem(
            f'"{home / FILE}" cannot be read.', cause=str(error), remedy="Mend it, or remove it."
        ) from None
    return found


def _drop(home: Path, key: str) -> bool:
    """Whether it was there."""
    known = _read(home)
    if key not in known:
        return False
    del known[key]
    _write(home, known)
    return True


def _write(home: Path, known: dict[str, str]) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = home / f".{FILE}.{os.getpid()}"
    fd = portable.opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump(known, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(home / FILE)
