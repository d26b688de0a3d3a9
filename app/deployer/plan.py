"""What has to be done on a host, decided from what is wanted and what was found. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from app.configuration.values import size as parse_size
from app.deployer import fit, secrets, tunnels, units
from app.deployer.agent.judging import SAMPLE_ALONE
from app.deployer.agent.retention import good, rollback_target
from app.deployer.agent.words import cannot_write
from app.deployer.certificates import Pair
from app.deployer.tunnels import Tunnel
from app.errors import Problem
from app.words import duration, size, told

LOOPBACK, PUBLIC = "loopback", "public"

GOOD_KEPT = 5
"""How many releases that were once production stay on a host, unless `keep` says otherwise."""

LISTS = ("unwritable", "history", "releases", "pythons", "addresses", "pinned", "dependents")
"""What `look` answers with lists."""

STARTING = ("start", "restart")
"""What starts a service; so does a switch that opens or closes the port."""


@dataclass(frozen=True)
class Step:
    """One thing to do on the host. `words` are for people, `do` and `args` for the agent.

    payload: what no log may show.
    """

    words: str
    do: str
    args: dict[str, Any] = field(default_factory=dict)
    uploads: tuple[str, ...] = ()
    payload: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Sent:
    """What is made on this side, since the host cannot: digests of the listings of trees.

    blobs: digest → size of all that these trees need.
    """

    environment: str = ""
    runtime: str = ""
    python: str = ""
    blobs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """A release as it should be on a host.

    manifest: what release.json will be. blobs: digest → size of all it needs, in any order.
    tool: (name, digest) of uv. runtime_files: path → digest. links_beside: the lock takes packages
    from files of the release itself (`--find-links ./wheels`). certificate: what has to be put
    there. location: what people call the host. sent: what it need not build. gate: what is asked of
    it before the switch and after (services/gate.py); None for one that has proved itself before:
    only its sample. secrets: values that are known on this side. packages: names in the lock,
    normalized. stop_first: there is no room for old and new at once. peak: bytes the version was
    seen to take. loads_in: seconds the model's last start on that host took.
    """

    manifest: dict[str, Any]
    blobs: dict[str, int]
    tool: tuple[str, str]
    lock: str
    runtime_lock: str
    runtime_files: dict[str, str]
    links_beside: bool = False
    port: int | None = None
    memory: str | None = None
    start_timeout: float = 300.0
    certificate: Pair | None = None
    location: str = ""
    sent: Sent = field(default_factory=Sent)
    gate: dict[str, Any] | None = None
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    packages: tuple[str, ...] = ()
    stop_first: bool = False
    peak: int | None = None
    loads_in: float | None = None
    keep: int = GOOD_KEPT

    @property
    def secret_names(self) -> list[str]:
        return list(self.manifest["scoring"].get("secrets") or ())

    @property
    def exposure(self) -> str:
        return str(self.manifest["scoring"].get("expose") or LOOPBACK)

    @property
    def public(self) -> bool:
        return self.exposure == PUBLIC

    @property
    def stages(self) -> list[dict[str, Any]]:
        """Those of a pipeline, as release.json has them; a model has none."""
        return list(self.manifest["scoring"].get("stages") or ())

    @property
    def asks(self) -> list[str]:
        """The instances of the same host that it asks."""
        reached = [each.get("reach") or {} for each in self.stages]
        own = [each for each in reached if "socket" in each and not each.get("tunnel")]
        return sorted({str(each["socket"]) for each in own})

    @property
    def tunnels_to(self) -> list[str]:
        """The locations that its tunnels lead to."""
        return sorted({each.location for each in self.tunnels})

    @property
    def tunnels(self) -> list[Tunnel]:
        """Those that its host has to keep to stages elsewhere."""
        return tunnels.of(self.manifest["scoring"])

    @property
    def calls_out(self) -> bool:
        """Whether it asks instances of other hosts."""
        return calls_out(self.manifest["scoring"])

    @property
    def name(self) -> str:
        return str(self.manifest["model"])

    @property
    def release(self) -> str:
        return str(self.manifest["id"])

    @property
    def keep_warm(self) -> float:
        """Seconds for which the release before stays up after the switch."""
        return float(self.manifest.get("keep_warm") or 0)

    @property
    def unit_names(self) -> list[str]:
        return list(units.names(self.name))


def calls_out(scoring: dict[str, Any]) -> bool:
    """Whether a release asks instances of other hosts, by the "scoring" of its release.json."""
    return any("url" in (each.get("reach") or {}) for each in scoring.get("stages") or ())


@dataclass(frozen=True)
class Running:
    """One front that is up. `unit` is what it was started as: a release id or "current".

    memory: bytes that it takes, with its workers.
    """

    unit: str
    release: str | None
    ready: bool
    accepting: bool
    memory: int | None = None


@dataclass(frozen=True)
class Found:
    """What `look` found on the host.

    exposure: who reaches the port, if it listens. certificate: PEM. addresses: of the host.
    runtime_python: major.minor of the Python that a runtime would be built on.
    fetches_pythons: whether uv can fetch Pythons there; asked only where one is lacking.
    warm: what is kept running idle, {"release", "unit", "until"}.
    unwritable: where systemd has to make folders for a service and cannot.
    secrets: which values the host has (`secrets.Known`). asking: whether the socket is open that
    pipelines ask. stages: how the instances fare that a pipeline is to ask, by name; dependents:
    the pipelines that ask this one (agent/stages.py). tunnels: units of its own, each {"text",
    "up"}. ssh: whether there is a client for them. shadow: which release gets copies, shadow.json.
    """

    mode: str
    base: str
    missing: frozenset[str]
    tool: bool
    runtime: bool
    environment: bool
    release: bool
    known: bool
    units: dict[str, str]
    listening: bool
    enabled: bool
    serving: tuple[Running, ...]
    current: str | None
    history: tuple[dict[str, Any], ...]
    releases: tuple[dict[str, Any], ...]
    port: int | None
    port_owners: dict[str, str]
    free_port: int
    disk_free: int
    ready: bool
    pythons: tuple[dict[str, str], ...]
    user: str
    systemd: bool
    linger: bool
    user_manager: bool
    unwritable: tuple[str, ...] = ()
    exposure: str = LOOPBACK
    tokens: int = 0
    certificate: str | None = None
    ipv6: bool = True
    addresses: tuple[str, ...] = ()
    runtime_python: str = ""
    fetches_pythons: bool = False
    warm: dict[str, Any] | None = None
    secrets: secrets.Known = secrets.NONE
    room: fit.Room = field(default_factory=fit.Room)
    pinned: tuple[str, ...] = ()
    asking: bool = True
    stages: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    dependents: tuple[dict[str, Any], ...] = ()
    tunnels: dict[str, dict[str, Any]] = field(default_factory=dict)
    ssh: bool = True
    shadow: dict[str, Any] | None = None


def parse_found(answer: dict[str, Any]) -> Found:
    """The agent's answer to `look`, as a value."""
    serving = tuple(
        Running(
            unit=each["unit"],
            release=each["release"],
            ready=bool(each["ready"]),
            accepting=bool(each.get("accepting")),
            memory=each.get("memory"),
        )
        for each in answer["serving"]
    )
    lists = {key: tuple(answer[key]) for key in LISTS}
    missing = frozenset(answer["missing"])
    known = secrets.Known(**answer["secrets"])
    flags = answer["room"]["flags"]
    room = fit.Room(**{**answer["room"], "flags": None if flags is None else tuple(flags)})
    return Found(
        **{
            **answer,
            **lists,
            "serving": serving,
            "missing": missing,
            "secrets": known,
            "room": room,
        },
    )


