"""The systemd units of an instance, as text. Nothing here touches a host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

READ_GROUP = "rhythmicml"
"""The group that may read the base folder of a system-wide installation."""


LOOPBACK = "127.0.0.1"

LONGEST_PATH = 107
"""Bytes that the kernel takes for the path of a Unix socket."""

NO_START_LIMIT = "StartLimitIntervalSec=0"
"""One release that hits a start limit would take the shared socket down with it (measured)."""


MOST_TASKS = "TasksMax=4096"
"""Each worker has threads of two or three libraries for every processor of the host: with 8
workers on 64 of them that is a thousand and more. Enough to stop what multiplies without end."""

OWN_PRIORITY = (
    "nice setpriority ioprio_set sched_setaffinity sched_setattr sched_setparam sched_setscheduler"
)
"""What of @resources models and libraries call; without privileges one can only give way by it."""


@dataclass(frozen=True)
class Unit:
    """What the units of one instance are rendered from.

    address: where the socket listens. tls: whether the service is given a certificate.
    secrets: whether it is given secrets. pipeline: whether it asks other instances. calls_out:
    whether some of them are on other hosts.
    """

    name: str
    base: str
    port: int
    system: bool
    memory: str | None = None
    start_timeout: float = 300.0
    address: str = LOOPBACK
    tls: bool = False
    secrets: bool = False
    pipeline: bool = False
    calls_out: bool = False

    @property
    def asked_at(self) -> str:
        """The Unix socket through which pipelines of the host ask it."""
        return f"{self.base}/ask/{self.name}.sock"


def address(ipv6: bool) -> str:
    """Every address of a host, IPv4 and, where it is there, IPv6."""
    return "[::]" if ipv6 else "0.0.0.0"


def names(instance: str) -> tuple[str, str, str]:
    """The unit files of an instance: the socket of its port, its service template, and the socket
    that pipelines ask. No instance's name has a dot, so none of these is another instance's."""
    own = f"rhythmicml-{instance}"
    return f"{own}.socket", f"{own}@.service", f"{own}.ask.socket"


def render(unit: Unit) -> dict[str, str]:
    """File name → content for everything this instance needs under systemd."""
    socket, service, ask = names(unit.name)
    return {socket: _socket(unit), service: _service(unit), ask: _ask(unit)}


def quoted(text: str) -> str:
    """One word of a unit file: specifiers off, quotes on."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def argument(text: str) -> str:
    """One word after the program of a command, where $ means something, too."""
    return quoted(text).replace("$", "$$")


def plain(path: str) -> str:
    """A path that stands alone to the end of a line: specifiers off, no quotes."""
    return path.replace("%", "%%")


def _socket(unit: Unit) -> str:
    return sections(
        Unit=[f"Description=RhythmicML: where {unit.name} is asked", NO_START_LIMIT],
        Socket=[
            f"ListenStream={unit.address}:{unit.port}",
            *(["BindIPv6Only=both"] if unit.address.startswith("[") else []),
            f"Service=rhythmicml-{unit.name}@current.service",
            "Backlog=4096",
            "NoDelay=true",
            "KeepAlive=true",
        ],
        Install=["WantedBy=sockets.target"],
    )


def _ask(unit: Unit) -> str:
    return sections(
        Unit=[f"Description=RhythmicML: where pipelines ask {unit.name}", NO_START_LIMIT],
        Socket=[
            *_listen_at(unit),
            f"Service=rhythmicml-{unit.name}@current.service",
            "FileDescriptorName=ask",
            "Backlog=4096",
            *_asked_by(unit),
            "RemoveOnStop=yes",
        ],
        Install=["WantedBy=sockets.target"],
    )


def _listen_at(unit: Unit) -> list[str]:
    """Its path; where that is too long, the same by way of a short link to its folder."""
    path = unit.asked_at
    if len(path.encode()) <= LONGEST_PATH:
        return [f"ListenStream={plain(path)}"]
    short = f"%t/rml-{hashlib.sha256(unit.base.encode()).hexdigest()[:8]}"
    return [
        f"ExecStartPre=/bin/ln -sfn {argument(f'{unit.base}/ask')} {short}",
        f"ListenStream={short}/{unit.name}.sock",
    ]


def _asked_by(unit: Unit) -> list[str]:
    """Who may connect: services that have the folder in their sight, or its one user."""
    if not unit.system:
        return ["SocketMode=0600", "DirectoryMode=0700"]
    return ["SocketMode=0660", f"SocketGroup={READ_GROUP}", "DirectoryMode=0750"]


def _service(unit: Unit) -> str:
    socket, _, ask = names(unit.name)
    return sections(
        Unit=[
            f"Description=RhythmicML: {unit.name}, release %i",
            "After=network.target",
            f"ConditionPathExists={plain(unit.base)}/instances/{unit.name}/releases/%i/release.json",
            NO_START_LIMIT,
        ],
        Service=[
            "Type=notify",
            "NotifyAccess=main",
            f"Sockets={socket} {ask}",
            # Else systemd makes the shared socket blocking, and the old release hangs in accept().
            "NonBlocking=yes",
            f"ExecStart={_command(unit)}",
            f"RuntimeDirectory=rhythmicml/{unit.name}/%i",
            "RuntimeDirectoryMode=0700",
            *_caches(unit),
            "Restart=always",
            "RestartSec=1",
            "WatchdogSec=30",
            f"TimeoutStartSec={unit.start_timeout:g}",
            "TimeoutStopSec=45",
            "KillMode=mixed",
            "UMask=0077",
            *_identity(unit),
            *_jobs(unit),
            *_credentials(unit),
            *_logging(unit),
            *_sandbox(unit),
            *_limits(unit),
        ],
        Install=[
            f"WantedBy={'multi-user' if unit.system else 'default'}.target",
            "DefaultInstance=current",
        ],
    )


