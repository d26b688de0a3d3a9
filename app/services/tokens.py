"""Who may ask an instance: tokens, made here and shown once; the host keeps their hashes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import config
from app.errors import NotFound, Problem
from app.models import Location
from app.services import attempts, places
from app.services.person import who

if TYPE_CHECKING:
    from app.workspace import Workspace

Tokens = list[dict[str, Any]]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,47}")
PREFIX = "rml_"
MOVED, ENDED = "token move", "token end"
CHANGES = ("token add", "token rotate", "token remove", MOVED)
"""Actions of the history after which a host may have tokens."""


def add(
    work: Workspace, model: str, name: str, *, scope: str = "score", to: str | None = None
) -> dict[str, Any]:
    """A new token. Its text is in the result and nowhere else; may come before a deployment."""
    if not NAME.fullmatch(name):
        raise Problem(
            f'"{name}" cannot be the name of a token.',
            remedy="Use letters, digits, dots, dashes and underscores, at most 48.",
        )
    text = new_text()

    def added(tokens: Tokens) -> Tokens:
        if any(each["name"] == name for each in tokens):
            raise Problem(
                f"{model} has a token {name} already.",
                remedy=f"rhythmicml token rotate {model} {name} gives it a new text.",
            )
        return [*tokens, entry(name, scope, text)]

    return {**_change(work, "token add", model, name, to, added), "token": text}


def rotate(
    work: Workspace, model: str, name: str, *, grace: float = 3600.0, to: str | None = None
) -> dict[str, Any]:
    """A new text for a token; the one before is refused after `grace` seconds."""
    text, now = new_text(), datetime.now(timezone.utc)
    until = (now + timedelta(seconds=grace)).isoformat(timespec="seconds")

    def rotated(tokens: Tokens) -> Tokens:
        before = _named(model, name, tokens)
        others = [each for each in tokens if each["name"] != name]
        ending = [{**each, "until": each.get("until") or until} for each in before]
        return [*others, *(ending if grace else []), entry(name, before[-1]["scope"], text)]

    said = _change(work, "token rotate", model, name, to, rotated)
    return {**said, "token": text, "until": until if grace else now.isoformat(timespec="seconds")}


def remove(work: Workspace, model: str, name: str, *, to: str | None = None) -> dict[str, Any]:
    """Refuse a token from now on, also one that a rotation had left its grace."""

    def removed(tokens: Tokens) -> Tokens:
        gone = _named(model, name, tokens)
        return [each for each in tokens if each not in gone]

    return _change(work, "token remove", model, name, to, removed)


def list_tokens(work: Workspace, model: str, *, to: str | None = None) -> Tokens:
    """Name, scope, when it was made, and until when it is good if that has an end."""
    with work.reach(_location(work, model, to)) as road:
        there = road.call("tokens", name=model, tokens=None)["tokens"]
    return [_shown(each) for each in lasting(there)]


def follow(work: Workspace, model: str, new: str | None, force: bool = False) -> None:
    """Give the tokens of a model to its new name wherever it is not deployed; None: end them.

    All hosts are reached before any is changed: one that cannot be is a Problem, and with force is
    left as it is.
    """
    action = MOVED if new else ENDED
    with ExitStack() as ways:
        begun = []
        for location in _left_on(work, model):
            try:
                way = attempts.attempting(work, action, model, location)
                begun.append(ways.enter_context(way))
            except Problem as problem:
                if not force:
                    raise _left(model, new, location.name, problem) from problem
        for attempt in begun:
            _hand_over(attempt, new)


def _hand_over(attempt: attempts.Attempt, new: str | None) -> None:
    """On one host. Our history has it once there was something to hand over."""
    if not attempt.road.call("tokens", name=attempt.model, tokens=None)["tokens"]:
        return
    if new:
        me, _, host = who().partition("@")
        step = attempt.action
        attempt.road.call("lock", name=new, who=me, host=host, step=step, id=attempt.id)
    with attempts.recorded(attempt, None, "", "", detail=new or ""):
        attempt.road.call("hand_over", name=attempt.model, new=new, entry=attempt.entry())


def _left_on(work: Workspace, model: str) -> list[Location]:
    """Where tokens were made for a model that is not deployed there."""
    with work.open_store() as store:
        there = {each.location for each in store.instances.all(model=model)}
        made = {each.location for each in store.deployments.lasts(CHANGES, model=model)}
        return [each for each in store.locations.all() if each.name in made - there]


def _left(model: str, new: str | None, place: str, problem: Problem) -> Problem:
    done = "renamed" if new else "removed"
    other = f"rhythmicml remove {model} --force leaves them as they are."
    if new:
        other = f"if it is gone for good: rhythmicml location remove {place}"
    return Problem(
        f"{model} was not {done}: tokens of it on {place} would stay good by that name.",
        cause=f"{problem.what} {problem.cause}".strip(),
        remedy=f"Try again when {place} can be reached; {other}",
    )


def new_text() -> str:
    """256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def entry(name: str, scope: str, text: str) -> dict[str, Any]:
    """What the host keeps of a token."""
    return {
        "name": name,
        "scope": scope,
        "sha256": sha256(text.encode()).hexdigest(),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def lasting(tokens: Tokens) -> Tokens:
    """Without those whose grace is over."""
    now = datetime.now(timezone.utc)
    return [
        each
        for each in tokens
        if not each.get("until") or datetime.fromisoformat(each["until"]) > now
    ]


def _shown(token: dict[str, Any]) -> dict[str, Any]:
    return {key: token.get(key) for key in ("name", "scope", "created", "until")}


def _named(model: str, name: str, tokens: Tokens) -> Tokens:
    found = [each for each in tokens if each["name"] == name]
    if not found:
        known = ", ".join(sorted({each["name"] for each in tokens}))
        raise NotFound(
            f"{model} has no token {name}.",
            cause=f"There are: {known}." if known else "",
            remedy=f"rhythmicml token list {model}",
        )
    return found


def _change(
    work: Workspace,
    action: str,
    model: str,
    name: str,
    to: str | None,
    changed: Callable[[Tokens], Tokens],
) -> dict[str, Any]:
    """Replace the tokens of an instance, under its lock; what runs is told at once."""
    location = _location(work, model, to)
    with attempts.attempting(work, action, model, location) as attempt:
        there = lasting(attempt.road.call("tokens", name=model, tokens=None)["tokens"])
        wanted = changed(there)
        with attempts.recorded(attempt, None, "", "", detail=name):
            history = {**attempt.entry(), "token": name}
            said = attempt.road.call("tokens", name=model, tokens=wanted, entry=history)
    mine = [each for each in wanted if each["name"] == name]
    return {
        "model": model,
        "location": location.name,
        "name": name,
        "scope": mine[-1]["scope"] if mine else None,
        "left": len({each["name"] for each in wanted}),
        "told": said["told"],
        "not_told": [*said["old"], *said["silent"]],
    }


def _location(work: Workspace, model: str, to: str | None) -> Location:
    """Where the instance is; before its first deployment, where that would put it."""
    with work.open_store() as store:
        tracked = store.models.get(model)
        known = store.instances.all(model=model)
        latest = store.versions.latest(tracked)
    if to or known:
        return places.location_of(work, model, to)
    folder = Path(tracked.folder)
    if folder.is_dir():
        configured = config.read_configuration(folder).location
    else:
        configured = latest.configuration.location if latest else None
    return places.location_for(work, model, configured, None)
