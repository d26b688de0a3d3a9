"""What this instance alone may read: where it lies, and the secrets of its model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

SECRETS = "secrets.json"


def places(instance: Path, environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where secrets are looked for: what systemd handed over, then the instance's folder."""
    given = environment.get("CREDENTIALS_DIRECTORY")
    return [Path(given), instance] if given else [instance]


def read(
    instance: Path, names: Iterable[str], environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The values of these secrets. Raises OSError; ValueError names those that are not there."""
    names = list(names)
    if not names:
        return {}
    files = [folder / SECRETS for folder in places(instance, environment)]
    path = next((each for each in files if each.exists()), None)
    known = json.loads(path.read_text("utf-8")) if path else {}
    if lacking := [name for name in names if name not in known]:
        raise ValueError(f"no value for the secrets {', '.join(lacking)}")
    return {name: known[name] for name in names}
