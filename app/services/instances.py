"""Production Instances: how they are, what they say, asking them."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.deployer import certificates
from app.deployer.plan import PUBLIC
from app.errors import Problem, Unreachable
from app.models import Event, Instance, Location, Version
from app.services import deployments, pipelines, places, states, truth
from app.services.together import ASKED_AT_ONCE, Crew, values
from app.words import ago

if TYPE_CHECKING:
    from app.deployer.road import Road
    from app.workspace import Workspace

ANSWER_WITHIN = 300.0
"""Seconds that an instance may take to answer `score`; its own timeout is shorter."""


Asked = Callable[["Workspace", Location], dict[str, dict[str, Any]]]


def status(
    work: Workspace, name: str | None = None, *, to: str | None = None, ask: Asked | None = None
) -> list[dict[str, Any]]:
    """Each instance that was deployed from here: its state and figures, asked from its host now.

    A host that does not answer gives "unreachable" and why, not a Problem. ask: does that, and may
    ask for more on the same way; gives what the host says of each instance.
    """
    with work.open_store() as store:
        if name:
            store.models.get(name)
    chosen = places.named(work, to) if to else None
    for place in [None] if chosen is None else chosen:
        truth.ask(work, name, place)
    with work.open_store() as store:
        known = [
            each
            for each in store.instances.all(model=name)
            if chosen is None or each.location in chosen
        ]
        newest = store.versions.newest(each.model for each in known)
        asked = {each.location: store.locations.get(each.location) for each in known}
    crew = Crew.of(work)
    said = values(
        crew,
        {name: partial(ask or ask_host, crew, at) for name, at in asked.items()},
        ASKED_AT_ONCE,
    )
    rows = [_row(each, said[each.location]) for each in known]
    for row in rows:
        row["latest"] = newest.get(row["model"])
        row["outdated"] = bool(row["latest"] and 0 < (row["version"] or 0) < row["latest"])
    states.judge(work, rows)
    with work.open_store() as store:
        around = [_around(each, said) for each in store.instances.all()]
        versions = store.versions.some((row["model"], row["version"]) for row in rows)
        for row in rows:
            row["note"] = truth.note_of(store, row["model"], row["location"], row["version"])
            row["stages"] = _stages(versions.get((row["model"], row["version"])), row, around)
    return rows


def _around(known: Instance, said: dict[str, dict[str, Any] | Problem]) -> dict[str, Any]:
    """How an instance is that a pipeline may ask; as last seen where its host was not asked."""
    if known.location in said:
        return _row(known, said[known.location])
    return asdict(known)


def _stages(
    version: Version | None, row: dict[str, Any], rows: list[dict[str, Any]]
) -> list[dict[str, Any]] | None:
    """Those of a pipeline, with how their instances are; None of a model."""
    if version is None or not version.configuration.stages:
        return None
    return pipelines.described(version.configuration, row["location"], rows)


def ask_host(work: Workspace, location: Location) -> dict[str, dict[str, Any]]:
    """Instance name → what the host says of it."""
    with work.reach(location, looking=True) as road:
        return asked_of(road, location)


def asked_of(road: Road, location: Location) -> dict[str, dict[str, Any]]:
    host = places.host_of(location, road)
    found = road.call("status", name=None, history=0)
    return {each["name"]: {**each, "host": host} for each in found}


def _row(known: Instance, said: dict[str, dict[str, Any]] | Problem) -> dict[str, Any]:
    row: dict[str, Any] = {
        "model": known.model,
        "location": known.location,
        "state": "unreachable",
        "version": known.version,
        "release": known.release,
        "port": known.port,
        "requests": None,
        "takes": None,
        "memory": None,
        "since": None,
        "exposure": known.exposure,
        "url": None,
        "tokens": None,
        "certificate": None,
        "warm": None,
        "pinned": [],
        "there": [],
        "error": "",
    }
    if isinstance(said, Problem):
        return {**row, "error": f"{said.what} Last seen {known.state} {ago(known.seen)}."}
    if known.model not in said:
        return {**row, "state": states.UNKNOWN, "error": "The host knows no such instance."}
    return {**row, **_figures(said[known.model]), **_access(known, said[known.model])}


def _access(known: Instance, said: dict[str, Any]) -> dict[str, Any]:
    """Who can ask it, where, with what; and whether it still has the certificate we put there."""
    public = said["exposure"] == PUBLIC
    tls = certificates.known(said["certificate"]) if public else None
    access = {
        "exposure": said["exposure"],
        "url": places.url_of(said["exposure"], said["host"], said["port"]),
        "tokens": said["tokens"],
        "certificate": tls.as_dict() if tls else None,
    }
    if tls and known.fingerprint and tls.fingerprint != known.fingerprint:
        access["error"] = (
            "Its certificate is not the one that was put there from here: "
            f"{tls.fingerprint}, not {known.fingerprint}."
        )
    return access


def _figures(said: dict[str, Any]) -> dict[str, Any]:
    fronts = [each for each in said["fronts"] if each["release"] == said["current"]]
    front: dict[str, Any] = next((f for f in fronts if f.get("accepting")), {})
    versions = {each["id"]: each["version"] for each in said["releases"]}
    return {
        "state": states.of(said),
        "version": versions.get(said["current"]),
        "release": said["current"],
        "port": said["port"],
        "requests": front.get("requests"),
        "takes": front.get("takes"),
        "memory": front.get("memory"),
        "since": front.get("started"),
        "warm": _warm(said, versions),
        "pinned": sorted({versions[each] for each in said["pinned"] if each in versions}),
        "there": sorted(set(versions.values())),
        "error": (front.get("error") or "") if front else _why(said),
    }


def _warm(said: dict[str, Any], versions: dict[str, int]) -> dict[str, Any] | None:
    """What is kept running for an instant rollback, and until when."""
    idle = said["warm"]
    up = idle and any(each["unit"] == idle["unit"] for each in said["fronts"])
    return {**idle, "version": versions.get(idle["release"])} if up else None


def _why(said: dict[str, Any]) -> str:
    if said["stopped"]:
        return ""
    if not said["listening"]:
        return f"It does not run any more. Start it again: rhythmicml start {said['name']}"
    ended = said["fate"].get("why")
    return (
        (f"Its process ended ({ended}). " if ended else "No process of it runs. ")
        + f"See why: rhythmicml logs {said['name']}; try again: rhythmicml start {said['name']}"
        if states.of(said) == "failing"
        else ""
    )


def score(
    work: Workspace, name: str, body: bytes, *, to: str | None = None, trace: bool = False
) -> dict[str, Any]:
    """Send a body to an instance; {"answer", "content" (bytes), "release", "version"}.

    It goes to the front's private socket, for which who may log in to the host needs no token.
    trace: a pipeline says with its answer what each stage gave (docs/design.md, "Pipelines").
    Raises Problem with the instance's own reason when it refuses.
    """
    location = places.location_of(work, name, to)
    with work.reach(location) as road:
        private = front_of(road, name, location)["private"]
        status, headers, content = _post(
            road, private, body, {"X-Pipeline-Trace": "1"} if trace else {}
        )
    text = content.decode("utf-8", "replace")
    if status != 200:
        raise refusal_of(name, location, status, text)
    try:
        answer = json.loads(text)
    except ValueError:
        answer = text
    return {
        "answer": answer,
        "content": content,
        "release": headers.get("X-Release"),
        "version": headers.get("X-Model-Version"),
    }


def front_of(road: Road, name: str, location: Location) -> dict[str, Any]:
    """The front that answers the public, with `port` and `exposure` of the instance."""
    said = places.status_of(road, name, location.name, history=0)
    if said["stopped"]:
        raise Problem(f"{name} is stopped on {location.name}.", remedy=f"rhythmicml start {name}")
    front: dict[str, Any] | None = next(
        (each for each in said["fronts"] if each.get("accepting")), None
    )
    if front is None:
        raise Problem(
            f"{name} does not answer on {location.name}: it is {states.of(said)}.",
            remedy=f"rhythmicml logs {name} shows why; rhythmicml start {name} tries again.",
        )
    return {**front, "port": int(said["port"]), "exposure": said["exposure"]}


class Through(http.client.HTTPConnection):
    """HTTP through a road, to a unix socket of the host."""

    def __init__(self, road: Road, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_WITHIN)
        self._road = road
        self._path = path

    def connect(self) -> None:
        self.sock = self._road.dial(self._path)
        self.sock.settimeout(self.timeout)


def _post(road: Road, private: str, body: bytes, more: dict[str, str]) -> tuple[int, Any, bytes]:
    connection = Through(road, private)
    try:
        headers = {"Content-Type": "application/json", **more}
        connection.request("POST", "/score", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"The instance gave no answer ({road.place}).",
            remedy="rhythmicml status shows how it is, rhythmicml logs what it said.",
        ) from error
    finally:
        connection.close()


def refusal_of(name: str, location: Location, status: int, text: str) -> Problem:
    try:
        said = json.loads(text)
    except ValueError:
        said = text
    return problem_of(name, status, said, location.name)


def problem_of(name: str, status: int, said: Any, location: str = "") -> Problem:
    """What an instance answered other than 200, in its own words. location: "" where it is none."""
    error = said.get("error", said) if isinstance(said, dict) else said
    parts = error if isinstance(error, dict) else {"what": str(error)}
    where = f" on {location}" if location else ""
    return Problem(
        f"{name}{where} refused the request with {status}.",
        cause=" ".join(str(parts[key]) for key in ("what", "cause") if parts.get(key)),
        remedy=_look_where(name, status, location) or str(parts.get("remedy") or CORRECT),
    )


CORRECT = "Correct the data; the version's sample shows what is understood."


def _look_where(name: str, status: int, location: str) -> str:
    """Where the reason of a failure stands; empty where the answer itself says what to do."""
    if not location or status != 500:
        return ""
    return f"rhythmicml logs {name} --to {location} shows what it said."


@dataclass
class Tunnel:
    """A port of this machine that leads to an instance. lives: asks whether it still does."""

    port: int
    public: bool = False
    lives: Callable[[], bool] = lambda: True
    _closed: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http{'s' if self.public else ''}://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Until Ctrl-C."""
        try:
            while not self._closed.wait(1.0):
                pass
        except KeyboardInterrupt:
            pass


