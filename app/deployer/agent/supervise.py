"""Who keeps instances alive on this host: systemd (the system's or the user's), or our own keeper.

Both take the same orders, so that nothing above this file asks which one it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Union

from .exposure import LOOPBACK, PUBLIC, has_ipv6
from .failure import Failure
from .files import replace
from .fronts import state
from .layout import CURRENT, Instance, make_folder


class Systemd:
    """systemd's system manager (mode "system") or the user's own (mode "user")."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.user = mode == "user"
        if self.user:
            runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
            self.folder = Path.home() / ".config/systemd/user"
            self.sockets = runtime / "rhythmicml"
            self.environ = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
        else:
            self.folder = Path("/etc/systemd/system")
            self.sockets = Path("/run/rhythmicml")
            self.environ = dict(os.environ)

    # What is there

    def private(self, instance: Instance, unit: str) -> Path:
        return self.sockets / instance.name / unit / "private.sock"

    def units(self, names: list[str]) -> dict[str, str]:
        """The unit files as they are; absent ones left out."""
        return {name: text for name in names if (text := _text(self.folder / name)) is not None}

    def all_units(self) -> dict[str, str]:
        """Every unit file of ours that is there, whichever base folder it is about."""
        return self.units(sorted(path.name for path in self.folder.glob("rhythmicml-*.*")))

    def listening(self, instance: Instance) -> bool:
        """Whether its socket unit is up and holds the port; a hand-edited unit may not."""
        port, up = instance.port(), self._active(_socket(instance))
        return up and (port is None or bool(listening_sockets(port)))

    def asking(self, instance: Instance) -> bool:
        """Whether the socket is open that pipelines ask."""
        return self._active(_ask(instance))

    def exposure(self, instance: Instance) -> str:
        """Who can reach the port that it listens on."""
        port = instance.port()
        return PUBLIC if port and open_to_all(port) else LOOPBACK

    def _active(self, unit: str) -> bool:
        return self._ctl("is-active", unit).stdout.strip() == "active"

    def _sockets(self, instance: Instance) -> list[str]:
        """Its sockets. One that was deployed before pipelines were has that of its port alone."""
        ask = _ask(instance)
        return [_socket(instance), *([ask] if (self.folder / ask).exists() else [])]

    def enabled(self, instance: Instance) -> bool:
        """Whether it will listen and serve after the next boot."""
        units = (*self._sockets(instance), _service(instance, CURRENT))
        return self._ctl("is-enabled", *units).stdout.split() == ["enabled"] * len(units)

    def running(self, instance: Instance) -> list[str]:
        """Unit instances that are up or coming up: release ids, or "current"."""
        return [name for name, facts in self._all(instance).items() if _alive(facts)]

    def fate(self, instance: Instance, unit: str) -> dict[str, Any]:
        """How one unit instance fares: {"alive", "over" (it ended), "restarts", "why"}."""
        facts = self._all(instance).get(unit, {})
        over = facts.get("ActiveState") == "failed" or facts.get("SubState") == "auto-restart"
        return {
            "alive": _alive(facts),
            "over": over,
            "restarts": int(facts.get("NRestarts") or 0),
            "why": _why(facts),
        }

    def log(self, instance: Instance, unit: str, lines: int) -> str:
        if self.user:
            return tail(instance.log(unit), lines)
        return self._journal("-u", _service(instance, unit), "-n", str(lines))

    def journal_of(self, instance: Instance, lines: int, follow: bool) -> list[str]:
        """The command that prints what all its releases say, also those started meanwhile."""
        slice_ = f"system-rhythmicml\\x2d{instance.name.replace('-', _DASH)}.slice"
        argv = ["journalctl", "--no-pager", "--no-hostname", "-o", "short-iso", "-n", str(lines)]
        whole = "--all"  # a line that acts on terminals, too: it is made plain here
        return [*argv, whole, *(["-f"] if follow else []), f"_SYSTEMD_SLICE={slice_}"]

    # Orders

    def write_units(self, units: dict[str, str]) -> None:
        make_folder(self.folder)
        for name, text in units.items():
            replace(self.folder / name, text.encode())
        self._must("daemon-reload")

    def listen(self, instance: Instance, port: int, release: str, exposure: str) -> None:
        """Open the sockets. Their units, which say to whom, have been written."""
        if self._active(_socket(instance)) and not listening_sockets(port):
            self._must("stop", *self._sockets(instance), _service(instance, "*"))
        if not self._active(_socket(instance)):
            self._open(_socket(instance), f"port {port}")
        ask = _ask(instance)
        if ask in self._sockets(instance) and not self._active(ask):
            self._open_for_pipelines(instance, release)

    def _open(self, socket: str, what: str) -> None:
        self._must("start", "--no-block", socket)
        self._wait_active(socket, what)

    def _open_for_pipelines(self, instance: Instance, release: str) -> None:
        """systemd opens no socket whose own service runs, as `current` does after a boot: for that
        moment it is told of another one, which knows the socket, too."""
        ask = _ask(instance)
        if CURRENT not in self.running(instance):
            return self._open(ask, str(instance.asked_at))
        meant = (self.folder / ask).read_text("utf-8")
        other = _service(instance, "asked")
        self.write_units({ask: meant.replace(_service(instance, CURRENT), other)})
        try:
            self._open(ask, str(instance.asked_at))
        finally:
            self.write_units({ask: meant})

    def enable(self, instance: Instance) -> None:
        """From now on it listens and serves after a boot as well."""
        if not self.enabled(instance):
            self._must("enable", *self._sockets(instance), _service(instance, CURRENT))

    def start(self, instance: Instance, unit: str) -> None:
        make_folder(instance.folder / "log")
        if self.user:
            make_folder(instance.folder / "run", 0o700)
            rotate(instance.log(unit))
        self._ctl("reset-failed", _service(instance, unit))
        self._must("start", "--no-block", _service(instance, unit))

    def stop(self, instance: Instance, unit: str) -> None:
        """Let it finish what it holds, then end it."""
        self._must("stop", _service(instance, unit))
        self._ctl("reset-failed", _service(instance, unit))

    def beside(self, instance: Instance, release: str) -> None:
        """Have a release give way to all others, and start after a boot, too."""
        service = _service(instance, release)
        make_folder(self.folder / f"{service}.d")
        self.write_units({f"{service}.d/shadow.conf": BELOW})
        self._must("enable", service)

    def alone(self, instance: Instance, release: str) -> None:
        """The opposite: it is a release like others."""
        service = _service(instance, release)
        self._ctl("disable", service)
        shutil.rmtree(self.folder / f"{service}.d", ignore_errors=True)
        self._must("daemon-reload")

    def close(self, instance: Instance) -> None:
        """Stop listening, now and at boot, and end every release; together, or they come back."""
        self.halt(instance)
        sockets = self._sockets(instance)
        self._ctl("disable", *sockets, _service(instance, CURRENT))
        if tunnels := self.tunnels(instance):
            self._ctl("disable", "--now", *tunnels)
        self._ctl("reset-failed", *sockets, _service(instance, "*"))

    def halt(self, instance: Instance) -> None:
        """Close its sockets and end every release, for a moment. No matter if there is none."""
        units = (_socket(instance), _ask(instance))
        # systemd refuses to stop what it knows not.
        sockets = [each for each in units if (self.folder / each).exists() or self._active(each)]
        self._must("stop", *sockets, _service(instance, "*"))

    def stay(self, instance: Instance, unit: str) -> None:
        """Do not stop it, whatever was said before about later."""
        self.no_longer(f"warm-{instance.name}")

    def stop_later(self, instance: Instance, unit: str, seconds: float, command: list[str]) -> None:
        self.later(f"warm-{instance.name}", seconds, command)

    def when_free(self, instance: Instance, command: list[str]) -> None:
        """Run what waits for the lock, whatever becomes of us."""
        self.later(f"wake-{instance.name}", 1, command)

    def later(self, name: str, seconds: float, command: list[str]) -> None:
        """Run a command once, some seconds from now; the wall clock does not matter."""
        self.no_longer(name)
        scope = ["--user"] if self.user else []
        timer = [f"--on-active={seconds:g}", "--timer-property=AccuracySec=1s", "--collect"]
        argv = ["systemd-run", *scope, "--quiet", f"--unit=rhythmicml-{name}", *timer]
        done = _run([*argv, "--", *command], self.environ)
        if done.returncode:
            raise Failure("systemd refused a timer.", cause=done.stderr.strip())

    def no_longer(self, name: str) -> None:
        self._ctl("stop", f"rhythmicml-{name}.timer")

    def forget(self, instance: Instance) -> None:
        """Remove its units, and what systemd keeps for them."""
        for name in ("guard", "warm", "wake"):
            self.no_longer(f"{name}-{instance.name}")
        self._ctl("clean", "--what=cache", "--what=state", _service(instance, CURRENT))
        self.remove_units(instance)
        instance.asked_at.unlink(missing_ok=True)
        for left in instance.asked_at.parent.glob(f"{instance.name}.*.sock"):
            left.unlink(missing_ok=True)
        shutil.rmtree(instance.tunnel, ignore_errors=True)
        shutil.rmtree(self.sockets / instance.name, ignore_errors=True)

    def remove_units(self, instance: Instance) -> None:
        """Those of its sockets, its service and its tunnels; what it has kept stays."""
        self.remove_tunnels(self.tunnels(instance))
        for name in (_socket(instance), _service(instance, ""), _ask(instance)):
            (self.folder / name).unlink(missing_ok=True)
        self._must("daemon-reload")

    # Tunnels to stages elsewhere (tunnels.py)

    def tunnels(self, instance: Instance) -> list[str]:
        """The units of its tunnels that there are."""
        return sorted(each.name for each in self.folder.glob(_tunnel(instance)))

    def tunnel_up(self, unit: str) -> bool:
        """Whether ssh runs, and will after the next boot."""
        return self._active(unit) and self._ctl("is-enabled", unit).stdout.strip() == "enabled"

    def open_tunnel(self, unit: str) -> None:
        self._must("enable", unit)
        self._must("restart", "--no-block", unit)

    def remove_tunnels(self, units: list[str]) -> None:
        if not units:
            return
        self._ctl("disable", "--now", *units)
        self._ctl("reset-failed", *units)
        for unit in units:
            (self.folder / unit).unlink(missing_ok=True)
        self._must("daemon-reload")

    def tunnel_log(self, instance: Instance, unit: str) -> str:
        """What ssh said last."""
        if self.user:
            stage = unit.removesuffix(".tunnel.service").rpartition(".")[2]
            return tail(instance.tunnel / f"{stage}.log", 5)
        return self._journal("-u", unit, "-n", "5", "_COMM=ssh")

    # How systemd is asked

    def _all(self, instance: Instance) -> dict[str, dict[str, str]]:
        shown = self._ctl(
            "show",
            _service(instance, "*"),
            "-p",
            "Id,ActiveState,SubState,NRestarts,Result,ExecMainStatus",
        )
        found = {}
        for block in shown.stdout.split("\n\n"):
            facts = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            if "Id" in facts:
                found[facts["Id"].split("@", 1)[1].rsplit(".service", 1)[0]] = facts
        return found

    def _wait_active(self, unit: str, what: str) -> None:
        """what: its address, in words."""
        for _ in range(100):
            facts = self._ctl("show", unit, "-p", "ActiveState,Result").stdout
            if "ActiveState=active" in facts:
                return
            if "ActiveState=failed" in facts:
                break
            time.sleep(0.05)
        raise Failure(
            f"systemd could not open {what}.",
            remedy="Choose another with --port, or set `port` under [deploy]."
            if what.startswith("port ")
            else "What systemd says below shows why.",
            detail=self._journal("-u", unit, "-n", "20"),
        )

    def _journal(self, *words: str) -> str:
        scope = ["--user"] if self.user else []
        argv = ["journalctl", *scope, "--no-pager", "-o", "cat", *words]
        return _run(argv, self.environ).stdout.strip()

    def _ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        scope = ["--user"] if self.user else []
        return _run(["systemctl", "--no-pager", "--no-ask-password", *scope, *words], self.environ)

    def _must(self, *words: str) -> None:
        done = self._ctl(*words)
        if done.returncode:
            raise Failure(
                f'systemd refused "systemctl {" ".join(words)}".',
                cause=done.stderr.strip() or done.stdout.strip(),
            )


