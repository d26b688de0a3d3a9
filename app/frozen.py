"""What differs when the program is one file (packaging/): its Python, its libraries, its uv."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from app import portable
from app.errors import Problem

FROZEN = bool(getattr(sys, "frozen", False))
UNPACKED = Path(getattr(sys, "_MEIPASS", "."))
"""Where the file's content lies while it runs."""
ROOT = UNPACKED if FROZEN else Path(__file__).parents[1]
"""Where `app` and `assets` are."""
FOLDERS = "_MEI"
"""How the names of folders begin that a start unpacks."""
ALIVE = "rhythmicml.alive"
"""Locked in that folder as long as the program runs."""
LATE = (
    *("cryptography.hazmat.bindings._rust", "nacl._sodium", "_cffi_backend", "bcrypt._bcrypt"),
    *("pyfastcdc.cy.fastcdc", "pyfastcdc.cy.chunk"),
    *("_codecs_cn", "_codecs_hk", "_codecs_jp", "_codecs_kr", "_codecs_tw"),
)
"""Libraries that few starts need, half of all that is in there: unpacked when one is imported."""
PACKED = "rhythmicml_packed_"
"""How the modules begin that hold them (packaging/linux/rhythmicml.spec)."""
FOLDERS_LATE = ("app/scoring", "app/deployer/agent", "assets/examples", "assets/templates")
"""Of their files the one file holds but an archive, in a module: each file takes time to make."""
FILES = f"{PACKED}files"
LIBRARIES = "LD_LIBRARY_PATH"
PYTHONS = ("python3", *(f"python3.{minor}" for minor in range(14, 8, -1)))


def settle() -> None:
    """What a start from one file needs; nothing otherwise."""
    if FROZEN:
        restore_libraries(os.environ)
        sweep(UNPACKED)
        if sys.platform == "linux":
            _read_on()
        if UNPACKED.name.startswith(FOLDERS) and sys.platform == "linux":
            sys.meta_path.insert(0, Late(UNPACKED))


def restore_libraries(environ: MutableMapping[str, str]) -> None:
    """Programs that we start load the system's libraries, not those that came with us."""
    environ.pop(LIBRARIES, None)
    if original := environ.pop(f"{LIBRARIES}_ORIG", ""):
        environ[LIBRARIES] = original


def _read_on() -> None:
    """Modules come from the file that we were started from, also when an update has replaced it."""
    import pyimod02_importers  # type: ignore[import-not-found]

    pyimod02_importers.pyz_archive._filename = "/proc/self/exe"


def sweep(own: Path) -> None:
    """Mark our folder as in use, and remove those of programs that were killed.

    The folder itself is locked, too: systemd-tmpfiles, which clears /tmp of what is old, passes
    over folders that are.
    """
    if not own.name.startswith(FOLDERS):  # a folder that was installed, not unpacked
        return
    _locked(own / ALIVE)
    with contextlib.suppress(OSError):  # Windows opens no folders
        portable.locked(portable.opened(own, os.O_RDONLY))
    for each in own.parent.glob(f"{FOLDERS}*"):
        if each != own and (each / ALIVE).exists() and (held := _locked(each / ALIVE)) is not None:
            shutil.rmtree(each, ignore_errors=True)
            os.close(held)
            shutil.rmtree(each, ignore_errors=True)  # Windows kept what we held open


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock; None when somebody else does, or the file is not ours."""
    with contextlib.suppress(OSError):
        fd = portable.opened(path, os.O_RDWR | os.O_CREAT | portable.NO_LINK)
        try:
            if portable.locked(fd):
                return fd
            os.close(fd)
        except OSError:
            os.close(fd)
    return None


class Late:
    """Puts a library in its place before Python looks for it there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Never finds it itself: what is asked next does."""
        if name not in LATE:
            return
        module = importlib.import_module(PACKED + name.replace(".", "_"))
        place = self._folder / module.PLACE
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(zlib.decompress(module.CONTENT))
            importlib.invalidate_caches()  # its folder may have been looked at in this instant
        del sys.modules[module.__name__]  # it is large


@functools.cache
def folder(place: str) -> Path:
    """One of FOLDERS_LATE, with all that is in it."""
    if not (ROOT / place).exists() and (archive := packed()):
        _unpack(archive, place)
    return ROOT / place


@functools.cache
def packed() -> zipfile.ZipFile | None:
    """The archive of what is in FOLDERS_LATE; None where they are folders. May be read by many."""
    if not FROZEN or all((UNPACKED / each).exists() for each in FOLDERS_LATE):
        return None
    return zipfile.ZipFile(io.BytesIO(importlib.import_module(FILES).CONTENT))


def _unpack(archive: zipfile.ZipFile, place: str) -> None:
    """Whole or not at all: another thread may be looking for it."""
    with tempfile.TemporaryDirectory(dir=UNPACKED) as beside:
        inside = [name for name in archive.namelist() if name.startswith(f"{place}/")]
        archive.extractall(beside, inside)
        (UNPACKED / place).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # somebody else was faster
            os.replace(Path(beside) / place, UNPACKED / place)


@functools.cache
def python() -> str:
    """A Python that can run other programs: ours; from one file, the first of this machine's."""
    if not FROZEN:
        return sys.executable
    found = next((path for name in PYTHONS if (path := shutil.which(name))), None)
    if found is None:
        raise Problem(
            "There is no Python on this machine that we can use: 3.9 or later is needed.",
            remedy="Install it, for example: apt-get install python3",
        )
    return found


@functools.cache
def python_version() -> str:
    """Its version, major.minor; of the one inside us where there is no other."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not FROZEN:
        return ours
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    with contextlib.suppress(Problem, OSError, subprocess.SubprocessError):
        return subprocess.check_output([python(), "-I", "-S", "-c", ask], text=True).strip()
    return ours


def uv(tools: Path, version: str) -> Path:
    """The uv that came with us, unpacked once into `tools`: it is larger than all the rest."""
    place = portable.program(tools / f"uv-{version}")
    if not place.exists():
        tools.mkdir(mode=0o700, parents=True, exist_ok=True)
        packed: bytes = importlib.import_module("rhythmicml_uv").PACKED  # packaging/dist.py
        with tempfile.NamedTemporaryFile(dir=tools, prefix=".uv-", delete=False) as fresh:
            fresh.write(lzma.decompress(packed))
            portable.set_mode(fresh.fileno(), 0o700)
        os.replace(fresh.name, place)
    return place
