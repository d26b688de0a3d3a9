"""Pythons of our own on this host, for versions that it does not have: `pythons/<name>/`.

Put there by uv, or sent. `.complete` is written last; one without it is none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from .building import cleared, sole, uv
from .files import replace
from .host import own_pythons, reaches
from .loop import op
from .trees import put_tree

if TYPE_CHECKING:
    from .loop import Agent, Payload


@op("reach")
def reach(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, bool]:
    """What this host can fetch by itself. args: index, pythons: [host, port], or null.

    Its own settings for where uv finds Pythons count more than what the client knows.
    """
    index = args["index"] is None or reaches(args["index"])
    mirror = os.environ.get("UV_PYTHON_DOWNLOADS_JSON_URL", "")
    mirror = os.environ.get("UV_PYTHON_INSTALL_MIRROR", mirror)
    return {"index": index, "pythons": _has(mirror) if mirror else _reached(args["pythons"])}


def _has(mirror: str) -> bool:
    place = urlsplit(mirror)
    if place.hostname:
        return reaches([place.hostname, place.port or (80 if place.scheme == "http" else 443)])
    return os.path.exists(unquote(place.path))


def _reached(address: list[Any] | None) -> bool:
    return address is not None and reaches(address)


@op("python")
def install(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Put a Python here. args: version (major.minor), tree (the listing of one that was sent),
    or, when that is empty, tool (uv, which fetches one).
    """
    folder = agent.base / "pythons"
    with sole(folder / args["version"]):
        if args["version"] in own_pythons(agent):
            return {"built": False}
        if args["tree"]:
            _put_together(agent, folder / f"cpython-{args['version']}-{args['tree'][:12]}", args)
        else:
            _fetch(agent, folder, args)
    return {"built": True}


def _put_together(agent: Agent, place: Path, args: dict[str, Any]) -> None:
    with cleared(place):
        put_tree(agent, args["tree"], place)
    replace(place / ".complete", args["tree"].encode())


def _fetch(agent: Agent, folder: Path, args: dict[str, Any]) -> None:
    tool, version = str(agent.base / "tools" / args["tool"]), args["version"]
    environ = {"UV_PYTHON_INSTALL_DIR": str(folder), "UV_CACHE_DIR": str(agent.base / "cache")}
    failed = (
        f"Python {version} is not on this host, and uv could not fetch it.",
        "Have it installed there; or, to have one sent from here: location add … --internet never",
    )
    uv(agent, [tool, "python", "install", "--no-bin", version], environ, failed)
    for python in folder.glob(f"cpython-{version}.*/bin/python3"):
        if not python.parents[1].is_symlink():
            replace(python.parents[1] / ".complete", b"")