class Keeper:
    """Our own keeper (scoring/keeper.py), where there is no systemd to use. Same orders."""

    mode = "process"

    def private(self, instance: Instance, unit: str) -> Path:
        return instance.folder / "run" / f"{unit}.sock"

    def units(self, names: list[str]) -> dict[str, str]:
        return {}

    def all_units(self) -> dict[str, str]:
        return {}

    def listening(self, instance: Instance) -> bool:
        return self._status(instance) is not None

    def asking(self, instance: Instance) -> bool:
        """It opens both sockets; one that runs since before pipelines were has the port alone."""
        return self.listening(instance)

    def exposure(self, instance: Instance) -> str:
        host = (self._status(instance) or {}).get("host", "127.0.0.1")
        return PUBLIC if host in EVERYWHERE else LOOPBACK

    def running(self, instance: Instance) -> list[str]:
        fronts = (self._status(instance) or {}).get("fronts", {})
        return [release for release, front in fronts.items() if front.get("pid")]

    def fate(self, instance: Instance, unit: str) -> dict[str, Any]:
        front = (self._status(instance) or {}).get("fronts", {}).get(unit, {})
        ended = front.get("exit") is not None
        return {
            "alive": bool(front.get("pid")),
            "over": ended and not front.get("pid"),
            "restarts": int(front.get("restarts") or 0),
            "why": f"exit code {front.get('exit')}" if ended else "",
        }

    def log(self, instance: Instance, unit: str, lines: int) -> str:
        return tail(instance.log(unit), lines)

    def write_units(self, units: dict[str, str]) -> None:
        pass

    def enabled(self, instance: Instance) -> bool:
        return True

    def enable(self, instance: Instance) -> None:
        pass

    def listen(self, instance: Instance, port: int, release: str, exposure: str) -> None:
        """Start the keeper; the release that is about to start brings its program along."""
        if self.listening(instance):
            return
        make_folder(instance.folder / "run", 0o700)
        make_folder(instance.folder / "log")
        program = instance.release(release) / "runtime"
        argv = [str(program / "env/bin/python"), "-I", str(program / "program"), "keeper"]
        argv += ["--instance", str(instance.folder), "--port", str(port)]
        if exposure == PUBLIC:
            argv += ["--host", EVERYWHERE[0] if has_ipv6() else EVERYWHERE[1]]
        with (instance.folder / "log" / "keeper.log").open("ab") as log:
            keeper = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=str(instance.folder),
                env=own_environment(),
            )
        assert keeper.stdout is not None
        with keeper.stdout:
            line = keeper.stdout.readline()
        _expect_listening(line, instance, port)

    def start(self, instance: Instance, unit: str) -> None:
        self._order(instance, do="start", release=unit)

    def stop(self, instance: Instance, unit: str) -> None:
        self._order(instance, do="stop", release=unit)

    def stay(self, instance: Instance, unit: str) -> None:
        self._order(instance, do="start", release=unit)

    def stop_later(self, instance: Instance, unit: str, seconds: float, command: list[str]) -> None:
        self._order(instance, do="stop", release=unit, after=seconds)

    def when_free(self, instance: Instance, command: list[str]) -> None:
        nothing = subprocess.DEVNULL
        environ = own_environment()
        subprocess.Popen(
            command, stdin=nothing, stdout=nothing, stderr=nothing, env=environ,
            start_new_session=True,
        )  # fmt: skip

    def later(self, name: str, seconds: float, command: list[str]) -> None:
        raise NotImplementedError("the keeper runs no commands")

    def no_longer(self, name: str) -> None:
        pass

    def beside(self, instance: Instance, release: str) -> None:
        """The front itself gives way, and the keeper reads shadow.json."""

    def alone(self, instance: Instance, release: str) -> None:
        pass

    def close(self, instance: Instance) -> None:
        status = self._status(instance)
        if status is not None:
            self._order(instance, do="quit")
            _wait_closed(int(status["port"]))

    def halt(self, instance: Instance) -> None:
        self.close(instance)

    def forget(self, instance: Instance) -> None:
        instance.asked_at.unlink(missing_ok=True)

    def remove_units(self, instance: Instance) -> None:
        pass

    def tunnels(self, instance: Instance) -> list[str]:
        return []

    def tunnel_up(self, unit: str) -> bool:
        return False

    def open_tunnel(self, unit: str) -> None:
        raise NotImplementedError("a plan keeps no tunnels without systemd")

    def remove_tunnels(self, units: list[str]) -> None:
        pass

    def tunnel_log(self, instance: Instance, unit: str) -> str:
        return ""

    def _status(self, instance: Instance) -> dict[str, Any] | None:
        try:
            return self._talk(instance, {"do": "status"})
        except (OSError, ValueError):
            return None

    def _order(self, instance: Instance, **order: Any) -> None:
        try:
            answer = self._talk(instance, order)
        except (OSError, ValueError) as error:
            raise Failure("The keeper does not answer.", cause=str(error)) from error
        if "error" in answer:
            raise Failure(f"The keeper refused: {answer['error']}")

    def _talk(self, instance: Instance, order: dict[str, Any]) -> dict[str, Any]:
        folder = os.open(instance.folder / "run", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(60)
                line.connect(f"/proc/self/fd/{folder}/keeper.sock")
                line.sendall(json.dumps(order).encode() + b"\n")
                with line.makefile("rb") as answers:
                    answer = json.loads(answers.readline())
        finally:
            os.close(folder)
        if not isinstance(answer, dict):
            raise ValueError("the keeper's answer is no object")
        return answer


Supervisor = Union[Systemd, Keeper]


_DASH = "\\x2d"
BELOW = "[Service]\nNice=19\nCPUSchedulingPolicy=idle\nCPUWeight=1\nIOWeight=1\n"
"""Of a release that gets copies: whatever else wants the processor goes first."""
EVERYWHERE = ("::", "0.0.0.0")
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
MORE_PASSED_ON = ("CUDA_", "SSL_CERT_", "http_proxy", "https_proxy", "no_proxy")


def own_environment() -> dict[str, str]:
    """What a model may know of the shell it was deployed from: as little as under systemd."""
    known = (*PASSED_ON, *MORE_PASSED_ON)
    return {name: value for name, value in os.environ.items() if name.startswith(known)}


def rotate(log: Path, most: int = 10_000_000) -> None:
    """Past 10 MB a log becomes `<name>.1`."""
    if log.exists() and log.stat().st_size > most:
        os.replace(log, log.with_name(log.name + ".1"))


def _wait_closed(port: int) -> None:
    """Until nobody listens there any more; the keeper ends a moment after its last answer."""
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.02)


