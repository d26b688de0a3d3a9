"""Letting a pipeline's host in by SSH where its stages are, and out again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from app.deployer import tunnels
from app.deployer.plan import Found, Wanted, refuse_tunnels
from app.deployer.ssh_config import parse_url, route
from app.deployer.trust import Trust
from app.deployer.tunnels import Tunnel
from app.errors import NotFound, Problem
from app.models import Event, Location
from app.services.attempts import Attempt, Events

if TYPE_CHECKING:
    from app.deployer.ssh_config import Target
    from app.workspace import Workspace


def to_stage(work: Workspace, stage: str, location: Location, port: int) -> Tunnel:
    """The tunnel to a stage's instance on another location, which listens on that port there."""
    target = _target(location)
    if target is None:
        raise Problem(
            f'Stage "{stage}" is to be asked through an SSH tunnel to {location.name}, which is '
            "this machine.",
            remedy="Deploy its model on a server, and name that location in the stage.",
        )
    keys = {
        f"{each.kind} {each.line('').split()[-1]}"
        for each in Trust.of(work.home).keys(target.known_as)
    }
    return Tunnel(
        stage, location.name, target.user, target.host, target.port, port, tuple(sorted(keys))
    )


def _target(location: Location) -> Target | None:
    """Where a login to a location goes in the end; the jumps before it are ours alone."""
    if location.kind == "local":
        return None
    return route(parse_url(location.url), location.identity)[-1]


def let_in(attempt: Attempt, wanted: Wanted, found: Found) -> Events:
    """Let the pipeline's host reach the ports of its stages, and no more, where that is new."""
    if not wanted.tunnels:
        return
    refuse_tunnels(wanted, found)
    key = attempt.road.call("tunnel_key", name=wanted.name, make=True)
    for place in wanted.tunnels_to:
        ways = [each for each in wanted.tunnels if each.location == place]
        words = tunnels.admitting(wanted.name, attempt.location.name, place)
        yield Event("step", words)
        line = tunnels.line(
            key, (each.to for each in ways), tunnels.comment(wanted.name, attempt.location.name)
        )
        _admit(attempt.work, place, ways[0].user, key, line)
        yield Event("done", words)


def _admit(work: Workspace, place: str, user: str, key: str, line: str) -> None:
    with work.open_store() as store:
        location = store.locations.get(place)
    with work.reach(location) as road:
        road.call("admit", user=user, key=key, line=line)


# Out again


def before(attempt: Attempt) -> set[str]:
    """The locations to which production has tunnels, by what is known here."""
    name, here = attempt.model, attempt.location.name
    with attempt.work.open_store() as store:
        known, model = store.instances.get(name, here), store.models.find(name)
        every = store.versions.all(model) if model and known else []
    now = [each for each in every if known and each.number == known.version]
    return {place for each in now for place in _places(each.configuration.stages, here)}


def ever(work: Workspace, name: str, location: Location) -> set[str]:
    """The locations to which any version has them: a deploy may have failed halfway."""
    with work.open_store() as store:
        model = store.models.find(name)
        every = store.versions.all(model) if model else []
    return {place for each in every for place in _places(each.configuration.stages, location.name)}


def _places(stages: Iterable[dict[str, object]], here: str) -> set[str]:
    found = {str(each["location"]) for each in stages if each.get("tunnel")}
    return found - {here, ""}


def then_lock_out(attempt: Attempt, events: Events, places: set[str], key: str | None) -> Events:
    """The same events; before their result the key is taken from those locations."""
    for event in events:
        if event.kind == "result" and key:
            yield from lock_out(attempt, places, key)
        yield event


def lock_out(attempt: Attempt, places: set[str], key: str) -> Iterator[Event]:
    """Take the key's line away. Where that cannot be done it is said, with what is left to do."""
    for place in sorted(places):
        try:
            with attempt.work.open_store() as store:
                target = _target(store.locations.get(place))
            if target:
                _admit(attempt.work, place, target.user, key, "")
        except (Problem, NotFound) as problem:
            line = tunnels.comment(attempt.model, attempt.location.name)
            yield Event(
                "note",
                f"{attempt.location.name} may still reach a port of {place} by SSH: {problem.what} "
                f"There, remove the line that ends in {line} from ~/.ssh/authorized_keys. Its key "
                "is gone.",
            )
