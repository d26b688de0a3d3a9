"""The values everything else speaks in. Frozen, plain, with no behaviour that reaches outside."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Batch:
    """How requests are joined before predict sees them."""

    max_rows: int = 256
    wait: float = 0.0


@dataclass(frozen=True)
class Configuration:
    """`rhythmicml.toml`, read and checked. Every field is one key there (docs/configuration.md)."""

    name: str = ""
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    # [predict]
    script: str = "predict.py"
    artifacts: str = "artifacts"
    input: str | None = None
    batch: Batch | None = Batch()
    sample: str | None = None
    timeout: float = 30.0
    job_timeout: float = 3600.0
    # [dependencies]
    requirements: str = "requirements.txt"
    python: str = ""
    allow_yanked: bool = False
    # [deploy]
    location: str | None = None
    port: int | None = None
    workers: int = 1
    memory: str | None = None
    start_timeout: float = 300.0
    preload: bool = False
    recycle_requests: int | None = None
    recycle_memory: int | None = None
    queue: int = 256
    max_body: int = 100 * 1024 * 1024
    max_request_rows: int = 10_000
    max_connections: int = 1000
    expose: str = "loopback"
    certificate: str | None = None
    certificate_key: str | None = None
    cors: tuple[str, ...] = ()
    access_log: str = "errors"
    env: dict[str, str] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    keep: int = 5
    # [schema]
    schema: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Configuration:
        """What `as_dict` gave, after a journey through JSON."""
        batch = values["batch"]
        return cls(
            **values
            | {
                "batch": Batch(**batch) if batch else None,
                "exclude": tuple(values["exclude"]),
                "cors": tuple(values.get("cors", ())),
            }
        )


@dataclass(frozen=True, order=True)
class FileEntry:
    """One file of a version. A symbolic link has a target and no digest."""

    path: str
    digest: str = ""
    size: int = 0
    executable: bool = False
    target: str = ""


@dataclass(frozen=True)
class Model:
    """A tracked folder."""

    id: int
    name: str
    folder: str
    created: str


@dataclass(frozen=True)
class Version:
    """An immutable, numbered snapshot of a Model. `digest` names its files and lock together.

    schema: what it takes and gives (app/scoring/schema.py), where that is known.
    """

    id: int
    model_id: int
    number: int
    digest: str
    message: str
    author: str
    created: str
    manifest: str
    lock: str
    configuration: Configuration
    size: int
    files: int
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Location:
    """Where instances run. `url` is empty for this machine, else ssh://user@host:port."""

    name: str
    kind: str = "ssh"
    url: str = ""
    identity: str = ""
    privilege: str = "auto"
    base: str = ""
    default: bool = False
    created: str = ""


@dataclass(frozen=True)
class Deployment:
    """One line of history: who did what to which instance, when, and how it ended."""

    id: int
    model: str
    location: str
    action: str
    version: int | None
    release: str
    previous: str
    who: str
    started: str
    ended: str
    result: str
    detail: str = ""


@dataclass(frozen=True)
class Instance:
    """What was last known of a Production Instance; the host itself knows better.

    fingerprint: SHA-256 of the certificate that was put there, when it is public.
    """

    model: str
    location: str
    port: int | None = None
    release: str = ""
    version: int | None = None
    state: str = ""
    seen: str = ""
    exposure: str = "loopback"
    fingerprint: str = ""


@dataclass(frozen=True)
class Job:
    """Long work and what became of it.

    state: running, done, failed, cancelled, or interrupted (its process died).
    outcome: what the service gave back when done, a Problem's parts when failed.
    """

    id: int
    kind: str
    subject: str
    state: str
    started: str
    ended: str
    cancelling: bool
    outcome: dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One thing that happened during long work.

    kind: step (a new line), progress (of the step), log (a line of output), done (of the step),
    result (the last one; `data` is what the service gives back).
    """

    kind: str
    text: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = ""
    data: dict[str, Any] = field(default_factory=dict)
