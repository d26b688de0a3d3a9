"""Fetch what the pages use from npm into assets/static/vendor, each with its version and licence.

Run it after changing a version: python packaging/vendor.py
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR = ROOT / "assets" / "static" / "vendor"
PURGE = "purgecss@7.0.2"
USED_BY = ("assets/templates/**/*.html", "assets/static/*.js", "app/views/**/*.py")
"""Where names of classes stand: rules for others are left out, a tenth is left of Tabler's. Reading
the whole took a window 80 ms."""
LEFT_OUT = ROOT / "packaging" / "left-out.txt"
"""The classes that are not there, so that a test can say so when a page asks for one."""

PACKAGES = {
    "@tabler/core": ("1.6.1", ["dist/css/tabler.min.css"]),
    "htmx.org": ("2.0.11", ["dist/htmx.min.js"]),
    "htmx-ext-sse": ("2.2.4", ["dist/sse.min.js"]),
    "uplot": ("1.6.32", ["dist/uPlot.iife.min.js", "dist/uPlot.min.css"]),
    "@fontsource-variable/inter": ("5.3.0", ["files/inter-latin-wght-normal.woff2"]),
    "@fontsource-variable/jetbrains-mono": (
        "5.3.0",
        ["files/jetbrains-mono-latin-wght-normal.woff2"],
    ),
}
ICONS = ("@tabler/icons", "3.51.0")
DRAWN = (
    *("activity", "adjustments", "alert-triangle", "arrow-back-up", "arrow-right", "arrow-up"),
    *("box", "check", "chevron-down", "chevron-right", "chevrons-right", "clock", "copy", "dots"),
    *("download", "external-link", "file", "file-text", "flask", "folder", "folder-plus"),
    *("git-commit", "git-compare", "history", "info-circle", "key", "keyboard", "list-details"),
    *("loader-2", "lock", "moon", "package", "pencil", "pin", "player-play", "player-stop"),
    *("plus", "refresh", "rocket", "route", "search", "server", "settings", "sun", "terminal-2"),
    *("trash", "upload", "x"),
)
SPRITE = '<svg xmlns="http://www.w3.org/2000/svg">{}</svg>\n'
SYMBOL = (
    '<symbol id="{}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.75"'
    ' stroke-linecap="round" stroke-linejoin="round">{}</symbol>'
)
SOURCE_MAP = re.compile(rb"\n?(//|/\*)# sourceMappingURL=[^\n*]*(\*/)?\s*$")


def main() -> None:
    listed = {}
    for name, (version, files) in PACKAGES.items():
        package = fetch(name, version)
        content = {Path(each).name: SOURCE_MAP.sub(b"", package[each]) for each in files}
        write(name, content, package)
        listed[name] = {"version": version, "licence": licence(package)}
    purge(VENDOR / "core" / "tabler.min.css")
    name, version = ICONS
    package = fetch(name, version)
    symbols = [SYMBOL.format(icon, shapes(package[f"icons/outline/{icon}.svg"])) for icon in DRAWN]
    write(name, {"icons.svg": SPRITE.format("\n".join(symbols)).encode()}, package)
    listed[name] = {"version": version, "licence": licence(package)}
    (VENDOR / "packages.json").write_text(json.dumps(listed, indent=1) + "\n")


def fetch(name: str, version: str) -> dict[str, bytes]:
    """Path in the package → content."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}", "--pack-destination", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        [packed] = Path(folder).iterdir()
        content = packed.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        return {path.partition("/")[2]: file.read() for path, file in files.items() if file}


def write(name: str, files: dict[str, bytes], package: dict[str, bytes]) -> None:
    folder = VENDOR / name.rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    named = [text for path, text in package.items() if re.fullmatch(r"LICEN[CS]E(\.\w+)?", path)]
    if not named:  # one repository, one licence, but only this package of it has the file
        named = [fetch(*ICONS)["LICENSE"]] if name.startswith("@tabler/") else [b""]
    for path, content in {**files, "LICENSE": named[0]}.items():
        (folder / path).write_bytes(content)


def purge(path: Path) -> None:
    """Leave in a style sheet what our pages can ask for."""
    whole = path.read_text("utf-8")
    content = [f"{ROOT}/{each}" for each in USED_BY]
    subprocess.run(
        ["npm", "exec", "--yes", "--silent", PURGE, "--", "--css", path, "--content", *content,
         "--output", f"{path.parent}/"],
        check=True,
    )  # fmt: skip
    gone = classes(whole) - classes(path.read_text("utf-8"))
    LEFT_OUT.write_text("\n".join(sorted(gone)) + "\n")


def classes(css: str) -> set[str]:
    """Those that selectors name."""
    return set(re.findall(r"\.(-?[A-Za-z_][\w-]*)", re.sub(r"\{[^{}]*\}", "{}", css)))


def licence(package: dict[str, bytes]) -> str:
    said = json.loads(package["package.json"])
    text = next((each for path, each in package.items() if path.startswith("LICENSE")), b"")
    return str(said.get("license") or ("MIT" if b"MIT License" in text else "see LICENSE"))


def shapes(svg: bytes) -> str:
    """What is drawn inside an icon's <svg>."""
    inside = re.search(rb"<svg[^>]*>(.*)</svg>", svg, re.DOTALL)
    assert inside
    return " ".join(inside[1].decode().split())


if __name__ == "__main__":
    main()