def plan(wanted: Wanted, found: Found) -> list[Step]:
    """Every step from what was found to what is wanted; [] when nothing is to be done."""
    refuse_unfit(found)
    refuse_tunnels(wanted, found)
    _refuse_unknown_secrets(wanted, found)
    fit.refuse_unfit(_need(wanted, found), _room(found))
    return [*put_there(wanted, found), *serve(wanted, found)]


def fits(wanted: Wanted, found: Found) -> list[fit.Check]:
    """Whether the host has room for it, thing by thing, and what is hardly meant."""
    return [*fit.checks(_need(wanted, found), _room(found)), *cautions(wanted, found)]


def cautions(wanted: Wanted, found: Found) -> list[fit.Check]:
    """What is not refused, of an environment that comes to the host, built there or sent."""
    return fit.cautions(() if found.environment else wanted.packages, found.room)


def _room(found: Found) -> fit.Room:
    return replace(found.room, base=found.base, disk_free=found.disk_free)


def refuse_unfit(found: Found) -> None:
    """Raise Problem where no service can start or stay, before the first change: no step of ours
    can mend that."""
    if not found.systemd:
        raise Problem(
            "That host does not run systemd, so nothing would keep an instance alive there.",
            remedy="Use a host with systemd, or the location local.",
        )
    if not found.linger:
        raise Problem(
            f"Services of {found.user} end at logout on that host: lingering is off.",
            remedy="If that user may use sudo there, add the location with --privilege sudo. "
            f"Else ask its administrator to run, once: loginctl enable-linger {found.user}",
        )
    if not found.user_manager:
        raise Problem(
            f"The systemd of {found.user} does not answer on that host.",
            remedy="If that user may use sudo there, add the location with --privilege sudo. "
            "Else ask its administrator to run: "
            f"systemctl start user@$(id -u {found.user})",
        )
    if found.unwritable:
        raise Problem(**cannot_write(found.user, found.unwritable))


