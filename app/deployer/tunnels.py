"""SSH tunnels that a pipeline's host keeps to stages elsewhere, and what lets them in. Pure.

docs/decisions/0041-tunnels.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from app.deployer.units import (
    LOOPBACK,
    NO_START_LIMIT,
    READ_GROUP,
    argument,
    plain,
    quoted,
    sections,
)

NOTHING = "192.0.2.1:1"
"""An address for examples: what may be listened at there, as a line has to name something."""


@dataclass(frozen=True)
class Tunnel:
    """The way to one stage, as "tunnel" of its `reach` in release.json has it.

    location: what people call the other host. user, host, port: of the login there. to: the port
    of the stage's instance. keys: host keys that are believed, each "type base64".
    """

    stage: str
    location: str
    user: str
    host: str
    port: int
    to: int
    keys: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "keys": list(self.keys)}

    @property
    def known(self) -> str:
        """Its own known_hosts file."""
        return "".join(f"{self.stage} {key}\n" for key in self.keys)


def of(scoring: Mapping[str, Any]) -> list[Tunnel]:
    """The tunnels of a release, by the "scoring" of its release.json."""
    reached = [each.get("reach") or {} for each in scoring.get("stages") or ()]
    said = [each["tunnel"] for each in reached if each.get("tunnel")]
    return [Tunnel(**{**each, "keys": tuple(each["keys"])}) for each in said]


def socket_of(pipeline: str, stage: str) -> str:
    """How its end here is called below ask/; no instance's name has a dot."""
    return f"{pipeline}.{stage}"


def unit_name(pipeline: str, stage: str) -> str:
    return f"rhythmicml-{socket_of(pipeline, stage)}.tunnel.service"


def render(pipeline: str, base: str, system: bool, tunnels: Iterable[Tunnel]) -> dict[str, str]:
    """File name → content of the unit of each."""
    return {
        unit_name(pipeline, each.stage): _unit(pipeline, base, system, each) for each in tunnels
    }


def _unit(pipeline: str, base: str, system: bool, tunnel: Tunnel) -> str:
    ask, own = f"{base}/ask", f"{base}/instances/{pipeline}/tunnel"
    return sections(
        Unit=[
            f"Description=RhythmicML: SSH tunnel of {pipeline} to its stage {tunnel.stage}",
            *(["Wants=network-online.target", "After=network-online.target"] if system else []),
            NO_START_LIMIT,
        ],
        Service=[
            f"ExecStart={_command(pipeline, tunnel)}",
            # What the command names is relative to it: no path is too long or means anything else.
            f"WorkingDirectory={plain(ask)}",
            "Restart=always",
            "RestartSec=2",
            "UMask=0077",
            *([f"Group={READ_GROUP}"] if system else _log(own, tunnel.stage)),
            *_sandbox(base, ask, own, system),
        ],
        Install=[f"WantedBy={'multi-user' if system else 'default'}.target"],
    )


def _command(pipeline: str, tunnel: Tunnel) -> str:
    own = f"../instances/{pipeline}/tunnel"
    options = {
        "ExitOnForwardFailure": "yes",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": f"{own}/{tunnel.stage}.known",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": tunnel.stage,
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "StreamLocalBindUnlink": "yes",
        "StreamLocalBindMask": "0117",
    }
    here = f"./{socket_of(pipeline, tunnel.stage)}.sock"
    words = ["-N", "-T", "-F", "none"]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    words += ["-i", f"{own}/key", "-L", f"{here}:{LOOPBACK}:{tunnel.to}"]
    words += ["-p", str(tunnel.port), "-l", tunnel.user, tunnel.host]
    return " ".join(["/usr/bin/ssh", *map(argument, words)])


def _log(own: str, stage: str) -> list[str]:
    """What ssh said last, where a plain user may not read the journal."""
    return [f"StandardError=truncate:{plain(own)}/{stage}.log"]


def _sandbox(base: str, ask: str, own: str, system: bool) -> list[str]:
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
        "MemoryDenyWriteExecute=yes",
        "CapabilityBoundingSet=",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged @resources",
        "SystemCallErrorNumber=EPERM",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "TasksMax=16",
        "LimitCORE=0",
    ]
    if not system:
        return [
            *profile,
            "PrivateUsers=yes",
            "ProtectHome=read-only",
            f"ReadWritePaths={quoted(ask)}",
        ]
    return [
        *profile,
        "ProtectHome=yes",
        "ProtectKernelLogs=yes",
        "ProtectProc=invisible",
        "ProcSubset=pid",
        "RemoveIPC=yes",
        # root without capabilities still owns its files: of those that matter it sees its key alone
        "InaccessiblePaths=-/etc/shadow -/etc/gshadow -/etc/ssh -/var/log",
        f"TemporaryFileSystem={quoted(base)}:ro",
        f"BindReadOnlyPaths={quoted(own)}",
        f"BindPaths={quoted(ask)}",
    ]


# What lets it in


def line(public: str, ports: Iterable[int], comment: str) -> str:
    """The line of authorized_keys that lets a key reach those ports of the host, nothing else.

    public: "type base64". Without `permitlisten` it could listen there, so it may where that makes
    no sense.
    """
    permits = [f'permitopen="{LOOPBACK}:{port}"' for port in sorted(set(ports))]
    options = ["restrict", "port-forwarding", *permits, f'permitlisten="{NOTHING}"']
    return f'{",".join(options)},command="/bin/false" {public} {comment}'


def admitting(pipeline: str, location: str, place: str) -> str:
    """In words: what is done on the other side, before anything else."""
    return f"Let {location} in on {place} by SSH, for {pipeline} alone"


def comment(pipeline: str, location: str) -> str:
    """By which people know the line of a pipeline."""
    return f"rhythmicml-pipeline-{pipeline}-on-{location}"
