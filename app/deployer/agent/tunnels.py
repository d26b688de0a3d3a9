"""SSH tunnels to stages elsewhere: the key and the units here, the line that lets them in there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .failure import Failure
from .files import replace
from .layout import Instance, make_folder
from .locks import held
from .loop import op
from .managers import supervisor

if TYPE_CHECKING:
    from .loop import Agent, Payload
    from .supervise import Keeper, Systemd

SSH = "/usr/bin/ssh"
PRIVATE = 0o600
UP_WITHIN = 20.0
"""Seconds for ssh to log in at the other host."""


def facts(manager: Systemd | Keeper, instance: Instance) -> dict[str, dict[str, Any]]:
    """Unit → its text, and whether ssh is up."""
    return {
        name: {"text": text, "up": manager.tunnel_up(name)}
        for name, text in manager.units(manager.tunnels(instance)).items()
    }


@op("tunnel_key")
def tunnel_key(agent: Agent, args: dict[str, Any], payload: Payload) -> str | None:
    """The public half of the key of a pipeline's tunnels, "type base64"; null where there is none.

    args: name, make (whether one is made then).
    """
    instance = Instance(agent.base, args["name"])
    key = instance.tunnel / "key"
    if args["make"] and not key.with_suffix(".pub").is_file():
        held(agent, instance.name)
        _make_key(instance, key)
    try:
        return " ".join(key.with_suffix(".pub").read_text().split()[:2])
    except OSError:
        return None


def _make_key(instance: Instance, key: Path) -> None:
    make_folder(instance.folder)
    make_folder(instance.tunnel, 0o700)
    key.unlink(missing_ok=True)
    made = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", instance.name, "-f", str(key)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise Failure("ssh-keygen made no key for the tunnel.", cause=made.stderr.strip())


@op("tunnels")
def keep(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Have exactly these tunnels, and more if others are still in use, up and up after a boot.

    args: name, units (file name → text, those to write), known (file name → text), sockets (unit →
    file below ask/, of those that have to be up), keep (units; all others go).
    """
    instance, manager = Instance(agent.base, args["name"]), supervisor(agent)
    held(agent, instance.name)
    for name, text in args["known"].items():
        replace(instance.tunnel / name, text.encode(), PRIVATE)
    if args["units"]:
        manager.write_units(args["units"])
    for unit, name in args["sockets"].items():
        if unit in args["units"] or not manager.tunnel_up(unit):
            _bring_up(manager, instance, unit, instance.asked_at.with_name(name))
    gone = [each for each in manager.tunnels(instance) if each not in args["keep"]]
    end(manager, instance, gone)
    if not args["keep"]:
        shutil.rmtree(instance.tunnel, ignore_errors=True)
    return {"up": sorted(args["sockets"]), "removed": gone}


def _bring_up(manager: Systemd | Keeper, instance: Instance, unit: str, path: Path) -> None:
    path.unlink(missing_ok=True)
    manager.open_tunnel(unit)
    until = time.monotonic() + UP_WITHIN
    while not _answers(path):
        if time.monotonic() > until:
            said = manager.tunnel_log(instance, unit)
            raise Failure(
                f"The SSH tunnel {unit} does not come up.",
                cause=said.splitlines()[-1] if said else "ssh said nothing.",
                remedy="This host has to reach the other one by SSH, at the address its location "
                "has, and sshd there has to allow forwarding of TCP.",
                detail=said,
            )
        time.sleep(0.1)


def _answers(path: Path) -> bool:
    """Whether ssh has logged in: only then does it listen."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            return not probe.connect_ex(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def end(manager: Systemd | Keeper, instance: Instance, units: list[str]) -> None:
    """Take tunnels away, with their sockets."""
    manager.remove_tunnels(units)
    for unit in units:
        name = unit.removeprefix("rhythmicml-").removesuffix(".tunnel.service")
        instance.asked_at.with_name(f"{name}.sock").unlink(missing_ok=True)


@op("admit")
def admit(agent: Agent, args: dict[str, Any], payload: Payload) -> dict[str, Any]:
    """Have one line of authorized_keys for a key, or none. args: user, key, line ("": none).

    What else stands there stays as it is.
    """
    owner = pwd.getpwnam(args["user"])
    path = Path(owner.pw_dir, ".ssh", "authorized_keys").resolve()
    if not path.parent.is_dir():
        if not args["line"]:
            return {"changed": False}
        make_folder(path.parent, 0o700)
        os.chown(path.parent, owner.pw_uid, owner.pw_gid)
    with _alone(path.parent):
        before = path.read_bytes() if path.exists() else b""
        after = with_line(before, args["key"].encode(), args["line"].encode())
        if after != before:
            replace(path, after, PRIVATE, (owner.pw_uid, owner.pw_gid))
    return {"changed": after != before}


def with_line(text: bytes, key: bytes, line: bytes) -> bytes:
    """The file with that line for the key in place of any there is."""
    blob = key.split()[1]
    kept = [each for each in text.splitlines(keepends=True) if blob not in each.split()]
    if line and kept and not kept[-1].endswith(b"\n"):
        kept[-1] += b"\n"
    return b"".join([*kept, *([line + b"\n"] if line else [])])


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else of us changes files of that folder meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