def _expect_listening(line: bytes, instance: Instance, port: int) -> None:
    try:
        answer = json.loads(line)
    except ValueError:
        log = tail(instance.folder / "log" / "keeper.log", 20)
        raise Failure("The keeper did not start.", detail=log) from None
    if "error" in answer:
        raise Failure(
            f"Port {port} cannot be used for {instance.name}.",
            cause=str(answer["error"]),
            remedy="Choose another with --port, or set `port` under [deploy].",
        )


def serving(supervisor: Supervisor, instance: Instance) -> list[dict[str, Any]]:
    """What runs: the state each front gives of itself, with the unit it runs as."""
    found = []
    for unit in supervisor.running(instance):
        said = state(supervisor.private(instance, unit))
        found.append({"unit": unit, "release": None, "ready": False, **(said or {})})
    return found


def listening_sockets(port: int) -> set[str]:
    """Who listens on that port of this host, as /proc/PID/fd names it: `socket:[4711]`."""
    return {f"socket:[{row[9]}]" for row in _listening(port)}


def open_sockets(pid: int) -> set[str]:
    """The sockets that a process has, as /proc/PID/fd names them."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(entry))
    return found


def parent_of(pid: int | None) -> int | None:
    """Who started a process, as far as that can be seen."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def open_to_all(port: int) -> bool:
    """Whether somebody listens on that port at every address of this host."""
    return any(not row[1].split(":")[0].strip("0") for row in _listening(port))


