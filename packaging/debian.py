"""The .deb: the program as a folder in /opt, which needs no unpacking at a start."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINUX = Path(__file__).parent / "linux"
ID = "io.github.rhythmicml"
SIZES = (16, 24, 32, 48, 64, 128, 256, 512)
# What the window needs is recommended only: on a server the commands alone do.
CONTROL = """\
Package: rhythmicml
Version: {version}
Architecture: {arch}
Maintainer: RhythmicML <rhythmicml@example.invalid>
Installed-Size: {size}
Depends: libc6 (>= 2.36), zlib1g
Recommends: gir1.2-webkit2-4.1, python3, openssh-client
Suggests: gir1.2-ayatanaappindicator3-0.1
Section: science
Priority: optional
Description: Deploy ML models into production
 Adds folders with models, keeps every version of them, and runs one on a server
 reached by SSH, or on this machine, as a service with HTTP endpoints.
"""


def deb(program: Path, out: Path) -> Path:
    """Put the package of an unpacked program into `out`."""
    with tempfile.TemporaryDirectory() as made:
        tree = Path(made)
        lay_out(program, tree)
        size = sum(each.stat().st_size for each in tree.rglob("*") if each.is_file()) // 1024
        said = CONTROL.format(version=version(), arch=architecture(), size=size)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN" / "control").write_text(said)
        path = out / f"rhythmicml_{version()}_{architecture()}.deb"
        argv = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(path)]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return path


def lay_out(program: Path, tree: Path) -> None:
    """The files of the package, where they belong on the system."""
    tree.chmod(0o755)
    shutil.copytree(program, tree / "opt" / "rhythmicml")
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "rhythmicml").symlink_to("/opt/rhythmicml/rhythmicml")
    share = tree / "usr" / "share"
    places = {
        LINUX / f"{ID}.desktop": share / "applications" / f"{ID}.desktop",
        LINUX / f"{ID}.metainfo.xml": share / "metainfo" / f"{ID}.metainfo.xml",
        icon("rhythmicml.svg"): share / "icons/hicolor/scalable/apps/rhythmicml.svg",
    }
    for size in SIZES:
        drawn = share / f"icons/hicolor/{size}x{size}/apps/rhythmicml.png"
        places[icon(f"rhythmicml-{size}.png")] = drawn
    for source, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)


def icon(name: str) -> Path:
    return ROOT / "assets" / "icons" / name


def version() -> str:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version ="))


def architecture() -> str:
    argv = ["dpkg", "--print-architecture"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
