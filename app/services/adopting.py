"""Models, versions and history made anew in the store from what a location has of them.

For a new laptop, or a colleague. What `[deploy] exclude` kept from the host stays listed in its
version, without content. A release made before release.json had an `origin` cannot be adopted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import config
from app.deployer.apply import watched
from app.deployer.uploads import batches
from app.errors import Problem
from app.models import Configuration, Deployment, Event, FileEntry, Instance, Location, Version
from app.services import history, models
from app.services.restoring import put_back
from app.store import manifest
from app.store.blobs import is_digest
from app.words import size

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.store import Store
    from app.workspace import Workspace


@dataclass(frozen=True)
class Found:
    """A version as a release tells of it; shipped: what the host has of its files."""

    version: Version
    manifest: bytes
    shipped: tuple[FileEntry, ...]

    @property
    def files(self) -> list[FileEntry]:
        return manifest.parse(self.manifest)

    @property
    def unshipped(self) -> list[FileEntry]:
        shipped = set(self.shipped)
        return [each for each in self.files if each not in shipped]

    def blobs(self) -> dict[str, int]:
        """What has to come from the host, with sizes; the lock's is not known."""
        return {**{f.digest: f.size for f in self.shipped if f.digest}, self.version.lock: 0}


@dataclass
class Adopted:
    """One model of a location, and what became of it here."""

    name: str
    instance: dict[str, Any]
    found: list[Found]
    skipped: list[str]
    folder: str = ""
    versions: list[int] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        keys = ("name", "folder", "versions", "skipped", "absent")
        return {key: getattr(self, key) for key in keys}


def adopt(
    work: Workspace, location: str, *, into: Path | None = None, model: str | None = None
) -> Iterator[Event]:
    """Take the models that are on a location (or one of them) into the store here.

    into: where folders of new models are made, ~/RhythmicML unless said. A second time nothing
    changes. Raises Problem before any change when a model here has the same name and another past.
    """
    parent = (into or config.folders()).expanduser().absolute()
    with work.open_store() as store:
        place = store.locations.get(location)
    yield Event("step", f"Look at {location}")
    with work.reach(place) as road:
        found = [_read(each) for each in road.call("inventory")]
        found = [each for each in found if each.found or each.skipped]
        found = [each for each in found if model in (None, each.name)]
        _refuse_others(work, found, parent, place, model)
        yield Event("done", f"Look at {location}")
        with work.open_store() as store:
            wanted = {k: v for each in found for one in each.found for k, v in one.blobs().items()}
            missing = {digest: wanted[digest] for digest in store.blobs.missing(wanted)}
        if missing:
            words = f"Fetch {len(missing):,} files, {size(sum(missing.values()))}"
            yield Event("step", words)
            yield from watched(lambda tell: _fetch(work, road, missing, tell))
            yield Event("done", words)
    with work.open_store() as store:
        for each in found:
            _keep(store, each, place, parent)
    yield _result(found, place, sum(missing.values()))


def _read(instance: dict[str, Any]) -> Adopted:
    found: dict[int, Found] = {}
    skipped: dict[int, str] = {}
    for release in instance["releases"]:
        number = int(release["version"])
        try:
            found[number] = _version(release)
        except (KeyError, TypeError, ValueError) as error:
            why = str(error) if type(error) is ValueError else "its release.json is too old"
            skipped[number] = f"version {number}: {why}"
    left = [why for number, why in sorted(skipped.items()) if number not in found]
    return Adopted(instance["name"], instance, [found[n] for n in sorted(found)], left)


def _version(release: dict[str, Any]) -> Found:
    """The version that made a release. Raises ValueError when its digest does not come out.

    Problem when it could not have been made from a folder: the digest a server can compute anew.
    """
    origin = release["origin"]
    shipped = tuple(FileEntry(*row) for row in release["files"])
    files = [*shipped, *(FileEntry(*row) for row in origin["unshipped"])]
    content = manifest.render(files)
    listed = hashlib.sha256(content).hexdigest()
    digest = manifest.version_digest(listed, origin["lock"], release["python"])
    if (listed, digest) != (origin["manifest"], release["digest"]):
        raise ValueError("its release.json was changed: the digest does not come out")
    manifest.checked(files)
    if not is_digest(origin["lock"]):
        raise ValueError("its release.json was changed: its list of packages has no digest")
    version = Version(
        id=0,
        model_id=0,
        number=int(release["version"]),
        digest=digest,
        message=origin["message"],
        author=origin["author"],
        created=origin["created"],
        manifest=listed,
        lock=origin["lock"],
        configuration=_configuration(origin["configuration"]),
        size=sum(file.size for file in files),
        files=len(files),
        schema=origin["schema"],
    )
    return Found(version, content, shipped)


def _configuration(values: dict[str, Any]) -> Configuration:
    """Keys that a newer RhythmicML wrote are left out: they cannot mean anything here."""
    known = Configuration.__dataclass_fields__
    return Configuration.from_dict({key: value for key, value in values.items() if key in known})