def _listening(port: int) -> list[list[str]]:
    """The rows of the kernel's tables about who listens on that port."""
    rows: list[list[str]] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            rows += [line.split() for line in Path(table).read_text().splitlines()[1:]]
    ends = f":{port:04X}"
    return [row for row in rows if row[3] == "0A" and row[1].endswith(ends)]


def tail(path: Path, lines: int) -> str:
    """The last lines of a file, at most 256 KiB of them."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - (1 << 18)))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _socket(instance: Instance) -> str:
    return f"rhythmicml-{instance.name}.socket"


def _ask(instance: Instance) -> str:
    return f"rhythmicml-{instance.name}.ask.socket"


def _tunnel(instance: Instance) -> str:
    return f"rhythmicml-{instance.name}.*.tunnel.service"


def _service(instance: Instance, unit: str) -> str:
    return f"rhythmicml-{instance.name}@{unit}.service"


def _why(facts: dict[str, str]) -> str:
    if not facts or facts.get("Result") == "success":
        return ""
    return f"{facts.get('Result')}, status {facts.get('ExecMainStatus')}"


def _alive(facts: dict[str, str]) -> bool:
    return facts.get("ActiveState") in {"active", "activating", "reloading", "deactivating"}


def _text(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except OSError:
        return None


def _run(argv: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, env=environ, capture_output=True, text=True, errors="replace", check=False
    )
