"""Real servers to test on: Debian guests that boot their own systemd and sshd under systemd-nspawn.

    with Guest.boot("prod") as server:
        server.run(["systemctl", "is-system-running"])

A guest is an overlay over a cached base, so each starts as a clean server, in about two seconds.
It has a number N that nobody else on this machine holds; its names and addresses follow from N:

    rml-N          the machine, and its control group
    ve-rml-N       this end of its cable, 10.77.N.1; its own end is host0, 10.77.N.2
    rml_N          its nft table: the way to the internet, or the lack of it
    GUESTS/N       its files, locked as long as the test run lives

A run that was killed leaves its guests behind, unlocked; the next run clears them away.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

SUITE = "bookworm"
PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,dbus-user-session,openssh-server,iproute2,python3,"
    "ca-certificates,sudo,procps"
)
VARIANTS = {
    "plain": "",
    "venv": ",python3-venv",
    "polkit": ",polkitd",
    "shells": ",fish,tcsh,zsh",
    "trixie": "",
}
NEWER = {"trixie": "trixie"}
"""Variants of another suite."""
USERS = ("root", "ds", "ops")
USERS_BY_MODE = {"root": "root", "sudo": "ops", "user": "ds"}

# What a base needs beyond its packages. Host keys and the machine id are each guest's own.
FURNISH = """
for user in ds ops; do useradd --create-home --shell /bin/bash $user; done
echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops
chmod 440 /etc/sudoers.d/ops
for user in root ds ops; do install -d -m 700 -o $user -g $user $(eval echo ~$user)/.ssh; done
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
rm -rf /var/cache/apt /var/lib/apt/lists
"""

GUESTS = Path("/var/lib/rhythmicml-test-guests")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "nsenter": "util-linux",
}
PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "pip_index_url", "uv_default_index")

T = TypeVar("T")


class GuestTrouble(Exception):
    """A guest could not be made, or a command in it (or about it) failed."""


def why_not() -> str:
    """Why no guest can boot here, in one sentence; empty when one can."""
    if sys.platform != "linux":
        return "host tests boot Linux guests, and this is no Linux"
    if os.geteuid() != 0:
        return "host tests boot guests, which takes root"
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    return f"host tests need: apt-get install {' '.join(packages)}" if packages else ""


class Base:
    """The file system that guests start from, built once and kept in a cache folder."""

    @staticmethod
    def ensure(variant: str = "plain") -> Path:
        """The base of that variant, built first when this machine has none (about a minute)."""
        suite = NEWER.get(variant, SUITE)
        recipe = repr((suite, PACKAGES, VARIANTS[variant], FURNISH))
        cache = cache_folder()
        base = cache / f"{suite}-{variant}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{suite}-{variant}.lock"):
            if not base.is_dir():
                build = cache / f"{suite}-{variant}.building"
                shutil.rmtree(build, ignore_errors=True)
                bootstrap(build, suite, PACKAGES + VARIANTS[variant])
                furnish(build)
                build.rename(base)
        return base


def cache_folder() -> Path:
    wanted = os.environ.get("RHYTHMICML_TEST_CACHE")
    return Path(wanted) if wanted else Path.home() / ".cache" / "rhythmicml-tests"


def bootstrap(base: Path, suite: str, packages: str) -> None:
    call("debootstrap", "--variant=minbase", f"--include={packages}", suite, str(base))


def furnish(base: Path) -> None:
    call("chroot", str(base), "sh", "-eu", input=FURNISH)


@dataclass(frozen=True)
class Slot:
    """A number that one guest holds, and the names that follow from it."""

    number: int
    lock: IO[str]

    @classmethod
    def take(cls) -> Slot:
        """The first free slot, after clearing away what killed runs left in any."""
        GUESTS.mkdir(mode=0o700, exist_ok=True)
        for folder in guest_folders():
            if left_over := cls.hold(int(folder.name)):
                with left_over.lock:
                    left_over.clear()
        for number in range(1, 250):
            if slot := cls.hold(number):
                if not call("ip", "-4", "route", "show", "root", f"10.77.{number}.0/24"):
                    slot.folder.mkdir()
                    return slot
                slot.lock.close()  # somebody else's network
        raise GuestTrouble(f"All 249 guests are taken; see {GUESTS}.")

    @classmethod
    def hold(cls, number: int) -> Slot | None:
        """That slot, unless another guest holds it."""
        lock = (GUESTS / f"{number}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return cls(number, lock)

    @property
    def folder(self) -> Path:
        return GUESTS / str(self.number)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def machine(self) -> str:
        return f"rml-{self.number}"

    @property
    def link(self) -> str:
        return f"ve-{self.machine}"

    @property
    def near(self) -> str:
        return f"10.77.{self.number}.1"

    @property
    def far(self) -> str:
        return f"10.77.{self.number}.2"

    @property
    def table(self) -> str:
        return f"rml_{self.number}"

    def clear(self) -> None:
        """End and remove whatever there is under this number."""
        for group in control_groups(self.machine):
            soon("ending a guest", partial(emptied, group))
        call_code("nft", "delete", "table", "ip", self.table)
        if os.path.ismount(self.root):
            soon("unmounting a guest", lambda: not call_code("umount", "-R", str(self.root)))
        if self.folder.exists():
            shutil.rmtree(self.folder)


class Guest:
    """One booted server. `ds` is a plain user, `ops` has sudo, and one key opens all three."""

    def __init__(self, name: str, base: Path, slot: Slot) -> None:
        self.name = name
        self.base = base
        self.slot = slot
        self.address = slot.far
        self.root = slot.root
        self.key = slot.folder / "key"
        self.known_hosts = slot.folder / "known_hosts"
        self.console = slot.folder / "console.log"
        self.environment = {"LANG": "C.UTF-8", "SSL_CERT_FILE": str(BUNDLE), **passed_on()}
        self.process: subprocess.Popen[bytes] | None = None
        self.leader = 0

    @classmethod
    def boot(cls, name: str = "server", internet: bool = True, variant: str = "plain") -> Guest:
        """A clean server that accepts logins and has finished booting."""
        guest = cls(name, Base.ensure(variant), Slot.take())
        try:
            forward_for_guests()
            guest.prepare()
            guest.internet(internet)
            guest.boot_again()
            guest.run(["systemctl", "is-system-running", "--wait"], check=False)
        except BaseException:
            guest.stop()
            raise
        return guest

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # Its files

    def prepare(self) -> None:
        """Lay its own layer over the base, and put in it what makes it this server."""
        upper, work = self.slot.folder / "upper", self.slot.folder / "work"
        for folder in (upper, work, self.root):
            folder.mkdir()
        layers = f"lowerdir={self.base},upperdir={upper},workdir={work}"
        call("mount", "-t", "overlay", "-o", layers, self.slot.machine, str(self.root))
        for path, text in self.own_files().items():
            (self.root / path).write_text(text)
        shutil.copy(BUNDLE, self.root / str(BUNDLE).lstrip("/"))
        call("ssh-keygen", "-A", "-f", str(self.root))
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.key))
        public = self.key.with_suffix(".pub").read_text()
        for user in USERS:
            self.authorize(user, public)
        lines = [f"{self.address} {kind} {key}\n" for kind, key in self.host_keys().items()]
        self.known_hosts.write_text("".join(lines))

    def own_files(self) -> dict[str, str]:
        return {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n",
            "etc/machine-id": f"{uuid.uuid4().hex}\n",
            "etc/resolv.conf": resolver(),
            "etc/environment": "".join(f"{k}={v}\n" for k, v in self.environment.items()),
        }

    def authorize(self, user: str, public_key: str) -> None:
        """Let the holder of this key in as that user, and nobody else."""
        uid, home = self.account(user)
        keys = self.root / home.lstrip("/") / ".ssh" / "authorized_keys"
        keys.write_text(public_key)
        os.chown(keys, uid, uid)

    def add_user(self, user: str, shell: str = "/bin/bash") -> None:
        """One more user without any rights; the same key lets her in."""
        self.run(["useradd", "--create-home", "--shell", shell, user])
        self.run(["install", "-d", "-m", "700", "-o", user, "-g", user, f"/home/{user}/.ssh"])
        self.authorize(user, self.key.with_suffix(".pub").read_text())

    def account(self, user: str) -> tuple[int, str]:
        """The number and the home folder of one of its users."""
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, uid, _, _, home, _ = line.split(":")
            if name == user:
                return int(uid), home
        raise GuestTrouble(f'"{self.name}" has no user "{user}".')

    def host_keys(self) -> dict[str, str]:
        """Algorithm -> public key in base64, for each key its sshd has."""
        files = sorted((self.root / "etc/ssh").glob("ssh_host_*_key.pub"))
        pairs = [file.read_text().split() for file in files]
        return {pair[0]: pair[1] for pair in pairs}

    @property
    def fingerprint(self) -> str:
        """Its ed25519 host key as OpenSSH shows it: SHA256:…"""
        digest = hashlib.sha256(base64.b64decode(self.host_keys()["ssh-ed25519"])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    # Its life

    def boot_again(self) -> None:
        """Boot after `kill`, and return once it accepts logins."""
        command = [
            *("systemd-nspawn", f"--directory={self.root}", f"--machine={self.slot.machine}"),
            *("--boot", "--register=no", "--keep-unit", "--network-veth"),
            *("--resolv-conf=off", "--link-journal=no", "--settings=no"),
        ]
        with self.console.open("ab") as console:
            self.process = subprocess.Popen(
                in_own_control_group(self.slot.machine, command),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        try:
            self.leader = soon("starting systemd in the guest", self.find_leader)
            soon("plugging in the guest's cable", self.connect)
            soon("starting the guest's sshd", self.accepts_logins)
        except GuestTrouble as error:
            tail = self.console.read_text(errors="replace")[-3000:]
            raise GuestTrouble(f"{error}\nThe guest's console ends:\n{tail}") from error

    def find_leader(self) -> int:
        """The guest's own process 1, as numbered here; 0 while it has none."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise GuestTrouble("systemd-nspawn ended before the guest was up.")
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return 0

    def connect(self) -> bool:
        """Give both ends of the cable their addresses; False while there is no cable."""
        if not Path("/sys/class/net", self.slot.link).exists():
            return False
        call("ip", "address", "replace", f"{self.slot.near}/24", "dev", self.slot.link)
        call("ip", "link", "set", self.slot.link, "up")
        for step in (
            f"address replace {self.address}/24 dev host0",
            "link set host0 up",
            f"route replace default via {self.slot.near}",
        ):
            call("nsenter", f"--target={self.leader}", "--net", "ip", *step.split())
        return True

    def accepts_logins(self) -> bool:
        wanted = ["systemctl", "start", "systemd-user-sessions.service", "ssh.service"]
        if self.run(wanted, check=False).returncode:
            return False  # its bus is not up yet
        with contextlib.suppress(OSError), socket.create_connection((self.address, 22), 1) as link:
            return link.recv(4) == b"SSH-"
        return False

    def halt(self) -> None:
        """Shut it down as an administrator would; after 60 s, as a power cut would."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.leader = 0

    def reboot(self) -> None:
        """Shut down and boot again, on the same files; returns once it accepts logins."""
        self.halt()
        self.boot_again()

    def kill(self) -> None:
        """Cut its power: all its processes end at once, and nothing is told to stop."""
        assert self.process is not None
        assert self.leader, f'"{self.name}" is not running'
        os.kill(self.leader, signal.SIGKILL)
        self.process.wait(60)
        self.leader = 0

    def stop(self) -> None:
        """Shut it down and remove all there was of it. A second time does nothing."""
        if self.slot.lock.closed:
            return
        self.halt()
        self.slot.clear()
        self.slot.lock.close()
        forward_for_guests()

    # What one does with it

    def run(
        self,
        argv: Sequence[str],
        user: str = "root",
        timeout: float = 60,
        check: bool = True,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, without SSH, so that it works with the network cut too.

        The surroundings are those of a fresh login: the user's home, groups and runtime folder.
        Raises GuestTrouble on an exit code other than 0, unless check is False.
        """
        return finished(
            self.inside(*argv, user=user), shown=argv, timeout=timeout, check=check, input=input
        )

    def inside(self, *argv: str, user: str = "root") -> list[str]:
        """The argv that runs a command in it, as `run` does."""
        uid, home = self.account(user)
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            "USER": user,
            "LOGNAME": user,
            "XDG_RUNTIME_DIR": f"/run/user/{uid}",
            **self.environment,
        }
        return [
            *("nsenter", f"--target={self.leader}"),
            *("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"),
            *("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"),
            *("env", "--ignore-environment", f"--chdir={home}"),
            *(f"{key}={value}" for key, value in environment.items()),
            *argv,
        ]

    def ssh(self, user: str, *command: str) -> list[str]:
        """The argv by which OpenSSH logs in with the key, sure of the host, asking nothing."""
        return [
            *("ssh", "-F", "none", "-i", str(self.key), "-o", "IdentitiesOnly=yes"),
            *("-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.known_hosts}"),
            *("-o", "StrictHostKeyChecking=yes", f"{user}@{self.address}", *command),
        ]

    def linger(self, user: str) -> None:
        """Let that user's services run without a login; returns once their manager is up."""
        inside = ["systemd-run", "--quiet", "--wait", "--pipe"]  # logind wants to see the caller
        self.run([*inside, "loginctl", "enable-linger", user])
        self.run(["systemctl", "start", f"user@{self.account(user)[0]}.service"])

    def internet(self, on: bool) -> None:
        """Let it out to the internet, or drop what it sends there. Guests always reach guests."""
        outside = 'oifname != "ve-rml-*"'
        if on:
            rules = f"""
                chain leaving {{
                    type nat hook postrouting priority srcnat;
                    ip saddr {self.address} {outside} masquerade
                }}
                chain passing {{
                    type filter hook forward priority filter;
                    tcp flags syn tcp option maxseg size set rt mtu
                }}"""
        else:
            rules = f"""
                chain passing {{
                    type filter hook forward priority filter;
                    iifname "{self.slot.link}" {outside} drop
                }}"""
        table = f"table ip {self.slot.table}"
        call("nft", "-f", "-", input=f"{table}\ndelete {table}\n{table} {{{rules}\n}}\n")


