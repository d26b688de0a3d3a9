"""Which location is meant, and by which address an instance there is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.deployer import plan as planning
from app.errors import NotFound, Problem
from app.models import Location

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.store import Store
    from app.workspace import Workspace


def location_for(work: Workspace, name: str, configured: str | None, to: str | None) -> Location:
    """Where to deploy: as asked, else as configured, else where it is, else the default."""
    return location_of(work, name, to or configured, or_default=True)


def named(work: Workspace, text: str) -> list[str]:
    """The locations that a text means: names with commas, groups spelled out, each once."""
    with work.open_store() as store:
        return _spelled_out(store, text)


def _spelled_out(store: Store, text: str) -> list[str]:
    found: list[str] = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        found += store.groups.members(part) or [store.locations.get(part).name]
    if not found:
        raise Problem(f'"{text}" names no location.', remedy="rhythmicml location list")
    return list(dict.fromkeys(found))


def _one(store: Store, text: str) -> Location:
    names = _spelled_out(store, text)
    if len(names) > 1:
        raise Problem(
            "This goes for one location at a time.",
            cause=f"{len(names)} are meant: {', '.join(names)}.",
            remedy=f"Say which: --to {names[0]}",
        )
    return store.locations.get(names[0])


def location_of(work: Workspace, name: str, to: str | None, or_default: bool = False) -> Location:
    """Where an instance is: as asked, else the only location it was deployed to.

    or_default: the default location when it is deployed nowhere.
    """
    with work.open_store() as store:
        known = store.instances.all(model=name)
        if not known:
            store.models.get(name)
        if to:
            return _one(store, to)
        if not known and or_default:
            return store.locations.default()
        if not known:
            raise NotFound(f"{name} is not deployed anywhere.", remedy=f"rhythmicml deploy {name}")
        if len(known) > 1:
            places = ", ".join(each.location for each in known)
            raise Problem(
                f"{name} is deployed to several locations.",
                cause=f"They are: {places}.",
                remedy="Say which with --to LOCATION.",
            )
        return store.locations.get(known[0].location)


def said_with(work: Workspace, name: str, place: str) -> str:
    """What a command about an instance has to say besides its name: where, if it is at several."""
    with work.open_store() as store:
        return f" --to {place}" if len(store.instances.all(model=name)) > 1 else ""


WAYS = {
    "root": "system-wide, as root",
    "sudo": "system-wide, with sudo",
    "sudo-password": "system-wide, with sudo and a password",
    "user": "for this user only",
}


def way_words(mode: str) -> str:
    """By which right things are installed on a server; empty for this machine."""
    return WAYS.get(mode, "")


def host_of(location: Location, road: Road) -> str:
    """The name by which others reach a location."""
    return urlsplit(location.url).hostname or str(road.hello["hostname"])


def url_of(exposure: str, host: str, port: int | None) -> str:
    """Where an instance answers; on loopback, as its own host sees it."""
    if exposure != planning.PUBLIC:
        return f"http://127.0.0.1:{port}"
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"


def not_deployed(name: str, place: str) -> NotFound:
    return NotFound(f"{name} is not deployed on {place}.", remedy=f"rhythmicml deploy {name}")


def status_of(road: Road, name: str, place: str, history: int = 20) -> dict[str, Any]:
    """What the host says of one instance; NotFound when it has none of that name."""
    found: list[dict[str, Any]] = road.call("status", name=name, history=history)
    if not found:
        raise not_deployed(name, place)
    return found[0]


def releases_of(
    status: dict[str, Any], number: int, place: str, digest: str | None = None
) -> list[str]:
    """The releases of a version that an instance has, by what its host says, oldest first.

    digest: of the version as it is here, which then decides: a colleague may have made another one
    of the same number.
    """
    name, there = status["name"], status["releases"]
    if digest:
        found = [each["id"] for each in there if each["digest"] == digest]
    else:
        found = [each["id"] for each in there if each["version"] == number]
    if not found:
        known = ", ".join(f"v{each}" for each in sorted({each["version"] for each in there}))
        raise NotFound(
            f"{name} has no release of version {number} on {place}.",
            cause=f"There are: {known}." if known else "There are none.",
            remedy=f"rhythmicml deploy {name}@{number} --to {place}",
        )
    return found
