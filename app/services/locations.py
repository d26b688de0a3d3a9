"""Where instances run: add, look at, choose and forget locations."""

from __future__ import annotations

import re
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app import dependencies
from app.deployer import keychain
from app.deployer.keychain import Ask
from app.deployer.road import Road, open_ssh
from app.deployer.starting import PRIVILEGES
from app.deployer.trust import Trust
from app.errors import Problem
from app.models import Location
from app.services import history

if TYPE_CHECKING:
    from app.workspace import Workspace

NAME = re.compile("[a-z0-9][a-z0-9-]{0,46}")
UNIT_FORBIDS = re.compile(r"""['"\\:\x00-\x1f\x7f]""")
PINGS = 5
LOCAL = "local"
INTERNET = ("auto", "never", "always")
"""What may be said of whether a host reaches package indexes."""


def add(
    work: Workspace,
    name: str,
    url: str,
    identity: str | None = None,
    accept_key: str | None = None,
    privilege: str = "auto",
    base: str = "",
    remember: bool = False,
    internet: str = "auto",
) -> Location:
    """A new server, kept once we have been there. A host key that is new raises NotTrusted.

    accept_key: the fingerprint (SHA256:…) to believe; several, for jumps, with commas.
    internet: "never" has packages fetched here and sent, "always" spares the host a try.
    remember: keep the password or passphrase that was typed in the OS keyring.
    """
    location = describe(name, url, identity, privilege, base, internet)
    with work.open_store() as store:
        refuse_known(name, store.locations.all())
        if store.groups.members(name):
            raise Problem(f'"{name}" is a group of locations.', remedy="Choose another name.")
    trust = _trusting(work, accept_key)
    typed: dict[str, str] = {}
    with keychain.answering(_noting(work.ask, typed)) as answers:
        open_ssh(location, trust=trust, ask=answers).close()
    for question, secret in typed.items() if remember else ():
        keychain.store(question, secret)
    with work.open_store() as store:
        history.note(store, "location add", location=name, detail=url)
        return store.locations.add(location)


def change(
    work: Workspace,
    name: str,
    *,
    internet: str | None = None,
    privilege: str | None = None,
    base: str | None = None,
    identity: str | None = None,
    accept_key: str | None = None,
) -> Location:
    """Set what `add` was told otherwise, kept once we have been there that way.

    None, or what is so already, changes nothing; an empty base or identity takes it back. Not while
    instances are there where it decides where they are found: privilege and base. accept_key: the
    fingerprint to believe of a host whose key was forgotten.
    """
    with work.open_store() as store:
        known = store.locations.get(name)
        there = [each.model for each in store.instances.all(location=name)]
    way = {"privilege": privilege, "base": base, "identity": identity}
    wanted = {k: v for k, v in way.items() if v is not None and v != getattr(known, k)}
    if (wanted or accept_key) and known.kind == "local":
        raise Problem(
            f'"{name}" is this machine: nobody logs in to it.',
            remedy="Only --internet can be set for it.",
        )
    if there and {"privilege", "base"} & {*wanted}:
        raise Problem(
            f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} deployed on {name}, where "
            "privilege and base decide what is found.",
            remedy=f"First: rhythmicml undeploy {there[0]} --on {name}; or add the server once "
            "more by another name.",
        )
    changed = replace(known, internet=_checked_internet(internet or known.internet))
    if wanted:
        asked = {key: getattr(known, key) for key in way} | wanted
        changed = describe(name, known.url, **asked, internet=changed.internet)
    if wanted or accept_key:
        with keychain.answering(work.ask) as answers:
            open_ssh(changed, trust=_trusting(work, accept_key), ask=answers).close()
    with work.open_store() as store:
        new = {**wanted, **({"internet": internet} if internet else {})}
        words = ", ".join(f"{key} from {getattr(known, key)} to {new[key]}" for key in new)
        believed = f"host key {accept_key}" if accept_key else ""
        words = ", ".join(filter(None, (words, believed)))
        history.note(store, "location set", location=name, detail=words)
        return store.locations.update(changed)


def _trusting(work: Workspace, accept_key: str | None) -> Trust:
    """What is known of hosts, and those keys of new ones: fingerprints with commas."""
    trust = Trust.of(work.home)
    for fingerprint in (accept_key or "").replace(",", " ").split():
        trust.accept(fingerprint)
    return trust


def _noting(ask: Ask | None, typed: dict[str, str]) -> Ask | None:
    """The same questions, with the answers noted."""
    if ask is None:
        return None

    def noted(question: str) -> str | None:
        answer = ask(question)
        if answer is not None:
            typed[question] = answer
        return answer

    return noted