# This machine


def resolver() -> str:
    """How this machine finds names, in a form that also holds inside a guest."""
    behind_the_stub = Path("/run/systemd/resolve/resolv.conf")
    here = behind_the_stub if behind_the_stub.exists() else Path("/etc/resolv.conf")
    return here.read_text()


def passed_on() -> dict[str, str]:
    """The variables by which this machine reaches the package registries, if it needs any."""
    return {key: value for key, value in os.environ.items() if key.lower() in PASSED_ON}


def has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


def control_groups(machine: str) -> list[Path]:
    """The control groups that hold one guest and nothing else: one in each hierarchy."""
    top = Path("/sys/fs/cgroup")
    v1 = [top / "systemd", top / "unified"]
    hierarchies = [top] if (top / "cgroup.controllers").exists() else v1
    below = f"system.slice/{machine}.scope" if has_systemd() else machine
    return [hierarchy / below for hierarchy in hierarchies if hierarchy.is_dir()]


def in_own_control_group(machine: str, command: list[str]) -> list[str]:
    """The command, so started that two guests do not share one control group.

    nspawn puts a guest below its own group; two guests in one group see, and end, each other's
    services.
    """
    if has_systemd():
        scope = ["--scope", "--slice=system.slice", f"--unit={machine}.scope", "--collect"]
        return ["systemd-run", "--quiet", *scope, "--property=Delegate=yes", *command]
    groups = control_groups(machine)
    for group in groups:
        group.mkdir(exist_ok=True)
    enter = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
    return ["sh", "-euc", enter, "sh", *map(str, groups), "--", *command]


