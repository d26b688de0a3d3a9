"""A version as it should be on a host: what release.json will say, and all that has to be there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.deployer import runtime
from app.deployer.plan import Wanted
from app.deployer.tunnels import Tunnel
from app.models import Configuration, FileEntry, Model, Version
from app.services import gate, retention
from app.services.pipelines import INPUTS
from app.store import manifest

if TYPE_CHECKING:
    from app.deployer.apply import Source
    from app.store import Store


SCORING_KEYS = (
    "script",
    "artifacts",
    "input",
    "sample",
    "timeout",
    "workers",
    "memory",
    "start_timeout",
    "max_body",
    "env",
    "secrets",
    "job_timeout",
    "preload",
    "recycle_requests",
    "recycle_memory",
    "queue",
    "max_request_rows",
    "max_connections",
    "expose",
    "cors",
    "access_log",
    "schema",
    "monitor",
    "log",
)


@dataclass(frozen=True)
class Reached:
    """How a stage's instance is asked: by its socket on the same host, or elsewhere by its URL.

    secret: the name of the secret that is its token. certificate: what it shows, PEM. tunnel: what
    its socket leads to, where that is an instance elsewhere.
    """

    stage: str
    socket: str = ""
    url: str = ""
    secret: str = ""
    certificate: str = ""
    tunnel: Tunnel | None = None

    def as_json(self) -> dict[str, Any]:
        if self.tunnel:
            kept = {"token": self.secret, "certificate": self.certificate}
            return {"socket": self.socket, **kept, "tunnel": self.tunnel.as_json()}
        if self.socket:
            return {"socket": self.socket}
        return {"url": self.url, "token": self.secret, "certificate": self.certificate}


def shipped(
    files: Iterable[FileEntry], configuration: Configuration, *golden: tuple[str, str | None]
) -> list[FileEntry]:
    """The files that go to the host: all but `[deploy] exclude`, which never hides what runs."""
    import pathspec

    needed = {configuration.script if configuration.runs_script else None, configuration.sample}
    needed |= {path for pair in golden for path in pair}
    rules = pathspec.GitIgnoreSpec.from_lines(configuration.exclude)
    return [each for each in files if each.path in needed or not rules.match_file(each.path)]


def wanted(
    store: Store,
    model: Model,
    version: Version,
    hello: dict[str, Any],
    port: int | None,
    reached: Iterable[Reached] = (),
) -> tuple[Wanted, Source]:
    """The release that this version makes on the host that said hello, and where its blobs are.

    reached: how the instances of a pipeline's stages are asked.
    """
    configuration = version.configuration
    every = manifest.checked(manifest.parse(store.blobs.read(version.manifest)))
    inputs = gate.golden((each.path for each in every), (version.schema or {}).get("kind", ""))
    files = shipped(every, configuration, *inputs)
    unshipped = sorted(set(every) - set(files))
    python, arch = configuration.python, hello["arch"]
    host_python = ".".join(hello["python"].split(".")[:2])
    tool = runtime.tool(arch)
    parts = [*runtime.program().values(), runtime.lock(), *([tool[1]] if tool else [])]
    own = {each.digest: each for each in parts}
    lock_path = store.blobs.path(version.lock)
    blobs = {entry.digest: entry.size for entry in files if entry.digest}
    blobs |= {digest: part.size for digest, part in own.items()}
    blobs[version.lock] = lock_path.stat().st_size
    lock = lock_path.read_text("utf-8")
    content = {
        "files": manifest.rows(files),
        "environment": _environment(version, arch),
        "runtime": runtime.digest(host_python, arch),
        "python": python,
        "scoring": _scoring(version, tuple(reached)),
    }
    manifested = _manifest(model, version, content)
    if configuration.keep_warm:
        manifested["keep_warm"] = configuration.keep_warm
    release = Wanted(
        manifest={**manifested, "origin": origin(version, unshipped)},
        blobs=blobs,
        tool=(tool[0], tool[1].digest) if tool else ("", ""),
        lock=version.lock,
        runtime_lock=runtime.lock().digest,
        runtime_files={path: part.digest for path, part in runtime.program().items()},
        links_beside=links_beside(lock),
        packages=packages(lock),
        port=port or configuration.port,
        memory=configuration.memory,
        peak=version.memory,
        start_timeout=configuration.start_timeout,
        gate=gate.asked(configuration, inputs),
        keep=retention.of(store, version),
    )

    def source(digest: str) -> tuple[Path, int]:
        return (own[digest].path if digest in own else store.blobs.path(digest)), blobs[digest]

    return release, source


def links_beside(lock: str) -> bool:
    """Whether a lock takes packages from a folder of the model, such as `--find-links ./wheels`."""
    return any(
        re.match(r"(-f|--find-links)[ =]+(?![a-z]+://|/)", line) for line in lock.splitlines()
    )


def packages(lock: str) -> tuple[str, ...]:
    """The names of what a lock installs, in lower case with dashes."""
    names = re.findall(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])? *(?:==|@)", lock, re.MULTILINE)
    return tuple(re.sub(r"[-_.]+", "-", name).lower() for name in names)


def _environment(version: Version, arch: str) -> str:
    """The key of the environment it runs in; empty for a pipeline that runs nothing of its own."""
    if not version.configuration.runs_script:
        return ""
    return f"{version.lock[:16]}-cp{version.configuration.python.replace('.', '')}-{arch}"


def scoring(configuration: Configuration) -> dict[str, Any]:
    """What the scoring program reads of the configuration."""
    batch = asdict(configuration.batch) if configuration.batch else None
    return {**{key: getattr(configuration, key) for key in SCORING_KEYS}, "batch": batch}


def _scoring(version: Version, reached: Sequence[Reached]) -> dict[str, Any]:
    """The same, and of a pipeline its stages with how they are asked."""
    configuration = version.configuration
    said = scoring(configuration)
    if not configuration.stages:
        return said
    reach = {each.stage: each for each in reached}
    taken = INPUTS.get((version.schema or {}).get("kind", ""))
    return {
        **said,
        "input": configuration.input or taken,
        "pipeline": {key: configuration.pipeline.get(key) for key in PIPELINE_KEYS},
        "stages": [_stage(each, reach.get(each["name"])) for each in configuration.stages],
        "secrets": [*configuration.secrets, *(each.secret for each in reached if each.secret)],
    }


PIPELINE_KEYS = ("output", "parallel", "max_hops")


def _stage(stage: dict[str, Any], reached: Reached | None) -> dict[str, Any]:
    said = {key: held for key, held in stage.items() if key not in ("location", "tunnel")}
    return {**said, "reach": reached.as_json() if reached else None}


def _manifest(model: Model, version: Version, content: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps([model.name, version.number, content], sort_keys=True)
    return {
        "format": 1,
        "id": f"v{version.number}-{sha256(text.encode()).hexdigest()[:12]}",
        "model": model.name,
        "version": version.number,
        "digest": version.digest,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **content,
    }


def origin(version: Version, unshipped: list[FileEntry]) -> dict[str, Any]:
    """What the host does not need, and `adopt` does to make the version anew; no part of the id."""
    return {
        "message": version.message,
        "author": version.author,
        "created": version.created,
        "manifest": version.manifest,
        "lock": version.lock,
        "configuration": version.configuration.as_dict(),
        "schema": version.schema,
        "unshipped": manifest.rows(unshipped),
    }


def recalled(there: dict[str, Any]) -> Wanted:
    """A release that is on the host already, by its release.json: nothing has to be sent."""
    return Wanted(
        manifest=there,
        blobs={},
        tool=("", ""),
        lock="",
        runtime_lock="",
        runtime_files={},
        memory=there["scoring"]["memory"],
        start_timeout=there["scoring"]["start_timeout"],
    )