def refuse_tunnels(wanted: Wanted, found: Found) -> None:
    """Raise Problem where the host could not keep the tunnels that a pipeline asks for."""
    if not wanted.tunnels:
        return
    stage = wanted.tunnels[0].stage
    if found.mode == "process":
        raise Problem(
            f'Stage "{stage}" is to be asked through an SSH tunnel, and only systemd keeps one.',
            cause="Nothing of the kind is at work on the location local.",
            remedy="Deploy the pipeline on a server; or leave `tunnel` out and have the stage's "
            "model public.",
        )
    if not found.ssh:
        raise Problem(
            f'Stage "{stage}" is to be asked through an SSH tunnel, and the pipeline\'s host has '
            "no SSH client.",
            cause="/usr/bin/ssh is not there.",
            remedy="Have openssh-client installed there (openssh-clients on Fedora and RHEL).",
        )


def put_there(wanted: Wanted, found: Found) -> list[Step]:
    """The release, complete on the host, nothing running yet."""
    if found.release and found.environment and found.runtime:
        return []
    needed = _needed(wanted, found)
    steps = [] if found.ready else [_prepare()]
    if needed:
        steps.append(_send(needed, wanted))
    if uses_tool(wanted, found) and not found.tool:
        name, digest = wanted.tool
        steps.append(Step(f"Put {name} on the host", "tool", {"name": name, "digest": digest}))
    if not found.runtime:
        steps.append(_runtime(wanted))
    if not found.environment:
        steps += [*_python(wanted, found), _environment(wanted, found)]
    if not found.release:
        words = f"Put release {_named(found, wanted.release)} together"
        steps.append(Step(words, "place", {"manifest": wanted.manifest}))
    return steps


def recall(wanted: Wanted, found: Found) -> list[Step]:
    """The steps to a release that is on the host already. One that runs there, ready, can become
    production even where none could be started."""
    steps = serve(wanted, found)
    if any(each.do in STARTING or each.args.get("opening") for each in steps):
        refuse_unfit(found)
    return steps