def emptied(group: Path) -> bool:
    """Kill what a guest's control group holds and remove it; False while something remains."""
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            for pid in (Path(folder) / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            Path(folder).rmdir()
    except OSError:
        return False
    return True


def forward_for_guests() -> None:
    """Forward packets while this machine has guests, and as it did before once it has none."""
    switch, before = Path("/proc/sys/net/ipv4/ip_forward"), GUESTS / "ip_forward"
    with locked(GUESTS / "lock"):
        if guest_folders():
            if not before.exists():
                before.write_text(switch.read_text())
            switch.write_text("1\n")
        elif before.exists():
            switch.write_text(before.read_text())
            before.unlink()


def guest_folders() -> list[Path]:
    return [path for path in GUESTS.iterdir() if path.is_dir()]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def soon(what: str, ask: Callable[[], T], seconds: float = 60) -> T:
    """Ask until the answer is true, and give that answer."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        if time.monotonic() > end:
            raise GuestTrouble(f"{what[0].upper()}{what[1:]} took over {seconds:g} s.")
        time.sleep(0.02)
    return answer


def call(*argv: str, input: str | None = None) -> str:
    """What a command on this machine printed; GuestTrouble when it failed."""
    return finished(argv, shown=argv, timeout=900, check=True, input=input).stdout


def call_code(*argv: str) -> int:
    return finished(argv, shown=argv, timeout=60, check=False).returncode


def finished(
    argv: Sequence[str],
    shown: Sequence[str],
    timeout: float,
    check: bool,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in a session of its own, so that a late one ends as a whole."""
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise GuestTrouble(f"{json.dumps(shown)} took over {timeout:g} s.") from error
            raise
    if check and process.returncode:
        raise GuestTrouble(f"{json.dumps(shown)} ended with {process.returncode}: {out}{err}")
    return subprocess.CompletedProcess(argv, process.returncode, out, err)
