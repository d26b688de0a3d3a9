"""Start the agent: a tiny literal program over there reads the whole one from its input."""

from __future__ import annotations

import functools
import json
import marshal
import os
import secrets
import time
import zlib
from importlib.abc import InspectLoader
from importlib.util import MAGIC_NUMBER, find_spec
from typing import Any, cast

from app import frozen
from app.deployer.agent import frames
from app.deployer.link import PATIENCE, Link, Lost
from app.errors import Problem

START = 30.0
NOISE = 1024 * 1024
AGENT, FOLDER = "app.deployer.agent", "app/deployer/agent"
PACKAGE = "rhythmicml_agent"
"""What it is called where it runs."""

# No quotes of either kind, no $ ! \ and no newline: it goes through any login shell and sh.
BOOT = (
    "import os,sys;sys.version_info<(3,9)and sys.exit(97);"
    "exec(bytes(iter(lambda:os.read(0,1)[0],10)))"
)
PYTHON_OPTIONS = ("-I", "-S", "-X", "utf8", "-c", BOOT)
PYTHONS = "python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9"
NO_PYTHON = 96
_SHELL = (
    "exec /bin/sh -c '{find_mode} for p in "
    + PYTHONS
    + '; do command -v $p >/dev/null 2>&1 || continue; $s $p -I -S -X utf8 -c "'
    + BOOT
    + '" $m; c=$?; case $c in 97|126|127) ;; *) exit $c;; esac; done; exit '
    + f"{NO_PYTHON}'"
)
_ROOT = 'm=user; s=; if [ "$(id -u)" = 0 ]; then m=root; '

# With a password (sudo.py): Python says on stderr that it runs (backwards, for sudo names what it
# forbids), so that never a password reaches the agent, nor the agent sudo. -k: no ticket is left
# there. In C, to understand what sudo says.
NO_SUDO = 95
TOKEN = "RHYTHMICML"
PROMPT = f"{TOKEN}:"
_WITH_PASSWORD = (
    "exec /bin/sh -c 'LC_ALL=C; export LC_ALL; "
    + _ROOT
    + f"else command -v sudo >/dev/null 2>&1 || exit {NO_SUDO}; "
    + 'm=sudo; s="sudo -n"; sudo -n true >/dev/null 2>&1 || '
    + f'{{ m=sudo-password; s="sudo -k -S -p {PROMPT}"; }}; fi; '
    + f"for p in {PYTHONS}; do "
    + '$p -I -S -c "import sys;sys.exit(sys.version_info<(3,9))" </dev/null >/dev/null 2>&1 '
    + '|| continue; exec $s $p -I -S -X utf8 -c "'
    + "import os,sys;os.write(2,sys.argv[2].encode()[::-1]);"
    + f"{BOOT}\" $m {TOKEN}; done; exit {NO_PYTHON}'"
)
_COMMANDS = {
    "auto": _SHELL.format(
        find_mode=_ROOT + 'elif sudo -n true >/dev/null 2>&1; then m=sudo; s="sudo -n"; fi;'
    ),
    "sudo": _WITH_PASSWORD,
    "user": _SHELL.format(find_mode=_ROOT + "fi;"),
}
PRIVILEGES = tuple(_COMMANDS)


def command(privilege: str, token: str = TOKEN) -> str:
    """What a login shell there is to run. token: a word that nothing else there will say."""
    return _COMMANDS[privilege].replace(TOKEN, token)


def local_command(mode: str) -> list[str]:
    """How to start the agent on this machine: on our Python, or one that the single file finds."""
    return [frozen.python(), *PYTHON_OPTIONS, mode]


@functools.cache
def program() -> tuple[bytes, bytes]:
    """The first line of the agent's input, and the sources of its modules, compressed."""
    folder = frozen.folder(FOLDER)
    first = f"exec({(folder / 'start.py').read_text('utf-8')!a})\n".encode()
    named = {_there(name): (folder / f"{name}.py").read_text("utf-8") for name in _names()}
    return first, zlib.compress(json.dumps(named).encode())


@functools.cache
def compiled() -> bytes:
    """The same modules for a Python as ours: compiling them is most of what a start takes."""
    return marshal.dumps({_there(name): _code(name) for name in _names()})


def _names() -> list[str]:
    files = (each.name for each in frozen.folder(FOLDER).iterdir())
    return sorted(name[:-3] for name in files if name.endswith(".py") and name != "start.py")


def _there(name: str) -> str:
    return PACKAGE if name == "__init__" else f"{PACKAGE}.{name}"


def _code(name: str) -> Any:
    full = AGENT if name == "__init__" else f"{AGENT}.{name}"
    spec = find_spec(full)
    assert spec is not None
    return cast("InspectLoader", spec.loader).get_code(full)


def start_agent(link: Link, base: str, silence: float, request: bytes, code: bytes = b"") -> None:
    """Send the agent and its first request; return when its first byte is next to be read.

    code: as `compiled` gives it, for a Python as ours.
    """
    first, sources = program()
    sentinel = secrets.token_hex(16)
    crash = os.environ.get("RHYTHMICML_CRASH_AT", "")
    chosen = {
        **{"sentinel": sentinel[::-1], "base": base, "silence": silence, "crash": crash},
        **{"sources": len(sources), "magic": MAGIC_NUMBER.hex()},
    }
    modules = sources + code
    link.patience = START
    try:
        link.write(first + frames.encode(chosen, len(modules)) + modules + request)
        skip_to(link, sentinel.encode())
    except (Lost, frames.Ended):
        raise link.ending() from None
    except TimeoutError:
        raise Problem(
            f"{link.place} let us in, but the agent did not start there within {START:g} seconds.",
            remedy="Look at what its login scripts do: they must not wait for anything.",
        ) from None
    link.patience = PATIENCE


def skip_to(link: Link, sentinel: bytes) -> None:
    """Read away what login scripts print, up to and with the sentinel."""
    end = time.monotonic() + START
    window = frames.read_exactly(link.read, len(sentinel))
    noise = 0
    while window != sentinel:
        at = window.find(sentinel[:1], 1)
        gone = len(window) if at < 0 else at
        window = window[gone:] + frames.read_exactly(link.read, gone)
        noise += gone
        if noise > NOISE or time.monotonic() > end:
            raise TimeoutError


def no_python(place: str, said: str) -> Problem:
    return Problem(
        f"There is no Python on {place} that we can use: python3, 3.9 or later, is needed.",
        detail=said,
        remedy="Install it there, for example: apt-get install python3",
    )
