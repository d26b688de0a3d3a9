"""Whether what a location, or the store here, holds is what it should be: every byte read again.

A finding is {"kind", "where", "what", "remedy"}, with "name" and "version" where it is one's.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from app.deployer import plan as planning
from app.deployer import tunnels, units
from app.deployer.apply import Tell, watched
from app.errors import Problem
from app.models import Event, FileEntry, Location
from app.services import versions
from app.store import manifest
from app.words import counted, size

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.store import Store
    from app.workspace import Workspace

Finding = dict[str, Any]

CHANGED = ("release", "unit")
"""Kinds of findings that say that an instance was changed on its host."""
EVERY = 64 << 20
"""Bytes of the store between two events."""


def verify(work: Workspace, location: str | None = None) -> Iterator[Event]:
    """Read again what is on a location, or in the store here; the result's data has `findings`."""
    if location is None:
        yield from verify_store(work)
        return
    with work.open_store() as store:
        place = store.locations.get(location)
    with work.reach(place) as road:
        words = f"Read again what is on {location}"
        yield Event("step", words)
        said = yield from watched(lambda tell: _ask(road, tell))
        base = str(road.hello["base"])
        yield Event("done", words, data={})
    findings = [
        *({**each, "remedy": _remedy(each, place)} for each in said["findings"]),
        *_units(said, base, place),
        *_unknown(work, said, place),
    ]
    _keep(work, location, findings)
    yield _result(findings, said["files"], said["bytes"], location, _not_judged(said))


def _not_judged(said: dict[str, Any]) -> tuple[str, ...]:
    """What is on a location that nothing says how it should be."""
    bare, half = said["undigested"], said["unfinished"]
    whole = "environment that is" if half == 1 else "environments that are"
    return (
        "what Python caches (.pyc)",
        *([f"{bare:,} files that their packages give no digest for"] if bare else []),
        "what was put into an environment by hand",
        *([f"{half} {whole} not whole"] if half else []),
        "the Pythons and uv",
        "tokens, secrets and logs",
        "what instances record",
    )


def _keep(work: Workspace, location: str, findings: list[Finding]) -> None:
    """Whose files were changed there, for the state of those instances."""
    changed = {each["name"] for each in findings if each["kind"] in CHANGED and each.get("name")}
    with contextlib.suppress(Problem), work.open_recorded() as recorded:
        recorded.keep_modified(location, time.time(), changed)


def _ask(road: Road, tell: Tell) -> Any:
    def progress(event: dict[str, Any]) -> None:
        tell(Event("progress", done=event["progress"], total=event["total"], unit="B"))

    return road.call("verify", on_event=progress)


def _result(
    findings: list[Finding], files: int, read: int, where: str, not_judged: tuple[str, ...]
) -> Event:
    count = f"{files:,} files, {size(read)}"
    words = [f"Everything on {where} is as it should be ({count})."]
    if findings:
        words = [f"{len(findings)} of what is on {where} is not as it should be ({count}):"]
    for each in findings:
        words.append(f"  {each['where']}: {each['what']}\n    {each['remedy']}")
    words.append(f"Not judged: {', '.join(not_judged)}.")
    data = {
        "location": where,
        "findings": findings,
        "files": files,
        "bytes": read,
        "not_judged": not_judged,
    }
    return Event("result", "\n".join(words), data=data)


def _remedy(finding: Finding, location: Location) -> str:
    kind, name, version = finding["kind"], finding.get("name"), finding.get("version")
    to = f"--to {location.name}"
    if kind == "blob":
        return "It was set aside: the next deploy that needs it sends it again."
    if kind in ("environment", "runtime"):
        return f"rhythmicml deploy MODEL@N {to} builds it again, for each model that uses it."
    if kind == "release" and version:
        again = f"rhythmicml deploy {name}@{version} {to}"
        return f"{again} places it again; if it serves: rhythmicml restart {name} {to}"
    return f"rhythmicml deploy {name} {to}" if name else "Deploy again."


def _units(said: dict[str, Any], base: str, location: Location) -> Iterator[Finding]:
    """Unit files that are not as they would be written, and those that belong to no instance."""
    there, ours = said["units"], set()
    for each in said["instances"]:
        if each["mode"] == "process":
            continue
        ours |= set(units.names(each["name"]))
        kept = _tunnels(each, base)
        ours |= kept.keys()
        if kept.items() - there.items():
            yield _not_as_written(each, location, sorted(kept))
        known = {name: there.get(name) for name in units.names(each["name"])}
        if each["scoring"] and known not in _rendered(each, base):
            yield _not_as_written(each, location, known)
    for name in sorted(there.keys() - ours):
        if _about(name, there, base):
            yield {
                "kind": "orphan",
                "where": name,
                "what": "belongs to no instance",
                "remedy": f"On the host: systemctl disable --now {name}, then remove the file.",
            }


def _not_as_written(each: dict[str, Any], location: Location, files: Iterable[str]) -> Finding:
    return {
        "kind": "unit",
        "where": ", ".join(files),
        "what": "not as RhythmicML writes it",
        "name": each["name"],
        "remedy": f"rhythmicml start {each['name']} --to {location.name} writes it anew.",
    }