def serve(wanted: Wanted, found: Found) -> list[Step]:
    """From a complete release to production, and the others gone."""
    _refuse_open(wanted, found)
    _refuse_unknown_secrets(wanted, found)
    name, release, said = wanted.name, wanted.release, _named(found, wanted.release)
    ending, found = _end_shadow(wanted, found)
    on = next((each for each in found.serving if each.release == release), None)
    opening = _opening(wanted, found)
    steps = [
        *_certify(wanted),
        *confide(wanted, found),
        *_listen(wanted, found),
        *_tunnels(wanted, found),
    ]
    if on is None or not on.ready:
        others = _others(found, release)
        if wanted.stop_first and others:
            long = fit.downtime(wanted.loads_in)
            words = f"Stop {others}: nobody is answered until {said} is ready{long}"
            steps.append(Step(words, "stop_first", {"name": name}))
            others = ""
        beside = f" beside {others}" if others else ""
        args = {"name": name, "release": release, "within": wanted.start_timeout}
        steps.append(Step(f"Start {said}{beside} and wait until it is ready", "start", args))
    elif found.current == release and _has_new_secrets(wanted, found):
        words = f"Restart {said} with its new secrets"
        steps.append(Step(words, "restart", {"name": name}))
        on = None
    if found.current != release:
        steps.append(_gate(wanted))
    if opening or found.current != release or not _settled(wanted, found):
        unit = on.unit if on else release
        args = {"name": name, "release": release, "unit": unit, "expected": found.current}
        if wanted.keep_warm:
            args["keep_warm"] = wanted.keep_warm
        words = _switch_words(wanted, found)
        if opening:
            words = _opening_words(found, release, opening)
        steps.append(Step(words, "switch", {**args, "opening": opening}))
        if wanted.gate and wanted.gate["watch"] and found.current not in (None, release):
            steps.append(_watch(wanted, release if opening else unit))
    steps += _end_tunnels(wanted, found)
    return [*ending, *steps] if steps else []


def shadow(
    wanted: Wanted, found: Found, percent: float, tolerance: tuple[float, ...]
) -> list[Step]:
    """From what was found to a release that runs beside production on copies of its requests."""
    refuse_unfit(found)
    _refuse_unknown_secrets(wanted, found)
    fit.refuse_unfit(_need(wanted, found), _room(found))
    scoring = wanted.manifest["scoring"]
    args = {
        "name": wanted.name,
        "release": wanted.release,
        "version": wanted.manifest["version"],
        "percent": percent,
        "tolerance": list(tolerance),
        "answers_within": scoring["timeout"],
        "within": wanted.start_timeout,
    }
    old = (found.shadow or {}).get("release")
    ending = (
        f", in the place of {_named(found, old, wanted.release)}"
        if old and old != wanted.release
        else ""
    )
    beside = _named(found, str(found.current), wanted.release)
    words = (
        f"Start {_named(found, wanted.release)} beside {beside}{ending}, "
        f"send it {percent:g} % in copies"
    )
    steps = [*put_there(wanted, found), *_certify(wanted), *confide(wanted, found)]
    return [*steps, Step(words, "shadow", args)]


def _end_shadow(wanted: Wanted, found: Found) -> tuple[list[Step], Found]:
    """What ends the copying where production changes, and what is found without the release that
    gets copies: it would be started anew, since nothing gives a process its priority back."""
    if not found.shadow:
        return [], found
    release = str(found.shadow["release"])
    args = {"name": wanted.name, "entry": None}
    rest = tuple(each for each in found.serving if release not in (each.unit, each.release))
    step = Step(f"End the shadow {_named(found, release, wanted.release)}", "unshadow", args)
    changes = found.current != wanted.release
    return [step] if changes else [], replace(found, serving=rest)


