"""From where on something is wrong: the rules of alerts, and of the state "degraded".

Settings may change each for all models, and for one: {"errors": 0.1, "models": {"churn": {"p95":
5}}} under the name "alerts". A limit of null turns its rule off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from app.errors import Problem

if TYPE_CHECKING:
    from app.store import Store

SETTING = "alerts"
DEFAULTS: dict[str, float | None] = {
    "down": 60.0,
    "errors": 0.05,
    "p95": 5.0,
    "memory": 0.9,
    "disk": 0.9,
    "certificate": 14.0,
    "drift": 0.25,
}
"""down: seconds that it fails or cannot be reached. errors: share of 5xx. p95: seconds. memory,
disk: share of what there is. certificate: days left. drift: PSI of a column."""
MEANINGS = {
    "down": ("s", "an instance does not answer, or its host does not, for longer"),
    "errors": ("share", "more of the answers are errors (5xx)"),
    "p95": ("s", "one request in 20 takes longer"),
    "memory": ("share", "more of an instance's memory, or of a host's, is used"),
    "disk": ("share", "more of a host's disk is used"),
    "certificate": ("days", "a certificate ends sooner"),
    "drift": ("PSI", "a column of the requests has moved further from the week before"),
}
"""Unit of each, and when there is an alert."""
SHOWN_AS = {
    name: (100.0, "%") if unit == "share" else (1.0, "" if unit == "PSI" else unit)
    for name, (unit, _) in MEANINGS.items()
}
"""As people type it: times what, and what stands behind it."""
OF_HOSTS = ("disk",)
"""Rules that are about hosts alone, so no model has its own limit."""
UPPER = {"errors": 1.0, "memory": 1.0, "disk": 1.0, "certificate": 3650.0}
LEAST = 20
"""Requests below which neither their errors nor their times say anything."""

Limits = Mapping[str, float | None]


def of(store: Store, model: str | None = None) -> Limits:
    """The limits that hold for a model; without one, for all that have none of their own."""
    return of_each(store, [model])[model]


def of_each(store: Store, models: Iterable[str | None]) -> dict[str | None, Limits]:
    """Those of many models at once."""
    kept = store.settings.get(SETTING, {})
    own = kept.get("models", {})
    both = {model: {**kept, **own.get(model, {})} for model in models}
    return {
        model: {name: each.get(name, value) for name, value in DEFAULTS.items()}
        for model, each in both.items()
    }


def own(store: Store) -> dict[str, Limits]:
    """Model → the limits that it alone has."""
    found: dict[str, Limits] = store.settings.get(SETTING, {}).get("models", {})
    return found


def change(store: Store, name: str, limit: float | None, model: str | None = None) -> None:
    """Set one, for all models or for one; None turns that rule off."""
    _refuse_unknown(name, model)
    if limit is not None:
        checked(name, limit)
    if model is not None:
        store.models.get(model)
    with store.write():
        _keep(store, {**_kept(store, model), name: limit}, model)


def checked(name: str, limit: float) -> None:
    """Raises Problem when that cannot be a limit of this rule."""
    if not 0 < limit <= UPPER.get(name, 1e9):
        raise Problem(f"{limit:g} is no limit for {name}.", remedy=_range(name))


def reset(store: Store, name: str, model: str | None = None) -> None:
    """Have the default hold again; for a model, what holds for all."""
    _refuse_unknown(name, model)
    with store.write():
        _keep(store, {k: v for k, v in _kept(store, model).items() if k != name}, model)


def follow(store: Store, model: str, new: str | None) -> None:
    """Keep what one model has of its own under its new name; None: forget it."""
    with store.write():
        kept = _kept(store, model)
        _keep(store, {}, model)
        if new and kept:
            _keep(store, kept, new)


def _kept(store: Store, model: str | None) -> dict[str, Any]:
    kept: dict[str, Any] = store.settings.get(SETTING, {})
    return kept if model is None else dict(kept.get("models", {}).get(model, {}))


def _keep(store: Store, limits: dict[str, Any], model: str | None) -> None:
    if model is not None:
        kept = _kept(store, None)
        models = {**kept.get("models", {}), model: limits}
        limits = {**kept, "models": {name: each for name, each in models.items() if each}}
    store.settings.set(SETTING, limits)


def _refuse_unknown(name: str, model: str | None) -> None:
    if name not in DEFAULTS:
        raise Problem(f'There is no rule "{name}".', remedy=f"There are: {', '.join(DEFAULTS)}.")
    if model and name in OF_HOSTS:
        raise Problem(f"{name} is about hosts, so no model has a limit of its own.")


def _range(name: str) -> str:
    if name in UPPER:
        return f"Give a number above 0, and at most {UPPER[name]:g}."
    return "Give a number above 0."