def _command(unit: Unit) -> str:
    instance = f"{unit.base}/instances/{unit.name}"
    runtime = "/releases/%i/runtime"
    python = f"{quoted(instance)[:-1]}{runtime}/env/bin/python"
    program = f"{argument(instance)[:-1]}{runtime}/program"
    private = f"%t/rhythmicml/{unit.name}/%i/private.sock"
    return (
        f'{python}" -I {program}" front --instance {argument(instance)}'
        f" --release %i --private {private}"
    )


def _identity(unit: Unit) -> list[str]:
    """A user of its own per model, made by systemd while it runs; two releases share it."""
    if not unit.system:
        return []
    return ["DynamicUser=yes", f"SupplementaryGroups={READ_GROUP}"]


def _caches(unit: Unit) -> list[str]:
    """Where libraries keep what they compile and fetch; a user made by systemd has no home."""
    folder = f"rhythmicml-{unit.name}"
    named = ["PYTHONPYCACHEPREFIX", "XDG_CACHE_HOME", *(["HOME"] if unit.system else [])]
    return [f"CacheDirectory={folder}", *(f"Environment={name}=%C/{folder}" for name in named)]


def _jobs(unit: Unit) -> list[str]:
    """Where answers to jobs are kept: they outlive the process, and its user of the moment."""
    if unit.system:
        return [f"StateDirectory=rhythmicml-{unit.name}", "StateDirectoryMode=0700"]
    return [f"ReadWritePaths=-{quoted(f'{unit.base}/instances/{unit.name}/run')}"]


def _credentials(unit: Unit) -> list[str]:
    """What root keeps for the service to read; a user's own service reads its files itself."""
    if not unit.system:
        return []
    folder = f"{plain(unit.base)}/instances/{unit.name}"
    tls = [f"tls/{name}.pem" for name in ("certificate", "certificate_key")] if unit.tls else []
    secrets = ["secrets.json"] if unit.secrets else []
    return [
        f"LoadCredential={path.rpartition('/')[2]}:{folder}/{path}"
        for path in ("tokens.json", *tls, *secrets)
    ]


def _logging(unit: Unit) -> list[str]:
    """The journal, except where a plain user may not read it."""
    if unit.system:
        return ["LogRateLimitIntervalSec=10", "LogRateLimitBurst=2000"]
    log = f"{plain(unit.base)}/instances/{unit.name}/log/%i.log"
    return [f"StandardOutput=append:{log}", f"StandardError=append:{log}"]


def _sandbox(unit: Unit) -> list[str]:
    """What the model's code may not do: faults.md 5.1, measured with the usual libraries."""
    profile = [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        # Its own, too: what a killed process pool leaves there would be the host's memory for good.
        "TemporaryFileSystem=/dev/shm:rw,mode=1777,size=50%",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "PrivateUsers=yes",
        "CapabilityBoundingSet=",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        f"SystemCallFilter={OWN_PRIORITY}",
        "SystemCallErrorNumber=EPERM",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ]
    asks = quoted(f"{unit.base}/ask")
    if not unit.system:
        return [
            *profile,
            "ProtectHome=read-only",
            *([] if unit.pipeline else [f"InaccessiblePaths=-{asks}"]),
        ]
    return [
        *profile,
        "ProtectHome=yes",
        "ProtectKernelLogs=yes",
        "ProtectProc=invisible",
        "RemoveIPC=yes",
        "AmbientCapabilities=",
        "DevicePolicy=closed",
        *([] if unit.calls_out else ["IPAddressDeny=any", "IPAddressAllow=localhost"]),
        # Of the base folder only what it needs: neither other models nor the blobs of all.
        f"TemporaryFileSystem={quoted(unit.base)}:ro",
        f"BindReadOnlyPaths={quoted(f'{unit.base}/instances/{unit.name}')}",
        f"BindReadOnlyPaths={quoted(f'{unit.base}/envs')} {quoted(f'{unit.base}/runtime')}",
        f"BindReadOnlyPaths={quoted(f'-{unit.base}/pythons')}",
        *([f"BindReadOnlyPaths={asks}"] if unit.pipeline else []),
    ]


def _limits(unit: Unit) -> list[str]:
    """When memory is short, a worker that is killed is replaced; the rest of it goes on."""
    memory = [f"MemoryMax={unit.memory}"] if unit.memory else []
    return [*memory, MOST_TASKS, "OOMPolicy=continue", "LimitCORE=0", "LimitNOFILE=65536"]


def sections(**titled: list[str]) -> str:
    """A unit file of these sections."""
    blocks = [f"[{title}]\n" + "\n".join(lines) for title, lines in titled.items()]
    return (
        "# Written by RhythmicML; changes made by hand are undone.\n" + "\n\n".join(blocks) + "\n"
    )
