"""The values everything else speaks in. Frozen, plain, with no behaviour that reaches outside."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Batch:
    """How requests are joined before predict sees them."""

    max_rows: int = 256
    wait: float = 0.0


@dataclass(frozen=True)
class Gate:
    """What a release must show before it takes traffic, and just after. None: only reported.

    tolerance: (relative, absolute). max_changed: share of rows. max_latency: p99 [s]. time [s]: for
    all golden inputs. watch [s]: how long it is watched after the switch.
    """

    tolerance: tuple[float, float] = (1e-6, 1e-9)
    must_match: bool = True
    max_changed: float | None = None
    max_latency: float | None = None
    max_latency_ratio: float | None = None
    max_memory_ratio: float | None = None
    time: float = 60.0
    watch: float = 1.0

    def limits(self) -> dict[str, Any]:
        """What a report is held against (app/deployer/agent/judging.py)."""
        return {name: held for name, held in asdict(self).items() if name not in ("time", "watch")}


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
    keep_warm: float = 0.0
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
    secrets: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    keep: int = 5
    # [gate]
    gate: dict[str, Any] = field(default_factory=dict)
    # [monitor]
    monitor: dict[str, Any] = field(default_factory=dict)
    # [log]
    log: dict[str, Any] = field(default_factory=dict)
    # [schema]
    schema: dict[str, Any] = field(default_factory=dict)
    # [pipeline] and its [[stage]]s, as release.json has them; with the location each is asked on
    pipeline: dict[str, Any] = field(default_factory=dict)
    stages: tuple[dict[str, Any], ...] = ()

    @property
    def runs_script(self) -> bool:
        """Whether anything of the folder itself is run: not in a pipeline that only asks others."""
        return not self.stages or any(each["combine"] == "script" for each in self.stages)

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
                "secrets": tuple(values.get("secrets", ())),
                "stages": tuple(values.get("stages", ())),
            }
        )


@dataclass(frozen=True, order=True, slots=True)
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

    schema: what it takes and gives (app/scoring/schema.py), where that is known. memory: the most
    that it was seen to take at its gate [bytes]. adopted: taken over from a server, without what
    was never shipped to it.
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
    memory: int | None = None
    adopted: bool = False


@dataclass(frozen=True)
class Location:
    """Where instances run. `url` is empty for this machine, else ssh://user@host:port.

    internet: whether it reaches package indexes: "auto" (tried when it matters), "never", "always".
    """

    name: str
    kind: str = "ssh"
    url: str = ""
    identity: str = ""
    privilege: str = "auto"
    base: str = ""
    default: bool = False
    created: str = ""
    internet: str = "auto"


@dataclass(frozen=True)
class Deployment:
    """One line of history: who did what to which instance, when, and how it ended.

    result: done, failed, interrupted (production is as it was), taken back (production was switched
    and is again as it was), unknown (the way to the host was lost when it could have been either),
    or empty while it is under way. attempt: by which the host's history knows it. steps: what was
    to be done and how far that came, [{"do", "words", "began", "ended"}].
    """

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
    attempt: str = ""
    steps: tuple[dict[str, str], ...] = ()

    @property
    def step(self) -> str:
        """The words of the last step that was begun; empty when none was."""
        return next((each["words"] for each in reversed(self.steps) if each["began"]), "")

    def took(self, do: str) -> float | None:
        """Seconds that its step `do` took; None when it was not done to its end."""
        for each in self.steps:
            if each["do"] == do and each["began"] and each["ended"]:
                began, ended = (instant(each[when]) for when in ("began", "ended"))
                return (ended - began).total_seconds()
        return None


def instant(text: str) -> datetime:
    """What a time of the store stands for: `2026-11-24T07:05:36.053Z`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


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
    outcome: what the service gave back when done, a Problem's parts when failed. request: what was
    asked for, so that it can be asked again (app/services/orders.py); empty where it cannot be.
    """

    id: int
    kind: str
    subject: str
    state: str
    started: str
    ended: str
    cancelling: bool
    outcome: dict[str, Any]
    request: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What it is about, for a person: "Deploy churn v3 on lab"."""
        where = self.request.get("options", {}).get("to")
        subject = f"{self.kind.capitalize()} {self.subject.replace('@', ' v')}".strip()
        return f"{subject} on {where}" if where else subject


@dataclass(frozen=True)
class Event:
    """One thing that happened during long work.

    kind: note (what happened before), step (a new line), progress (of the step), log (a line of
    output), done (of the step), result (the last one; `data` is what the service gives back).
    """

    kind: str
    text: str = ""
    done: float | None = None
    total: float | None = None
    unit: str = ""
    data: dict[str, Any] = field(default_factory=dict)