def _refuse_others(
    work: Workspace, found: list[Adopted], parent: Path, location: Location, model: str | None
) -> None:
    """What cannot be adopted is said before anything is changed."""
    if not found:
        what = f'No model "{model}"' if model else "Nothing"
        raise Problem(f"{what} is on {location.name} that could be adopted.")
    with work.open_store() as store:
        for each in found:
            here = store.models.find(models.checked_name(each.name))
            folder = parent / each.name
            if here is None and folder.exists() and any(folder.iterdir()):
                raise Problem(
                    f'The folder "{folder}" for {each.name} is not empty.',
                    remedy="Say where else with --into FOLDER.",
                )
            if here is None:
                continue
            known = {one.number: one.digest for one in store.versions.all(here)}
            same = [one for one in each.found if known.get(one.version.number) is not None]
            other = [one for one in same if known[one.version.number] != one.version.digest]
            if other or (known and each.found and not same):
                number = (other or each.found)[0].version.number
                raise Problem(
                    f"{each.name} here is another model than {each.name} on {location.name}.",
                    cause=f"Version {number} there is not version {number} here."
                    if other
                    else "No version is in both.",
                    remedy=f"Give the one here another name: rhythmicml rename {each.name} NEW",
                )


def _fetch(
    work: Workspace, road: Road, missing: dict[str, int], tell: Callable[[Event], None]
) -> None:
    """Bring blobs over, small ones together, each verified before it is kept."""
    done, total = 0, sum(missing.values())
    with work.open_store() as store:
        for batch in batches([(digest, size, Path()) for digest, size in missing.items()]):
            done += _fetch_batch(store, road, [digest for digest, *_ in batch])
            tell(Event("progress", done=done, total=max(done, total), unit="B"))


def _fetch_batch(store: Store, road: Road, digests: list[str]) -> int:
    with ExitStack() as leftovers:
        paths, answers = [], []
        for digest in digests:
            path, target = leftovers.enter_context(store.blobs.temporary())
            file = leftovers.enter_context(open(target.fileno(), "wb", closefd=False))
            answers.append((road.send("get", digest=digest, into=file), file))
            paths.append(path)
        for answer, file in answers:
            answer.result()
            file.flush()
        stored = store.blobs.put_files(paths)
    for wanted, got in zip(digests, stored, strict=True):
        if got.digest != wanted:
            raise Problem(
                f'"{wanted[:12]}" is damaged on {road.place}.',
                remedy="Find what needs it with rhythmicml verify; "
                "or adopt the other models alone, with --model.",
            )
    return sum(each.size for each in stored)


def _keep(store: Store, each: Adopted, location: Location, parent: Path) -> None:
    here = store.models.find(each.name)
    each.folder = here.folder if here else str(parent / each.name)
    for one in each.found:
        store.blobs.put_bytes(one.manifest)
    if here is None and each.found:
        _restore(store, each, Path(each.folder))
    with store.write():
        if here is None and not each.found:
            return
        model = here or store.models.add(each.name, each.folder)
        known = {one.number for one in store.versions.all(model)}
        for one in each.found:
            if one.version.number not in known:
                store.versions.adopt(model, one.version)
                each.versions.append(one.version.number)
        _keep_instance(store, each, location)
        if each.versions:
            numbers = ", ".join(f"v{number}" for number in each.versions)
            history.note(store, "adopt", each.name, location=location.name, detail=numbers)


def _restore(store: Store, each: Adopted, folder: Path) -> None:
    """The files of the newest version, to go on working with."""
    newest = each.found[-1]
    folder.mkdir(parents=True, exist_ok=True)
    missing = {
        file for file in newest.unshipped if file.digest and not store.blobs.has(file.digest)
    }
    put_back(store.blobs, folder, (), [file for file in newest.files if file not in missing])
    each.absent = sorted(file.path for file in missing)


def _keep_instance(store: Store, each: Adopted, location: Location) -> None:
    """An instance as its host has it; a first deployment that failed has left none."""
    said = each.instance
    releases = {one["id"]: one for one in said["releases"]}
    current = releases.get(said["current"])
    if said["deployed"] and said["current"] and not store.instances.get(each.name, location.name):
        exposure = current["scoring"].get("expose") if current else None
        store.instances.upsert(
            Instance(
                each.name,
                location.name,
                said["port"],
                said["current"] or "",
                current["version"] if current else None,
                "stopped" if said["stopped"] else "serving",
                exposure=exposure or "loopback",
            )
        )
    if store.deployments.last(each.name, location.name):
        return
    for line in said["history"]:
        store.deployments.adopt(_line(each.name, location.name, line))


def _line(name: str, location: str, line: dict[str, Any]) -> Deployment:
    at = str(line.get("at", "")).replace("+00:00", "Z")
    return Deployment(
        id=0,
        model=name,
        location=location,
        action=str(line.get("action", "")),
        version=line.get("version"),
        release=str(line.get("release") or ""),
        previous=str(line.get("previous") or ""),
        who=str(line.get("who", "")),
        started=at,
        ended=at,
        result="done",
        detail="",
    )


def _result(found: list[Adopted], location: Location, fetched: int) -> Event:
    words = []
    for each in found:
        numbers = ", ".join(f"v{number}" for number in each.versions)
        new = f"{numbers} from {location.name}" if numbers else "nothing new"
        words.append(f"{each.name}: {new}; its folder is {each.folder or '(none)'}")
        words += [f"  not adopted: {why}" for why in each.skipped]
        if each.absent:
            words.append(f"  never shipped, so not here: {', '.join(each.absent[:10])}")
    changed = any(each.versions for each in found)
    data = {
        "location": location.name,
        "changed": changed,
        "bytes": fetched,
        "models": [each.as_dict() for each in found],
    }
    return Event("result", "\n".join(words), data=data)