def _refuse_open(wanted: Wanted, found: Found) -> None:
    """Nobody is let in from everywhere without a token, and never without TLS."""
    if wanted.public and not found.tokens:
        to = f" --to {wanted.location}" if wanted.location else ""
        raise Problem(
            f"{wanted.name} is to be public, and it has no token yet.",
            cause="A public instance answers only those who send one.",
            remedy=f"rhythmicml token add {wanted.name} NAME{to}, then the same command again",
        )
    if wanted.public and not (wanted.certificate or found.certificate):
        raise Problem(
            f"{wanted.name} is to be public, and there is no certificate for it.",
            remedy=f"rhythmicml deploy {wanted.name}",
        )


def _certify(wanted: Wanted) -> list[Step]:
    pair = wanted.certificate
    if not pair:
        return []
    content = {"certificate": pair.certificate, "certificate_key": pair.key}
    payload = json.dumps(content).encode()
    return [Step(f"Put {pair.words} there", "certificate", {"name": wanted.name}, (), payload)]


def _refuse_unknown_secrets(wanted: Wanted, found: Found) -> None:
    """No release is begun that would look for a secret in vain."""
    lacking = [
        name
        for name in wanted.secret_names
        if name not in wanted.secrets and name not in found.secrets.digests
    ]
    if lacking:
        to = f" --to {wanted.location}" if wanted.location else ""
        raise Problem(
            f"{wanted.name} needs {_count(len(lacking), 'secret')} without a value: "
            f"{', '.join(lacking)}.",
            cause="Neither this machine nor the host has one.",
            remedy=f"rhythmicml secret set {wanted.name} {lacking[0]}{to}",
        )


def confide(wanted: Wanted, found: Found) -> list[Step]:
    """The secrets that the host lacks or has with another value; those no release names go."""
    new = secrets.changed(wanted.secrets, wanted.secret_names, found.secrets)
    used = {name for each in found.releases for name in each.get("secrets") or ()}
    keep = {*used, *wanted.secret_names}
    spare = {*found.secrets.digests} - keep
    if not new and not spare:
        return []
    words = [f"put {_count(len(new), 'secret')} there"] if new else []
    words += [f"remove {_count(len(spare), 'secret')} that no release names"] if spare else []
    said = " and ".join(words)
    args = {"name": wanted.name, "keep": sorted(keep)}
    return [Step(said[0].upper() + said[1:], "secrets", args, (), json.dumps(new).encode())]


def _has_new_secrets(wanted: Wanted, found: Found) -> bool:
    """Whether what runs was told other values: not where only those went that it does not name."""
    new = secrets.changed(wanted.secrets, wanted.secret_names, found.secrets)
    return bool(new or (wanted.secret_names and found.secrets.stale))


def _exposure_before_switch(wanted: Wanted, found: Found) -> str:
    """Who reaches the port until the switch: never more than what is current was made for."""
    if found.listening:
        return found.exposure
    made_for = {str(each["id"]): each.get("expose") for each in found.releases}
    fit = found.current is None or made_for.get(found.current) == PUBLIC
    return PUBLIC if wanted.public and fit else LOOPBACK


def _opening(wanted: Wanted, found: Found) -> dict[str, Any] | None:
    """Where the switch has to open the port anew; None when it stays where it is."""
    before = _exposure_before_switch(wanted, found)
    if before == wanted.exposure:
        return None
    port = _port(wanted, found)
    written = _units(wanted, found, port, before)
    files = _units(wanted, found, port, wanted.exposure)
    return {
        "exposure": wanted.exposure,
        "port": port,
        "units": {name: text for name, text in files.items() if written[name] != text},
        "within": wanted.start_timeout,
    }


def _open_words(port: int) -> str:
    return f"Open port {port} to everyone (TLS; firewalls are not touched)"


def _opening_words(found: Found, release: str, opening: dict[str, Any]) -> str:
    port, others = opening["port"], _others(found, release)
    said = _named(found, release)
    ending = f": let {others} finish, then start {said} there" if others else ""
    if opening["exposure"] == PUBLIC:
        return f"{_open_words(port)}{ending}"
    return f"Close port {port} to all but the host itself{ending}"


