"""Models: folders that RhythmicML keeps versions of."""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shlex import quote

from app import config
from app.errors import Problem
from app.models import Model
from app.services import history, limits, secrets, starters, tokens
from app.store import Store
from app.store.kept_logs import KeptLogs
from app.workspace import Workspace

LONGEST = 48
EXAMPLE = "tumour"
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?")


@dataclass(frozen=True)
class Initialised:
    """A folder made ready. `written` names the files that were not there before.

    serves: the artifact that predict.py predicts with, as it was drafted; empty for none.
    """

    folder: Path
    name: str
    written: tuple[str, ...]
    serves: str = ""


@dataclass(frozen=True)
class Added:
    """A tracked folder. Not new: it was tracked before."""

    model: Model
    new: bool

    @property
    def name(self) -> str:
        return self.model.name


def init(folder: Path, name: str | None = None) -> Initialised:
    """Put starter files into a folder, made if need be, that fit what was learned there.

    What is there already stays as it is.
    """
    folder = folder.expanduser().absolute()
    name = checked_name(name) if name else slug(folder.name)
    drafts = starters.drafts(folder, name)
    return Initialised(folder, name, write_starters(folder, drafts.files), drafts.serves)


def write_starters(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Write those of these files that are not there; their names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(path for path, text in files.items() if _write_new(folder / path, text))
    except OSError as error:
        raise Problem(
            f'"{folder}" cannot be written.', cause=error.strerror or str(error)
        ) from error


def _write_new(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def add(work: Workspace, folder: Path, name: str | None = None) -> Added:
    """Track a folder. A name that was not asked for gets a number when it is taken.

    Asked for by the name of a model whose folder is gone, the folder becomes that model's; when
    that is only the name that would be derived, it is refused: it may be either.
    """
    folder = _trackable(work, folder)
    wanted = checked_name(name) if name else _derived_name(folder)
    with work.open_store() as store, store.write():
        if tracked := store.models.in_folder(str(folder)):
            return Added(tracked, new=False)
        if moved := _moved(store, wanted):
            if not name:
                raise _ambiguous(folder, moved)
            return Added(store.models.move(moved.name, str(folder)), new=False)
        chosen = wanted if name else _free(store, wanted)
        return Added(store.models.add(chosen, str(folder)), new=True)


def example(work: Workspace) -> Model:
    """The model that comes with the program, in a folder of the user's own."""
    return add_example(work, example_folder())


def add_example(work: Workspace, folder: Path) -> Model:
    """The same in this folder. A model of its name whose folder is gone was the example, too."""
    with work.open_store() as store:
        moved = _moved(store, EXAMPLE)
    return add(work, folder, EXAMPLE if moved else None).model


def example_folder() -> Path:
    """A copy of the example where she works on it."""
    folder = config.folders() / EXAMPLE
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(config.asset(f"examples/{EXAMPLE}"), folder)
    return folder


def rename(work: Workspace, name: str, new: str) -> Model:
    """Give a model another name. Not while it is deployed: its instances carry the old one.

    Its secrets' values and limits go along, its tokens on hosts, and what was recorded of it.
    """
    kept = secrets.kept_of(work, name)
    with work.open_store() as store:
        refuse_deployed(store, name, "renamed")
        if checked_name(new) == name:
            return store.models.get(name)
        store.models.must_be_free(new)
    tokens.follow(work, name, new)
    with work.open_store() as store, store.write():
        refuse_deployed(store, name, "renamed")
        renamed = store.models.rename(name, new)
        limits.follow(store, name, new)
        history.note(store, "rename", new, detail=f"from {name} to {new}")
    secrets.follow(work, name, kept, new)
    with suppress(Problem), work.open_recorded() as recorded:
        recorded.rename(name, new)
    KeptLogs(work.home).rename(name, new)
    return renamed


def remove(work: Workspace, name: str, force: bool = False) -> Model:
    """Forget a model, its versions, secrets and tokens; folder and deployment history stay.

    Refused while it is deployed, unless forced: then what runs goes on, unwatched, and tokens stay
    good where a host cannot be reached.
    """
    kept = secrets.kept_of(work, name)
    with work.open_store() as store:
        if not force:
            refuse_deployed(store, name, "removed")
    tokens.follow(work, name, None, force)
    with work.open_store() as store, store.write():
        model = store.models.get(name)
        if not force:
            refuse_deployed(store, name, "removed")
        for instance in store.instances.all(model=name):
            store.instances.remove(name, instance.location)
        store.models.remove(name)
        limits.follow(store, name, None)
        history.note(store, "remove", name)
    with work.open_store() as store:
        store.collect()
    secrets.follow(work, name, kept, None)
    return model


def checked_name(name: str) -> str:
    """The name, if it may be one."""
    if NAME.fullmatch(name):
        return name
    raise Problem(
        f'"{name}" cannot be a name: only a-z, 0-9 and - are allowed, at most {LONGEST}.',
        remedy=f"Call it {slug(name)}",
    )


def slug(text: str) -> str:
    """The nearest allowed name."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST].strip("-") or "model"


def whole(folder: Path) -> Path:
    """The folder as a path from the root, links followed. Raises Problem at what names none."""
    try:
        found = folder.expanduser().resolve()
        found.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        shown = str(folder)[:60] + ("…" if len(str(folder)) > 60 else "")
        raise Problem(f'"{shown}" cannot be a folder.', cause=str(error)[:200]) from error
    return found


def _trackable(work: Workspace, folder: Path) -> Path:
    folder = whole(folder)
    if folder.is_file():
        raise Problem(f'"{folder}" is a file.', remedy=f"Name its folder: {folder.parent}")
    if not folder.is_dir():
        raise Problem(
            f'The folder "{folder}" is not there.', remedy=f"Make one: rhythmicml init {folder}"
        )
    home = work.home.resolve()
    if home.is_relative_to(folder) or folder.is_relative_to(home):
        raise Problem(
            f'"{folder}" and the store in "{home}" are in each other.',
            remedy="Choose a folder of its own for the model.",
        )
    return folder


def _moved(store: Store, name: str) -> Model | None:
    """The model of this name, if its folder is not where it was."""
    model = store.models.find(name)
    return model if model and not Path(model.folder).exists() else None


def _ambiguous(folder: Path, moved: Model) -> Problem:
    return Problem(
        f'"{folder}" may be the model "{moved.name}", whose folder "{moved.folder}" is not there.',
        remedy=f"If it is: rhythmicml add {quote(str(folder))} --name {moved.name}; "
        "else add it by another name.",
    )


def _derived_name(folder: Path) -> str:
    named = config.read_configuration(folder).name
    return checked_name(named) if named else slug(folder.name)


def _free(store: Store, wanted: str) -> str:
    """The name, or with the first free number behind it, as files get one."""
    if not store.models.find(wanted):
        return wanted
    for number in count(2):
        ending = f"-{number}"
        name = wanted[: LONGEST - len(ending)].rstrip("-") + ending
        if not store.models.find(name):
            return name
    raise AssertionError("numbers do not end")


def refuse_deployed(store: Store, name: str, done: str) -> None:
    """Raise Problem while it is deployed; done: what cannot be done then."""
    store.models.get(name)
    if instances := store.instances.all(model=name):
        where = instances[0].location
        raise Problem(
            f'The model "{name}" is deployed on "{where}", so it cannot be {done}.',
            remedy=f"Undeploy it first: rhythmicml undeploy {name} --on {where}",
        )