def describe(
    name: str, url: str, identity: str | None, privilege: str, base: str, internet: str = "auto"
) -> Location:
    """The location as asked for, checked as far as that goes from here."""
    from app.deployer.ssh_config import parse_url

    if not NAME.fullmatch(name):
        raise Problem(
            f'"{name}" is not a name for a location.',
            remedy="Use small letters, digits and hyphens, at most 47, a hyphen not first.",
        )
    if privilege not in PRIVILEGES:
        raise Problem(
            f'"{privilege}" is not a privilege.', remedy=f"Use one of: {', '.join(PRIVILEGES)}."
        )
    if base and not base.startswith(("/", "~/")):
        raise Problem(f'The base folder "{base}" is not absolute.', remedy="Begin it with / or ~/.")
    if UNIT_FORBIDS.search(base):
        raise Problem(
            f'The base folder "{base}" has a character that units of systemd cannot name.',
            cause="They are quotes, backslashes, colons and control characters.",
            remedy="Choose another name for it.",
        )
    return Location(
        name=name,
        url=str(parse_url(url)),
        identity=str(private_key(identity)) if identity else "",
        privilege=privilege,
        base=base,
        internet=_checked_internet(internet),
    )


def _checked_internet(said: str) -> str:
    if said not in INTERNET:
        raise Problem(
            f'"{said}" is nothing to say of the internet.',
            remedy=f"Use one of: {', '.join(INTERNET)}.",
        )
    return said


def private_key(identity: str) -> Path:
    path = Path(identity)
    try:
        path = path.expanduser().absolute()
        there = path.is_file()
    except (OSError, RuntimeError):  # too long to be one, or in the home of nobody
        there = False
    if not there:
        raise Problem(f'The identity file "{identity}" is not there.', remedy="Check the path.")
    return path


def refuse_known(name: str, known: list[Location]) -> None:
    if any(location.name == name for location in known):
        raise Problem(
            f'A location "{name}" is there already.',
            remedy=f"Choose another name, or remove that one: rhythmicml location remove {name}",
        )


def list_locations(work: Workspace) -> list[Location]:
    with work.open_store() as store:
        return store.locations.all()


def check(work: Workspace, name: str) -> dict[str, Any]:
    """Facts of the host (agent/host.py), and `latency`: seconds to it and back.

    internet: whether it reaches the package index. internet_wanted: what was said about that.
    """
    with work.open_store() as store:
        location = store.locations.get(name)
    with work.reach(location) as road:
        facts: dict[str, Any] = road.call("facts", internet=index_address(), timeout=60)
        return {**facts, "latency": latency(road), "internet_wanted": location.internet}


def latency(road: Road) -> float:
    return statistics.median(ping(road) for _ in range(PINGS))


def ping(road: Road) -> float:
    start = time.perf_counter()
    road.call("ping", timeout=30)
    return time.perf_counter() - start


def index_address() -> tuple[str, int] | None:
    """Host and port of the package index in use; None when there is none."""
    parts = urlsplit(dependencies.index_url())
    if not parts.hostname:
        return None
    return parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)


def remove(work: Workspace, name: str, force: bool = False) -> None:
    """Forget a location. Refused while instances are there, unless forced: then they go on."""
    with work.open_store() as store:
        there = [each.model for each in store.instances.all(location=name)]
        if there and not force and name != LOCAL:
            raise Problem(
                f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} deployed on {name}.",
                remedy=f"First: rhythmicml undeploy {there[0]} --on {name}; or --force: "
                "what runs there goes on, unwatched.",
            )
        store.locations.remove(name)
        history.note(store, "location remove", location=name)


def set_default(work: Workspace, name: str) -> Location:
    with work.open_store() as store:
        chosen = store.locations.set_default(name)
        history.note(store, "location default", location=name)
        return chosen


def fingerprints(work: Workspace, location: Location) -> list[str]:
    """Of the host keys that are believed of a location and its jumps."""
    from app.deployer.ssh_config import parse_url, route

    trust = Trust.of(work.home)
    hosts = route(parse_url(location.url)) if location.url else []
    return [key.fingerprint for host in hosts for key in trust.keys(host.known_as)]


def forget_key(work: Workspace, name: str) -> int:
    """Forget the host keys of a location and of its jumps; how many there were."""
    from app.deployer.ssh_config import parse_url, route

    with work.open_store() as store:
        location = store.locations.get(name)
    if location.kind == "local":
        raise Problem(f'"{name}" is this machine: it has no host key.')
    trust = Trust.of(work.home)
    return sum(trust.forget(target.known_as) for target in route(parse_url(location.url)))