def _settled(wanted: Wanted, found: Found) -> bool:
    """The release accepts requests, alone but for one kept warm, and will after a boot."""
    idle = (found.warm or {}).get("unit")
    up = [each for each in found.serving if each.unit != idle or each.accepting]
    states = [each.release == wanted.release and each.accepting for each in up]
    return states == [True] and found.enabled


def _switch_words(wanted: Wanted, found: Found) -> str:
    return f"Make {_named(found, wanted.release)} production{_ending(wanted, found)}"


def _ending(wanted: Wanted, found: Found) -> str:
    """What becomes of those that run beside it."""
    others = _others(found, wanted.release)
    before = [each for each in found.serving if each.release == found.current and each.ready]
    if not (wanted.keep_warm and before and found.current != wanted.release):
        return f", let {others} finish and stop" if others else ""
    memory = f" ({size(before[0].memory)} of memory)" if before[0].memory else ""
    before_it = _named(found, str(found.current), wanted.release)
    return f", keep {before_it} warm for {duration(wanted.keep_warm)}{memory}"


def tidy(wanted: Wanted, found: Found) -> list[Step]:
    """Old releases to remove, if there are any: before one is sent and after a switch."""
    keep = kept(found, wanted.release, wanted.keep)
    spare = {each["id"] for each in found.releases} - keep
    if not spare:
        return []
    coming = {
        "environment": wanted.manifest["environment"],
        "runtime": wanted.manifest["runtime"],
        "blobs": sorted(wanted.blobs),
    }
    args = {"name": wanted.name, "keep": sorted(keep), "coming": coming}
    return [Step(f"Remove {_count(len(spare), 'old release')}", "prune", args)]


def kept(found: Found, release: str, count: int = GOOD_KEPT) -> set[str]:
    """The new release, the current one and the one before, those that run or are pinned, and the
    last `count` that were production: one that failed takes nobody's place."""
    previous = rollback_target(found.history, found.releases, found.current)
    running = [each.release for each in found.serving]
    newest = good(found.history, found.releases, count)
    beside = (found.shadow or {}).get("release")
    ids = [release, found.current, previous, beside, *running, *found.pinned, *newest]
    return {each for each in ids if each}


def _needed(wanted: Wanted, found: Found) -> dict[str, int]:
    """Digests to send, with sizes: what is missing there of all that its user lacks."""
    needed = set(wanted.sent.blobs)
    if uses_tool(wanted, found) and not found.tool:
        needed.add(wanted.tool[1])
    if not found.runtime:
        needed |= {*wanted.runtime_files.values()}
        needed |= set() if wanted.sent.runtime else {wanted.runtime_lock}
    if wanted.lock and not (found.release and (found.environment or wanted.sent.environment)):
        needed.add(wanted.lock)
    if not found.release:
        needed |= {entry[1] for entry in wanted.manifest["files"] if entry[1]}
    sizes = {**wanted.blobs, **wanted.sent.blobs}
    return {digest: sizes[digest] for digest in needed & found.missing}


def _need(wanted: Wanted, found: Found) -> fit.Need:
    """What the host has to have room for."""
    here = found.release and found.environment and found.runtime
    builds = not (found.environment or wanted.sent.environment)
    ready = any(each.release == wanted.release and each.ready for each in found.serving)
    return fit.Need(
        wanted.name,
        sent=0 if here else sum(_needed(wanted, found).values()),
        packages=wanted.packages if builds else (),
        builds=builds,
        files=() if here else tuple(entry[0] for entry in wanted.manifest["files"]),
        memory=parse_size(wanted.memory) if wanted.memory else None,
        peak=wanted.peak,
        loads_in=wanted.loads_in,
        beside=bool(found.serving) and not ready and not wanted.stop_first,
    )


def _prepare() -> Step:
    return Step("Make the base folder", "prepare", {"group": units.READ_GROUP})


