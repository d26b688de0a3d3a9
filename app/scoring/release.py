"""What a release folder says about itself: `release.json` (docs/design.md, "On a host")."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from . import credentials
from .launch import Launch


class Release(NamedTuple):
    """A release, read. `folder` holds files/, env/ and release.json."""

    folder: Path
    instance: str
    id: str
    model: str
    version: int
    digest: str
    environment: str
    python: str
    scoring: dict[str, Any]

    @property
    def instance_folder(self) -> Path:
        return self.folder.parent.parent

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def home(self) -> Path:
        """The instance's folder."""
        return self.folder.parent.parent

    @property
    def public(self) -> bool:
        """Whether others than the host itself may reach the port."""
        return bool(self.scoring.get("expose") == "public")

    @property
    def is_pipeline(self) -> bool:
        return bool(self.scoring.get("stages"))

    @property
    def has_script(self) -> bool:
        """Whether it needs workers: a pipeline has a script only where a stage says so."""
        stages = self.scoring.get("stages") or ()
        return not stages or any(one.get("combine") == "script" for one in stages)

    @property
    def v1_path(self) -> str:
        """Where version 1 of KServe's protocol has the model."""
        return f"/v1/models/{quote(self.model, safe='')}"

    @property
    def v2_paths(self) -> tuple[str, str]:
        """Where the Open Inference Protocol has the model, and this version of it."""
        base = f"/v2/models/{quote(self.model, safe='')}"
        return base, f"{base}/versions/{self.version}"

    @property
    def sample(self) -> bytes | None:
        name = self.scoring.get("sample")
        return (self.files / name).read_bytes() if name else None

    def secrets(self) -> dict[str, str]:
        """What the model is told in confidence. Raises OSError or ValueError."""
        return credentials.read(self.home, self.scoring.get("secrets") or ())

    def launch(self) -> Launch:
        return Launch(
            # By its own path, which releases share: compiled modules are kept by path.
            python=(self.folder / "env").resolve() / "bin" / "python",
            files=self.files,
            script=self.scoring.get("script") or "predict.py",
            artifacts=self.scoring.get("artifacts") or "artifacts",
            input=self.scoring.get("input"),
            env={name: str(value) for name, value in (self.scoring.get("env") or {}).items()},
            preload=bool(self.scoring.get("preload")),
            secrets=self.secrets(),
        )


def read(instance: Path, name: str) -> Release:
    """The release of that id; "current" is resolved here, once. Raises OSError or ValueError."""
    instance = Path(os.path.abspath(instance))
    if name == "current":
        name = os.readlink(instance / "releases" / "current")
    folder = instance / "releases" / Path(name).name
    said = json.loads((folder / "release.json").read_text(encoding="utf-8"))
    return Release(
        folder=folder,
        instance=instance.name,
        id=said["id"],
        model=said["model"],
        version=int(said["version"]),
        digest=said.get("digest", ""),
        environment=said.get("environment", ""),
        python=said.get("python", ""),
        scoring=said["scoring"],
    )


def is_current(release: Release) -> bool:
    """Whether `releases/current` names this release, so that it may answer the public."""
    try:
        return Path(os.readlink(release.folder.parent / "current")).name == release.folder.name
    except OSError:
        return False