@contextmanager
def tunnel(work: Workspace, name: str, *, port: int = 0, to: str | None = None) -> Iterator[Tunnel]:
    """Make an instance reachable on 127.0.0.1:port here; 0 takes any free port.

    Its own port is at the other end, so it wants a token if it has any, and TLS if it is public.
    """
    location = places.location_of(work, name, to)
    with work.reach(location) as road:
        front = front_of(road, name, location)
        forward = road.forward(port, front["port"])
        yield Tunnel(forward.port, front["exposure"] == PUBLIC, lambda: not road.lost)


def demo(work: Workspace, folder: Path | None = None) -> Iterator[Event]:
    """The whole main job on this machine: add, commit, deploy to local, score the sample."""
    if folder is None:
        folder = example(work)
    last = Event("result")
    for event in deployments.deploy(work, str(folder), to="local"):
        last = event
        if event.kind != "result":
            yield event
    deployed = last.data
    sample = folder / "sample.json"
    answer = score(work, deployed["model"], sample.read_bytes(), to="local")
    data = {**deployed, "answer": answer["answer"]}
    yield Event("result", _demo_words(deployed, answer, sample), data=data)


def example(work: Workspace) -> Path:
    """The example's folder, tracked; from one file, which is gone when it ends, a copy of it."""
    from app import config, frozen
    from app.services import models

    folder = models.example_folder() if frozen.FROZEN else config.asset("examples/tumour")
    models.add_example(work, folder)
    return folder


def _demo_words(deployed: dict[str, Any], answer: dict[str, Any], sample: Path) -> str:
    name = deployed["model"]
    kept = "" if deployed["changed"] else "Nothing had changed, so nothing was done.\n"
    return (
        f"{kept}{name} v{deployed['version']} is serving on this machine: {deployed['url']}/score\n"
        f"It was asked {sample.name} and said: {json.dumps(answer['answer'])}\n\n"
        f"Ask it yourself:\n"
        f"  curl -s {deployed['url']}/score -d @{sample}\n\n"
        f"Stop it:\n"
        f"  {_program()} stop {name}"
    )


def _program() -> str:
    """How this program was called, for lines to paste."""
    import sys

    from app import frozen, portable

    if frozen.FROZEN:
        return sys.executable
    installed = portable.program(Path(sys.executable).parent / "rhythmicml")
    return str(installed) if installed.exists() else "rhythmicml"
