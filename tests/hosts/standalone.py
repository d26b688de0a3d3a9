"""A Python in the layout that uv fetches, made from a real one of this machine.

Where uv's own downloads cannot be reached, this stands in for them: an archive with a folder
`python`, and the list (UV_PYTHON_DOWNLOADS_JSON_URL) that says where it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from pathlib import Path

LEFT_OUT = {"test", "tests", "idlelib", "turtledemo", "ensurepip", "__pycache__", "site-packages"}


def homes() -> list[Path]:
    """Pythons of this machine that stand in folders of their own, newest first."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [path for path in root.glob("3.*") if (path / "bin/python3").exists()]
    return sorted(found, key=lambda path: [int(n) for n in path.name.split(".")], reverse=True)


def archive(home: Path, folder: Path) -> Path:
    """The archive of that Python; returns the list that names it. Both lie in `folder`."""
    version = home.name
    minor = version.rpartition(".")[0]
    packed = folder / f"cpython-{version}-install_only.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=1) as tar:
        for path in [*kept(home / "lib"), home / "bin" / f"python{minor}"]:
            add(tar, home, path)
        for name in ("python", "python3"):
            link = tarfile.TarInfo(f"python/bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, f"python{minor}"
            tar.addfile(link)
    listed = folder / "pythons.json"
    listed.write_text(json.dumps(entry(version, packed), indent=1))
    return listed


def kept(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [n for n in folders if n not in LEFT_OUT and not n.startswith("config-")]
        found += [Path(parent, name) for name in names if not name.endswith(".a")]
    return found


def add(tar: tarfile.TarFile, home: Path, path: Path) -> None:
    """The file, able to find its libraries from wherever it will lie."""
    name = f"python/{path.relative_to(home)}"
    if path.is_symlink():
        tar.add(path, name)
        return
    content = path.read_bytes()
    if content.startswith(b"\x7fELF"):
        absolute, movable = f"{home}/lib".encode(), b"$ORIGIN/../lib"
        content = content.replace(absolute + b"\0", movable.ljust(len(absolute), b"\0") + b"\0")
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), path.stat().st_mode & 0o777
    tar.addfile(member, io.BytesIO(content))


def entry(version: str, packed: Path) -> dict[str, object]:
    major, minor, patch = map(int, version.split("."))
    arch = platform.machine()
    return {
        f"cpython-{version}-linux-{arch}-gnu": {
            "name": "cpython",
            "arch": {"family": arch, "variant": None},
            "os": "linux",
            "libc": "gnu",
            "major": major,
            "minor": minor,
            "patch": patch,
            "prerelease": "",
            "url": packed.as_uri(),
            "sha256": hashlib.sha256(packed.read_bytes()).hexdigest(),
            "variant": None,
            "build": None,
        }
    }
