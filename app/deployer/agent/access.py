"""Who may ask an instance, and by what certificate it is known: kept here, told to what runs."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import fronts
from .failure import Failure
from .files import replace
from .layout import Instance, make_folder, point, read_json
from .locks import held
from .loop import op
from .managers import supervisor

if TYPE_CHECKING:
    from .loop import Agent, Payload

PRIVATE = 0o600
PAIR = ("certificate", "certificate_key")
HEARD_WITHIN = 10.0
"""Seconds for a front that is coming up to open its private socket."""


@op("tokens")
def tokens(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """The tokens of an instance, by their hashes; replaced first unless args["tokens"] is null.

    args: name, tokens, entry (history). Which fronts heard of it is in `told`, `old`, `silent`.
    """
    instance = Instance(agent.base, args["name"])
    if args["tokens"] is None:
        return {"tokens": known_tokens(instance)}
    held(agent, instance.name)
    body = _tokens_text(args["tokens"])
    replace(instance.tokens_file, body, PRIVATE)
    instance.remember(**args["entry"])
    return {"tokens": args["tokens"], **_tell(agent, instance, "/admin/tokens", body)}


@op("hand_over")
def hand_over(agent: Agent, args: dict[str, Any], payload: Payload) -> list[str]:
    """Give the tokens of a name that is no instance here to another; new null: end them.

    args: name, new, entry (history). Returns the tokens' names. What is deployed here keeps its
    own and is given none: it may be somebody else's.
    """
    instance = Instance(agent.base, args["name"])
    other = Instance(agent.base, args["new"]) if args["new"] else None
    held(agent, instance.name)
    found = known_tokens(instance)
    if not found or instance.facts_file.is_file():
        return []
    if other:
        held(agent, other.name)
        _refuse_taken(other)
        replace(other.tokens_file, _tokens_text(found), PRIVATE)
    instance.tokens_file.unlink()
    (other or instance).remember(**args["entry"])
    return sorted({each["name"] for each in found})


def _refuse_taken(instance: Instance) -> None:
    if instance.facts_file.is_file():
        raise Failure(
            f"{instance.name} is deployed on that host already, by somebody else.",
            remedy="Choose another name.",
        )


def known_tokens(instance: Instance) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (read_json(instance.tokens_file) or {}).get("tokens", [])
    return found


def token_hashes(instance: Instance) -> dict[str, str]:
    """Token's name → its hash; empty where a rotation left it only its grace."""
    return {
        each["name"]: "" if each.get("until") else each["sha256"] for each in known_tokens(instance)
    }


def ensure_tokens(instance: Instance) -> None:
    """systemd starts nothing whose credentials are absent, so there is always a file of them."""
    if not instance.tokens_file.exists():
        replace(instance.tokens_file, _tokens_text([]), PRIVATE)


def _tokens_text(found: list[dict[str, Any]]) -> bytes:
    return json.dumps({"format": 1, "tokens": found}, indent=1).encode() + b"\n"


@op("certificate")
def certificate(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Put a certificate and its key here, both by one rename. args: name.

    payload: JSON {"certificate", "certificate_key"}, PEM texts. Those that run get it at once.
    """
    instance = Instance(agent.base, args["name"])
    held(agent, instance.name)
    body = payload.whole()
    pair = json.loads(body)
    folder = instance.folder / f".tls-{os.urandom(6).hex()}"
    make_folder(folder, 0o700)
    for name in PAIR:
        replace(folder / f"{name}.pem", pair[name].encode(), PRIVATE)
    point(instance.tls, folder.name)
    for other in instance.folder.glob(".tls-*"):
        if other.name != os.readlink(instance.tls):
            shutil.rmtree(other, ignore_errors=True)
    return _tell(agent, instance, "/admin/certificate", body)


def known_certificate(instance: Instance) -> str | None:
    """The certificate as PEM text, if its key is there too."""
    if not (instance.tls / "certificate_key.pem").is_file():
        return None
    try:
        return (instance.tls / "certificate.pem").read_text("ascii")
    except (OSError, ValueError):
        return None


def _tell(agent: Agent, instance: Instance, route: str, body: bytes) -> dict[str, list[str]]:
    """Who took it, who is too old to know of it, who did not answer: units by their names."""
    manager = supervisor(agent)
    said: dict[str, list[str]] = {"told": [], "old": [], "silent": []}
    for unit in manager.running(instance):
        said[_heard(manager.private(instance, unit), route, body)].append(unit)
    return said


def _heard(private: Path, route: str, body: bytes) -> str:
    end = time.monotonic() + HEARD_WITHIN
    while time.monotonic() < end:
        try:
            status, _ = fronts.ask(private, "POST", route, body)
        except OSError:
            time.sleep(0.1)
        else:
            return {200: "told", 404: "old"}.get(status, "silent")
    return "silent"
