"""Secrets of an instance's model: kept here in one file, 0600; told to nobody but its fronts."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import late
from .files import replace
from .layout import Instance, make_folder, read_json
from .locks import held
from .loop import op

if TYPE_CHECKING:
    from .loop import Agent, Payload

PRIVATE = 0o600


@op("secrets")
def put(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Add to the secrets of an instance, or change them; those not in args["keep"] go.

    Where some only go the file keeps its time, by which one can see who was told older values.

    args: name, keep (names). payload: JSON, name → value.
    """
    instance = Instance(agent.base, args["name"])
    held(agent, instance.name)
    before = values(instance)
    after = {**before, **json.loads(payload.whole())}
    after = {name: value for name, value in after.items() if name in args["keep"]}
    if after != before:
        make_folder(instance.folder)
        written = instance.secrets_file.stat().st_mtime_ns if before else None
        replace(instance.secrets_file, json.dumps(after).encode(), PRIVATE)
        if written and after.items() <= before.items():
            os.utime(instance.secrets_file, ns=(written, written))
    return {"secrets": sorted(after), "changed": after != before}


def values(instance: Instance) -> dict[str, str]:
    return read_json(instance.secrets_file) or {}


def facts(instance: Instance, fronts: list[dict[str, Any]]) -> dict[str, Any]:
    """Enough to tell whether a value known elsewhere is the one here.

    The salt is new each time and written nowhere, so no digest can be compared with another.
    """
    salt, held = os.urandom(32).hex(), values(instance)

    def salted(text: str) -> str:
        import hmac

        return hmac.new(salt.encode(), text.encode(), "sha256").hexdigest()

    return {
        "salt": salt,
        "digests": {name: salted(value) for name, value in held.items()},
        "hashes": {
            name: salted(late.sha256(value.encode()).hexdigest()) for name, value in held.items()
        },
        "stale": _older(instance, fronts),
    }


def _older(instance: Instance, fronts: list[dict[str, Any]]) -> bool:
    """Whether one of these was started before the secrets were last written."""
    try:
        written = int(instance.secrets_file.stat().st_mtime)
    except OSError:
        return False
    started = [each["started"] for each in fronts if each.get("started")]
    return any(datetime.fromisoformat(each).timestamp() < written for each in started)
