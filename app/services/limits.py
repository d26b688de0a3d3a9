"""From where on something is wrong: the rules of alerts, and of the state "degraded".

Settings may change each for all models, and for one: {"errors": 0.1, "models": {"churn": {"p95":
5}}} under the name "alerts". A limit of null turns its rule off.
"""

from __future__ import annotations

from collections.abc import Mapping
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
UPPER = {"errors": 1.0, "memory": 1.0, "disk": 1.0, "certificate": 3650.0}
LEAST = 20
"""Requests below which neither their errors nor their times say anything."""

Limits = Mapping[str, float | None]


def of(store: Store, model: str) -> Limits:
    """The limits that hold for a model."""
    kept = store.settings.get(SETTING, {})
    own = kept.get("models", {}).get(model, {})
    both = {**kept, **own}
    return {name: both.get(name, value) for name, value in DEFAULTS.items()}


def change(store: Store, name: str, limit: float | None, model: str | None = None) -> None:
    """Set one, for all models or for one; None turns that rule off."""
    if name not in DEFAULTS:
        known = ", ".join(DEFAULTS)
        raise Problem(f'There is no rule "{name}".', remedy=f"There are: {known}.")
    if limit is not None and not 0 < limit <= UPPER.get(name, 1e9):
        raise Problem(f"{limit:g} is no limit for {name}.", remedy=_range(name))
    kept: dict[str, Any] = store.settings.get(SETTING, {})
    if model is None:
        kept = {**kept, name: limit}
    else:
        store.models.get(model)
        models = kept.get("models", {})
        kept = {**kept, "models": {**models, model: {**models.get(model, {}), name: limit}}}
    store.settings.set(SETTING, kept)


def _range(name: str) -> str:
    return (
        f"Give a number above 0, and at most {UPPER[name]:g}."
        if name in UPPER
        else ("Give a number above 0.")
    )