def _send(needed: dict[str, int], wanted: Wanted) -> Step:
    sent, whole = sum(needed.values()), sum({**wanted.blobs, **wanted.sent.blobs}.values())
    words = f"Send {_count(len(needed), 'file')}, {size(sent)} of {size(whole)}"
    return Step(words, "upload", uploads=tuple(sorted(needed)))


def _runtime(wanted: Wanted) -> Step:
    args = {
        "digest": wanted.manifest["runtime"],
        "files": wanted.runtime_files,
        "lock": wanted.runtime_lock,
        "tool": wanted.tool[0],
        "tree": wanted.sent.runtime,
    }
    words = (
        "Put the scoring runtime together" if wanted.sent.runtime else "Build the scoring runtime"
    )
    return Step(words, "runtime", args)


def uses_tool(wanted: Wanted, found: Found) -> bool:
    """Whether uv has something to do on the host."""
    environment, runtime = wanted.sent.environment, wanted.sent.runtime
    return not ((found.environment or environment) and (found.runtime or runtime))


def _python(wanted: Wanted, found: Found) -> list[Step]:
    """The Python of the model, if the host has none of that version."""
    version = str(wanted.manifest["python"])
    if interpreter(version, found):
        return []
    if wanted.sent.python:
        args = {"version": version, "tree": wanted.sent.python}
        return [Step(f"Put Python {version} on the host", "python", args)]
    if found.fetches_pythons:
        args = {"version": version, "tool": wanted.tool[0], "tree": ""}
        return [Step(f"Have uv fetch Python {version} there", "python", args)]
    there = ", ".join(each["version"] for each in found.pythons) or "none"
    raise Problem(
        f"Python {version} is not on that host.",
        cause=f"Found there: {there}.",
        remedy="Set `python` under [dependencies] to one of these and deploy again, "
        f"or have Python {version} installed there.",
    )


def _environment(wanted: Wanted, found: Found) -> Step:
    version, tree = str(wanted.manifest["python"]), wanted.sent.environment
    args = {
        "key": wanted.manifest["environment"],
        "lock": wanted.lock,
        "version": version,
        "python": interpreter(version, found),
        "tool": wanted.tool[0],
        "files": wanted.manifest["files"] if wanted.links_beside else [],
        "tree": tree,
    }
    name = wanted.manifest["environment"][:8]
    words = f"Put environment {name} together" if tree else f"Build environment {name}"
    return Step(words, "environment", args)


def interpreter(version: str, found: Found) -> str:
    """The path of a Python of that version on the host; empty when there is none."""
    for each in found.pythons:
        if each["version"] == version or each["version"].startswith(f"{version}."):
            return each["path"]
    return ""


def _listen(wanted: Wanted, found: Found) -> list[Step]:
    port = _port(wanted, found)
    exposure = _exposure_before_switch(wanted, found)
    files = _units(wanted, found, port, exposure)
    changed = {name: text for name, text in files.items() if found.units.get(name) != text}
    listening = found.listening and found.asking
    if not changed and listening and found.port == port and found.known:
        return []
    args = {"name": wanted.name, "port": port, "release": wanted.release, "units": changed}
    args["exposure"] = exposure
    if found.listening and not changed:
        return [Step("Listen for pipelines", "listen", args)]
    if found.listening:
        return [Step(f"Write the units of {wanted.name}", "listen", args)]
    words = _open_words(port) if exposure == PUBLIC else f"Listen on port {port}"
    return [Step(words, "listen", args)]


def _port(wanted: Wanted, found: Found) -> int:
    """The instance's own port, else the one asked for, else the first that is free there."""
    if found.listening and found.port:
        if wanted.port not in (None, found.port):
            raise Problem(
                f"{wanted.name} listens on port {found.port} and cannot move to {wanted.port} "
                "while it serves.",
                remedy=f"rhythmicml stop {wanted.name}, then deploy again",
            )
        return found.port
    port = wanted.port or found.port or found.free_port
    if owner := found.port_owners.get(str(port)):
        raise Problem(
            f"Port {port} is taken on that host.",
            cause=f"It belongs to {owner}.",
            remedy=f"Free it, or choose another: rhythmicml deploy {wanted.name} --port N",
        )
    return port