def _tunnels(each: dict[str, Any], base: str) -> dict[str, str]:
    """The unit files of its tunnels, as they should be."""
    ways = tunnels.of(each["scoring"] or {})
    return tunnels.render(each["name"], base, each["mode"] == "system", ways)


def _about(name: str, there: dict[str, str], base: str) -> bool:
    """Whether a unit is about this base folder; sockets do not say, their services do."""
    service = name
    if name.endswith(".socket"):
        service = name.removesuffix(".socket").removesuffix(".ask") + "@.service"
    return f"{base}/instances/" in there.get(service, f"{base}/instances/")


def _rendered(each: dict[str, Any], base: str) -> list[dict[str, str]]:
    """The unit files as they may be: for all addresses of a host with or without IPv6."""
    scoring = each["scoring"]
    public = scoring.get("expose") == "public"
    addresses = [units.address(True), units.address(False)] if public else [units.LOOPBACK]
    return [
        units.render(
            units.Unit(
                each["name"],
                base,
                each["port"],
                system=each["mode"] == "system",
                memory=scoring["memory"],
                start_timeout=scoring["start_timeout"],
                address=address,
                tls=public,
                secrets=bool(scoring.get("secrets")),
                pipeline=bool(scoring.get("stages")),
                calls_out=planning.calls_out(scoring),
            )
        )
        for address in addresses
    ]


def _unknown(work: Workspace, said: dict[str, Any], location: Location) -> Iterator[Finding]:
    """Releases of versions that the store here does not have."""
    with work.open_store() as store:
        known = {
            (model.name, version.digest)
            for model in store.models.all()
            for version in store.versions.all(model)
        }
    for instance in said["instances"]:
        for each in instance["releases"]:
            if (each["model"], each["digest"]) not in known:
                yield {
                    "kind": "unknown",
                    "where": f"{each['model']} {each['id']}",
                    "what": "a release of a version that is not in the store here",
                    "name": each["model"],
                    "version": each["version"],
                    "remedy": f"rhythmicml adopt {location.name}",
                }


def verify_store(work: Workspace) -> Generator[Event, None, None]:
    """Read again every blob of the store here. A damaged one is set aside, so that the next commit
    of a folder that has its content keeps it anew."""
    words = "Read again what is in the store"
    yield Event("step", words)
    with work.open_store() as store:
        away = _never_shipped(store)
        used = _used(store, away)
        here = sorted(store.blobs.all())
        total = sum(store.blobs.path(digest).stat().st_size for digest in here)
        findings = [
            {"kind": "store", "where": "store.sqlite", "what": said, "remedy": BACKUP}
            for said in store.check()
        ]
        done = told = 0
        for digest in here:
            path = store.blobs.path(digest)
            done += path.stat().st_size
            if not store.blobs.verify(digest):
                store.blobs.set_aside(digest)
                findings.append(_damaged(digest, "holds something else than its name", used))
            if done - told >= EVERY:
                told = done
                yield Event("progress", done=done, total=total, unit="B")
        for digest in sorted(used.keys() - set(here)):
            findings.append(_damaged(digest, "is missing", used))
    yield Event("done", words)
    yield _result(findings, len(here), done, "this machine", (*OUTSIDE, *_of_adopted(len(away))))


def _of_adopted(files: int) -> list[str]:
    return [f"{counted(files, 'file')} that adopted versions never shipped"] if files else []


OUTSIDE = (
    "the folders of models",
    "what is made anew when it is gone (trees, chunks, Pythons)",
    "secrets",
    "what was collected of instances",
)
"""What is here and not in the store of versions."""

BACKUP = "Put back a backup of the store, or a copy: store.sqlite.before-N beside it."


def _never_shipped(store: Store) -> set[tuple[str, int, str]]:
    """Model, version and path of what adopted versions name and their server never had."""
    return {
        (model, version.number, file.path)
        for model, version in store.versions.adopted()
        for file in versions.never_shipped(store, version, _files(store, version.manifest))
    }


def _used(store: Store, away: set[tuple[str, int, str]]) -> dict[str, list[str]]:
    """Digest → the versions, and files of them, that need it. away: what is not expected here."""
    used: dict[str, list[str]] = {}
    for model in store.models.all():
        for version in store.versions.all(model):
            name = f"{model.name}@{version.number}"
            used.setdefault(version.manifest, []).append(f"{name} (its manifest)")
            used.setdefault(version.lock, []).append(f"{name} (its lock)")
            for file in _files(store, version.manifest):
                if file.digest and (model.name, version.number, file.path) not in away:
                    used.setdefault(file.digest, []).append(f"{name} ({file.path})")
    return used


def _files(store: Store, digest: str) -> list[FileEntry]:
    """Of a manifest; none when it is damaged, which is a finding of its own."""
    return manifest.parse(store.blobs.read(digest)) if store.blobs.verify(digest) else []


def _damaged(digest: str, what: str, used: dict[str, list[str]]) -> Finding:
    hit = used.get(digest, [])
    of = f"; needed by {', '.join(hit[:5])}{' and others' if hit[5:] else ''}" if hit else ""
    return {
        "kind": "blob",
        "where": f"blobs/{digest[:2]}/{digest}",
        "what": f"{what}{of}",
        "versions": hit,
        "remedy": "Commit a folder that has it, or take it from a server: rhythmicml adopt LOCATION"
        if hit
        else "Nothing needs it.",
    }
