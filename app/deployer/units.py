"""The systemd units of an instance, as text. Nothing here touches a host."""

from __future__ import annotations

from dataclasses import dataclass

READ_GROUP = "rhythmicml"
"""The group that may read the base folder of a system-wide installation."""


LOOPBACK = "127.0.0.1"

NO_START_LIMIT = "StartLimitIntervalSec=0"
"""One release that hits a start limit would take the shared socket down with it (measured)."""


@dataclass(frozen=True)
class Unit:
    """What the units of one instance are rendered from.

    address: where the socket listens. tls: whether the service is given a certificate.
    """

    name: str
    base: str
    port: int
    system: bool
    memory: str | None = None
    start_timeout: float = 300.0
    address: str = LOOPBACK
    tls: bool = False


def address(ipv6: bool) -> str:
    """Every address of a host, IPv4 and, where it is there, IPv6."""
    return "[::]" if ipv6 else "0.0.0.0"


def names(instance: str) -> tuple[str, str]:
    """The two unit files of an instance: its socket and its service template."""
    return f"rhythmicml-{instance}.socket", f"rhythmicml-{instance}@.service"


def render(unit: Unit) -> dict[str, str]:
    """File name → content for everything this instance needs under systemd."""
    socket, service = names(unit.name)
    return {socket: _socket(unit), service: _service(unit)}


def quoted(text: str) -> str:
    """One word of a unit file: specifiers off, quotes on."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def argument(text: str) -> str:
    """One word after the program of a command, where $ means something, too."""
    return quoted(text).replace("$", "$$")


def _plain(path: str) -> str:
    """A path that stands alone to the end of a line: specifiers off, no quotes."""
    return path.replace("%", "%%")


def _socket(unit: Unit) -> str:
    return _sections(
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


def _service(unit: Unit) -> str:
    socket, _ = names(unit.name)
    return _sections(
        Unit=[
            f"Description=RhythmicML: {unit.name}, release %i",
            "After=network.target",
            f"ConditionPathExists={_plain(unit.base)}/instances/{unit.name}/releases/%i/release.json",
            NO_START_LIMIT,
        ],
        Service=[
            "Type=notify",
            "NotifyAccess=main",
            f"Sockets={socket}",
            # Else systemd makes the shared socket blocking, and the old release hangs in accept().
            "NonBlocking=yes",
            f"ExecStart={_command(unit)}",
            f"RuntimeDirectory=rhythmicml/{unit.name}/%i",
            "RuntimeDirectoryMode=0700",
            f"CacheDirectory=rhythmicml-{unit.name}",
            f"Environment=PYTHONPYCACHEPREFIX=%C/rhythmicml-{unit.name}",
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


def _jobs(unit: Unit) -> list[str]:
    """Where answers to jobs are kept: they outlive the process, and its user of the moment."""
    if unit.system:
        return [f"StateDirectory=rhythmicml-{unit.name}", "StateDirectoryMode=0700"]
    return [f"ReadWritePaths=-{quoted(f'{unit.base}/instances/{unit.name}/run')}"]


def _credentials(unit: Unit) -> list[str]:
    """What root keeps for the service to read; a user's own service reads its files itself."""
    if not unit.system:
        return []
    folder = f"{_plain(unit.base)}/instances/{unit.name}"
    tls = [f"tls/{name}.pem" for name in ("certificate", "certificate_key")] if unit.tls else []
    return [
        f"LoadCredential={path.rpartition('/')[2]}:{folder}/{path}"
        for path in ("tokens.json", *tls)
    ]


def _logging(unit: Unit) -> list[str]:
    """The journal, except where a plain user may not read it."""
    if unit.system:
        return ["LogRateLimitIntervalSec=10", "LogRateLimitBurst=2000"]
    log = f"{_plain(unit.base)}/instances/{unit.name}/log/%i.log"
    return [f"StandardOutput=append:{log}", f"StandardError=append:{log}"]


def _sandbox(unit: Unit) -> list[str]:
    """What the model's code may not do: faults.md 5.1, measured with the usual libraries."""
    profile = [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
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
        "SystemCallErrorNumber=EPERM",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ]
    if not unit.system:
        return [*profile, "ProtectHome=read-only"]
    return [
        *profile,
        "ProtectHome=yes",
        "ProtectKernelLogs=yes",
        "ProtectProc=invisible",
        "RemoveIPC=yes",
        "AmbientCapabilities=",
        "DevicePolicy=closed",
        "IPAddressDeny=any",
        "IPAddressAllow=localhost",
        # Of the base folder only what it needs: neither other models nor the blobs of all.
        f"TemporaryFileSystem={quoted(unit.base)}:ro",
        f"BindReadOnlyPaths={quoted(f'{unit.base}/instances/{unit.name}')}",
        f"BindReadOnlyPaths={quoted(f'{unit.base}/envs')} {quoted(f'{unit.base}/runtime')}",
        f"BindReadOnlyPaths={quoted(f'-{unit.base}/pythons')}",
    ]


def _limits(unit: Unit) -> list[str]:
    memory = [f"MemoryMax={unit.memory}"] if unit.memory else []
    return [*memory, "TasksMax=256", "OOMPolicy=stop", "LimitCORE=0", "LimitNOFILE=65536"]


def _sections(**sections: list[str]) -> str:
    blocks = [f"[{title}]\n" + "\n".join(lines) for title, lines in sections.items()]
    return (
        "# Written by RhythmicML; changes made by hand are undone.\n" + "\n\n".join(blocks) + "\n"
    )