def _units(wanted: Wanted, found: Found, port: int, exposure: str) -> dict[str, str]:
    """The unit files while the port is open to that many."""
    if found.mode == "process":
        return {}
    public = exposure == PUBLIC
    unit = units.Unit(
        wanted.name,
        found.base,
        port,
        system=found.mode == "system",
        memory=wanted.memory,
        start_timeout=wanted.start_timeout,
        address=units.address(found.ipv6) if public else units.LOOPBACK,
        tls=public or wanted.public,
        secrets=bool(wanted.secret_names),
        pipeline=bool(wanted.stages),
        calls_out=wanted.calls_out,
    )
    return units.render(unit)


def _tunnels(wanted: Wanted, found: Found) -> list[Step]:
    """Those that are not there as they should be; the others stay for who uses them still."""
    if found.mode == "process":
        return []
    each = {tunnels.unit_name(wanted.name, one.stage): one for one in wanted.tunnels}
    files = tunnels.render(wanted.name, found.base, found.mode == "system", wanted.tunnels)
    there = found.tunnels
    changed = {name: text for name, text in files.items() if _text_of(there, name) != text}
    lacking = [name for name in files if name in changed or not there[name]["up"]]
    if not lacking:
        return []
    args = {
        "name": wanted.name,
        "units": changed,
        "known": {f"{each[name].stage}.known": each[name].known for name in lacking},
        "sockets": {
            name: f"{tunnels.socket_of(wanted.name, each[name].stage)}.sock" for name in lacking
        },
        "keep": sorted({*files, *there}),
    }
    ways = ", ".join(f"{each[name].stage} on {each[name].location}" for name in lacking)
    return [Step(f"Keep an SSH tunnel to {ways}", "tunnels", args)]


def _text_of(there: dict[str, dict[str, Any]], name: str) -> str | None:
    return there[name]["text"] if name in there else None


def _end_tunnels(wanted: Wanted, found: Found) -> list[Step]:
    """Those that production needs no more."""
    keep = {tunnels.unit_name(wanted.name, each.stage) for each in wanted.tunnels}
    spare = found.tunnels.keys() - keep
    if not spare:
        return []
    args = {"name": wanted.name, "units": {}, "known": {}, "sockets": {}, "keep": sorted(keep)}
    return [Step(f"End {_count(len(spare), 'SSH tunnel')}", "tunnels", args)]


def _gate(wanted: Wanted) -> Step:
    scoring = wanted.manifest["scoring"]
    sample = scoring["sample"]
    asked = {**SAMPLE_ALONE, **(wanted.gate or {})}
    golden = _count(len(asked["golden"]), "golden input")
    words = f"Check its answer to {sample}" if sample else "Check that it answers"
    if asked["golden"]:
        words = f"Check its answers to {f'{sample} and ' if sample else ''}{golden}"
    del asked["watch"]
    args = {
        "name": wanted.name,
        "release": wanted.release,
        "sample": sample,
        "within": scoring["timeout"] + 5,
        **asked,
    }
    return Step(words, "gate", args)


def _watch(wanted: Wanted, unit: str) -> Step:
    seconds = (wanted.gate or {})["watch"]
    args = {"name": wanted.name, "unit": unit, "seconds": seconds}
    return Step(f"Watch it for {seconds:g} s", "watch", args)


def _others(found: Found, release: str) -> str:
    there = (each.release or each.unit for each in found.serving if each.release != release)
    return ", ".join(_named(found, each, release) for each in there)


def _named(found: Found, release: str, coming: str = "") -> str:
    """As `told`, beside what is there and what is coming."""
    there = [str(each["id"]) for each in found.releases]
    return told(release, coming, *there, *(each.release or "" for each in found.serving))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
