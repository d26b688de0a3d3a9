"""Locations as JSON: added, looked at, changed, forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.deployer.starting import PRIVILEGES
from app.models import Location
from app.services import locations
from app.views.described import OBJECT, Field, Route

if TYPE_CHECKING:
    from app.views.answers import Answers
    from app.workspace import Workspace

ONE = "/locations/<name>"
WAY = (
    Field("internet", "auto, never or always: whether packages can be fetched there",
          pattern=f"^(?:{'|'.join(locations.INTERNET)})$"),
    Field("privilege", f"{', '.join(PRIVILEGES)}: how things are installed there",
          pattern=f"^(?:{'|'.join(PRIVILEGES)})$"),
    Field("base", "the folder on the host where things go; empty: where such things belong",
          most=4096),
    Field("identity", "the path of the private key to log in with; empty: as ssh finds it",
          most=4096),
)  # fmt: skip
KEY = Field("accept_key", "the fingerprint to believe, SHA256:…; several with commas", least=1)
NEW = (
    Field("name", "a name: a-z, 0-9 and -, at most 47", required=True, least=1, most=1000),
    Field("url", "ssh://[USER@]HOST[:PORT]", required=True, least=1, most=1000),
    *WAY,
    KEY,
    Field("password", "or passphrase, kept in memory for this run", least=1, secret=True),
    Field("remember", "keep the password in the keyring of the operating system", "boolean"),
)
FORCE = Field("force", "even while instances are there; they go on, unwatched", "boolean")


def routes(work: Workspace, answers: Answers) -> list[Route]:
    def list_locations() -> Any:
        """Where instances can run"""
        return locations.list_locations(work)

    def add_location(name: str, url: str, password: str = "", **way: Any) -> Any:
        """Add a server, after a look at it

        One whose key is unknown is refused as NotTrusted, with the `fingerprint` of its key: when
        it is the right one, ask again with it as `accept_key`.
        """
        return locations.add(answers.with_typed(work, password), name, url, **way)

    def change_location(name: str, **way: Any) -> Any:
        """Change what was said when a location was added, after a look at it"""
        return locations.change(work, name, **way)

    def remove_location(name: str, force: bool = False) -> Any:
        """Forget a location; refused while instances are there"""
        locations.remove(work, name, force)
        return {"removed": name}

    def check_location(name: str) -> Any:
        """What a location is and has, and how far away it is"""
        return locations.check(work, name)

    def choose_default(name: str) -> Any:
        """Make a location the one that is used when none is named"""
        return locations.set_default(work, name)

    def forget_key(name: str) -> Any:
        """Forget the host key of a location, because the host was set up anew"""
        return {"forgotten": locations.forget_key(work, name)}

    made = ("check_location", {"name": "$response.body#/name"})
    removed = {"type": "object", "required": ["removed"]}
    forgotten = {"type": "object", "required": ["forgotten"]}
    return [
        Route("GET", "/locations", list_locations, list[Location]),
        Route("POST", "/locations", add_location, Location, body=NEW, leads=made),
        Route("PATCH", ONE, change_location, Location, body=(*WAY, KEY)),
        Route("DELETE", ONE, remove_location, removed, query=(FORCE,)),
        Route("GET", f"{ONE}/check", check_location, OBJECT),
        Route("POST", f"{ONE}/default", choose_default, Location),
        Route("POST", f"{ONE}/forget-key", forget_key, forgotten),
    ]
