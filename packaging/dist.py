"""Build the program as one file, a folder and a .deb, with checksums and a list of what is inside.

    make dist        or: python packaging/dist.py [FOLDER]

The build has an environment of its own, made from requirements.txt with the Python of the system,
and sees nothing of this one's variables. What comes out lies in dist/.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = Path(__file__).parent
BUILD = ROOT / "build" / "dist"
SYSTEM_PYTHON = "/usr/bin/python3"
BINDINGS = Path("/usr/lib/python3/dist-packages")
"""Where Debian has the bindings of GTK; only these two are taken from there."""
EPOCH = "1767225600"
"""Times inside, so that the same sources give the same files."""
PASSED_ON = ("HOME", "PATH", "http_proxy", "https_proxy", "no_proxy")
INSTALLERS = ("PIP_", "UV_", "SSL_")
"""What tells pip and uv here where packages come from."""


def main(out: Path) -> None:
    from debian import deb
    from sbom import sbom

    out.mkdir(parents=True, exist_ok=True)
    environment, python = clean_environ(), build_environment()
    bindings(python)
    pack_uv(python)
    subprocess.run(
        [python, "-m", "PyInstaller", "--noconfirm", "--log-level=WARN",
         f"--distpath={BUILD / 'out'}", f"--workpath={BUILD / 'work'}",
         str(HERE / "linux" / "rhythmicml.spec")],
        env=environment, cwd=ROOT, check=True,
    )  # fmt: skip
    shutil.copy2(BUILD / "out" / "rhythmicml", out / "rhythmicml")
    for each in ("install.sh", "io.github.rhythmicml.desktop", "io.github.rhythmicml.metainfo.xml"):
        shutil.copy2(HERE / "linux" / each, out / each)
    shutil.copy2(ROOT / "assets" / "icons" / "rhythmicml.svg", out / "rhythmicml.svg")
    deb(BUILD / "out" / "rhythmicml-folder", out)
    (out / "rhythmicml.cdx.json").write_text(sbom(python))
    checksums(out)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size / 1e6:8.1f} MB  {path.name}")


def clean_environ() -> dict[str, str]:
    """Of this program's environment what a build needs, and nothing that could leak into it."""
    kept = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(INSTALLERS)}
    fixed = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": EPOCH}
    return {**kept, **fixed, "RHYTHMICML_BUILD": str(BUILD)}


def build_environment() -> Path:
    """The Python of an environment with what the program imports, and PyInstaller."""
    wanted = (ROOT / "requirements.txt").read_text() + f"pyinstaller=={pinned('pyinstaller')}\n"
    made = BUILD / f"env-{sha256(wanted.encode()).hexdigest()[:12]}"
    python = made / "bin" / "python"
    if not (made / ".complete").exists():
        shutil.rmtree(made, ignore_errors=True)
        made.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", str(made)], check=True)
        (made / "wanted.txt").write_text(wanted)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "-r", made / "wanted.txt"],
            env=clean_environ(), check=True,
        )  # fmt: skip
        (made / ".complete").touch()
    return python


def pinned(package: str) -> str:
    lines = (ROOT / "requirements-dev.txt").read_text().split()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


def bindings(python: Path) -> None:
    """GTK's bindings, and nothing else of the system's packages, in the build's environment."""
    (packages,) = python.parents[1].glob("lib/python3.*/site-packages")
    for pattern in ("gi", "PyGObject-*"):
        for each in BINDINGS.glob(pattern):
            if not (packages / each.name).is_symlink():
                (packages / each.name).symlink_to(each)


def pack_uv(python: Path) -> None:
    """uv as small as it gets, as a module: what is not imported costs no start anything."""
    found = python.with_name("uv.exe" if sys.platform == "win32" else "uv")
    uv = found.read_bytes()
    module, first = BUILD / "modules" / "rhythmicml_uv.py", f"# {sha256(uv).hexdigest()}\n"
    if module.exists() and module.open().readline() == first:
        return
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(f"{first}PACKED = {lzma.compress(uv, preset=9)!r}\n")


def checksums(out: Path) -> None:
    files = [each for each in sorted(out.iterdir()) if each.name != "SHA256SUMS"]
    lines = [f"{sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in files]
    (out / "SHA256SUMS").write_text("".join(lines))


if __name__ == "__main__":
    if sys.argv[1:] == ["--uv-only"]:  # on other systems, for their specs
        pack_uv(Path(sys.executable))
    else:
        main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist")
